"""What each treatment does before whitening and before covariance pooling: curves, a table, and the numbers as JSON.

    python scripts/reproduce_classification.py dbn --seeds 0-4 --jobs 2
    python scripts/reproduce_classification.py gcp --seeds 0-4 --jobs 2

Trains the small residual network on the 60,000 pictures of Fashion-MNIST, once for each row of the table and seed, one
thread a run, and tests it on the 10,000 of the test set. Finished runs are kept, so a stopped study goes on. Writes
evaluations/results/classification-APPLICATION.json, docs/images/conditioning-APPLICATION.png and the application's
table in docs/results.md.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import time
from pathlib import Path
from typing import Any

import click
import torch
from study import ROOT, put_table, seeds_of, side_by_side, spread, surroundings

NOG, OLR = {"treatment.nog": True}, {"treatment.olr": True}
RELEASED, OW = {"treatment.olr": True, "treatment.olr_form": "released"}, {"model.weight": "ow"}

# name -> fields of the configuration; the first eleven are the paper's treatments and their combinations.
TREATMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "SN": {"model.weight": "sn"},
    "OL": {"treatment.ol": 0.1 / 16},
    "OW": OW,
    "NOG": NOG,
    "OLR (released)": RELEASED,
    "OLR (matrix)": OLR,
    "NOG + OLR (released)": {**NOG, **RELEASED},
    "NOG + OLR (matrix)": {**NOG, **OLR},
    "OW + NOG": {**OW, **NOG},
    "OW + OLR (released)": {**OW, **RELEASED},
    "OW + NOG + OLR (released)": {**OW, **NOG, **RELEASED},
    "NOG, norm kept": {**NOG, "treatment.scale": "grad_norm"},
    "PolarGrad": {**NOG, "treatment.scale": "nuclear"},
    "NOG, update mode": {**NOG, "treatment.mode": "update"},
    "Landing": {"treatment.mode": "landing"},
    "POGO": {"treatment.mode": "pogo"},
    "SPEL": {"treatment.mode": "spel"},
    "Scion": {"treatment.mode": "scion"},
}
DBN, GCP = {"model.norm": "dbn"}, {"model.pool": "cov"}
# A network of seven times the weights (300,000), four epochs, few rows: whether errors part once they have settled.
LARGER, FEW = {"model.channels": [16, 32, 64, 128]}, ("none", "OW", "NOG")
# The body of a ResNet-18 (11 million weights) at a quarter of the resolution, which a CPU can train in ten minutes.
RESNET18 = {"model.arch": "resnet18", "model.stem": "imagenet"}
# application -> (fields of all its rows, fields of its meta-layer, name of the row without one, treatments, steps)
APPLICATIONS: dict[str, tuple[dict[str, Any], dict[str, Any], str, tuple[str, ...], int]] = {
    "dbn": ({}, DBN, "BN, no whitening", tuple(TREATMENTS), 400),
    "gcp": ({}, GCP, "average pooling", tuple(TREATMENTS), 200),
    "dbn-long": (LARGER, DBN, "BN, no whitening", FEW, 1876),
    "gcp-long": (LARGER, GCP, "average pooling", FEW, 1876),
    "dbn-resnet18": (RESNET18, DBN, "BN, no whitening", FEW, 1876),
}


def rows_of(application: str) -> dict[str, dict[str, Any]]:
    common, meta_layer, baseline, names, _ = APPLICATIONS[application]
    rows = {name: {**common, **meta_layer, **TREATMENTS[name]} for name in names}
    return {baseline: common, **rows}


def run_one(application: str, name: str, fields: dict[str, Any], seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """One training and its test; read back where it is finished."""
    from disentangle.data import open_data
    from disentangle.io import load
    from disentangle.io.runs import read_stats
    from disentangle.training import preset_config, train_classifier

    torch.set_num_threads(1)
    path = folder / application / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}-{steps}-{seed}"
    done = path / "result.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    config = preset_config(
        "classifier",
        preset="classifier-small-28",  # a larger body's own preset is for CIFAR: another schedule, and whitening
        data={"name": "fashion-mnist", "resolution": 28},
        steps=steps,
        seed=seed,
        validation=0,
        log_every=5,
        checkpoint_every=steps,
        **fields,
    )
    begun = time.process_time()
    train_classifier(config, path, device="cpu")  # type: ignore[arg-type]
    seconds = time.process_time() - begun
    model = load(path)
    test: Any = open_data("fashion-mnist", split="test", resolution=28)
    wrong = 0
    with torch.inference_mode():
        for indices in torch.arange(len(test)).split(1000):
            wrong += int((model(test.images(indices)).argmax(1) != test.labels[indices]).sum())
    lines = [line for line in read_stats(path) if line["step"]]
    result = {
        "seed": seed,
        "error": 100 * wrong / len(test),
        "cpu_ms_per_step": 1000 * seconds / steps,
        "steps": [line["step"] for line in lines],
        "projections": next(iter(lines[-1]["projections"].values()), {}),
    }
    spectral = [next(iter(line["spectral"].values())) for line in lines if line["spectral"]]
    for key in ("condition_number", "ridged_condition_number", "effective_condition_number", "rank"):
        result[key] = [row[key] for row in spectral]
    done.write_text(json.dumps(result), encoding="utf-8")
    print(f"{application}: {name}, seed {seed}: error {result['error']:.2f} %", flush=True)
    return result


def late(result: dict[str, Any]) -> float | None:
    """Geometric mean of the effective condition number over the last fifth of the steps; None without a meta-layer."""
    values = result["effective_condition_number"]
    values = values[-max(1, len(values) // 5) :]
    return math.exp(statistics.mean(map(math.log, values))) if values else None


def rounded(value: Any) -> Any:
    """Numbers to five digits: what a curve needs."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def table_of(results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: mean and standard deviation over seeds."""
    lines = [
        "| treatment | effective condition number | test error, % | orthogonality error of the weight "
        "| condition number of the weight | OLR accepted, % | CPU ms a step |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        conditions = [value for value in map(late, runs) if value is not None]
        accepted = [run["projections"].get("olr_acceptance") for run in runs]
        orthogonality = [run["projections"].get("orthogonality_error") for run in runs]
        angles = [run["projections"].get("condition_number") for run in runs]
        cells = [
            spread(conditions, 0) if conditions else "",
            spread([run["error"] for run in runs], 2),
            f"{statistics.mean(orthogonality):.2g}" if None not in orthogonality else "",
            spread(angles, 2) if None not in angles else "",
            f"{100 * statistics.mean(accepted):.0f}" if None not in accepted and "OLR" in name else "",
            f"{statistics.median(run['cpu_ms_per_step'] for run in runs):.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def save_figure(application: str, results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Effective condition number over steps: geometric mean over seeds, one line a treatment."""
    from matplotlib.figure import Figure

    shown = [name for name, runs in results.items() if runs[0]["effective_condition_number"]]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axis = figure.subplots()
    for position, name in enumerate(shown):
        curves = torch.tensor([run["effective_condition_number"] for run in results[name]]).log().mean(0).exp()
        smooth = torch.nn.functional.avg_pool1d(curves.log()[None, None], 5, 1, 2, count_include_pad=False).exp()
        style = ("-", "--", ":")[position // 7]
        axis.plot(results[name][0]["steps"], smooth.flatten(), style, color=f"C{position % 7}", label=name)
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("effective condition number of the covariance")
    axis.set_title({"dbn": "before whitening", "gcp": "before covariance pooling"}[application[:3]])
    axis.legend(fontsize=8, bbox_to_anchor=(1.01, 1), loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


@click.command()
@click.argument("application", type=click.Choice(list(APPLICATIONS)))
@click.option("--seeds", default="0-4", show_default=True, help="First-last.")
@click.option("--steps", type=int, help="Default: 400 for dbn, 200 for gcp, 1,876 for the long ones.")
@click.option("--jobs", default=2, show_default=True, help="Runs side by side, one thread each.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/classification"), show_default=True)
@click.option("--only", help="One row of the table; nothing is written then.")
@click.option("--again", is_flag=True, help="Write the table anew from the numbers in evaluations/results.")
def main(application: str, seeds: str, steps: int | None, jobs: int, runs: Path, only: str | None, again: bool) -> None:
    from disentangle.files import write_text

    kept = ROOT / "evaluations" / "results" / f"classification-{application}.json"
    if again:
        record = json.loads(kept.read_text(encoding="utf-8"))
        put_table(application, f"`{record['command']}`\n\n{table_of(record['treatments'])}")
        return
    numbers = seeds_of(seeds)
    steps = steps or APPLICATIONS[application][-1]
    rows = {name: fields for name, fields in rows_of(application).items() if only in (None, name)}
    if not rows:
        raise click.UsageError(f"There is no row {only!r}; choose from {', '.join(rows_of(application))}.")
    jobs_to_do = [(name, seed) for seed in numbers for name in rows]
    calls = [(application, name, rows[name], seed, steps, runs) for name, seed in jobs_to_do]
    found = side_by_side(run_one, calls, jobs)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
    for (name, _), result in zip(jobs_to_do, found, strict=True):
        results[name].append(result)
    table = table_of(results)
    print(table)
    if only is not None:
        return
    command = f"python scripts/reproduce_classification.py {application} --seeds {seeds} --steps {steps}"
    record = {"command": command, "environment": surroundings(), "steps": steps, "treatments": rounded(results)}
    write_text(kept, json.dumps(record) + "\n")
    save_figure(application, results, ROOT / "docs" / "images" / f"conditioning-{application}.png")
    put_table(application, f"`{command}`\n\n{table}")


if __name__ == "__main__":
    main()
