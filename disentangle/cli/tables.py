"""Tables of scores on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from disentangle.cli.results import console, print_table

__all__ = ["print_scores"]


def print_scores(scores: Mapping[str, Any], columns: Sequence[str], title: str) -> None:
    """Scores as one table, or as two where it would not fit: the values, then the cells of the factors."""
    from disentangle.viz.scores import CONTEXT_LABELS, score_table

    header, rows = score_table(scores, columns)
    cells = len(header) - next((i for i in range(2, len(header)) if header[i] not in CONTEXT_LABELS), len(header))
    width = sum(max(map(len, column)) + 3 for column in zip(header, *rows, strict=True)) + 1
    parts = [list(range(len(header)))]
    if cells and width > console().width:
        parts = [list(range(len(header) - cells)), [0, *range(len(header) - cells, len(header))]]
    for part in parts:
        shown = [[row[i] for i in part] for row in rows if any(row[i] for i in part[1:])]
        print_table([header[i] for i in part], shown, title=title)
        title = "by factor"
