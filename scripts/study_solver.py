"""The study SOLVER of docs/preregistration.md: does conditioning help because the meta-layer's derivatives are bad?

    python scripts/study_solver.py train --out OUT
    python scripts/study_solver.py analyse --out OUT

Whitening with the exact root and derivative (``eigh``) against the published approximation (``pade``, MPA-Lya), each
without treatment, with NOG and with OW. Finished runs are kept. ``analyse`` writes docs/solver.json.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

import click
import torch
from reproduce_classification import DBN, LARGER, TREATMENTS, late, run_one
from rotation_analysis import contrast, holm, interval, recorded
from study import ROOT, seeds_of, side_by_side, surroundings

SOLVERS = {"exact": "eigh", "approximate": "pade"}
TREATED = ("none", "NOG", "OW")
STEPS = 1_876


def arms() -> dict[str, dict[str, Any]]:
    return {
        f"{solver}, {name}": {**LARGER, **DBN, **TREATMENTS[name], "model.dbn.method": method}
        for solver, method in SOLVERS.items()
        for name in TREATED
    }


def result_of(out: Path, arm: str, seed: int, steps: int) -> Path:
    return out / "solver" / f"{arm.lower().replace(', ', '-')}-{steps}-{seed}" / "result.json"


def train_one(arm: str, seed: int, out: Path, steps: int) -> None:
    from disentangle.files import write_text
    from disentangle.training import TrainingFailed

    os.nice(19 - os.nice(0))
    failed = out / "failed" / f"{arm.replace(', ', '-')}-{seed}.txt"
    if failed.is_file():
        return
    try:
        run_one("solver", arm, arms()[arm], seed, steps, out)
    except TrainingFailed as error:  # an outcome of its own
        failed.parent.mkdir(parents=True, exist_ok=True)
        write_text(failed, f"{error}\n")


@click.group()
def main() -> None:
    """Exact against approximate roots."""


def options(function: Any) -> Any:
    for option in (
        click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of runs."),
        click.option("--seeds", default="200-209", show_default=True, help="First-last."),
        click.option("--steps", default=STEPS, show_default=True, help="Other numbers are for trials only."),
    ):
        function = option(function)
    return function


@main.command()
@options
@click.option("--workers", default=1, show_default=True, help="Runs side by side, one thread each.")
def train(out: Path, seeds: str, steps: int, workers: int) -> None:
    """Train and test every run that is not finished, seed by seed over all arms."""
    side_by_side(train_one, [(arm, seed, out, steps) for seed in seeds_of(seeds) for arm in arms()], workers)


@main.command()
@options
def analyse(out: Path, seeds: str, steps: int) -> None:
    """Interactions of the seeds that every arm has."""
    from disentangle.files import write_json

    found: dict[int, dict[str, Any]] = {}
    for seed in seeds_of(seeds):
        paths = {arm: result_of(out, arm, seed, steps) for arm in arms()}
        if all(path.is_file() for path in paths.values()):
            found[seed] = {arm: json.loads(path.read_text(encoding="utf-8")) for arm, path in paths.items()}
    if len(found) < 2:
        raise click.UsageError(f"{len(found)} seeds are whole; expected two or more.")
    errors = {arm: [runs[arm]["error"] for runs in found.values()] for arm in arms()}
    effects = {
        (solver, name): [a - b for a, b in zip(errors[f"{solver}, {name}"], errors[f"{solver}, none"], strict=True)]
        for solver in SOLVERS
        for name in TREATED[1:]
    }
    interactions = holm({
        name: contrast(effects["approximate", name], effects["exact", name], paired=True) for name in TREATED[1:]
    })  # fmt: skip
    record = {
        "environment": surroundings(),
        "seeds": list(found),
        "failed": sorted(path.stem for path in (out / "failed").glob("*.txt")),
        "errors": errors,
        "conditioning": {arm: [late(runs[arm]) for runs in found.values()] for arm in arms()},
        "interactions": {name: recorded(one) for name, one in interactions.items()},
        "approximate - exact": {
            name: recorded(contrast(errors[f"approximate, {name}"], errors[f"exact, {name}"], paired=True))
            for name in TREATED
        },
    }
    write_json(ROOT / "docs" / "solver.json", record)
    for arm, values in errors.items():
        condition = math.exp(statistics.mean(math.log(value) for value in record["conditioning"][arm]))
        print(f"{arm:20s} error {interval(values, 2)}  condition number {condition:.0f}")
    for name, one in interactions.items():
        print(f"interaction with {name}: {one.estimate:.2f} [{one.low:.2f}, {one.high:.2f}], Holm p {one.adjusted:.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
