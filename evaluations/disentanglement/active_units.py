"""Active units: how many codes the data moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_finite, check_number, read_array
from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.inputs import row_numbers
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "active_units", "divergence_from_prior"]


@checks_arguments
def active_units(codes: ArrayLike, *, threshold: float | None = None, bootstrap: int = 0, seed: int = 0) -> Score:
    """Number of codes whose posterior mean varies over the data by more than ``threshold``.

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, section 5: Var_x(E[z_j | x]) > 0.01.
    A count, not a quality: neither more nor fewer is better in itself.

    Args:
        codes: (n, d) posterior means.
        threshold: variance above which a code is active, at least 0; by default 0.01.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the resamples.

    Returns:
        Score named ``"active-units"``; value from 0 to d. Parts: ``"variance"`` (d,), ``"active"`` (d,), ``"share"`` of
        active codes.

    Raises:
        InputError: when the array does not fit.
    """
    if threshold is not None:
        threshold = check_number("threshold", threshold, least=0)
    return measured(
        METRIC, codes, row_numbers(codes), protocol=None, given={"threshold": threshold}, bootstrap=bootstrap, seed=seed
    )


@checks_arguments
def divergence_from_prior(means: ArrayLike, log_variances: ArrayLike) -> np.ndarray:
    """KL(q(z_j | x) || N(0, 1)) of each code, in nats, averaged over the data: another sign of being active.

    1/2 mean(exp(v) + m^2 - 1 - v) over (n, d) posterior means m and log-variances v; (d,).

    Raises:
        InputError: if the shapes differ, or the divergences are beyond float64.
    """
    mean, log_variance = (
        read_array(array, name).astype(np.float64)
        for array, name in ((means, "means"), (log_variances, "log_variances"))
    )
    if mean.ndim != 2 or mean.shape != log_variance.shape:
        raise InputError(
            f"means have shape {mean.shape} and log_variances {log_variance.shape}; expected (n, d) of both."
        )
    with np.errstate(over="ignore"):
        result: np.ndarray = 0.5 * np.mean(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=0)
    check_finite(result, "the divergences", advice="means and log_variances are too large for float64")
    return result


def _measure(points: Points, *, threshold: float, protocol: str) -> Score:
    with np.errstate(over="ignore", invalid="ignore"):
        variance = points.codes.astype(np.float64).var(axis=0)
    if not np.all(np.isfinite(variance)):
        raise InputError(
            f"codes reach {np.abs(points.codes).max():g}, whose square is beyond float64; give them in a larger unit."
        )
    active = variance > threshold
    return Score(
        name="active-units",
        value=float(active.sum()),
        parts={"variance": variance, "active": active, "share": float(active.mean())},
        settings={
            "protocol": protocol,
            "threshold": threshold,
            "n_train": len(points.codes),
            "n_codes": len(active),
            "packages": package_versions("numpy"),
        },
    )


METRIC = Metric(
    "active-units",
    "active units",
    _measure,
    {"burda-2016": {"threshold": 0.01}},
    by_factor=True,
    baselines=False,
    extremes="own",
)
