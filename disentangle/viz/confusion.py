"""The confusion matrix of a classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from disentangle.errors import InputError
from disentangle.viz.canvas import plain_label, save_figure

__all__ = ["save_confusion_matrix"]

_MOST_NAMED = 40  # classes up to which their names fit
_MOST_COUNTED = 15  # classes up to which the numbers are written into the cells


def save_confusion_matrix(
    matrix: ArrayLike, class_names: Sequence[str], path: str | os.PathLike[str], *, made_by: str = ""
) -> None:
    """Draw a confusion matrix, each row in per cent of its true class.

    Args:
        matrix: (c, c) counts, true classes in rows, predicted ones in columns.
        class_names: c names; shown for up to 40 classes.
        path: a .png file.
        made_by: command that is noted in the file.

    Raises:
        InputError: if the matrix is not square or the names do not fit.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(class_names) != len(counts):
        raise InputError(
            f"the matrix has shape {counts.shape} and there are {len(class_names)} names; expected (c, c) and c names."
        )
    from matplotlib.figure import Figure

    c = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 3.5 + 0.3 * min(c, _MOST_NAMED))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axis, shrink=0.8, label="per cent of the true class")
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    if c <= _MOST_NAMED:
        labels = [plain_label(name, most=30) for name in class_names]
        axis.set_xticks(range(c), labels, rotation=90, fontsize=8)
        axis.set_yticks(range(c), labels, fontsize=8)
    if c <= _MOST_COUNTED:
        for row, column in np.argwhere(shares > 0.005):
            share = shares[row, column]
            axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7,
                      color="white" if share > 0.5 else "black")  # fmt: skip
    save_figure(figure, path, made_by=made_by)
