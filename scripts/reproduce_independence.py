"""What treatments and penalties make of a generator's directions: scores, a table, curves, and the numbers as JSON.

    python scripts/reproduce_independence.py train --seeds 0-2
    python scripts/reproduce_independence.py score --seeds 0-2
    python scripts/reproduce_independence.py report --seeds 0-2

Trains a small EigenGAN and a small simple GAN on the rendered rooms at 32 pixels, once for each treatment and seed, one
thread a run. Finished runs and scores are kept, so that a stopped study goes on, and several processes may share it:
each takes what no other has begun. Writes evaluations/results/independence.json, docs/images/independence.png and the
tables in docs/results.md.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

ROOT = Path(__file__).parents[1]
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
    "OLR": {"treatment.olr": True},
    "NOG-OLR": {"treatment.nog": True, "treatment.olr": True},
    "Hessian": {"generator_penalty": {"kind": "hessian", "weight": 2e-4, "every": 4}},
    "OroJaR": {"generator_penalty": {"kind": "orojar", "weight": 2e-8, "every": 4}},
}

# column -> (heading, digits, whether more is better)
COLUMNS: dict[str, tuple[str, int, bool | None]] = {
    "orthogonality_error": ("orthogonality error", 3, False),
    "jacobian": ("Jacobian, squared cosine", 3, False),
    "jacobian_within": ("absolute cosine within a block", 3, False),
    "vp": ("VP, %", 1, True),
    "vp_within": ("VP within a block, %", 1, True),
    "mig": ("MIG, factor predictor", 3, True),
    "active": ("active latents", 1, None),
    "fd": ("FD, EfficientNet-Lite0", 1, False),
}


def config_of(model: str, treatment: str, seed: int, steps: int) -> Any:
    from disentangle.training import preset_config

    fields = {**NETWORKS[model], **TREATMENTS[treatment], "steps": steps, "batch": 16, "seed": seed}
    kind: Any = model
    return preset_config(kind, data=DATA, checkpoint_every=1000, sample_every=1000, **fields)


def unclaimed(path: Path) -> bool:
    """Whether no other process has begun with this; a claim that a crash left behind is removed by hand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


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
    jacobian = jacobian_orthogonality(generator, n=16)
    walk = next(iter(generator.spaces.values())).walk
    blocks = [p.coordinates for p in projections]
    result = {
        "orthogonality_error": sum(float(orthogonality_error(weight)) for weight in weights),
        "jacobian": jacobian.value,
        "active": activeness(generator, n=64).value,
        "mig": factor_predictor_mig(
            generator, shared["data"], predictor=shared["predictor"], n=4_000, baselines=False
        ).value,
    }
    how = {"epochs": 25, "train_fraction": 0.3, "test_every": 25}
    result["vp"] = 100 * variation_predictability(*make_pairs(generator, 800), **how).value
    if len(blocks) > 1:
        cosines = torch.as_tensor(jacobian.parts["cosine"])
        inside, within = [], []
        for coordinates in blocks:
            rows = [walk.index(position) for position in coordinates]
            part = cosines[rows][:, rows]
            inside.append(float(part.sum() / (len(rows) * (len(rows) - 1))))
            pairs = make_pairs(OneBlock(generator, coordinates), 300)
            within.append(variation_predictability(*pairs, **how).value)
        result["jacobian_within"] = statistics.mean(inside)
        result["vp_within"] = 100 * statistics.mean(within)
    images = generated_images(generator, 500)
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
    real = data_images(data, name="rooms", n=2_000)
    return {
        "data": data,
        "predictor": train_factor_predictor(data, steps=2_500),
        "extractor": extractor,
        "protocol": protocol,
        "reference": extract_features(real, extractor, protocol)["features"],
    }


# ---------------------------------------------------------------------------------------------------------- report


def spread(values: list[float], digits: int) -> str:
    if not values:
        return ""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def table_of(rows: dict[str, dict[str, list[float]]]) -> str:
    columns = [name for name in COLUMNS if any(row.get(name) for row in rows.values())]
    lines = ["| treatment | seeds | " + " | ".join(COLUMNS[name][0] for name in columns) + " |"]
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for treatment, row in rows.items():
        cells = [spread(row.get(name, []), COLUMNS[name][1]) for name in columns]
        lines.append(f"| {treatment.replace('-', ' + ')} | {len(row['jacobian'])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save_figure(curves: dict[str, dict[str, list[list[tuple[int, float]]]]], path: Path) -> None:
    """Orthogonality error over steps, one panel a network, one line a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axis, (model, treatments) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        for number, (treatment, runs) in enumerate(treatments.items()):
            for position, curve in enumerate(runs):
                steps, errors = zip(*curve, strict=True)
                label = treatment.replace("-", " + ") if position == 0 else None
                axis.plot(steps, [max(e, 1e-7) for e in errors], color=f"C{number}", linewidth=1, label=label)
        axis.set_yscale("log")
        axis.set_title({"eigengan": "EigenGAN", "gan": "simple GAN"}[model])
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("orthogonality error of the projections")
    figure.axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def put_table(name: str, text: str) -> None:
    """Between its marks in docs/results.md."""
    path = ROOT / "docs" / "results.md"
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    page = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.S)
    path.write_text(page, encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- commands


def chosen(seeds: str, only: str | None, runs: Path) -> Iterator[tuple[str, str, int, Path]]:
    first, _, last = seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        for treatment in TREATMENTS:
            for model in NETWORKS:
                if only is None or only in (model, treatment):
                    yield model, treatment, seed, runs / model / f"{treatment}-{seed}"


@click.group()
def main() -> None:
    """The study of independent directions."""


def options(function: Any) -> Any:
    for option in (
        click.option("--seeds", default="0-2", show_default=True),
        click.option("--steps", default=5000, show_default=True),
        click.option("--only", help="One treatment or network."),
        click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/independence"), show_default=True),
    ):
        function = option(function)
    return function


@main.command()
@options
def train(seeds: str, steps: int, only: str | None, runs: Path) -> None:
    """Train every run that is not begun."""
    from disentangle.training import train_gan

    for model, treatment, seed, folder in chosen(seeds, only, runs):
        if unclaimed(folder.with_name(folder.name + ".lock")):
            begun = time.process_time()
            train_gan(config_of(model, treatment, seed, steps), folder, device="cpu")
            click.echo(f"{folder}: {time.process_time() - begun:.0f} CPU-s")


@main.command()
@options
def score(seeds: str, steps: int, only: str | None, runs: Path) -> None:
    """Score every finished run that has no scores yet."""
    import disentangle

    shared: dict[str, Any] = {}
    for _, _, _, folder in chosen(seeds, only, runs):
        finished = (folder / "latest").is_file() and int((folder / "latest").read_text()) == steps
        if not finished or not unclaimed(folder / "independence.lock"):
            continue
        shared = shared or shared_parts()
        begun = time.process_time()
        found = scores_of(disentangle.load(folder), shared)
        (folder / "independence.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        click.echo(f"{folder}: {time.process_time() - begun:.0f} CPU-s")


@main.command()
@options
def report(seeds: str, steps: int, only: str | None, runs: Path) -> None:
    """Write the tables, the curves and the JSON of what is scored."""
    from disentangle.io.runs import environment, read_stats

    rows: dict[str, dict[str, dict[str, list[float]]]] = {model: {} for model in NETWORKS}
    curves: dict[str, dict[str, list[list[tuple[int, float]]]]] = {model: {} for model in NETWORKS}
    acceptance: dict[str, dict[str, list[float]]] = {model: {} for model in NETWORKS}
    for model, treatment, _, folder in chosen(seeds, only, runs):
        if not (folder / "independence.json").is_file():
            continue
        for name, value in json.loads((folder / "independence.json").read_text(encoding="utf-8")).items():
            rows[model].setdefault(treatment, {}).setdefault(name, []).append(value)
        lines = read_stats(folder)
        errors = [(line["step"], sum(p["orthogonality_error"] for p in line["projections"].values())) for line in lines]
        curves[model].setdefault(treatment, []).append(errors)
        accepted = [p.get("olr_acceptance") for p in lines[-1]["projections"].values()]
        if all(share is not None for share in accepted):
            acceptance[model].setdefault(treatment, []).append(statistics.mean(accepted))
    for model in NETWORKS:
        rows[model] = {name: rows[model][name] for name in TREATMENTS if name in rows[model]}
        curves[model] = {name: curves[model][name] for name in TREATMENTS if name in curves[model]}
        put_table(f"independence-{model}", table_of(rows[model]))
    save_figure(curves, ROOT / "docs" / "images" / "independence.png")
    record = {
        "command": f"python scripts/reproduce_independence.py train|score|report --seeds {seeds} --steps {steps}",
        "environment": {key: value for key, value in environment("cpu").items() if key != "command"},
        "networks": NETWORKS,
        "treatments": TREATMENTS,
        "columns": {name: heading for name, (heading, _, _) in COLUMNS.items()},
        "scores": rows,
        "olr_acceptance": acceptance,
    }
    path = ROOT / "evaluations" / "results" / "independence.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
