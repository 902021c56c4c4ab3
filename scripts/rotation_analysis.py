"""The analysis of the study ROT: contrasts, their tests and intervals, verdicts, a table and a figure.

Which contrasts there are, and what is said of them, stands in docs/preregistration.md.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from study import ROOT, surroundings

TREATMENTS = ("OL", "OW", "NOG", "NOG + OLR", "Hessian", "OroJaR")
MEASURES = ("log_cosine", "vp")
LEAST = {"log_cosine": math.log(1.1), "vp": 3.0}  # what counts as an effect
MARGIN = {"log_cosine": math.log(1.2), "vp": 5.0}  # what counts as none
BETTER = {"log_cosine": -1, "vp": 1}

Scores = Mapping[str, Mapping[int, Mapping[str, Any]]]  # arm, seed -> what scores_of gave


@dataclass(frozen=True)
class Contrast:
    """A difference of two means.

    Attributes:
        estimate, low, high: with a 95 % interval.
        p: two-sided.
        equivalence: the larger p of the two one-sided tests against the margin; NaN without one.
        n: runs on either side.
        adjusted: Holm's p within the contrast's family; set by :func:`holm`.
    """

    estimate: float
    low: float
    high: float
    p: float
    equivalence: float
    n: tuple[int, int]
    adjusted: float = math.nan


def contrast(first: Sequence[float], second: Sequence[float], *, paired: bool, margin: float = math.nan) -> Contrast:
    """Mean of the first minus mean of the second, by Welch's t test or, of pairs, the paired one."""
    from scipy.stats import t

    if paired:
        differences = [a - b for a, b in zip(first, second, strict=True)]
        n = len(differences)
        estimate, error, freedom = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(n), n - 1.0
    else:
        parts = [statistics.variance(values) / len(values) for values in (first, second)]
        estimate, error = statistics.mean(first) - statistics.mean(second), math.sqrt(sum(parts))
        freedom = sum(parts) ** 2 / sum(
            part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)
        )
    half = float(t.ppf(0.975, freedom)) * error
    larger = max(t.sf((estimate + margin) / error, freedom), t.cdf((estimate - margin) / error, freedom))
    return Contrast(
        estimate, estimate - half, estimate + half, float(2 * t.sf(abs(estimate) / error, freedom)), float(larger),
        (len(first), len(second)),
    )  # fmt: skip


def holm(family: Mapping[str, Contrast]) -> dict[str, Contrast]:
    """The family with p values adjusted by Holm's step-down rule (Holm, Scandinavian J. of Statistics 1979)."""
    ordered = sorted(family, key=lambda name: family[name].p)
    largest, adjusted = 0.0, {}
    for position, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - position) * family[name].p))
        adjusted[name] = Contrast(**{**asdict(family[name]), "adjusted": largest})
    return {name: adjusted[name] for name in family}


def verdict(measure: str, primary: Contrast, trained: Contrast, alpha: float) -> str:
    """What the rule of the study says of one treatment and measure."""
    if primary.adjusted < alpha and abs(primary.estimate) >= LEAST[measure]:
        better = primary.estimate * BETTER[measure] > 0
        return "training adds something" if better else "training takes something away"
    if trained.adjusted < alpha and trained.estimate * BETTER[measure] > 0 and primary.equivalence < alpha:
        return "the axes explain it"
    if trained.equivalence < alpha and primary.equivalence < alpha:
        return "no effect at any axes"
    return "undecided"


def values(scores: Scores, arm: str, axes: str, measure: str) -> dict[int, float]:
    """Of each seed; ``random`` is the mean over the random axes that have the measure."""
    found = {}
    for seed, one in scores.get(arm, {}).items():
        chosen = [a for a in one["axes"] if a.split(" ")[0] == "random"] if axes == "random" else [axes]
        seen = [one["axes"][a][measure] for a in chosen if measure in one["axes"].get(a, {})]
        if seen:
            found[seed] = statistics.mean(seen)
    return found


def between(scores: Scores, measure: str, first: tuple[str, str], second: tuple[str, str]) -> Contrast | None:
    """(arm, axes) against (arm, axes): paired within generators of one arm, else by Welch's test; None without runs."""
    one, other = (values(scores, arm, axes, measure) for arm, axes in (first, second))
    paired = first[0] == second[0]
    if paired:
        common = sorted(one.keys() & other.keys())
        one, other = {s: one[s] for s in common}, {s: other[s] for s in common}
    if min(len(one), len(other)) < 2:
        return None
    return contrast(list(one.values()), list(other.values()), paired=paired, margin=MARGIN.get(measure, math.nan))


def family(scores: Scores, rows: Iterable[tuple[str, tuple[str, str], tuple[str, str]]]) -> dict[str, Contrast]:
    """Both measures of each named row, with Holm's p over all of them."""
    found = {}
    for name, first, second in rows:
        for measure in MEASURES:
            one = between(scores, measure, first, second)
            if one is not None:
                found[f"{name}, {measure}"] = one
    return holm(found)


TRAINED, JACOBIAN = "as trained", "Jacobian"


def families(scores: Scores) -> dict[str, dict[str, Contrast]]:
    """Every family of the study; the first three are tested, the others described."""
    arms = [arm for arm in scores if "uniform" not in arm]
    treated = [arm for arm in TREATMENTS if arm in scores]
    none = ("none", TRAINED), ("none", JACOBIAN)
    return {
        "premise": family(scores, [("none", none[1], none[0])]),
        "primary": family(scores, [(arm, (arm, JACOBIAN), none[1]) for arm in treated]),
        "as trained": family(scores, [(arm, (arm, TRAINED), none[0]) for arm in treated]),
        "as trained, against turned": family(scores, [(arm, (arm, TRAINED), none[1]) for arm in treated]),
        "OW against unit rows": family(scores, [(a, ("OW", a), ("unit rows", a)) for a in (TRAINED, JACOBIAN)]),
        "NOG against OL": family(scores, [(a, ("NOG", a), ("OL", a)) for a in (TRAINED, JACOBIAN)]),
        "OLR against none": family(scores, [(a, ("OLR", a), ("none", a)) for a in (TRAINED, JACOBIAN)]),
        "as trained, against random axes": family(scores, [(arm, (arm, TRAINED), (arm, "random")) for arm in arms]),
        "Jacobian axes, against as trained": family(scores, [(arm, (arm, JACOBIAN), (arm, TRAINED)) for arm in arms]),
        "uniform": family(
            scores,
            [
                ("none, uniform - none", ("none, uniform", TRAINED), none[0]),
                ("OW, uniform - none, uniform", ("OW, uniform", TRAINED), ("none, uniform", TRAINED)),
                ("OW, uniform - OW", ("OW, uniform", TRAINED), ("OW", TRAINED)),
            ],
        ),
    }


def paired_primary(scores: Scores) -> dict[str, Contrast]:
    """The primary contrasts over pairs of one seed, reported beside the tests."""
    found = {}
    for arm in TREATMENTS:
        for measure in MEASURES:
            one, other = (values(scores, a, JACOBIAN, measure) for a in (arm, "none"))
            common = sorted(one.keys() & other.keys())
            if len(common) > 1:
                pair = [one[s] for s in common], [other[s] for s in common]
                found[f"{arm}, {measure}"] = contrast(*pair, paired=True, margin=MARGIN[measure])
    return found


def recorded(one: Contrast) -> dict[str, Any]:
    """As JSON has it, which knows no NaN."""
    return {name: value for name, value in asdict(one).items() if value == value}


def read_scores(out: Path, model: str, seeds: Sequence[int], arms: Sequence[str]) -> dict[str, dict[int, Any]]:
    """The scores of the seeds that every arm has, arms in their order; a failed run counts as there."""
    from reproduce_independence import slug

    def path(arm: str, seed: int) -> Path:
        return out / "scores" / model / f"{slug(arm)}-{seed}.json"

    def done(arm: str, seed: int) -> bool:
        return path(arm, seed).is_file() or (out / model / f"{slug(arm)}-{seed}" / "failed.txt").is_file()

    whole = [seed for seed in seeds if all(done(arm, seed) for arm in arms)]
    return {
        arm: {s: json.loads(path(arm, s).read_text(encoding="utf-8")) for s in whole if path(arm, s).is_file()}
        for arm in arms
    }


# ---------------------------------------------------------------------------------------------------------- report


def interval(numbers: Sequence[float], digits: int) -> str:
    """Mean with its 95 % interval."""
    from scipy.stats import t

    mean = statistics.mean(numbers)
    if len(numbers) < 2:
        return f"{mean:.{digits}f}"
    half = float(t.ppf(0.975, len(numbers) - 1)) * statistics.stdev(numbers) / math.sqrt(len(numbers))
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def table_of(scores: Scores) -> str:
    """Squared cosine (geometric mean) and VP of each arm along each axes."""
    axes = (TRAINED, JACOBIAN, "SVD", "random")
    heads = [f"{what}, {name}" for what in ("squared cosine", "VP, %") for name in axes]
    lines = ["| arm | runs | " + " | ".join(heads) + " |", "|---|" + "---|" * (len(heads) + 1)]
    for arm, runs in scores.items():
        cells = []
        for measure in MEASURES:
            for name in axes:
                found = list(values(scores, arm, name, measure).values())
                if not found:
                    cells.append("")
                elif measure == "vp":
                    cells.append(interval(found, 1))
                else:
                    cells.append(_of_logarithms(found))
        lines.append(f"| {arm} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _of_logarithms(logs: Sequence[float]) -> str:
    from scipy.stats import t

    mean = statistics.mean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.3f}"
    half = float(t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(mean):.3f} [{math.exp(mean - half):.3f}, {math.exp(mean + half):.3f}]"


def save_figure(scores: Scores, path: Path) -> None:
    """Every run's two measures, as trained and turned; one row an arm."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 0.42 * len(scores) + 1.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, measure in zip(panels, MEASURES, strict=True):
        for row, arm in enumerate(scores):
            for name, colour, shift in ((TRAINED, "C0", 0.18), (JACOBIAN, "C1", 0.0), ("random", "0.6", -0.18)):
                found = list(values(scores, arm, name, measure).values())
                shown = [math.exp(v) for v in found] if measure == "log_cosine" else found
                label = name if row == 0 else None
                panel.plot(shown, [row + shift] * len(shown), ".", color=colour, label=label, alpha=0.6)
        panel.set_yticks(range(len(scores)), list(scores))
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_xscale("log")
    panels[0].set_xlabel("squared cosine of the pictures' changes")
    panels[1].set_xlabel("VP, % (chance 8.3)")
    panels[0].invert_yaxis()
    panels[1].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def write_report(out: Path, seeds: Sequence[int], alpha: float, arms: Mapping[str, Sequence[str]]) -> None:
    """docs/rotation.json, docs/rotation.md and docs/images/rotation.png, of the seeds that are whole."""
    from disentangle.files import write_json, write_text

    record: dict[str, Any] = {"alpha": alpha, "environment": surroundings()}
    control = out / "control.json"
    record["control"] = json.loads(control.read_text(encoding="utf-8")) if control.is_file() else None
    text = ["# The study ROT: results", "", "As written down in [preregistration.md](preregistration.md)."]
    for model, names in arms.items():
        scores = read_scores(out, model, seeds, names)
        count = max(map(len, scores.values()))
        if count < 2:
            continue
        tested = families(scores)
        verdicts = {
            name: verdict(name.rsplit(", ", 1)[1], one, tested["as trained"][name], alpha)
            for name, one in tested["primary"].items()
        }
        record[model] = {
            "seeds": count,
            "contrasts": {title: {n: recorded(c) for n, c in group.items()} for title, group in tested.items()},
            "primary, paired": {name: recorded(one) for name, one in paired_primary(scores).items()},
            "verdicts": verdicts,
            "scores": scores,
        }
        text += ["", f"## {model}, {count} seeds", "", table_of(scores), ""]
        text += [
            "| treatment, measure | as trained - none | at Jacobian axes - none | Holm p | equivalence p | verdict |"
        ]
        text += ["|---|---|---|---|---|---|"]
        for name, one in tested["primary"].items():
            cells = [f"{c.estimate:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in (tested["as trained"][name], one)]
            text.append(
                f"| {name} | {cells[0]} | {cells[1]} | {one.adjusted:.4f} | {one.equivalence:.4f} | {verdicts[name]} |"
            )
        save_figure(scores, ROOT / "docs" / "images" / f"rotation-{model}.png")
        text += ["", f"![Squared cosines and VP of all runs](images/rotation-{model}.png)"]
    write_json(ROOT / "docs" / "rotation.json", record)
    write_text(ROOT / "docs" / "rotation.md", "\n".join(text) + "\n")
