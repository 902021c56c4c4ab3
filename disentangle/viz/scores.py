"""Scores as rows of text, and what each number means in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["EXPLANATIONS", "class_rows", "score_rows"]

EXPLANATIONS = {
    "mig": (
        "MIG, mutual information gap: for each factor, how much more the best code tells about it than the second "
        "best, as a share of all there is to tell; 1 if every factor has one code of its own, 0 if two share it."
    ),
    "sap": (
        "SAP, separated attribute predictability: for each factor, how much better a linear classifier on the best "
        "single code does than one on the second best; even a perfect code stays far below 1, since one number "
        "cannot separate many classes linearly."
    ),
    "dci": (
        "DCI: boosted trees predict each factor from all codes. Disentanglement is 1 if every code serves one factor, "
        "completeness is 1 if every factor is served by one code, informativeness is the share predicted right."
    ),
}


def score_rows(scores: Mapping[str, Any]) -> list[list[str]]:
    """Rows of a table: name, value, then a cell for each factor; empty for a factor that was left out as constant.

    Args:
        scores: :class:`disentangle.evaluations.Score` by name.
    """
    rows: list[list[str]] = []
    for score in scores.values():
        parts = score.parts
        if score.name.startswith("dci"):
            informativeness = parts["informativeness_test"]
            rows.append([f"{score.name} disentanglement", f"{score.value:.3f}"])
            rows.append([f"{score.name} completeness", f"{parts['completeness']:.3f}", *_cells(parts, "per_factor")])
            rows.append([f"{score.name} informativeness", f"{informativeness:.3f}", *_cells(parts, "accuracy_test")])
        else:
            rows.append([score.name, f"{score.value:.3f}", *_cells(parts, "per_factor")])
    return rows


def class_rows(scores: Mapping[str, Any], class_names: Sequence[str]) -> list[list[str]]:
    """Rows of a table: each class with its accuracy (empty without pictures) and number of pictures."""
    parts = scores["accuracy/per-class"].parts
    return [
        [name, f"{float(value):.3f}" if points else "", str(int(points))]
        for name, value, points in zip(class_names, parts["per_class"], parts["points"], strict=True)
    ]


def _cells(parts: Mapping[str, Any], name: str) -> list[str]:
    if name not in parts:
        return []
    kept = [int(column) for column in parts["factors"]]
    cells = [""] * (max(kept) + 1)
    for column, value in zip(kept, parts[name], strict=True):
        cells[column] = f"{float(value):.3f}"
    return cells
