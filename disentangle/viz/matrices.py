"""Heat maps of what a score was made of: one row a code, one column a factor."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from disentangle.errors import InputError
from disentangle.viz.canvas import plain_label, save_figure
from disentangle.viz.scores import kept_factors

__all__ = ["save_score_matrices", "score_matrix"]

_MOST_CODES = 40  # rows drawn; those with the largest entries
_MOST_COUNTED = 12  # rows up to which the numbers are written into the cells
_ACROSS = 4  # panels side by side
_WIDEST = 120.0  # inches, of several side by side
_MOST_FACTORS, _MOST_PANELS, _MOST_PIXELS = 100, 40, 1e8


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
    panels: dict[bytes, tuple[str, np.ndarray, list[int]]] = {}  # scores that share one matrix share a panel
    for score in list(scores.values())[:_MOST_PANELS]:
        found = score_matrix(score)
        if found is not None:
            part, matrix = found
            title = f"{score.name}: {part.replace('_', ' ')}"
            panels.setdefault(matrix.tobytes(), (title, matrix, kept_factors(score)))
    if not panels:
        raise InputError(f"None of {', '.join(scores) or 'no scores'} has a matrix of codes and factors to draw.")
    from matplotlib.figure import Figure

    rows = max(min(len(matrix), _MOST_CODES) for _, matrix, _ in panels.values())
    width = 1.6 + 0.45 * max(matrix.shape[1] for _, matrix, _ in panels.values())
    across = max(1, min(_ACROSS, len(panels), int(_WIDEST / width)))
    down = -(-len(panels) // across)
    size = (across * width, down * (1.7 + 0.22 * rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for axis, (title, matrix, kept) in zip(axes, panels.values(), strict=False):
        codes = np.arange(len(matrix))
        if len(codes) > _MOST_CODES:
            codes = np.sort(np.argsort(-matrix.max(axis=1), kind="stable")[:_MOST_CODES])
        shown = matrix[codes]
        top = shown.max() if shown.max() > 0 else 1.0
        axis.imshow(shown, cmap="viridis", vmin=min(0.0, shown.min()), vmax=top, aspect="auto", interpolation="nearest")
        names = [plain_label(columns[k], most=30) if k < len(columns) else f"factor {k}" for k in kept]
        axis.set_title(plain_label(title), fontsize=9)
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        axis.set_yticks(range(len(codes)), codes.tolist(), fontsize=7)
        axis.set_ylabel("code", fontsize=8)
        if len(codes) <= _MOST_COUNTED:
            for row, column in np.ndindex(shown.shape):
                bright = shown[row, column] > 0.6 * top
                axis.text(column, row, f"{shown[row, column]:.2f}"[:12], ha="center", va="center", fontsize=6,
                          color="black" if bright else "white")  # fmt: skip
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    save_figure(figure, path, dpi=min(130, int(math.sqrt(_MOST_PIXELS / (size[0] * size[1])))))
