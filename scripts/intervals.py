"""Differences between the rows of a study's tables, with 95 % intervals and Holm's p: what docs/results.md states.

    python scripts/intervals.py

Reads evaluations/results. Runs of a classifier with one seed share initial weights and order of pictures, and differ
less than two of different seeds: their differences are paired. Generators of one seed do not (intraclass correlation
-0.07 to 0.28 in the EigenGAN): Welch's t test. Ratios are of geometric means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from reproduce_classification import late
from rotation_analysis import Contrast, contrast, holm
from study import ROOT

CLASSIFIERS = {
    "dbn": "none", "gcp": "none", "dbn-long": "none", "gcp-long": "none", "dbn-resnet18": "none",
}  # fmt: skip
LOGARITHMIC = {"conditioning", "jacobian"}


def read(name: str) -> Any:
    return json.loads((ROOT / "evaluations" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def shown(one: Contrast, measure: str, *, p: str) -> str:
    values = [one.estimate, one.low, one.high]
    if measure in LOGARITHMIC:
        values = [math.exp(v) for v in values]
    return f"{values[0]:9.3f} [{values[1]:.3f}, {values[2]:.3f}]  p {one.p:.4f}  {p} {one.adjusted:.3f}"


def print_family(
    title: str, rows: Mapping[str, tuple[list[float], list[float]]], measure: str, *, paired: bool
) -> None:
    found = holm({name: contrast(*both, paired=paired) for name, both in rows.items()})
    kind = "ratio" if measure in LOGARITHMIC else "difference"
    print(f"\n{title}: {measure}, {kind}, {'paired' if paired else 'Welch'}, Holm over {len(found)}")
    for name, one in found.items():
        print(f"  {name:32s} {shown(one, measure, p='Holm')}")


def print_dunnett(title: str, rows: Mapping[str, list[float]], control: list[float], measure: str) -> None:
    """Dunnett's test against the control, whose variance is pooled over all rows."""
    from scipy.stats import dunnett

    p = dunnett(*rows.values(), control=control, rng=0).pvalue
    print(f"\n{title}: {measure}, Dunnett: " + ", ".join(f"{n} {v:.3f}" for n, v in zip(rows, p, strict=True)))


def classifiers() -> None:
    for application, base in CLASSIFIERS.items():
        runs = read(f"classification-{application}")["treatments"]
        errors = {name: [run["error"] for run in rows] for name, rows in runs.items()}
        pairs = {name: (values, errors[base]) for name, values in errors.items() if name != base}
        print_family(f"{application}, against {base}", pairs, "error", paired=True)
        logs = {n: [math.log(v) for v in map(late, rows) if v is not None] for n, rows in runs.items()}
        pairs = {name: (values, logs[base]) for name, values in logs.items() if values and name != base}
        print_family(f"{application}, against {base}", pairs, "conditioning", paired=True)


def generators() -> None:
    every: dict[str, Contrast] = {}
    for model, treatments in read("independence")["scores"].items():
        measures = next(iter(treatments["none"].values()))
        for measure in measures:
            scale = math.log if measure in LOGARITHMIC else float
            values = {name: [scale(run[measure]) for run in runs.values()] for name, runs in treatments.items()}
            varying = {name: v for name, v in values.items() if len(set(v)) > 1 or len(set(values["none"])) > 1}
            pairs = {name: (v, values["none"]) for name, v in varying.items() if name != "none"}
            if pairs:
                print_family(f"{model}, against none", pairs, measure, paired=False)
                if measure != "orthogonality_error":
                    every |= {f"{model}, {n}, {measure}": contrast(*both, paired=False) for n, both in pairs.items()}
                print_dunnett(f"{model}, against none", {n: v for n, (v, _) in pairs.items()}, values["none"], measure)
        pairs = {
            measure: ([run[measure] for run in treatments["NOG"].values()],
                      [run[measure] for run in treatments["OL"].values()])
            for measure in ("vp", "mig", "fd")
        }  # fmt: skip
        print_family(f"{model}, NOG against OL", pairs, "each", paired=False)
    smallest = min(one.adjusted for one in holm(every).values())
    print(f"\nHolm over all {len(every)} comparisons of generators: the smallest p is {smallest:.3f}")
    scores = read("projection")["scores"]
    for measure in ("pipl", "vp", "jacobian", "fd"):
        tuned, plain = ([run[measure] for run in scores[name].values()] for name in ("Householder", "trained on"))
        print_family("projection, Householder against trained on", {measure: (tuned, plain)}, "each", paired=True)


if __name__ == "__main__":
    classifiers()
    generators()
