"""Separated attribute predictability (SAP)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.extremes import exponents
from disentangle.evaluations.disentanglement.gap import top_two_gap
from disentangle.evaluations.disentanglement.information import class_indices, unit_bins
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.linear_svm import SortedCodes, fit_line_machines
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "sap"]

_MIN_VARIANCE = 1e-12  # codes that vary less explain nothing, by the 2018 protocol
_CHUNK = 2**21  # codes times points in hand at once: bounds the memory on wide codes
_DIGITS = 20
_MACHINE = "linear support vector machine (squared hinge, C = 0.01, classes balanced) on one unscaled code"


@checks_arguments
def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    continuous: bool = False,
    protocol: str = "dlib-2018",
    factor_kinds: FactorKinds = None,
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How much better the best single code predicts a factor than the second best.

    SAP = 1/K sum_k (S_j1k - S_j2k), the gap between the two largest entries of column k of a (d, K) matrix S: Kumar et
    al., "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations", ICLR 2018, section 3.1.
    For labels, S_jk is the held-out accuracy of a linear support vector machine (one against the rest, squared hinge
    loss, C = 0.01, classes balanced) that sees code j alone and unscaled, at its exact optimum (see
    :mod:`~disentangle.evaluations.disentanglement.linear_svm`); scikit-learn's ``LinearSVC`` stops near it, so that a
    point of a thousand may be named differently. For continuous factors, S_jk is the squared
    correlation over the training part, 0 where a code's variance is at most 1e-12. These are the choices of Locatello
    et al., ICML 2019 (protocol ``"dlib-2018"``: 10,000 training and 5,000 held-out points).

    Two things to know when reading the number: on one axis a linear machine cannot single out the middle classes, so
    even a perfect code scores far below 1 when a factor has more than two or three classes; and with C = 0.01 and no
    scaling, shrinking the codes lowers the score.

    A code that is constant predicts one class everywhere and scores that class's share.

    Args:
        codes: (n, d) finite numbers, d at least 2; their scale matters.
        factors: (n, k) integer labels, or as ``factor_kinds`` says; a constant factor takes no part.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``. Not used by ``continuous``.
        continuous: treat every factor as continuous; the same as ``factor_kinds="continuous"`` with no point held out.
        protocol: ``"dlib-2018"`` or ``"disent"``, the same numbers; ``"ubisoft-2023"``: squared correlation for all;
            ``"dcf-2023"``: codes and factors cut into 20 whole numbers first, over all points.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`.
        test_fraction: share of the points to hold out when ``test`` is None and factors are labels, in (0, 1).
        baselines: also measure chance and ceiling (a perfect code's SAP is far below 1).
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the split, the baselines and the resamples.

    Returns:
        Score named ``"sap"``, or ``"sap/continuous"`` where every factor's entries are squared correlations; value in
        [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"per_factor"`` (K,), ``"per_code"`` (d,) each code's
        largest entry, ``"accuracy"`` (or ``"r2"``) (d, K), ``"best_code"`` (K,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    if continuous and factor_kinds is None:
        factor_kinds = "continuous"
    return measured(
        replace(METRIC, hold_out=False) if continuous else METRIC,
        codes, factors, protocol=protocol, given={"continuous": continuous or None}, test=test,
        factor_kinds=factor_kinds, test_fraction=test_fraction, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, continuous: bool, digitised: bool, protocol: str) -> Score:
    discrete = np.array([kind.name == "discrete" and not continuous for kind in points.kinds])
    matrix = points.by_factor(lambda part: _told(part, continuous, digitised))
    gaps, best = top_two_gap(matrix)
    return Score(
        name="sap" if discrete.any() else "sap/continuous",
        value=float(gaps.mean()),
        parts={
            "per_factor": gaps,
            "per_code": matrix.max(axis=1),
            "accuracy" if discrete.any() else "r2": matrix,
            "best_code": best,
            "factors": points.kept,
        },
        settings={
            "protocol": protocol,
            "estimator": [_MACHINE if label else "squared correlation, training part" for label in discrete],
            "normaliser": "none",
            "continuous": continuous,
            "digitised": digitised,
            **points.settings,
            "packages": package_versions("numpy", "scikit-learn"),
        },
    )


def _told(points: Points, continuous: bool, digitised: bool) -> np.ndarray:
    """S, (d, k): what each code tells about each factor."""
    discrete = np.array([kind.name == "discrete" and not continuous for kind in points.kinds])
    matrix = squared_correlation(points)
    if discrete.any():
        matrix[:, discrete] = _accuracy(points, np.flatnonzero(discrete), digitised)
    return matrix


def squared_correlation(points: Points) -> np.ndarray:
    """cov(z_j, y_k)^2 / (var z_j var y_k) over the training part, 0 where var z_j <= 1e-12; (d, k) in [0, 1].

    For a periodic factor the squared multiple correlation of z_j with the sine and cosine of its angle.
    """
    codes = points.in_range(small=False).codes  # tiny ones are below the least variance
    z = codes - codes.mean(axis=0, dtype=np.float64)
    var_z = np.sum(z * z, axis=0) / (len(z) - 1)
    with np.errstate(over="ignore"):
        alive = np.ldexp(var_z, 2 * exponents(points.codes, points.test_codes, small=False)) > _MIN_VARIANCE
    result = np.zeros((z.shape[1], len(points.kinds)))
    for k, kind in enumerate(points.kinds):
        targets = kind.targets(points.in_range(small=False).factors[:, k])
        axes, sizes, _ = np.linalg.svd(targets - targets.mean(axis=0), full_matrices=False)
        explained = np.sum((axes[:, sizes > 1e-12 * sizes[0]].T @ z) ** 2, axis=0) / (len(z) - 1)
        np.divide(explained, var_z, out=result[:, k], where=alive)
    return result


def _accuracy(points: Points, columns: np.ndarray, digitised: bool) -> np.ndarray:
    """(d, K) held-out accuracy of the linear machine of code j for each of the factors ``columns``."""
    codes, (test_codes, test_factors) = points.codes, points.held_out
    if digitised:
        cells = unit_bins(np.concatenate([codes, test_codes]), _DIGITS)
        codes, test_codes = np.split(cells, [len(codes)])
    accuracy = np.empty((codes.shape[1], len(columns)))
    labelled = []
    for k in columns:
        values, test_values = points.factors[:, k], test_factors[:, k]
        if digitised:  # its sources hold factors in single precision
            both = unit_bins(np.concatenate([values, test_values])[:, None].astype(np.float32), _DIGITS)
            values, test_values = np.split(both[:, 0], [len(values)])
        labels, _ = class_indices(values.astype(np.int64))
        classes = np.unique(values)
        # a value that training did not see is named by no machine
        target = np.where(np.isin(test_values, classes), np.searchsorted(classes, test_values), -1)
        labelled.append((labels, target))
    width = max(1, _CHUNK // len(codes))
    for start in range(0, codes.shape[1], width):
        part = slice(start, start + width)
        ranked = SortedCodes.of(codes[:, part])
        for place, (labels, target) in enumerate(labelled):
            right = fit_line_machines(ranked, labels).right(test_codes[:, part], target)
            accuracy[part, place] = right.mean(axis=1)
    return accuracy


_LABELS = {"continuous": False, "digitised": False}
_PROTOCOLS = {
    "dlib-2018": _LABELS,
    "disent": _LABELS,
    "ubisoft-2023": {**_LABELS, "continuous": True},
    "dcf-2023": {**_LABELS, "digitised": True},
}
METRIC = Metric("sap", "SAP", _measure, _PROTOCOLS, hold_out=True, min_codes=2, extremes="own", by_factor=True)
