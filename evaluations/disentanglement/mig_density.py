"""Mutual information gap from the densities of an encoder's posteriors."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.gap import divided, top_two_gap
from disentangle.evaluations.disentanglement.information import class_indices, entropy
from disentangle.evaluations.disentanglement.inputs import check_integer, read_points
from disentangle.evaluations.score import Score, package_versions

__all__ = ["mig_density"]

_CELLS = 2**22  # samples times points held at once


def mig_density(
    means: ArrayLike,
    log_variances: ArrayLike,
    factors: ArrayLike,
    *,
    samples: int = 10_000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """MIG with the information of posterior samples instead of binned posterior means.

    With q(z_j) = 1/n sum_i N(z_j; m_ij, exp v_ij) and q(z_j | y_k) the same over the points of one value,

        I(z_j; y_k) = E[log q(z_j | y_k) - log q(z_j)]

    over z drawn from the posterior of a random point, and MIG is the mean gap of the two largest over H(y_k): Chen et
    al., "Isolating Sources of Disentanglement in Variational Autoencoders", NeurIPS 2018, appendix C, where the mean is
    over 10,000 samples and the points are a complete grid (then H(y_k) is the logarithm of the number of values). Here
    any points do, with the frequencies they have.

    A point's own posterior is part of q(z_j | y_k), so a value with few points overstates the information, by up to
    log n for values that occur once; have hundreds of points a value.

    Args:
        means: (n, d) posterior means, d at least 2.
        log_variances: (n, d) logarithms of the posterior variances.
        factors: (n, k) integer labels.
        samples: drawn in all, at least 2; the error of I falls with their root.
        seed: of the draws.
        progress: called with (samples done, samples in all).

    Returns:
        Score named ``"mig/density"``; value near [0, 1]. Parts, for the K factors listed in ``"factors"``:
        ``"per_factor"`` (K,), ``"per_code"`` (d,), ``"mutual_information"`` and its standard error ``"error"`` (d, K)
        in nats, ``"entropy"`` (K,), ``"best_code"`` (K,).

    Time grows with n times d times ``samples``; memory does not.

    Raises:
        InputError: when the arrays do not fit.
    """
    start = time.perf_counter()
    samples = check_integer("samples", samples, least=2)
    points = read_points(means, factors, min_codes=2, metric="MIG")
    spread = read_points(log_variances, factors, min_codes=2, metric="MIG").codes.astype(np.float64)
    mean = points.codes.astype(np.float64)
    if spread.shape != mean.shape:
        raise InputError(
            f"log_variances have shape {spread.shape} but means have {mean.shape}; each mean needs its variance."
        )
    rng = np.random.default_rng(seed)
    origin = rng.integers(len(mean), size=samples)
    drawn = mean[origin] + np.exp(spread[origin] / 2) * rng.standard_normal((samples, mean.shape[1]))
    gained = _log_ratios(mean, spread, points.factors, origin, drawn, progress)  # (samples, d, k)
    information = np.maximum(gained.mean(axis=0), 0.0)
    entropies = entropy(points.factors)
    gaps, best = top_two_gap(information)
    per_factor = divided(gaps, entropies)
    return Score(
        name="mig/density",
        value=float(per_factor.mean()),
        parts={
            "per_factor": per_factor,
            "per_code": np.max(information / entropies, axis=1),
            "mutual_information": information,
            "error": gained.std(axis=0, ddof=1) / np.sqrt(samples),
            "entropy": entropies,
            "best_code": best,
            "factors": points.kept,
        },
        settings={
            "protocol": "chen-2018",
            "samples": samples,
            "normaliser": "factor entropy",
            "seed": seed,
            **points.settings,
            "packages": package_versions("numpy"),
        },
        seconds=time.perf_counter() - start,
    )


def _log_ratios(
    mean: np.ndarray, log_variance: np.ndarray, factors: np.ndarray, origin: np.ndarray, drawn: np.ndarray,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:  # fmt: skip
    """log q(z_j | y_k) - log q(z_j) of each sample, (s, d, k)."""
    n, d = mean.shape
    labels, counts, first = [], [], [0]
    for column in factors.T:
        index, classes = class_indices(column)
        labels.append(index)
        counts.append(np.bincount(index, minlength=classes))
        first.append(first[-1] + classes)
    member = np.zeros((n, first[-1]))  # one column a value of any factor
    for k, index in enumerate(labels):
        member[np.arange(n), first[k] + index] = 1
    result = np.empty((len(origin), d, factors.shape[1]))
    inverse = np.exp(-log_variance / 2).T.copy()
    centre, height = mean.T.copy(), -log_variance.T / 2
    block = max(1, _CELLS // n)
    for start in range(0, len(origin), block):
        rows = slice(start, start + block)
        own = origin[rows]
        for j in range(d):
            log_density = height[j] - 0.5 * ((drawn[rows, j, None] - centre[j]) * inverse[j]) ** 2
            # relative to each sample's own posterior, which is in every sum, so no sum is 0; cut where exp overflows
            density = np.exp(np.minimum(log_density - log_density[np.arange(len(own)), own][:, None], 600.0))
            whole = density.mean(axis=1)
            by_value = density @ member
            for k, index in enumerate(labels):
                value = index[own]
                inside = by_value[np.arange(len(own)), first[k] + value] / counts[k][value]
                result[rows, j, k] = np.log(inside) - np.log(whole)
        if progress is not None:
            progress(min(start + block, len(origin)), len(origin))
    return result
