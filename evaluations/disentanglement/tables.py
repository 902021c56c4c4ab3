"""What the information metrics share of one set of points: binned codes, labels, entropies and mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from disentangle.evaluations.disentanglement.information import (
    entropy,
    equal_width_bins,
    mutual_information,
    unit_bins,
)
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import package_versions

__all__ = [
    "Counting",
    "code_cells",
    "code_entropy",
    "counting_settings",
    "factor_entropy",
    "factor_labels",
    "information_table",
]


_ENOUGH_FOR_GPU = 2**24


@dataclass(frozen=True)
class Counting:
    """How points are counted.

    Attributes:
        bins: equal-width intervals a code.
        edges: ``"histogram"``, between a code's smallest and largest value; ``"unit"``, the same of codes first scaled
            to [0, 1], which moves points that lie on an edge.
        cut_factors: whether discrete factors are cut into as many bins too, so that one with more values loses some.
    """

    bins: int
    edges: Literal["histogram", "unit"] = "histogram"
    cut_factors: bool = False


def code_cells(points: Points, counting: Counting) -> np.ndarray:
    """Bin of every code, (n, d) int64."""
    cut = equal_width_bins if counting.edges == "histogram" else unit_bins
    return points.shared(("cells", counting.bins, counting.edges), lambda: cut(points.codes, counting.bins))


def factor_labels(points: Points, counting: Counting) -> np.ndarray:
    """Labels (n, k) int64: a discrete factor's own unless ``cut_factors``; others are cut into as many bins."""
    if not counting.cut_factors and all(kind.name == "discrete" for kind in points.kinds):
        return points.factors

    def make() -> np.ndarray:
        columns = []
        for column, kind in zip(points.factors.T, points.kinds, strict=True):
            if kind.name == "discrete" and not counting.cut_factors:
                columns.append(column)
            elif counting.edges == "unit":  # its sources hold factors in single precision
                columns.append(unit_bins(column[:, None].astype(np.float32), counting.bins)[:, 0])
            else:
                columns.append(equal_width_bins(column[:, None], counting.bins)[:, 0])
        return np.stack(columns, axis=1).astype(np.int64)

    return points.shared(("labels", counting), make)


def information_table(points: Points, counting: Counting) -> np.ndarray:
    """I(z_j; y_k), (d, k) nats."""
    # below some millions of codes the copy costs more than the count
    device = points.device if points.codes.size >= _ENOUGH_FOR_GPU else None
    return points.shared(
        ("information", counting),
        lambda: points.by_factor(
            lambda part: mutual_information(code_cells(part, counting), factor_labels(part, counting), device=device)
        ),
    )


def factor_entropy(points: Points, counting: Counting) -> np.ndarray:
    """H(y_k), (k,) nats."""
    return points.shared(
        ("factor entropy", counting), lambda: points.by_factor(lambda part: entropy(factor_labels(part, counting)))
    )


def code_entropy(points: Points, counting: Counting) -> np.ndarray:
    """H of every binned code, (d, 1) nats; (d, k) where labels are missing, on the points that each factor has."""

    def make(part: Points) -> np.ndarray:
        found = entropy(code_cells(part, counting))[:, None]
        return found if points.known is None else np.repeat(found, len(part.kinds), axis=1)

    return points.shared(("code entropy", counting.bins, counting.edges), lambda: points.by_factor(make))


def counting_settings(points: Points, counting: Counting, protocol: str) -> dict[str, Any]:
    """A score's settings: how the codes were cut, what the points are, a warning where they are few for that."""
    classes = max(len(np.unique(column)) for column in factor_labels(points, counting).T)
    n, bins = len(points.codes), counting.bins
    settings: dict[str, Any] = {
        "protocol": protocol,
        "bins": bins,
        "edges": counting.edges,
        "cut_factors": counting.cut_factors,
        "codes_dtype": str(points.codes.dtype),
        **points.settings,
        "packages": package_versions("numpy"),
    }
    bias = (bins - 1) * (classes - 1) / (2 * n)  # Miller 1955: of an estimate from counts, to first order
    if bias > 0.1:
        settings["warning"] = (
            f"{n} points in {bins} bins x {classes} values: information is overestimated by up to {bias:.2g} nats"
        )
    return settings
