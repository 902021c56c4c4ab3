"""Unfairness of predictions from the codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.disentanglement.intervention import InterventionalMetric, measured_on, sample_factors
from disentangle.evaluations.disentanglement.predictors import make_predictor
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "fairness"]


@checks_arguments
def fairness(
    table: CodeTable,
    *,
    protocol: str = "dlib-2018",
    predictor: str | None = None,
    train: int | None = None,
    seed: int = 0,
    stream: np.random.RandomState | None = None,
) -> Score:
    """How much a prediction of one factor moves when another factor is set to each of its values.

    For a target and a sensitive factor: the mean over the sensitive factor's values of the total variation distance
    between the predictions under that value and all predictions; the mean over all ordered pairs. Locatello et al., "On
    the Fairness of Disentangled Representations", NeurIPS 2019, section 4. 0 is best.

    Args:
        table: the representation.
        protocol: ``"dlib-2018"``: gradient boosted trees learnt from 10,000 points, 100 pictures a value.
        predictor: ``"gradient-boosting"`` or ``"logistic"``; by default the protocol's.
        train: points to learn from; by default the protocol's.
        seed: of all draws.
        stream: to draw from instead of ``numpy.random.RandomState(seed)``.

    Returns:
        Score named ``"fairness"``, lower is better. Parts, for the K varying factors listed in ``"factors"``:
        ``"unfairness"`` (K, K) mean distances, targets in rows, 0 on the diagonal; ``"largest"`` (K, K) the largest
        distance over values; ``"per_factor"`` (K,) each target's mean; ``"per_sensitive_factor"`` (K,).
    """
    return measured_on(
        METRIC, table, protocol=protocol, given={"predictor": predictor, "train": train}, seed=seed, stream=stream
    )


def _measure(
    table: CodeTable,
    *,
    predictor: str,
    train: int,
    pictures: int,
    protocol: str,
    seed: int,
    stream: np.random.RandomState,
) -> tuple[Score, Callable[[np.random.Generator], float] | None]:
    factors, codes = _points(table, train, stream)
    k = len(table.varying)
    mean, largest = np.zeros((k, k)), np.zeros((k, k))
    for row, target in enumerate(table.varying):
        model = _constant(factors[:, target]) or make_predictor(predictor, seed).fit(codes, factors[:, target])
        for column, sensitive in enumerate(table.varying):
            if row != column:
                asked = sample_factors(table, pictures, stream)
                mean[row, column], largest[row, column] = _distances(table, model, asked, int(target), int(sensitive))
    off = ~np.eye(k, dtype=bool)
    return Score(
        name="fairness",
        value=float(mean[off].mean()),
        parts={
            "unfairness": mean,
            "largest": largest,
            "per_factor": mean.sum(axis=1) / (k - 1),
            "per_sensitive_factor": mean.sum(axis=0) / (k - 1),
            "factors": table.varying,
        },
        settings={
            "protocol": protocol,
            "predictor": predictor,
            "train_points": train,
            "pictures_per_value": pictures,
            "n_codes": codes.shape[1],
            "factor_sizes": table.sizes,
            "packages": package_versions("numpy", "scikit-learn"),
        },
        higher_is_better=False,
    ), None


def _points(table: CodeTable, n: int, stream: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Factors and codes of ``n`` random pictures, drawn 16 at a time as the source does."""
    factors, codes = [], []
    for start in range(0, n, 16):
        factors.append(sample_factors(table, min(16, n - start), stream))
        if not table.cache:  # the encoder may draw too
            codes.append(table.codes(factors[-1]))
    everything = np.concatenate(factors)
    return everything, np.concatenate(codes) if codes else table.codes(everything)


class _Always:
    def __init__(self, label: int) -> None:
        self.label = label

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return np.full(len(codes), self.label)


def _constant(labels: np.ndarray) -> _Always | None:
    """What to predict where the sample has one value only."""
    return _Always(int(labels[0])) if np.all(labels == labels[0]) else None


def _distances(table: CodeTable, model: Any, asked: np.ndarray, target: int, sensitive: int) -> tuple[float, float]:
    """Mean and largest total variation distance over the sensitive factor's values."""
    values = table.sizes[sensitive]
    factors = np.repeat(asked[None], values, axis=0)
    factors[:, :, sensitive] = np.arange(values)[:, None]
    codes = np.concatenate([table.codes(part) for part in factors])
    predicted = model.predict(codes).reshape(values, -1)
    classes = table.sizes[target]
    counts = np.stack([np.bincount(row, minlength=classes) for row in predicted.astype(np.int64)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    distances = np.abs(shares - shares.mean(axis=0)).sum(axis=1) / 2
    return float(distances.mean()), float(distances.max())


METRIC = InterventionalMetric(
    "fairness",
    "fairness",
    _measure,
    {"dlib-2018": {"predictor": "gradient-boosting", "train": 10_000, "pictures": 100}},
)
