"""The study ROT of docs/preregistration.md: training for orthogonality against turning the axes afterwards.

    python scripts/study_rotation.py train --out OUT
    python scripts/study_rotation.py control --out OUT
    python scripts/study_rotation.py score --out OUT
    python scripts/study_rotation.py analyse --out OUT

Trains small generators on the rendered rooms at 32 pixels, one thread a run, seed by seed over all arms; a command
that was stopped goes on where it was, and several may work in one folder. OUT gets a run folder for each arm and seed
and, in OUT/scores, one JSON file of numbers for each. ``analyse`` writes docs/rotation.json, its table and its figure.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click
import torch
from reproduce_independence import DATA, NETWORKS, finished, slug
from study import seeds_of, side_by_side

STEPS = 5_000
_OLR = {"treatment.olr": True, "treatment.olr_form": "released"}
_OW: dict[str, Any] = {"model.projection": {"kind": "polar"}}
_HESSIAN = {"generator_penalty": {"kind": "hessian", "weight": 2e-4, "every": 4}}
_OROJAR = {"generator_penalty": {"kind": "orojar", "weight": 2e-8, "every": 4}}
_UNIFORM = {"model.prior": "uniform"}


def released_ol(basis: int, blocks: int) -> dict[str, float]:
    """The release adds 100 times the mean over blocks of the mean square of ``U U^T - I``; ours is of its sum."""
    return {"treatment.ol": 100 / (basis**2 * blocks)}


FIELDS: dict[str, dict[str, Any]] = {
    "eigengan": {**NETWORKS["eigengan"], "importance_lr": 20.0},
    "gan": NETWORKS["gan"],
}
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "eigengan": {
        "none": {},
        "unit rows": {"model.projection": {"kind": "unit"}},
        "OL": released_ol(4, 3),
        "OW": _OW,
        "NOG": {"treatment.nog": True},
        "OLR": _OLR,
        "NOG + OLR": {"treatment.nog": True, **_OLR},
        "Hessian": _HESSIAN,
        "OroJaR": _OROJAR,
        "none, uniform": _UNIFORM,
        "OW, uniform": {**_UNIFORM, **_OW},
    },
    "gan": {
        "none": {}, "OL": released_ol(12, 1), "OW": _OW, "NOG": {"treatment.nog": True}, "Hessian": _HESSIAN,
        "OroJaR": _OROJAR,
    },
}  # fmt: skip

Run = tuple[str, str, int, Path]  # network, arm, seed, run folder


def config_of(model: str, arm: str, seed: int, steps: int = STEPS) -> Any:
    from disentangle.training import preset_config

    fields = {**FIELDS[model], **ARMS[model][arm], "steps": steps, "batch": 16, "seed": seed}
    kind: Any = model
    return preset_config(
        kind, data=DATA, checkpoint_every=500, sample_every=2500, keep_checkpoints=1, **fields
    )  # fmt: skip


def chosen(out: Path, seeds: str, arms: str | None, models: str) -> list[Run]:
    """The runs in their order: all of one network first, in it seed by seed over all arms."""
    names = None if arms is None else {name.strip() for name in arms.split(";")}
    known = {arm for model in ARMS for arm in ARMS[model]}
    if names is not None and not names <= known:
        raise click.UsageError(f"There is no arm {min(names - known)!r}; expected some of {'; '.join(sorted(known))}.")
    return [
        (model, arm, seed, out / model / f"{slug(arm)}-{seed}")
        for model in models.split(",")
        for seed in seeds_of(seeds)
        for arm in ARMS[model]
        if names is None or arm in names
    ]


def say(folder: Path, seconds: float, what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {folder.parent.name}/{folder.name}: {what}, {seconds:.0f} CPU-s", flush=True)


def train_one(model: str, arm: str, seed: int, folder: Path, steps: int) -> None:
    """Train one run, or what is left of it; a run whose loss is no number any more says so in ``failed.txt``."""
    from disentangle.files import write_text
    from disentangle.io.run_lock import RunInUse
    from disentangle.training import TrainingFailed, train_gan

    os.nice(19 - os.nice(0))
    if finished(folder, steps) or (folder / "failed.txt").is_file():
        return
    begun = time.process_time()
    try:
        train_gan(config_of(model, arm, seed, steps), folder, device="cpu")
    except RunInUse:  # another worker has it
        return
    except TrainingFailed as error:
        write_text(folder / "failed.txt", f"{error}\n")
    say(folder, time.process_time() - begun, "trained" if finished(folder, steps) else "failed")


@click.group()
def main() -> None:
    """Training for orthogonality against turning the axes."""


def options(function: Any) -> Any:
    for option in (
        click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of runs and scores."),
        click.option("--seeds", default="100-111", show_default=True, help="First-last."),
        click.option("--arms", help="Names of arms, separated by semicolons; all by default."),
        click.option("--models", default="eigengan,gan", show_default=True, help="Networks, in their order."),
        click.option("--steps", default=STEPS, show_default=True, help="Other numbers are for trials only."),
        click.option("--workers", default=1, show_default=True, help="Runs side by side, one thread each."),
    ):
        function = option(function)
    return function


@main.command()
@options
def train(out: Path, seeds: str, arms: str | None, models: str, steps: int, workers: int) -> None:
    """Train every run that is not finished."""
    side_by_side(train_one, [(*run, steps) for run in chosen(out, seeds, arms, models)], workers)


def score_one(model: str, arm: str, seed: int, folder: Path, steps: int) -> None:
    """Score a finished run that has no scores yet."""
    from rotation_scores import scores_of, shared_parts

    import disentangle
    from disentangle.files import write_json

    os.nice(19 - os.nice(0))
    out = folder.parents[1]
    path = out / "scores" / model / f"{folder.name}.json"
    if path.is_file() or not finished(folder, steps):
        return
    shared = shared_parts(out)
    begun = time.process_time()
    found = scores_of(disentangle.load(folder), shared)
    found |= {"model": model, "arm": arm, "seed": seed, "olr_accepted": accepted_share(folder)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    say(folder, time.process_time() - begun, "scored")


def accepted_share(folder: Path) -> list[float] | None:
    """Of each projection, the share of steps in which the optimal rate was accepted; None without one."""
    from disentangle.io.runs import read_stats

    last = list(read_stats(folder))[-1]["projections"]
    shares = [projection.get("olr_acceptance") for projection in last.values()]
    return None if None in shares else shares


def train_and_score_one(*run: Any) -> None:
    train_one(*run)
    score_one(*run)


@main.command()
@options
def score(out: Path, seeds: str, arms: str | None, models: str, steps: int, workers: int) -> None:
    """Score every finished run that is not scored."""
    side_by_side(score_one, [(*run, steps) for run in chosen(out, seeds, arms, models)], workers)


@main.command()
@options
def both(out: Path, seeds: str, arms: str | None, models: str, steps: int, workers: int) -> None:
    """Train and score, run by run."""
    side_by_side(train_and_score_one, [(*run, steps) for run in chosen(out, seeds, arms, models)], workers)


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of runs and scores.")
def control(out: Path) -> None:
    """Measure the generators whose directions are known, and say which measures stay."""
    from rotation_control import control_of
    from rotation_scores import shared_parts

    from disentangle.files import write_json

    out.mkdir(parents=True, exist_ok=True)
    found = control_of(shared_parts(out))
    write_json(out / "control.json", found)
    for name, verdict in found["verdicts"].items():
        print(f"{name}: {'stays' if verdict else 'is dropped'}")


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of runs and scores.")
@click.option("--seeds", default="100-111", show_default=True, help="First-last.")
@click.option("--alpha", default=0.04, show_default=True, help="0.04 for the first look, 0.01 for the second.")
def analyse(out: Path, seeds: str, alpha: float) -> None:
    """Write docs/rotation.json, the table and the figure."""
    from rotation_analysis import write_report

    write_report(out, seeds_of(seeds), alpha, {model: list(names) for model, names in ARMS.items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
