"""Separated attribute predictability (SAP)."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.gap import top_two_gap
from disentangle.evaluations.disentanglement.inputs import check_integer, check_jobs, read_points
from disentangle.evaluations.score import Score, package_versions

__all__ = ["sap"]

_MIN_VARIANCE = 1e-12  # codes that vary less explain nothing, by the 2018 protocol


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    continuous: bool = False,
    test_fraction: float = 1 / 3,
    seed: int = 0,
    n_jobs: int = 1,
) -> Score:
    """How much better the best single code predicts a factor than the second best.

    SAP = 1/K sum_k (S_j1k - S_j2k), the gap between the two largest entries of column k of a (d, K) matrix S: Kumar et
    al., "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations", ICLR 2018, section 3.1.
    For labels, S_jk is the held-out accuracy of a linear support vector machine (one against the rest, squared hinge
    loss, C = 0.01, classes balanced) that sees code j alone and unscaled. For continuous factors, S_jk is the squared
    correlation over the training part, 0 where a code's variance is at most 1e-12. These are the choices of Locatello
    et al., ICML 2019 (protocol ``"dlib-2018"``: 10,000 training and 5,000 held-out points).

    Two things to know when reading the number: on one axis a linear machine cannot single out the middle classes, so
    even a perfect code scores far below 1 when a factor has more than two or three classes; and with C = 0.01 and no
    scaling, shrinking the codes lowers the score.

    A code that is constant predicts one class everywhere and scores that class's share.

    Args:
        codes: (n, d) finite numbers, d at least 2; their scale matters.
        factors: (n, k) integer labels, or real values with ``continuous``; a constant factor takes no part.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``. Not used by ``continuous``.
        continuous: factors are real values.
        test_fraction: share of the points to hold out when ``test`` is None and factors are labels, in (0, 1).
        seed: of the split and of the machine's solver.
        n_jobs: threads, as in joblib.

    Returns:
        Score named ``"sap"`` or ``"sap/continuous"``; value in [0, 1]. Parts, for the K factors listed in
        ``"factors"``: ``"per_factor"`` (K,), ``"accuracy"`` (or ``"r2"``) (d, K), ``"best_code"`` (K,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    start = time.perf_counter()
    seed = check_integer("seed", seed, least=0, most=2**32 - 1)
    check_jobs(n_jobs)
    points = read_points(
        codes,
        factors,
        hold_out=not continuous,
        test=test,
        seed=seed,
        test_fraction=test_fraction,
        continuous=continuous,
        min_codes=2,
        metric="SAP",
    )
    if points.test_codes is None or points.test_factors is None:
        matrix = squared_correlation(points.codes, points.factors)
        estimator = "squared correlation, training part"
    else:
        matrix = _accuracy(
            points.codes, points.factors, points.test_codes, points.test_factors, seed=seed, n_jobs=n_jobs
        )
        estimator = "LinearSVC(C=0.01, class_weight='balanced') on one unscaled code"
    gaps, best = top_two_gap(matrix)
    return Score(
        name="sap/continuous" if continuous else "sap",
        value=float(gaps.mean()),
        parts={
            "per_factor": gaps,
            "r2" if continuous else "accuracy": matrix,
            "best_code": best,
            "factors": points.kept,
        },
        settings={
            "protocol": "dlib-2018",
            "estimator": estimator,
            "normaliser": "none",
            "continuous": continuous,
            "seed": seed,
            **points.settings,
            "packages": package_versions("numpy", "scikit-learn"),
        },
        seconds=time.perf_counter() - start,
    )


def squared_correlation(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """cov(z_j, y_k)^2 / (var z_j var y_k); 0 where var z_j <= 1e-12. (n, d) and (n, k) to (d, k) in [0, 1]."""
    z = codes - codes.mean(axis=0, dtype=np.float64)
    y = factors - factors.mean(axis=0)
    denominator = len(z) - 1
    var_z, var_y = np.sum(z * z, axis=0) / denominator, np.sum(y * y, axis=0) / denominator
    alive = (var_z > _MIN_VARIANCE)[:, None]
    covariance = z.T @ y / denominator
    return np.divide(covariance**2, var_z[:, None] * var_y, out=np.zeros_like(covariance), where=alive)


def _accuracy(
    codes: np.ndarray,
    factors: np.ndarray,
    test_codes: np.ndarray,
    test_factors: np.ndarray,
    *,
    seed: int,
    n_jobs: int,
) -> np.ndarray:
    """(d, k) held-out accuracy of the linear machine of code j for factor k."""
    from joblib import Parallel, delayed

    # threads: the solver leaves Python's lock, and the arrays are shared instead of copied
    rows = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_column_accuracy)(codes[:, [j]], factors, test_codes[:, [j]], test_factors, seed)
        for j in range(codes.shape[1])
    )
    return np.array(rows)


def _column_accuracy(
    code: np.ndarray, factors: np.ndarray, test_code: np.ndarray, test_factors: np.ndarray, seed: int
) -> list[float]:
    from sklearn.svm import LinearSVC

    accuracies = []
    for labels, test_labels in zip(factors.T, test_factors.T, strict=True):
        machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
        machine.fit(code, labels)
        accuracies.append(float(np.mean(machine.predict(test_code) == test_labels)))
    return accuracies
