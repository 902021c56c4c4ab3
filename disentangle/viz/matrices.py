"""Heat maps of what a score was made of: one column a factor, one row a code, or a size of what learnt from them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.errors import InputError
from disentangle.viz.canvas import plain_label, save_figure
from disentangle.viz.scores import kept_factors

__all__ = ["save_score_matrices", "save_score_panels", "score_matrix"]

_MOST_CODES = 40  # rows drawn; those with the largest entries
_MOST_COUNTED = 12  # rows up to which the numbers are written into the cells
_LONGEST_LINE = 28  # characters of a title
_ACROSS = 4  # panels side by side
_WIDEST = 120.0  # inches, of several side by side
_MOST_FACTORS, _MOST_PANELS, _MOST_PIXELS = 100, 40, 1e8


# Scores whose matrix has other rows than codes: the part that names them, and what they are.
_OTHER_ROWS = {"dci-es": ("capacities", "capacity of the model"), "downstream": ("sizes", "points learnt from")}


@dataclass(frozen=True)
class _Panel:
    """One heat map: its title, its values, the factors of its columns, and what its rows are."""

    title: str
    matrix: np.ndarray
    factors: list[int]
    rows: Sequence[str]
    rows_are: str


def score_matrix(score: Any) -> tuple[str, np.ndarray] | None:
    """Name and values (codes, factors) of the matrix in a score's parts, or None; of more than 100 factors too."""
    kept = kept_factors(score)
    if not kept or len(kept) > _MOST_FACTORS:
        return None
    for name, part in score.parts.items():
        if isinstance(part, np.ndarray) and part.ndim == 2 and part.dtype.kind in "if" and part.shape[1] == len(kept):
            return name, part.astype(float)
    return None


def save_score_matrices(scores: Mapping[str, Any], columns: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Draw the matrix of every score that has one.

    Args:
        scores: :class:`disentangle.evaluations.Score` by name.
        columns: names of the factors, all of them (constant ones too).
        path: a .png file.

    Raises:
        InputError: if no score has a matrix.
    """
    panels = _panels(scores)
    from matplotlib.figure import Figure

    rows = max(min(len(panel.matrix), _MOST_CODES) for panel in panels)
    width = 1.6 + 0.45 * max(panel.matrix.shape[1] for panel in panels)
    across = max(1, min(_ACROSS, len(panels), int(_WIDEST / width)))
    down = -(-len(panels) // across)
    size = (across * width, down * (1.7 + 0.22 * rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel, columns)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    save_figure(figure, path, dpi=min(130, int(math.sqrt(_MOST_PIXELS / (size[0] * size[1])))))


def save_score_panels(
    scores: Mapping[str, Any], columns: Sequence[str], folder: str | os.PathLike[str], *, prefix: str = "matrix"
) -> list[tuple[str, Path]]:
    """Draw the matrix of every score that has one as a picture of its own, which a small screen can show.

    Args:
        scores: as of :func:`save_score_matrices`, like the columns.
        columns: names of the factors.
        folder: where the .png files go.
        prefix: of their names.

    Returns:
        What each picture shows, and its file; none where no score has a matrix.
    """
    from matplotlib.figure import Figure

    drawn = []
    for number, panel in enumerate(_panels(scores) if any(map(score_matrix, scores.values())) else []):
        rows = min(len(panel.matrix), _MOST_CODES)
        figure = Figure(figsize=(max(2.6, 1.2 + 0.42 * panel.matrix.shape[1]), 1.5 + 0.24 * rows), layout="constrained")
        _draw(figure.subplots(), panel, columns)
        path = Path(folder) / f"{prefix}-{number}.png"
        save_figure(figure, path, dpi=110)
        drawn.append((panel.title, path))
    return drawn


def _panels(scores: Mapping[str, Any]) -> list[_Panel]:
    """The heat maps of some scores; those that share one matrix share a panel."""
    panels: dict[bytes, _Panel] = {}
    for score in list(scores.values())[:_MOST_PANELS]:
        found = score_matrix(score)
        if found is not None:
            part, matrix = found
            rows, rows_are = _rows(score, len(matrix))
            title = f"{score.name}: {part.replace('_', ' ')}"
            panels.setdefault(matrix.tobytes(), _Panel(title, matrix, kept_factors(score), rows, rows_are))
    if not panels:
        raise InputError(f"None of {', '.join(scores) or 'no scores'} has a matrix of codes and factors to draw.")
    return list(panels.values())


def _rows(score: Any, count: int) -> tuple[list[str], str]:
    """What the rows of a score's matrix are called, one by one and together."""
    part, what = _OTHER_ROWS.get(score.name.partition("/")[0], ("", "code"))
    if part:
        names = score.parts.get(part)
        if isinstance(names, np.ndarray) and names.shape == (count,) and names.dtype.kind in "if":
            return [f"{name:,.5g}" for name in names.tolist()], what
        return [f"{row + 1}." for row in range(count)], what
    return [str(code) for code in range(count)], what


def _draw(axis: Any, panel: _Panel, columns: Sequence[str]) -> None:
    codes = np.arange(len(panel.matrix))
    if len(codes) > _MOST_CODES:
        codes = np.sort(np.argsort(-panel.matrix.max(axis=1), kind="stable")[:_MOST_CODES])
    shown = panel.matrix[codes]
    top = shown.max() if shown.max() > 0 else 1.0
    axis.imshow(shown, cmap="viridis", vmin=min(0.0, shown.min()), vmax=top, aspect="auto", interpolation="nearest")
    names = [plain_label(columns[k], most=30) if k < len(columns) else f"factor {k}" for k in panel.factors]
    name, _, part = panel.title.partition(": ")
    long = len(panel.title) > _LONGEST_LINE and bool(part)
    axis.set_title(f"{plain_label(name)}:\n{plain_label(part)}" if long else plain_label(panel.title), fontsize=9)
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    axis.set_yticks(range(len(codes)), [panel.rows[code] for code in codes.tolist()], fontsize=7)
    axis.set_ylabel(panel.rows_are, fontsize=8)
    if len(codes) <= _MOST_COUNTED:
        for row, column in np.ndindex(shown.shape):
            bright = shown[row, column] > 0.6 * top
            axis.text(column, row, f"{shown[row, column]:.2f}"[:12], ha="center", va="center", fontsize=6,
                      color="black" if bright else "white")  # fmt: skip
