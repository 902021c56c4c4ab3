"""What the information metrics share of one set of points: binned codes, labels, entropies and mutual information."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle.evaluations.disentanglement.information import entropy, equal_width_bins, mutual_information
from disentangle.evaluations.disentanglement.points import Points

__all__ = ["code_cells", "code_entropy", "factor_entropy", "factor_labels", "information_table", "sampling_settings"]


def code_cells(points: Points, bins: int) -> np.ndarray:
    """Bin of every code, (n, d) int64, see :func:`equal_width_bins`."""
    return points.shared(("cells", bins), lambda: equal_width_bins(points.codes, bins))


def factor_labels(points: Points, bins: int, max_factor_bins: int | None = None) -> np.ndarray:
    """Labels (n, k) int64: a discrete factor's own, unless it has more than ``max_factor_bins`` values; all others are
    cut into equal-width bins (``max_factor_bins``, or else ``bins``)."""

    def make() -> np.ndarray:
        columns = []
        for column, kind in zip(points.factors.T, points.kinds, strict=True):
            most = max_factor_bins if max_factor_bins is not None else np.inf
            keep = kind.name == "discrete" and len(np.unique(column)) <= most
            columns.append(column if keep else equal_width_bins(column[:, None], max_factor_bins or bins)[:, 0])
        return np.stack(columns, axis=1).astype(np.int64)

    return points.shared(("labels", bins, max_factor_bins), make)


def information_table(points: Points, bins: int, max_factor_bins: int | None = None) -> np.ndarray:
    """I(z_j; y_k), (d, k) nats."""
    return points.shared(
        ("information", bins, max_factor_bins),
        lambda: mutual_information(code_cells(points, bins), factor_labels(points, bins, max_factor_bins)),
    )


def factor_entropy(points: Points, bins: int, max_factor_bins: int | None = None) -> np.ndarray:
    """H(y_k), (k,) nats."""
    return points.shared(
        ("factor entropy", bins, max_factor_bins), lambda: entropy(factor_labels(points, bins, max_factor_bins))
    )


def code_entropy(points: Points, bins: int) -> np.ndarray:
    """H of every binned code, (d,) nats."""
    return points.shared(("code entropy", bins), lambda: entropy(code_cells(points, bins)))


def sampling_settings(points: Points, bins: int) -> dict[str, Any]:
    """For a score's settings: how the codes were cut, and a warning where the points are few for that."""
    classes = max(len(np.unique(column)) for column in factor_labels(points, bins).T)
    n, bias = len(points.codes), (bins - 1) * (classes - 1) / (2 * len(points.codes))
    settings: dict[str, Any] = {
        "bins": bins,
        "binning": "equal width, edges of numpy.histogram in the codes' dtype",
        "codes_dtype": str(points.codes.dtype),
    }
    if bias > 0.1:  # Miller 1955: of an estimate from counts, to first order
        settings["warning"] = (
            f"{n} points in {bins} bins x {classes} values: information is overestimated by up to {bias:.2g} nats"
        )
    return settings
