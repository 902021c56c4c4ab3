"""Kernel distance of two sets of features (KID with Inception's)."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer, check_number
from disentangle.errors import InputError
from disentangle.evaluations.generation.statistics import distances, read_features
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["kernel_distance"]

_BLOCK = 1024  # rows of a kernel matrix in hand at once


@checks_arguments
def kernel_distance(
    first: ArrayLike,
    second: ArrayLike,
    *,
    subsets: int | None = 100,
    subset_size: int = 1000,
    kernel: Literal["polynomial", "rbf"] = "polynomial",
    sigma: float = 10.0,
    seed: int = 2020,
    extractor: str = "features",
) -> Score:
    """Unbiased squared maximum mean discrepancy, the mean over random subsets or that of the whole sets.

    With a kernel k, the mean of k over pairs within the first set, plus within the second (no point with itself), less
    twice the mean across: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, with k(x, y) = (x.y / d + 1)^3. It has
    no bias, so it may be negative.

    Args:
        first, second: features (n, d).
        subsets: how many, drawn from both sets without replacement; None for the whole sets at once, which has less
            variance than any mean over subsets and no seed (``"kd-full"``).
        subset_size: images of each set in a subset.
        kernel: ``"polynomial"``, or ``"rbf"``: exp(-|x - y|^2 / 2 sigma^2).
        sigma: width of the latter, in the unit of the features.
        seed: of ``numpy.random.RandomState``; for each subset ``choice`` of the first, then of the second set, as
            torch-fidelity draws them (there 2020).
        extractor: name of what the features come from; the score is ``"kd/<extractor>"``.

    Returns:
        Score, lower is better. Parts: ``"subset_values"``, ``"standard_deviation"`` of them (over their number).

    Raises:
        InputError: if a set has fewer images than a subset, or the features do not fit.
    """
    start = time.perf_counter()
    one, two = (
        read_features(first, "the first features", least=2),
        read_features(second, "the second features", least=2),
    )
    if one.shape[1] != two.shape[1]:
        raise InputError(
            f"the features have {one.shape[1]} and {two.shape[1]} columns; both sides need the same extractor."
        )
    if kernel not in ("polynomial", "rbf"):
        raise InputError(f"kernel is {kernel!r}; expected 'polynomial' or 'rbf'.")
    sigma = check_number("sigma", sigma, above=0)
    scale = 1 / one.shape[1] if kernel == "polynomial" else sigma
    settings = {
        "extractor": extractor,
        "kernel": kernel,
        "sigma": sigma if kernel == "rbf" else None,
        "n_1": len(one),
        "n_2": len(two),
        "features": one.shape[1],
        "packages": package_versions("numpy"),
    }
    if subsets is None:
        value = _discrepancy(one, two, kernel, scale)
        return Score(
            name=f"kd-full/{extractor}", value=value, settings=settings, higher_is_better=False,
            seconds=time.perf_counter() - start,
        )  # fmt: skip
    subsets, subset_size = (
        check_integer("subsets", subsets, least=1),
        check_integer("subset_size", subset_size, least=2),
    )
    fewest = min(len(one), len(two))
    if fewest < subset_size:
        raise InputError(
            f"there are {fewest} images on one side, fewer than the subset_size of {subset_size}; give more images, a "
            "smaller subset_size, or subsets=None for the whole sets."
        )
    stream = np.random.RandomState(check_integer("seed", seed, least=0, most=2**32 - 1))
    values = []
    for _ in range(subsets):
        rows = stream.choice(len(one), subset_size, replace=False)
        columns = stream.choice(len(two), subset_size, replace=False)
        values.append(_discrepancy(one[rows], two[columns], kernel, scale))
    return Score(
        name=f"kd/{extractor}",
        value=float(np.mean(values)),
        parts={"subset_values": np.array(values), "standard_deviation": float(np.std(values))},
        settings={**settings, "subsets": subsets, "subset_size": subset_size, "seed": seed},
        higher_is_better=False,
        seconds=time.perf_counter() - start,
    )


def _discrepancy(one: np.ndarray, two: np.ndarray, kernel: str, scale: float) -> float:
    n, m = len(one), len(two)
    with np.errstate(over="ignore", invalid="ignore"):
        within_one = (_sum(one, one, kernel, scale) - _diagonal(one, kernel, scale)) / (n * (n - 1))
        within_two = (_sum(two, two, kernel, scale) - _diagonal(two, kernel, scale)) / (m * (m - 1))
        value = float(within_one + within_two - 2 * _sum(one, two, kernel, scale) / (n * m))
    if not np.isfinite(value):
        largest = max(float(np.abs(one).max()), float(np.abs(two).max()))
        raise InputError(
            f"the features reach {largest:.3g}, and the kernel, which grows with their sixth power, is beyond float64; "
            "give them in another unit."
        )
    return value


def _sum(one: np.ndarray, two: np.ndarray, kernel: str, scale: float) -> float:
    """Of the kernel over all pairs."""
    total = 0.0
    for start in range(0, len(one), _BLOCK):
        rows = one[start : start + _BLOCK]
        if kernel == "polynomial":
            total += float(np.sum((rows @ two.T * scale + 1) ** 3))
        else:  # differences, since |x|^2 + |y|^2 - 2 x.y cancels where features are far from 0
            total += float(np.sum(np.exp(-0.5 * (distances(rows, two) / scale) ** 2)))
    return total


def _diagonal(one: np.ndarray, kernel: str, scale: float) -> float:
    if kernel == "rbf":
        return float(len(one))
    return float(np.sum((np.sum(one * one, axis=1) * scale + 1) ** 3))
