"""Mutual information gap from the densities of an encoder's posteriors."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer
from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.gap import divided, top_two_gap
from disentangle.evaluations.disentanglement.information import class_indices, entropy
from disentangle.evaluations.disentanglement.inputs import read_points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["mig_density"]

_CELLS = 2**16  # densities held at once: they stay in a core's cache
_LARGEST = 500.0  # log-variance, either sign: ratios of densities stay within float64
_STEP = 100  # samples between two calls of progress


@checks_arguments
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
        log_variances: (n, d) logarithms of the posterior variances, from -500 to 500.
        factors: (n, k) integer labels.
        samples: drawn in all, at least 2; the error of I falls with their root.
        seed: of the draws.
        progress: called with (samples done, samples in all).

    Returns:
        Score named ``"mig/density"``; value near [0, 1]. Parts, for the K factors listed in ``"factors"``:
        ``"per_factor"`` (K,), ``"per_code"`` (d,), ``"mutual_information"`` and its standard error ``"error"`` (d, K)
        in nats, ``"entropy"`` (K,), ``"best_code"`` (K,).

    Time grows with n times d times ``samples``; memory holds a few copies of the arrays given.

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
    if np.any(np.abs(spread) > _LARGEST):
        worst = spread.flat[np.argmax(np.abs(spread))]
        raise InputError(
            f"log_variances hold {worst:g}; expected from {-_LARGEST:g} to {_LARGEST:g}, logarithms of variances."
        )
    seed = check_integer("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    origin = rng.integers(len(mean), size=samples)
    drawn = mean[origin] + np.exp(spread[origin] / 2) * rng.standard_normal((samples, mean.shape[1]))
    labels = np.stack([class_indices(column)[0] for column in points.factors.T], axis=1)
    with np.errstate(over="ignore"):  # a distance whose square overflows has density 0
        average, error = _information(mean, spread, labels, origin, drawn, progress)
    information = np.maximum(average, 0.0)
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
            "error": error,
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


def _information(
    mean: np.ndarray, log_variance: np.ndarray, labels: np.ndarray, origin: np.ndarray, drawn: np.ndarray,
    progress: Callable[[int, int], None] | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Mean over the samples of log q(z_j | y_k) - log q(z_j), and the standard error of it, both (d, k)."""
    n, d = mean.shape
    counts = np.stack([np.bincount(column)[column] for column in labels.T], axis=1)  # points of each point's value
    centre, height = mean.T.copy(), -log_variance.T / 2
    narrowness = np.exp(height) * np.sqrt(0.5)
    average = np.zeros((d, labels.shape[1]))
    squares = np.zeros_like(average)
    width = max(1, _CELLS // d)
    for done, (row, z) in enumerate(zip(origin, drawn, strict=True), start=1):
        # relative to the sample's own posterior, which is in every sum, so that none is 0
        own = height[:, row] - ((z - centre[:, row]) * narrowness[:, row]) ** 2
        sums = np.zeros((d, labels.shape[1] + 1))
        for start in range(0, n, width):
            part = slice(start, start + width)
            density = z[:, None] - centre[:, part]
            density *= narrowness[:, part]
            density *= density
            np.subtract(height[:, part] - own[:, None], density, out=density)
            np.exp(density, out=density)
            shared = np.ones((density.shape[1], sums.shape[1]))  # the last column: all points
            np.equal(labels[part], labels[row], out=shared[:, :-1])
            sums += density @ shared
        gained = np.log(sums[:, :-1] / counts[row]) - np.log(sums[:, -1:] / n)
        change = gained - average
        average += change / done
        squares += change * (gained - average)
        if progress is not None and (done % _STEP == 0 or done == len(origin)):
            progress(done, len(origin))
    return average, np.sqrt(squares / (len(origin) - 1) / len(origin))
