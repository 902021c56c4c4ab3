"""Identifiability: mean correlation coefficient (MCC) of codes and factors, and the share of a linear map (R2)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "R2", "RANK", "mcc", "r2"]


@checks_arguments
def mcc(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    correlation: Literal["linear", "rank"] = "linear",
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """Mean absolute correlation of codes and factors, paired one to one as well as possible.

    Hyvärinen and Morioka, "Unsupervised Feature Extraction by Time-Contrastive Learning and Nonlinear ICA", NeurIPS
    2016: 1 if every factor is a code up to scale and sign (up to a monotonic map with ranks). The pairs are the optimal
    assignment (Kuhn 1955); a factor left without a code, where there are fewer codes than factors, counts as 0, and so
    does the correlation with a constant code.

    Args:
        codes: (n, d) finite numbers; their scale does not matter.
        factors: (n, k) numbers in a meaningful order. For a periodic factor, the multiple correlation with the sine and
            cosine of its angle.
        correlation: ``"linear"`` (Pearson) or ``"rank"`` (Spearman).
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`.
        baselines: also measure chance and ceiling.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of baselines and bootstrap; the value itself has no randomness.

    Returns:
        Score named ``"mcc"`` or ``"mcc/rank"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``:
        ``"correlation"`` (d, K) absolute, ``"per_factor"`` (K,) of its code, ``"paired_code"`` (K,), -1 for none,
        ``"per_code"`` (d,) of its factor, 0 for none.

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    metric = METRIC if correlation == "linear" else RANK
    return measured(
        metric, codes, factors, protocol=None, given={"correlation": correlation}, factor_kinds=factor_kinds,
        baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


@checks_arguments
def r2(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """Share of each factor's variance that a linear map of all codes explains, on held-out points; mean over factors.

    1 if the factors are identified up to a linear map. Arguments as those of :func:`mcc`; a third of the points is held
    out by ``seed``. Negative shares are set to 0.

    Returns:
        Score named ``"r2"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"per_factor"`` (K,),
        ``"weight"`` (d, K) absolute coefficients of standardised codes for standardised factors, ``"per_code"`` (d,).
    """
    return measured(
        R2, codes, factors, protocol=None, factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap,
        seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, correlation: str, protocol: str) -> Score:
    from scipy.optimize import linear_sum_assignment

    matrix = _correlation(points, ranks=correlation == "rank")
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    per_factor, paired = np.zeros(matrix.shape[1]), np.full(matrix.shape[1], -1)
    per_code = np.zeros(matrix.shape[0])
    per_factor[columns], paired[columns], per_code[rows] = matrix[rows, columns], rows, matrix[rows, columns]
    return Score(
        name="mcc/rank" if correlation == "rank" else "mcc",
        value=float(per_factor.mean()),
        parts={
            "per_factor": per_factor,
            "per_code": per_code,
            "correlation": matrix,
            "paired_code": paired,
            "factors": points.kept,
        },
        settings={
            "protocol": protocol,
            "correlation": correlation,
            **points.settings,
            "packages": package_versions("numpy", "scipy"),
        },
    )


def _correlation(points: Points, *, ranks: bool) -> np.ndarray:
    """Absolute correlation (d, k); multiple correlation with the two targets of a periodic factor."""
    from scipy.stats import rankdata

    def prepared(columns: np.ndarray) -> np.ndarray:
        values = rankdata(columns, axis=0) if ranks else columns.astype(np.float64)
        constant = np.all(columns == columns[:1], axis=0)
        centred = values - values.mean(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            largest = np.abs(centred).max(axis=0)
            unit = centred / np.where(largest > 0, largest, 1)  # squares of tiny or huge codes stay in range
            length = np.sqrt(np.sum(unit * unit, axis=0))
        alive = ~constant & (length > 0)
        return np.where(alive, unit / np.where(alive, length, 1), 0.0)

    codes = points.shared(("unit codes", ranks), lambda: prepared(points.codes))
    matrix = np.empty((codes.shape[1], len(points.kinds)))
    for k, kind in enumerate(points.kinds):
        targets = prepared(kind.targets(points.factors[:, k]))
        axes, sizes, _ = np.linalg.svd(targets, full_matrices=False)
        axes = axes[:, sizes > 1e-9 * max(sizes.max(), 1e-300)]
        matrix[:, k] = np.sqrt(np.sum((codes.T @ axes) ** 2, axis=1))
    return np.minimum(matrix, 1.0)


def _measure_r2(points: Points, *, protocol: str) -> Score:
    codes, (test_codes, test_factors) = points.codes.astype(np.float64), points.held_out
    mean, spread = codes.mean(axis=0), codes.std(axis=0)
    alive = ~np.all(points.codes == points.codes[:1], axis=0) & (spread > 0)
    scale = np.where(alive, 1 / np.where(alive, spread, 1), 0)
    z, z_test = (codes - mean) * scale, (test_codes - mean) * scale
    per_factor, weight = np.zeros(len(points.kinds)), np.zeros((codes.shape[1], len(points.kinds)))
    for k, kind in enumerate(points.kinds):
        y, y_test = kind.targets(points.factors[:, k]), kind.targets(test_factors[:, k])
        centre, size = y.mean(axis=0), np.where(y.std(axis=0) > 0, y.std(axis=0), 1)
        coefficients = np.linalg.lstsq(z, (y - centre) / size, rcond=None)[0]
        residual = np.sum(((y_test - centre) / size - z_test @ coefficients) ** 2)
        total = np.sum(((y_test - y_test.mean(axis=0)) / size) ** 2)
        per_factor[k] = max(1 - residual / total, 0.0) if total > 0 else 0.0
        weight[:, k] = np.abs(coefficients).mean(axis=1)
    return Score(
        name="r2",
        value=float(per_factor.mean()),
        parts={"per_factor": per_factor, "per_code": weight.max(axis=1), "weight": weight, "factors": points.kept},
        settings={"protocol": protocol, **points.settings, "packages": package_versions("numpy")},
    )


METRIC = Metric("mcc", "MCC", _measure, {"identifiability": {"correlation": "linear"}})
RANK = Metric("mcc/rank", "MCC by ranks", _measure, {"identifiability": {"correlation": "rank"}})
R2 = Metric("r2", "R2", _measure_r2, {"identifiability": {}}, hold_out=True)
