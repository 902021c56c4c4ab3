"""Scores as rows of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from disentangle.errors import InputError
from disentangle.text import shown
from disentangle.viz.explanations import explain

__all__ = [
    "CONTEXT_LABELS",
    "LOWER",
    "all_settings",
    "class_rows",
    "explanations",
    "kept_factors",
    "score_table",
    "settings_table",
]

_MOST_FACTORS = 10_000

# Scores of several numbers: what stands beside the value, as (label, part, part with one number for each factor).
_FURTHER = {
    "dci": (
        ("completeness", "completeness", "per_factor"),
        ("informativeness", "informativeness_test", "accuracy_test"),
    ),
    "med": (("completeness", "completeness", "per_factor"),),
    "topk-med": (("completeness", "completeness", "per_factor"),),
    "dci-es": (("size", "size", ""),),
}


def score_table(scores: Mapping[str, Any], columns: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Header and rows: name, value, chance, ceiling and interval where any score has them, then a cell for each factor.

    A name with an arrow down is of a score of which less is better; a value that is no better than chance says so. A
    cell is empty where a factor was left out as constant, or the score has nothing for each factor.

    Args:
        scores: :class:`disentangle.evaluations.Score` by name.
        columns: names of the factors; "factor 0" and so on where they run out.
    """
    having = {name: any(getattr(score, name) is not None for score in scores.values()) for name in _CONTEXT}
    header = ["score", "value", *(label for name, label in _CONTEXT.items() if having[name]), *columns]
    rows: list[list[str]] = []
    for score in scores.values():
        family = score.name.partition("/")[0]
        context = [_text(getattr(score, name)) for name in _CONTEXT if having[name]]
        further = _FURTHER.get(family, ())
        label = f"{score.name} disentanglement" if family in ("dci", "med", "topk-med") else score.name
        own = [] if further and family != "dci-es" else _cells(score, "per_factor")
        rows.append([label + ("" if score.higher_is_better else LOWER), _value(score), *context, *own])
        for label, part, cells in further:
            value = score.parts.get(part)
            if isinstance(value, (int, float, np.number)):
                rows.append([f"{score.name} {label}", _text(float(value)), *[""] * len(context), *_cells(score, cells)])
    width = max([len(header), *map(len, rows)])
    header += [f"factor {len(columns) + k}" for k in range(width - len(header))]
    return header, [row + [""] * (width - len(row)) for row in rows]


def settings_table(scores: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: protocol, points that it learnt from and that it was measured on, and seed of each score."""
    having = [name for name in _MAIN if any(name in score.settings for score in scores.values())]
    rows = [[score.name, *(_setting(score.settings.get(name)) for name in having)] for score in scores.values()]
    return ["score", *(_MAIN[name] for name in having)], rows


def all_settings(scores: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: every setting of each score; first those that all of them share."""
    every = [score.settings for score in scores.values()]
    shared = {key: value for key, value in every[0].items() if all(_same(key, value, other) for other in every[1:])}
    rows = [["all of them", _listed(shared)]] if shared and len(every) > 1 else []
    for score in scores.values():
        own = {key: value for key, value in score.settings.items() if len(every) == 1 or key not in shared}
        rows.append([score.name, _listed(own)])
    return ["score", "settings"], [row for row in rows if row[1]]


_MAIN = {"protocol": "protocol", "n_train": "points", "n_test": "held out", "n": "pictures", "seed": "seed"}


def _setting(value: Any) -> str:
    return "" if value is None else f"{value:,}" if type(value) is int and value >= 1000 else shown(value, most=40)


def _listed(settings: Mapping[str, Any]) -> str:
    return "; ".join(f"{shown(key, most=40)} {shown(value, most=160)}" for key, value in settings.items())


def _same(key: str, value: Any, settings: Mapping[str, Any]) -> bool:
    return key in settings and bool(settings[key] == value)


LOWER = " ↓"  # beside the name of a score of which less is better


def _value(score: Any) -> str:
    """The value, marked where guessing does better."""
    text, chance = _text(score.value), score.chance
    if chance is None or math.isnan(chance) or math.isnan(score.value) or text == _text(chance):
        return text
    worse = score.value < chance if score.higher_is_better else score.value > chance
    return f"{text} ({'below' if score.higher_is_better else 'above'} chance)" if worse else text


_CONTEXT = {"chance": "chance", "ceiling": "ceiling", "interval": "95 %"}
CONTEXT_LABELS = tuple(_CONTEXT.values())


def explanations(scores: Mapping[str, Any]) -> list[str]:
    """What each score means, a paragraph each; a family is explained once."""
    return list(dict.fromkeys(filter(None, (explain(score.name) for score in scores.values()))))


def kept_factors(score: Any) -> list[int]:
    """Columns of the factors that a score's parts are of, without those left out as constant; none where not known."""
    kept = _vector(score.parts.get("factors"))
    if kept.dtype.kind not in "iu" or not len(kept) or kept.min() < 0 or kept.max() >= _MOST_FACTORS:
        return []
    return [int(column) for column in kept]


def class_rows(scores: Mapping[str, Any], class_names: Sequence[str]) -> list[list[str]]:
    """Rows of a table: each class with its accuracy (empty without pictures) and number of pictures.

    Raises:
        InputError: if the scores do not have a number for each class.
    """
    parts = scores["accuracy/per-class"].parts
    values, points = (_vector(parts.get(name)) for name in ("per_class", "points"))
    if not len(values) == len(points) == len(class_names):
        raise InputError(
            f"the accuracies are of {len(values)} classes and {len(points)} counts, and {len(class_names)} are named; "
            "expected as many of each."
        )
    return [
        [str(name), f"{value:.3f}" if count else "", f"{count:.0f}"]
        for name, value, count in zip(class_names, values, points, strict=True)
    ]


def _vector(part: Any) -> np.ndarray:
    """A part that is one row of numbers; an empty one for any other, since parts may come from anybody's file."""
    if isinstance(part, (list, tuple)) and all(isinstance(value, (int, float, np.number)) for value in part):
        part = np.asarray(part)
    row = isinstance(part, np.ndarray) and part.ndim == 1 and part.dtype.kind in "fiub"
    return part if row else np.empty(0)


def _text(value: float | tuple[float, float] | None) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"{_text(value[0])} to {_text(value[1])}"
    return f"{value:.3f}" if not math.isfinite(value) or abs(value) < 1e6 else f"{value:.3e}"


def _cells(score: Any, name: str) -> list[str]:
    kept, values = kept_factors(score), _vector(score.parts.get(name))
    if not kept or len(kept) != len(values):
        return []
    cells = [""] * (max(kept) + 1)
    for column, value in zip(kept, values, strict=True):
        cells[column] = _text(float(value))
    return cells
