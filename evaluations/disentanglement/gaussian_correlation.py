"""Dependence among codes, without factors: total correlation, Wasserstein correlation, information between pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.information import mutual_information
from disentangle.evaluations.disentanglement.inputs import row_numbers
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import Counting, code_cells
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = [
    "METRIC",
    "PAIRWISE",
    "WASSERSTEIN",
    "pairwise_information",
    "total_correlation",
    "wasserstein_correlation",
]

_SMALLEST = 1e-12  # eigenvalue of a correlation matrix below which codes count as linearly dependent


@checks_arguments
def total_correlation(codes: ArrayLike, *, bootstrap: int = 0, seed: int = 0) -> Score:
    """Total correlation of the codes, were they Gaussian with their covariance.

    KL(N(0, S) || N(0, diag S)) = -1/2 log det of the correlation matrix, in nats (Watanabe 1960); 0 if no two codes are
    correlated. Locatello et al., ICML 2019 (protocol ``"dlib-2018"``). Constant codes are left out. Linearly dependent
    codes would make it infinite; eigenvalues of the correlation matrix are not taken below 1e-12, each of which adds
    13.8 nats, and are counted in the settings.

    Args:
        codes: (n, d) finite numbers; the scale of each does not matter.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the resamples.

    Returns:
        Score named ``"total-correlation"``, lower is better. Parts: ``"correlation"`` (d, d), 0 for constant codes;
        ``"per_code"`` (d,) each code's -1/2 log(1 - R^2) from all others.

    Raises:
        InputError: when the array does not fit.
    """
    return _of_codes(METRIC, codes, bootstrap, seed)


@checks_arguments
def wasserstein_correlation(codes: ArrayLike, *, bootstrap: int = 0, seed: int = 0) -> Score:
    """Squared 2-Wasserstein distance of N(0, S) from N(0, diag S), with S the codes' covariance.

    2 tr S - 2 tr (D^1/2 S D^1/2)^1/2, with D the diagonal of S (Dowson and Landau 1982); 0 if no two codes are
    correlated. Locatello et al., ICML 2019 (protocol ``"dlib-2018"``). In the unit of the codes, squared;
    ``parts["normalised"]`` is its share of tr S, 0 if all codes are constant. A constant code adds nothing to either;
    the settings count them.

    Args:
        codes: (n, d) finite numbers.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the resamples.

    Returns:
        Score named ``"wasserstein-correlation"``, lower is better. Parts: ``"covariance"`` (d, d), ``"normalised"``,
        ``"per_code"`` (d,) each code's part of the distance.

    Raises:
        InputError: when the array does not fit, or squares of its numbers are beyond float64.
    """
    return _of_codes(WASSERSTEIN, codes, bootstrap, seed)


@checks_arguments
def pairwise_information(codes: ArrayLike, *, bins: int | None = None, bootstrap: int = 0, seed: int = 0) -> Score:
    """Mean mutual information of two different codes, by counts in equal-width bins, in nats.

    Locatello et al., ICML 2019 (protocol ``"dlib-2018"``: 20 bins). 0 if all pairs are independent; the estimate is
    biased upwards by about (bins - 1)^2 / 2n. A constant code shares nothing with any other and its pairs count, as in
    that protocol, so each lowers the mean; the settings count them.

    Args:
        codes: (n, d) finite numbers, d at least 2; their scale does not matter.
        bins: number of bins a code, at least 2; by default the protocol's.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the resamples.

    Returns:
        Score named ``"pairwise-information"``, lower is better. Parts: ``"information"`` (d, d) with a diagonal of 0,
        ``"per_code"`` (d,) each code's mean over the others.

    Raises:
        InputError: when the array does not fit.
    """
    return _of_codes(PAIRWISE, codes, bootstrap, seed, given={"bins": bins})


def _of_codes(
    metric: Metric, codes: ArrayLike, bootstrap: int, seed: int, given: dict[str, Any] | None = None
) -> Score:
    return measured(metric, codes, row_numbers(codes), protocol=None, given=given, bootstrap=bootstrap, seed=seed)


def _covariance(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Covariance (d, d) of codes brought into [-1, 1], and the exponents (d,) of the powers of two that did it.

    Powers of two change no digit, and squares of such codes neither over- nor underflow.
    """

    def make() -> tuple[np.ndarray, np.ndarray]:
        codes = points.codes.astype(np.float64)
        exponents = np.frexp(np.abs(codes).max(axis=0))[1]
        return np.atleast_2d(np.cov(np.ldexp(codes, -exponents).T)), exponents

    return points.shared("scaled covariance", make)


def _settings(points: Points, protocol: str) -> dict[str, Any]:
    names = ("n_train", "n_codes", "constant_codes", "dead_codes", "duplicate_codes")
    kept = {name: points.settings[name] for name in names}
    return {"protocol": protocol, **kept, "packages": package_versions("numpy")}


def _measure_total(points: Points, *, protocol: str) -> Score:
    covariance, _ = _covariance(points)
    spread = np.sqrt(np.diag(covariance))
    alive = ~np.all(points.codes == points.codes[:1], axis=0) & (spread > 0)
    correlation = np.zeros_like(covariance)
    live = covariance[np.ix_(alive, alive)] / np.outer(spread[alive], spread[alive])
    correlation[np.ix_(alive, alive)] = live
    values, vectors = np.linalg.eigh(live) if alive.any() else (np.ones(0), np.ones((0, 0)))
    bounded = np.maximum(values, _SMALLEST)
    per_code = np.zeros(len(spread))
    # the diagonal of the inverse is 1 / (1 - R^2) of each code regressed on the others
    per_code[alive] = 0.5 * np.log(np.maximum(np.sum(vectors**2 / bounded, axis=1), 1.0))
    return Score(
        name="total-correlation",
        value=max(0.0, float(-0.5 * np.sum(np.log(bounded)))),
        parts={"correlation": correlation, "per_code": per_code},
        settings={**_settings(points, protocol), "dependent_directions": int(np.sum(values < _SMALLEST))},
        higher_is_better=False,
    )


def _measure_wasserstein(points: Points, *, protocol: str) -> Score:
    covariance, exponents = _covariance(points)
    largest = exponents.max()
    ratio = np.ldexp(1.0, exponents - largest)
    covariance = covariance * np.outer(ratio, ratio)
    spread = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance * np.outer(spread, spread))
    root = np.sqrt(np.maximum(values, 0))
    per_code = 2 * np.diag(covariance) - 2 * np.sum(vectors**2 * root, axis=1)
    total = float(np.trace(covariance))
    value = max(0.0, float(per_code.sum()))
    with np.errstate(over="ignore"):
        in_units, per_code, covariance = (np.ldexp(part, 2 * largest) for part in (value, per_code, covariance))
    if not np.all(np.isfinite(covariance)):
        raise InputError(
            f"codes reach {np.abs(points.codes).max():g}, whose square is beyond float64; give them in a larger unit."
        )
    return Score(
        name="wasserstein-correlation",
        value=float(in_units),
        parts={"covariance": covariance, "per_code": per_code, "normalised": value / total if total > 0 else 0.0},
        settings=_settings(points, protocol),
        higher_is_better=False,
    )


def _measure_pairs(points: Points, *, bins: int, protocol: str) -> Score:
    cells = code_cells(points, Counting(bins))
    information = mutual_information(cells, cells)
    np.fill_diagonal(information, 0)
    per_code = information.sum(axis=1) / (len(information) - 1)
    return Score(
        name="pairwise-information",
        value=float(per_code.mean()),
        parts={"information": information, "per_code": per_code},
        settings={"bins": bins, **_settings(points, protocol)},
        higher_is_better=False,
    )


METRIC = Metric(
    "total-correlation",
    "total correlation",
    _measure_total,
    {"dlib-2018": {}},
    by_factor=True,
    baselines=False,
    extremes="own",
)
WASSERSTEIN = Metric(
    "wasserstein-correlation",
    "Wasserstein correlation",
    _measure_wasserstein,
    {"dlib-2018": {}},
    by_factor=True,
    baselines=False,
    extremes="own",
)
PAIRWISE = Metric(
    "pairwise-information", "pairwise information", _measure_pairs, {"dlib-2018": {"bins": 20}},
    min_codes=2, by_factor=True, baselines=False,
)  # fmt: skip
