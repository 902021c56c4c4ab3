"""Scores as rows of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from disentangle.viz.explanations import explain

__all__ = ["CONTEXT_LABELS", "class_rows", "explanations", "score_table"]

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

    A cell is empty where a factor was left out as constant, or the score has nothing for each factor.

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
        own = [] if further and family != "dci-es" else _cells(score.parts, "per_factor")
        rows.append([label, _text(score.value), *context, *own])
        for label, part, cells in further:
            if part in score.parts:
                value = _text(float(score.parts[part]))
                rows.append([f"{score.name} {label}", value, *[""] * len(context), *_cells(score.parts, cells)])
    width = max([len(header), *map(len, rows)])
    header += [f"factor {len(columns) + k}" for k in range(width - len(header))]
    return header, [row + [""] * (width - len(row)) for row in rows]


_CONTEXT = {"chance": "chance", "ceiling": "ceiling", "interval": "95 %"}
CONTEXT_LABELS = tuple(_CONTEXT.values())


def explanations(scores: Mapping[str, Any]) -> list[str]:
    """What each score means, a paragraph each; a family is explained once."""
    return list(dict.fromkeys(filter(None, (explain(score.name) for score in scores.values()))))


def class_rows(scores: Mapping[str, Any], class_names: Sequence[str]) -> list[list[str]]:
    """Rows of a table: each class with its accuracy (empty without pictures) and number of pictures."""
    parts = scores["accuracy/per-class"].parts
    return [
        [name, f"{float(value):.3f}" if points else "", str(int(points))]
        for name, value, points in zip(class_names, parts["per_class"], parts["points"], strict=True)
    ]


def _text(value: float | tuple[float, float] | None) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"{value[0]:.3f} to {value[1]:.3f}"
    return f"{value:.3f}"


def _cells(parts: Mapping[str, Any], name: str) -> list[str]:
    if name not in parts or "factors" not in parts:
        return []
    kept = [int(column) for column in parts["factors"]]
    cells = [""] * (max(kept) + 1)
    for column, value in zip(kept, parts[name], strict=True):
        cells[column] = f"{float(value):.3f}"
    return cells
