"""What treatments and penalties make of a generator's directions: scores, a table, curves, and the numbers as JSON.

    python scripts/reproduce_independence.py train --seeds 0-2
    python scripts/reproduce_independence.py score --seeds 0-2
    python scripts/reproduce_independence.py report --seeds 0-2

Trains a small EigenGAN and a small simple GAN on the rendered rooms at 32 pixels, once for each treatment and seed, one
thread a run. Finished runs and scores are kept, so that a stopped study goes on. Writes
evaluations/results/independence.json, docs/images/independence.png and the tables in docs/results.md.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from study import ROOT, put_table, seeds_of, side_by_side, spread, surroundings

DATA = {"name": "rooms", "resolution": 32}

NETWORKS: dict[str, dict[str, Any]] = {
    "eigengan": {
        "model.channels": (64, 32, 16, 12), "model.basis": 4, "model.noise_dim": 16,
        "discriminator.channels": (24, 48, 96), "penalty.weight": 10,
    },
    "gan": {
        "model.channels": (128, 64, 32, 16), "model.latent_dim": 12, "discriminator.channels": (24, 48, 96),
        "penalty.weight": 10, "optimizer.lr": 5e-4, "discriminator_optimizer.lr": 4e-4,
    },
}  # fmt: skip

TREATMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "OL": {"treatment.ol": 1.0},
    "OW": {"model.projection": {"kind": "polar"}},
    "NOG": {"treatment.nog": True},
    "OLR (matrix)": {"treatment.olr": True},
    "NOG + OLR (matrix)": {"treatment.nog": True, "treatment.olr": True},
    "NOG, update mode": {"treatment.nog": True, "treatment.mode": "update"},
    "NOG, update mode, retraction": {
        "treatment.nog": True, "treatment.mode": "update", "treatment.retraction": "polar",
    },
    "Landing": {"treatment.mode": "landing"},
    "POGO": {"treatment.mode": "pogo"},
    "SPEL": {"treatment.mode": "spel"},
    "Hessian": {"generator_penalty": {"kind": "hessian", "weight": 2e-4, "every": 4}},
    "OroJaR": {"generator_penalty": {"kind": "orojar", "weight": 2e-8, "every": 4}},
    "VP loss": {"generator_penalty": {"kind": "vp", "weight": 0.1}},
}  # fmt: skip

# column -> heading, digits
COLUMNS: dict[str, tuple[str, int]] = {
    "orthogonality_error": ("orthogonality error", 3),
    "jacobian": ("Jacobian, squared cosine", 3),
    "jacobian_within": ("absolute cosine within a block", 3),
    "vp": ("VP, %", 1),
    "vp_within": ("VP within a block, %", 1),
    "mig": ("MIG, factor predictor", 3),
    "active": ("active latents", 1),
    "fd": ("FD, EfficientNet-Lite0", 1),
}


# Pictures, pairs and latents that the scores are made of.
SCORING: dict[str, Any] = {
    "jacobian_latents": 16, "activeness_latents": 64, "mig_latents": 4_000, "predictor_steps": 2_500, "vp_pairs": 800,
    "vp_pairs_within": 300, "vp_epochs": 25, "vp_train_fraction": 0.3, "fd_generated": 500, "fd_real": 2_000,
}  # fmt: skip
SCORES = "independence.json"


def config_of(model: str, treatment: str, seed: int, steps: int) -> Any:
    from disentangle.training import preset_config

    fields = {**NETWORKS[model], **TREATMENTS[treatment], "steps": steps, "batch": 16, "seed": seed}
    kind: Any = model
    return preset_config(kind, data=DATA, checkpoint_every=1000, sample_every=1000, **fields)


def finished(folder: Path, steps: int) -> bool:
    from disentangle.io.run_checkpoints import newest_checkpoint

    newest = newest_checkpoint(folder)
    return newest is not None and newest.step == steps


# ---------------------------------------------------------------------------------------------------------- scores


class OneBlock:
    """A generator whose latents are walked within one block only."""

    def __init__(self, generator: Any, walk: tuple[int, ...]) -> None:
        self.generator = generator
        name, space = next(iter(generator.spaces.items()))
        labels = tuple(space.labels[space.walk.index(position)] for position in walk)
        self.spaces = {name: replace(space, walk=walk, labels=labels)}

    def sample_latents(self, n: int, **options: Any) -> torch.Tensor:
        latents: torch.Tensor = self.generator.sample_latents(n, **options)
        return latents

    def __call__(self, latents: torch.Tensor, **options: Any) -> torch.Tensor:
        images: torch.Tensor = self.generator(latents, **options)
        return images


def scores_of(generator: Any, shared: dict[str, Any]) -> dict[str, float]:
    """All columns for one generator; seeds are fixed, so that runs are compared on the same draws."""
    from disentangle.evaluations.features import extract_features, generated_images
    from disentangle.evaluations.generation import (
        activeness,
        factor_predictor_mig,
        frechet_distance,
        jacobian_orthogonality,
        make_pairs,
        variation_predictability,
    )
    from disentangle.linalg import orthogonality_error

    projections = list(generator.projections().values())
    weights = [(p.parameter if p.weight is None else p.weight()).detach().flatten(1) for p in projections]
    jacobian = jacobian_orthogonality(generator, n=SCORING["jacobian_latents"])
    walk = next(iter(generator.spaces.values())).walk
    blocks = [p.coordinates for p in projections]
    result = {
        "orthogonality_error": sum(float(orthogonality_error(weight)) for weight in weights),
        "jacobian": jacobian.value,
        "active": activeness(generator, n=SCORING["activeness_latents"]).value,
        "mig": factor_predictor_mig(
            generator, shared["data"], predictor=shared["predictor"], n=SCORING["mig_latents"], baselines=False
        ).value,
    }
    how = {key: SCORING[f"vp_{key}"] for key in ("epochs", "train_fraction")} | {"test_every": SCORING["vp_epochs"]}
    result["vp"] = 100 * variation_predictability(*make_pairs(generator, SCORING["vp_pairs"]), **how).value
    if len(blocks) > 1:
        cosines = torch.as_tensor(jacobian.parts["cosine"])
        inside, within = [], []
        for coordinates in blocks:
            rows = [walk.index(position) for position in coordinates]
            part = cosines[rows][:, rows]
            inside.append(float(part.sum() / (len(rows) * (len(rows) - 1))))
            pairs = make_pairs(OneBlock(generator, coordinates), SCORING["vp_pairs_within"])
            within.append(variation_predictability(*pairs, **how).value)
        result["jacobian_within"] = statistics.mean(inside)
        result["vp_within"] = 100 * statistics.mean(within)
    images = generated_images(generator, SCORING["fd_generated"])
    features = extract_features(images, shared["extractor"], shared["protocol"], cache=False)["features"]
    result["fd"] = frechet_distance(features, shared["reference"]).value
    return result


def shared_parts() -> dict[str, Any]:
    """What every score needs: the data, the factor predictor, the extractor and its features of real pictures."""
    from disentangle.data import open_data
    from disentangle.evaluations.features import PROTOCOLS, data_images, extract_features, load_extractor
    from disentangle.evaluations.generation import train_factor_predictor

    data = open_data(**DATA)
    extractor = load_extractor("efficientnet-lite0")
    protocol = PROTOCOLS["clean"]
    real = data_images(data, name="rooms", n=SCORING["fd_real"])
    return {
        "data": data,
        "predictor": train_factor_predictor(data, steps=SCORING["predictor_steps"]),
        "extractor": extractor,
        "protocol": protocol,
        "reference": extract_features(real, extractor, protocol)["features"],
    }


# ---------------------------------------------------------------------------------------------------------- report


def table_of(treatments: dict[str, dict[str, Any]]) -> str:
    columns = [name for name in COLUMNS if any(name in row for runs in treatments.values() for row in runs.values())]
    lines = ["| treatment | seeds | " + " | ".join(COLUMNS[name][0] for name in columns) + " |"]
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for treatment, runs in treatments.items():
        cells = [spread([row[name] for row in runs.values()], COLUMNS[name][1]) for name in columns]
        lines.append(f"| {treatment} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save_figure(scores: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Orthogonality error of each averaged generator: one row a treatment, one dot a seed, one panel a network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    names = [name for name in TREATMENTS if any(name in treatments for treatments in scores.values())]
    panels = figure.subplots(1, len(scores), sharey=True)
    for axis, (model, treatments) in zip(panels, scores.items(), strict=True):
        for treatment, runs in treatments.items():
            errors = [max(run["orthogonality_error"], 1e-7) for run in runs.values()]
            axis.plot(errors, [names.index(treatment)] * len(errors), "o", color="C0", alpha=0.6, markersize=6)
        axis.set_xscale("log")
        axis.set_title({"eigengan": "EigenGAN", "gan": "simple GAN"}[model], fontsize=11)
        axis.set_xlabel("orthogonality error, averaged generator")
        axis.set_yticks(range(len(names)), names)
        axis.grid(alpha=0.3)
    panels[0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


# -------------------------------------------------------------------------------------------------------- commands


def slug(treatment: str) -> str:
    """A treatment's name in that of a folder."""
    return re.sub(r"\W+", "-", treatment)


def chosen(seeds: str, only: str | None, runs: Path) -> list[tuple[str, str, int, Path]]:
    """(network, treatment, seed, run folder) of every run of the study, seed after seed."""
    return [
        (model, treatment, seed, runs / model / f"{slug(treatment)}-{seed}")
        for seed in seeds_of(seeds)
        for treatment in TREATMENTS
        for model in NETWORKS
        if only in (None, model, treatment)
    ]


def train_one(model: str, treatment: str, seed: int, folder: Path, steps: int) -> None:
    from disentangle.training import train_gan

    if not finished(folder, steps):
        begun = time.process_time()
        train_gan(config_of(model, treatment, seed, steps), folder, device="cpu")
        print(f"{folder}: {time.process_time() - begun:.0f} CPU-s", flush=True)


def score_some(folders: list[Path]) -> None:
    import disentangle
    from disentangle.files import write_json

    shared = shared_parts()
    for folder in folders:
        begun = time.process_time()
        write_json(folder / SCORES, scores_of(disentangle.load(folder), shared))
        print(f"{folder}: {time.process_time() - begun:.0f} CPU-s", flush=True)


@click.group()
def main() -> None:
    """The study of independent directions."""


def options(function: Any) -> Any:
    for option in (
        click.option("--seeds", default="0-2", show_default=True, help="First-last."),
        click.option("--steps", default=5000, show_default=True),
        click.option("--only", help="One treatment or network."),
        click.option("--jobs", default=2, show_default=True, help="Runs side by side, one thread each."),
        click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/independence"), show_default=True),
    ):
        function = option(function)
    return function


@main.command()
@options
def train(seeds: str, steps: int, only: str | None, jobs: int, runs: Path) -> None:
    """Train every run that is not finished; one that was stopped goes on."""
    side_by_side(train_one, [(*run, steps) for run in chosen(seeds, only, runs)], jobs)


@main.command()
@options
def score(seeds: str, steps: int, only: str | None, jobs: int, runs: Path) -> None:
    """Score every finished run that has no scores yet."""
    folders = [folder for *_, folder in chosen(seeds, only, runs)]
    waiting = [folder for folder in folders if finished(folder, steps) and not (folder / SCORES).is_file()]
    side_by_side(score_some, [(waiting[i::jobs],) for i in range(jobs) if waiting[i::jobs]], jobs)


@main.command()
@options
def report(seeds: str, steps: int, only: str | None, jobs: int, runs: Path) -> None:
    """Write the tables, the figure and the JSON of what is scored."""
    from disentangle.files import write_json
    from disentangle.io.runs import read_stats

    scores: dict[str, dict[str, dict[str, Any]]] = {model: {} for model in NETWORKS}
    for treatment in TREATMENTS:
        for model, _, seed, folder in chosen(seeds, treatment, runs):
            if not (folder / SCORES).is_file():
                continue
            lines = read_stats(folder)
            found = json.loads((folder / SCORES).read_text(encoding="utf-8"))
            accepted = [p.get("olr_acceptance") for p in lines[-1]["projections"].values()]
            if None not in accepted:
                found["olr_acceptance"] = statistics.mean(accepted)
            scores[model].setdefault(treatment, {})[f"seed {seed}"] = found
    for model, treatments in scores.items():
        put_table(f"independence-{model}", table_of(treatments))
    save_figure(scores, ROOT / "docs" / "images" / "independence.png")
    record = {
        "command": f"python scripts/reproduce_independence.py train|score|report --seeds {seeds} --steps {steps}",
        "environment": surroundings(),
        "networks": NETWORKS,
        "treatments": TREATMENTS,
        "scoring": SCORING,
        "columns": {name: heading for name, (heading, _) in COLUMNS.items()},
        "scores": scores,
    }
    write_json(ROOT / "evaluations" / "results" / "independence.json", record)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
