"""How orthogonal an EigenGAN's bases stay in training, by treatment: a curve, a table, and the numbers as JSON.

    python scripts/reproduce_orthogonality.py --steps 2000 --seeds 0

Trains the 32-pixel EigenGAN on Fashion-MNIST (or --data) once for each treatment and seed; runs are continued where
they stopped. Writes evaluations/results/orthogonality-DATA.json and docs/images/orthogonality-DATA.png.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import click
import torch

from disentangle.io.runs import environment, read_stats
from disentangle.training import preset_config, train_gan

ROOT = Path(__file__).parents[1]

TREATMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "NOG (published)": {"nog": True},
    "NOG + OLR (published)": {"nog": True, "olr": True, "olr_form": "released"},
    "OL": {"ol": 1.0},
    "NOG, update mode": {"nog": True, "mode": "update"},
    "NOG, update mode, retraction": {"nog": True, "mode": "update", "retraction": "polar"},
}


def error(line: dict[str, Any]) -> float:
    """Sum over the blocks of ``||U U^T - I||_F``."""
    return sum(row["orthogonality_error"] for row in line["projections"].values())


def worst_condition(line: dict[str, Any]) -> float:
    return max(row["condition_number"] for row in line["projections"].values())


@click.command()
@click.option("--data", default="fashion-mnist", show_default=True)
@click.option("--steps", default=2000, show_default=True)
@click.option("--seeds", default="0", show_default=True, help="Separated by commas.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/orthogonality"), show_default=True)
@click.option("--only", help="One treatment of the table.")
def main(data: str, steps: int, seeds: str, runs: Path, only: str | None) -> None:
    numbers = [int(seed) for seed in seeds.split(",")]
    stats: dict[str, list[list[dict[str, Any]]]] = {}
    for name, treatment in TREATMENTS.items():
        if only is not None and name != only:
            continue
        for seed in numbers:
            fields = {f"treatment.{key}": value for key, value in treatment.items()}
            config = preset_config(
                "eigengan",
                data={"name": data, "resolution": 32},
                steps=steps,
                seed=seed,
                checkpoint_every=steps,
                **fields,
            )
            folder = runs / data / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
            train_gan(config, folder, device="cpu")
            stats.setdefault(name, []).append(read_stats(folder))
            print(f"{name}, seed {seed}: {error(stats[name][-1][-1]):.2f}", flush=True)
    if only is None:
        write_results(data, steps, numbers, stats)


def write_results(data: str, steps: int, seeds: list[int], stats: dict[str, list[list[dict[str, Any]]]]) -> None:
    rows = {}
    for name, runs in stats.items():
        last = [lines[-1] for lines in runs]
        rows[name] = {
            "orthogonality_error": [error(line) for line in last],
            "condition_number": [worst_condition(line) for line in last],
            "olr_acceptance": [
                statistics.mean(row.get("olr_acceptance") or 0.0 for row in line["projections"].values())
                for line in last
            ],
            "discriminator_loss": [line["losses"]["discriminator"] for line in last],
        }
        spread = ", ".join(f"{value:.2f}" for value in rows[name]["orthogonality_error"])
        print(f"| {name} | {spread} | {max(rows[name]['condition_number']):.2f} |")
    record = {
        "command": f"python scripts/reproduce_orthogonality.py --data {data} --steps {steps} --seeds "
        + ",".join(map(str, seeds)),
        "what": "sum over blocks of ||U U^T - I||_F and worst condition number of the bases after the last step",
        "environment": {key: value for key, value in environment("cpu").items() if key != "command"},
        "steps": steps,
        "seeds": seeds,
        "treatments": rows,
    }
    path = ROOT / "evaluations" / "results" / f"orthogonality-{data}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for name, runs in stats.items():
        for position, lines in enumerate(runs):
            curve = [(line["step"], max(error(line), 1e-7)) for line in lines]
            axis.plot(
                *zip(*curve, strict=True), label=name if position == 0 else None, color=f"C{list(stats).index(name)}"
            )
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("orthogonality error, summed over blocks")
    axis.legend(fontsize=8)
    figure.savefig(ROOT / "docs" / "images" / f"orthogonality-{data}.png", dpi=110)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
