"""Logistic regression from all codes to each factor: what explicitness and MED ask of a representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from disentangle.evaluations.disentanglement.points import Points

__all__ = ["Readout", "area_under_roc", "linear_readouts"]


@dataclass(frozen=True)
class Readout:
    """One factor's regression.

    Attributes:
        classes: (c,) labels seen in the training part.
        train: (n, c) probabilities on the training part.
        test: (m, c) on the held-out part, or None.
        weight: (d,) mean absolute coefficient of each (scaled) code.
    """

    classes: np.ndarray
    train: np.ndarray
    test: np.ndarray | None
    weight: np.ndarray

    def accuracy(self, labels: np.ndarray, *, held_out: bool) -> float:
        """Share of ``labels`` that the most probable class names."""
        probabilities = self.test if held_out else self.train
        assert probabilities is not None
        return float(np.mean(self.classes[probabilities.argmax(axis=1)] == labels))


def linear_readouts(
    points: Points, *, scaling: Literal["standard", "unit"] = "standard", balanced: bool = False
) -> list[Readout]:
    """scikit-learn's ``LogisticRegression()`` (L2 penalty, C = 1, 100 iterations) of each factor.

    Args:
        points: with discrete factors.
        scaling: of the codes by the training part, to mean 0 and variance 1 or to [0, 1]; constant codes become 0.
        balanced: weigh classes inversely to their frequency.
    """
    return points.shared(("readouts", scaling, balanced), lambda: _fit(points, scaling, balanced))


def _fit(points: Points, scaling: str, balanced: bool) -> list[Readout]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    codes = points.codes.astype(np.float64)
    low, spread = codes.mean(axis=0), codes.std(axis=0)
    constant = np.all(points.codes == points.codes[:1], axis=0)
    if scaling == "unit":
        low, spread = codes.min(axis=0), np.ptp(codes, axis=0)
    scale = np.where(constant | (spread == 0), 0.0, 1 / np.where(spread == 0, 1.0, spread))
    train = (codes - low) * scale
    test = None if points.test_codes is None else (points.test_codes - low) * scale
    readouts = []
    for labels in points.factors.T:
        model = LogisticRegression(class_weight="balanced" if balanced else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the sources stop at 100 iterations too
            model.fit(train, labels)
        readouts.append(
            Readout(
                model.classes_,
                model.predict_proba(train),
                None if test is None else model.predict_proba(test),
                np.abs(model.coef_).mean(axis=0),
            )
        )
    return readouts


def area_under_roc(scores: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """One against the rest, by ranks: (n, c) scores and (n,) labels to (c,).

    The share of pairs of a point of the class and one of the rest in which the first has the larger score, ties counted
    half (Mann and Whitney 1947). NaN for a class that none or all of the points belong to.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    member = labels[:, None] == classes
    inside = member.sum(axis=0)
    outside = len(labels) - inside
    above = np.sum(ranks * member, axis=0) - inside * (inside + 1) / 2
    pairs = (inside * outside).astype(np.float64)
    return np.divide(above, pairs, out=np.full(len(classes), np.nan), where=pairs > 0)
