"""Tables of scores on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from disentangle.cli.results import console, print_table

__all__ = ["print_scores"]


def print_scores(scores: Mapping[str, Any], columns: Sequence[str], title: str) -> None:
    """Scores as one table, or as several where it would not fit: the values, then the cells of as many factors."""
    from disentangle.viz.scores import CONTEXT_LABELS, LOWER, score_table

    header, rows = score_table(scores, columns)
    if any(row[0].endswith(LOWER) for row in rows):
        title = f"{title} ({LOWER.strip()} less is better)"
    first = next((i for i in range(2, len(header)) if header[i] not in CONTEXT_LABELS), len(header))
    widths = [max(map(len, column)) + 3 for column in zip(header, *rows, strict=True)]
    room = console().width - 1
    parts = [list(range(len(header)))]
    if first < len(header) and sum(widths) > room:
        parts = [list(range(first)), [0, first]]
        for i in range(first + 1, len(header)):
            if sum(widths[j] for j in parts[-1]) + widths[i] > room:
                parts.append([0])
            parts[-1].append(i)
    for part in parts:
        shown = [[row[i] for i in part] for row in rows if any(row[i] for i in part[1:])]
        if shown:
            print_table([header[i] for i in part], shown, title=title)
        title = "by factor"
