"""Fréchet distance of two sets of features."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer
from disentangle.errors import InputError
from disentangle.evaluations.generation.statistics import FeatureStatistics, read_features
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["frechet_distance", "frechet_infinity"]

_SMALL = 512  # dimensions up to which the most accurate route costs next to nothing
_NEGATIVE = 1e-3  # of the largest eigenvalue: more than rounding, in single precision too
_COMMON = 200  # size of features, as an exponent of 2, up to which nothing is scaled
_ROOT_ERROR = 1e-11  # of the summed roots, as part of both traces: above it the slower, more accurate route is taken

Side = ArrayLike | FeatureStatistics


@checks_arguments
def frechet_distance(first: Side, second: Side, *, ddof: int = 1, extractor: str = "features") -> Score:
    """Squared 2-Wasserstein distance of the Gaussians with the two sets' means and covariances.

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^1/2: Dowson and Landau, "The Fréchet Distance between Multivariate Normal
    Distributions", 1982; Heusel et al., NeurIPS 2017. With Inception's features it is the FID.

    The last trace is the sum of the singular values of F1 F2^T, where S = F^T F; no matrix square root is taken, so it
    is real, exact for singular covariances (fewer images than features too) and never fails. Where both covariances are
    large and safely positive definite, the roots of the eigenvalues of L^T S2 L, with S1 = L L^T, are the same numbers
    sooner.

    The estimate is biased upwards by about 1/n: compare at equal numbers of images only, or take
    :func:`frechet_infinity`.

    Args:
        first, second: features (n, d), at least 2 rows, or their :class:`FeatureStatistics`.
        ddof: taken from n in the covariances: 1 in most packages, 0 in StyleGAN's.
        extractor: name of what the features come from; the score is ``"fd/<extractor>"``.

    Returns:
        Score, lower is better, in the squared unit of the features. Parts: ``"mean_term"``, ``"trace_1"``,
        ``"trace_2"``, ``"trace_root"``. A value that is negative by rounding alone is 0.

    Raises:
        InputError: if there are too few features, NaN or complex numbers among them, squares of theirs are beyond
            float64, or their numbers of columns differ.
    """
    start = time.perf_counter()
    ddof = check_integer("ddof", ddof, least=0)
    one, two = _Side(first, "first", ddof), _Side(second, "second", ddof)
    if one.d != two.d:
        raise InputError(f"the features have {one.d} and {two.d} columns; both sides need the same extractor.")
    exponent = max(one.exponent, two.exponent)
    exponent = exponent if abs(exponent) > _COMMON else 0  # fourth powers of greater or smaller ones are out of range
    one.scale(-exponent)
    two.scale(-exponent)
    root, route = _trace_of_root(one, two)
    mean_term = float(np.sum((one.mean - two.mean) ** 2))
    total = one.trace + two.trace
    value = mean_term + total - 2 * root
    if -1e-8 * total < value < 0:
        value = 0.0
    numbers = {"mean_term": mean_term, "trace_1": one.trace, "trace_2": two.trace, "trace_root": root, "value": value}
    parts = {name: float(np.ldexp(number, 2 * exponent)) for name, number in numbers.items()}
    settings = {
        "extractor": extractor,
        "n_1": one.n,
        "n_2": two.n,
        "features": one.d,
        "ddof": ddof,
        "route": route,
        "packages": package_versions("numpy", "scipy"),
    }
    few = [n for n in (one.n, two.n) if 0 < n <= one.d]
    if few:
        settings["warning"] = (
            f"{min(few)} images for {one.d} features: a covariance is singular and the distance strongly biased upwards"
        )
    return Score(
        name=f"fd/{extractor}",
        value=parts.pop("value"),
        parts=parts,
        settings=settings,
        higher_is_better=False,
        seconds=time.perf_counter() - start,
    )


@checks_arguments
def frechet_infinity(
    features: ArrayLike, reference: Side, *, points: int = 15, least: int | None = None, ddof: int = 1, seed: int = 0,
    extractor: str = "features",
) -> Score:  # fmt: skip
    """The Fréchet distance as the number of generated images grows without end.

    Distances of random subsets of n' images lie on a line over 1/n'; its value at 0 is the estimate: Chong and Forsyth,
    "Effectively Unbiased FID and Inception Score and where to find them", CVPR 2020.

    Args:
        features: (n, d) of generated images.
        reference: the other side, as in :func:`frechet_distance`.
        points: subsets, of sizes spaced evenly in 1/n'; at least 3.
        least: smallest subset; by default a tenth of n, but more than d.
        ddof: see :func:`frechet_distance`.
        seed: of the subsets.
        extractor: see :func:`frechet_distance`.

    Returns:
        Score ``"fd-infinity/<extractor>"``. Parts: ``"sizes"``, ``"distances"``, ``"slope"``, ``"fd"`` of all images.

    Raises:
        InputError: if there are too few images for the smallest subset.
    """
    start = time.perf_counter()
    points, seed = check_integer("points", points, least=3), check_integer("seed", seed, least=0)
    array = read_features(features, "the generated features", least=2)
    n, d = array.shape
    smallest = max(n // 10, d + 1) if least is None else check_integer("least", least, least=2)
    if smallest >= n:
        raise InputError(
            f"the smallest subset would have {smallest} images, but there are {n}; give more images or a smaller least."
        )
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.rint(1 / np.linspace(1 / smallest, 1 / n, points)).astype(int))
    other = reference if isinstance(reference, FeatureStatistics) else FeatureStatistics.of(reference)
    distances = np.array([
        frechet_distance(array[rng.permutation(n)[:size]], other, ddof=ddof).value for size in sizes
    ])  # fmt: skip
    slope, value = np.polyfit(1 / sizes, distances, 1)
    return Score(
        name=f"fd-infinity/{extractor}",
        value=float(value),
        parts={"sizes": sizes, "distances": distances, "slope": float(slope), "fd": float(distances[-1])},
        settings={
            "extractor": extractor, "n_1": n, "n_2": other.n, "features": d, "ddof": ddof, "points": len(sizes),
            "seed": seed, "packages": package_versions("numpy", "scipy"),
        },
        higher_is_better=False,
        seconds=time.perf_counter() - start,
    )  # fmt: skip


class _Side:
    """One set: its mean, trace, and F (r, d) with F^T F the covariance."""

    def __init__(self, given: Side, name: str, ddof: int) -> None:
        self.features: np.ndarray | None = None
        if isinstance(given, FeatureStatistics):
            self.n, self.mean = given.n, given.mean
            self._covariance: np.ndarray | None = given.covariance(ddof=ddof)
            self.trace = float(np.trace(self._covariance))
        else:
            array = read_features(given, f"the {name} features", least=max(2, ddof + 1))
            self.n, self.mean = len(array), array.mean(axis=0)
            self.features = (array - self.mean) / np.sqrt(self.n - ddof)
            self._covariance = None
            self.trace = float(np.sum(self.features**2))
        self.d = len(self.mean)

    @property
    def exponent(self) -> int:
        """Of the power of two just above the largest number."""
        return int(np.frexp(max(float(np.abs(self.mean).max()), np.sqrt(self.trace)))[1])

    def scale(self, exponent: int) -> None:
        """Take the features times a power of two, which changes no digit."""
        if not exponent:
            return
        self.mean, self.trace = np.ldexp(self.mean, exponent), float(np.ldexp(self.trace, 2 * exponent))
        if self.features is not None:
            self.features = np.ldexp(self.features, exponent)
        if self._covariance is not None:
            self._covariance = np.ldexp(self._covariance, 2 * exponent)

    @property
    def is_short(self) -> bool:
        """Fewer images than features, and the features at hand."""
        return self.features is not None and self.n <= self.d

    @property
    def covariance(self) -> np.ndarray:
        if self._covariance is None:
            assert self.features is not None
            self._covariance = self.features.T @ self.features
        return self._covariance

    def factor(self) -> np.ndarray:
        """F, of as few rows as there can be."""
        if self.features is not None:
            return self.features if self.n <= self.d else np.asarray(np.linalg.qr(self.features, mode="r"))
        values, vectors = np.linalg.eigh(self.covariance)
        if values[0] < -_NEGATIVE * values[-1]:
            raise InputError(
                f"a covariance has the eigenvalue {values[0]:.3g} beside {values[-1]:.3g}; that of features has none "
                "below 0."
            )
        return np.asarray((vectors * np.sqrt(np.maximum(values, 0))).T)


def _trace_of_root(one: _Side, two: _Side) -> tuple[float, str]:
    """tr (S1 S2)^1/2, and how it was found."""
    if not (one.is_short or two.is_short or one.d <= _SMALL):
        lower = _cholesky(one.covariance)
        if lower is not None:
            from scipy.linalg import eigvalsh
            from scipy.linalg.lapack import dsygst

            product, _ = dsygst(two.covariance, lower, itype=2, lower=1)  # L^T S2 L, its lower triangle
            values = eigvalsh(product, lower=True, check_finite=False, overwrite_a=True)
            # An eigenvalue is off by eps times the largest, so its root by that over twice the root: harmless unless
            # there are eigenvalues near zero, where a product of singular covariances has them.
            tolerated = _ROOT_ERROR * (one.trace + two.trace)
            off = 0.5 * np.finfo(np.float64).eps * values[-1]
            if values[0] > 0 and off * float(np.sum(values**-0.5)) <= tolerated:
                return float(np.sum(np.sqrt(values))), "Cholesky and eigenvalues"
    singular = np.linalg.svd(one.factor() @ two.factor().T, compute_uv=False)
    return float(singular.sum()), "singular values of the factors' product"


def _cholesky(matrix: np.ndarray) -> np.ndarray | None:
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
