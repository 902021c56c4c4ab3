"""Mean and covariance of features, in one pass, mergeable, on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from disentangle.array_files import ArrayFile
from disentangle.checks import check_integer, read_array
from disentangle.errors import InputError
from disentangle.files import write_atomically
from disentangle.text import shown

if TYPE_CHECKING:
    from disentangle.linalg.moments import Moments

__all__ = ["FeatureStatistics", "distances", "read_features"]

LARGEST = 1e150  # of features, whose squares are summed


def read_features(features: ArrayLike, name: str = "features", *, least: int = 1, squared: bool = True) -> np.ndarray:
    """(n, d) finite real numbers as float64; a numpy array, a torch tensor or nested lists.

    Args:
        features: see :func:`~disentangle.checks.read_array`.
        name: plural, of the sentences.
        least: fewest rows.
        squared: whether squares will be taken, so that numbers beyond 1e150, or all below 1e-150, are refused: theirs
            are beyond float64.

    Raises:
        InputError: on another shape, type or size, NaN or infinite values, or fewer than ``least`` rows.
    """
    expected = "(n, d), one row an image"
    array = read_array(
        features, name, ndim=2, expected=expected, by_rows=True, advice="find out which images"
    ).astype(np.float64, copy=False)  # fmt: skip
    if array.shape[1] == 0:
        raise InputError(f"{name} have shape {array.shape}; expected {expected}.")
    if len(array) < least:
        count = "1 row" if len(array) == 1 else f"{len(array)} rows"
        raise InputError(f"{name} have {count}, one an image; expected {least} or more.")
    if squared and len(array):
        _check_size(max(float(array.max()), -float(array.min())), name)
    return array


def _check_size(largest: float, name: str) -> None:
    if not (largest <= LARGEST and (largest == 0 or largest >= 1 / LARGEST)):
        raise InputError(
            f"{name} reach {largest:.3g}; expected a size between {1 / LARGEST:g} and {LARGEST:g}, whose squares "
            "float64 holds: measure in another unit."
        )


def distances(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Euclidean, (n, m), of rows (n, d) and (m, d), without the cancellation of |x|^2 + |y|^2 - 2 x.y: equal rows are
    at 0."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(one, two))


class FeatureStatistics:
    """Number, mean and covariance of the features seen: :class:`~disentangle.linalg.moments.Moments` for numpy.

    Sums are taken around the mean of the batch and merged (Chan, Golub and LeVeque 1983), so nothing cancels and parts
    computed by several processes give what one would.
    """

    def __init__(self) -> None:
        self._moments: Moments | None = None
        self._given: tuple[int, np.ndarray, np.ndarray] | None = None  # n, mean and covariance computed elsewhere

    @classmethod
    def of(cls, features: ArrayLike) -> FeatureStatistics:
        """Statistics of (n, d) features."""
        return cls().update(features)

    @classmethod
    def given(cls, mean: ArrayLike, covariance: ArrayLike, *, n: int = 0) -> FeatureStatistics:
        """Statistics computed elsewhere.

        Raises:
            InputError: if the shapes do not fit, the covariance is not symmetric or has negative variances, a number is
                not real, not finite or of a size whose square is beyond float64.
        """
        advice = "compute the statistics again"
        mu = read_array(mean, "the means", advice=advice).astype(np.float64)
        sigma = read_array(covariance, "the covariances", advice=advice).astype(np.float64)
        if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not len(mu):
            raise InputError(
                f"mean has shape {mu.shape} and covariance {sigma.shape}; expected (d,) and (d, d) of the same d."
            )
        if not np.allclose(sigma, sigma.T, rtol=1e-5, atol=1e-8 * max(float(np.abs(sigma).max()), 1e-300)):
            raise InputError("the covariance is not symmetric; is it another matrix?")
        if np.any(np.diag(sigma) < 0):
            raise InputError("the covariance has negative numbers on its diagonal; is it another matrix?")
        _check_size(max(float(np.abs(mu).max()), float(np.sqrt(np.diag(sigma).max()))), "the statistics")
        result = cls()
        result._given = (check_integer("n", n, least=0), mu, sigma / 2 + sigma.T / 2)
        return result

    @property
    def n(self) -> int:
        """Features seen; 0 where it is not known (statistics read from a file without it)."""
        if self._given is not None:
            return self._given[0]
        return 0 if self._moments is None else self._moments.count

    @property
    def d(self) -> int:
        """Number of features, 0 before the first."""
        if self._given is not None:
            return len(self._given[1])
        return 0 if self._moments is None else self._moments.width

    @property
    def mean(self) -> np.ndarray:
        """(d,)"""
        return self._given[1] if self._given is not None else self._seen().mean().numpy()

    def covariance(self, *, ddof: int = 1) -> np.ndarray:
        """(d, d), over n - ``ddof``; as given where it was given.

        Raises:
            InputError: if there are too few features.
        """
        if self._given is not None:
            return self._given[2]
        if self._seen().count <= ddof:
            raise InputError(f"a covariance needs more than {ddof} features; got {self.n}.")
        return self._seen().covariance(correction=ddof).numpy()

    def update(self, features: ArrayLike) -> FeatureStatistics:
        """Add a batch (b, d); returns itself."""
        import torch

        from disentangle.linalg.moments import Moments

        batch = np.require(read_features(features), requirements=["C", "W"])  # torch takes no other
        return self._merge(Moments(batch.shape[1]).add(torch.from_numpy(batch)))

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Add what another one has seen; returns itself.

        Raises:
            InputError: if the numbers of features differ, or one was given without its scatter.
        """
        if self._given is not None or other._given is not None:
            raise InputError("statistics that were given as mean and covariance cannot be merged.")
        return self if other._moments is None else self._merge(other._moments)

    def _merge(self, part: Moments) -> FeatureStatistics:
        if self._given is not None:
            raise InputError("statistics that were given as mean and covariance cannot be merged.")
        from disentangle.linalg.moments import Moments

        if self._moments is None:
            self._moments = Moments(part.width)
        if self.d != part.width:
            raise InputError(
                f"features have {self.d} and {part.width} columns; statistics of the same extractor merge."
            )
        self._moments.merge(part)
        return self

    def save(self, path: str | os.PathLike[str], *, ddof: int = 1) -> None:
        """Write ``mu`` and ``sigma`` (and ``n``) as .npz, as pytorch-fid and torch-fidelity read them."""
        covariance = self.covariance(ddof=ddof)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, mu=self.mean, sigma=covariance, n=np.array(self.n), ddof=np.array(ddof))

        write_atomically(Path(path), write)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FeatureStatistics:
        """Read an .npz with ``mu`` and ``sigma``; no object in it is unpickled.

        Raises:
            InputError: if the file is missing or is no such file.
        """
        fault = "is not a readable .npz of statistics"
        with ArrayFile(path, what="an .npz of precomputed statistics", fault=fault) as file:
            names = file.names
            if not {"mu", "sigma"} <= set(names):
                held = ", ".join(shown(name, most=40) for name in sorted(names)[:20] if name)
                raise InputError(
                    f"{path} has {held or 'no names'}; expected mu and sigma, as precomputed statistics of features "
                    "have."
                )
            count = file.read("n") if "n" in names else np.zeros(())
            if count.size != 1 or not 0 <= float(count.reshape(())) < 2**62:
                raise InputError(f"{path}: n is {shown(count.tolist())}; expected the number of features.")
            for name in ("mu", "sigma"):
                if file.header(name).dtype.kind != "f":
                    raise InputError(
                        f"{path}: {name} is of {file.header(name).dtype}; expected floating point numbers."
                    )
            mean, covariance = file.read("mu"), file.read("sigma")
        try:
            return cls.given(mean, covariance, n=int(count.reshape(())))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _seen(self) -> Moments:
        if self._moments is None:
            raise InputError("no features were seen yet; update the statistics first.")
        return self._moments
