"""Beta-VAE score (z-diff)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from disentangle.evaluations.disentanglement.code_table import CodeTable
from disentangle.evaluations.disentanglement.intervention import InterventionalMetric, batches, measured_on, rescaled
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "beta_vae"]


@checks_arguments
def beta_vae(
    table: CodeTable,
    *,
    protocol: str = "dlib-2018",
    bootstrap: int = 0,
    seed: int = 0,
    stream: np.random.RandomState | None = None,
) -> Score:
    """Whether a linear classifier tells from differences of codes which factor the pictures of a pair share.

    A point: draw a factor and a batch of pairs that agree in it; the mean absolute difference of the pairs' codes. A
    logistic regression names the factor; the score is its accuracy on further points. Higgins et al., "beta-VAE:
    Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017, section 3. It is 1 for many
    representations whose codes mix factors.

    Args:
        table: the representation.
        protocol: ``"dlib-2018"``: batches of 64, 10,000 training and 5,000 evaluation points; ``"ubisoft-2023"``:
            batches of 200, up to 10,000 iterations, rescaled so that chance is 0.
        bootstrap: resamples of the evaluation points for a 95 % interval, 0 for none.
        seed: of all draws.
        stream: to draw from instead of ``numpy.random.RandomState(seed)``.

    Returns:
        Score named ``"beta-vae"``; chance is 1/K. Parts, for the K varying factors listed in ``"factors"``:
        ``"train"`` accuracy, ``"per_factor"`` (K,) share named right, ``"weight"`` (d, K) absolute coefficients,
        ``"per_code"`` (d,) their largest, ``"confusion"`` (K, K) counts of (factor, named).
    """
    return measured_on(METRIC, table, protocol=protocol, bootstrap=bootstrap, seed=seed, stream=stream)


def _measure(
    table: CodeTable,
    *,
    batch: int,
    train: int,
    evaluate: int,
    iterations: int,
    scaled: bool,
    protocol: str,
    seed: int,
    stream: np.random.RandomState,
) -> tuple[Score, Callable[[np.random.Generator], float] | None]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    points, labels = _points(table, train, batch, stream)
    test_points, test_labels = _points(table, evaluate, batch, stream)
    model = LogisticRegression(max_iter=iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the source stops there too
        model.fit(points, labels)
    k = len(table.varying)
    named = model.predict(test_points)
    confusion = np.bincount(test_labels * k + named, minlength=k * k).reshape(k, k)
    share = float(np.mean(named == test_labels))
    weight = np.zeros((points.shape[1], k))
    weight[:, model.classes_] = np.abs(model.coef_.T)
    score = Score(
        name="beta-vae",
        value=rescaled(share, 1 / k) if scaled else share,
        parts={
            "train": float(np.mean(model.predict(points) == labels)),
            "per_factor": np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1),
            "per_code": weight.max(axis=1),
            "weight": weight,
            "confusion": confusion,
            "factors": table.varying,
        },
        settings={
            "protocol": protocol,
            "batch": batch,
            "train_points": train,
            "evaluation_points": evaluate,
            "estimator": f"LogisticRegression(max_iter={iterations})",
            "rescaled": scaled,
            "n_codes": points.shape[1],
            "factor_sizes": table.sizes,
            "packages": package_versions("numpy", "scikit-learn"),
        },
        chance=0.0 if scaled else 1 / k,
        ceiling=1.0,
    )

    def resample(rng: np.random.Generator) -> float:
        drawn = float(rng.binomial(evaluate, share) / evaluate)
        return rescaled(drawn, 1 / k) if scaled else drawn

    return score, resample


def _points(table: CodeTable, count: int, batch: int, stream: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    points, labels = [], []
    for chosen, differences in batches(table, count, batch, stream, kind="pairs"):
        points.append(differences.mean(axis=1, dtype=np.float64))
        labels.append(chosen)
    return np.concatenate(points), np.concatenate(labels)


METRIC = InterventionalMetric(
    "beta-vae",
    "the beta-VAE score",
    _measure,
    {
        "dlib-2018": {"batch": 64, "train": 10_000, "evaluate": 5_000, "iterations": 100, "scaled": False},
        "ubisoft-2023": {"batch": 200, "train": 10_000, "evaluate": 5_000, "iterations": 10_000, "scaled": True},
    },
)
