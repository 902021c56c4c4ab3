"""Mean and covariance of features, in one pass, mergeable, on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.errors import InputError
from disentangle.files import write_atomically

__all__ = ["FeatureStatistics", "read_features"]


def read_features(features: ArrayLike, name: str = "features", *, least: int = 1) -> np.ndarray:
    """(n, d) finite numbers as float64; a numpy array, a torch tensor or nested lists.

    Raises:
        InputError: on another shape, NaN or infinite values, or fewer than ``least`` rows.
    """
    value: Any = features
    try:
        array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be read as an array of numbers: {error}.") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name} have shape {array.shape}; expected (n, d), one row an image.")
    if len(array) < least:
        raise InputError(f"{name} have {len(array)} rows; expected {least} or more.")
    bad = int(np.sum(~np.isfinite(array).all(axis=1)))
    if bad:
        raise InputError(f"{name} hold NaN or infinite values in {bad} of {len(array)} rows; find out which images.")
    return array


class FeatureStatistics:
    """Number, mean and scatter of the features seen, in float64.

    Sums are taken around the mean of the batch and merged (Chan, Golub and LeVeque 1983), so nothing cancels and parts
    computed by several processes give what one would.

    Attributes:
        n: features seen; 0 where it is not known (statistics read from a file without it).
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean: np.ndarray | None = None
        self._scatter: np.ndarray | None = None  # sum of outer products around the mean
        self._covariance: np.ndarray | None = None  # given, where there is no n

    @classmethod
    def of(cls, features: ArrayLike) -> FeatureStatistics:
        """Statistics of (n, d) features."""
        return cls().update(features)

    @classmethod
    def given(cls, mean: ArrayLike, covariance: ArrayLike, *, n: int = 0) -> FeatureStatistics:
        """Statistics computed elsewhere.

        Raises:
            InputError: if the shapes do not fit, the covariance is not symmetric or a number is not finite.
        """
        mu, sigma = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
            raise InputError(
                f"mean has shape {mu.shape} and covariance {sigma.shape}; expected (d,) and (d, d) of the same d."
            )
        if not (np.all(np.isfinite(mu)) and np.all(np.isfinite(sigma))):
            raise InputError("the statistics hold NaN or infinite values; compute them again.")
        if not np.allclose(sigma, sigma.T, rtol=1e-5, atol=1e-8 * max(float(np.abs(sigma).max()), 1e-300)):
            raise InputError("the covariance is not symmetric; is it another matrix?")
        result = cls()
        result.n, result._mean, result._covariance = int(n), mu, (sigma + sigma.T) / 2
        return result

    @property
    def d(self) -> int:
        """Number of features, 0 before the first."""
        return 0 if self._mean is None else len(self._mean)

    @property
    def mean(self) -> np.ndarray:
        """(d,)"""
        self._check_any()
        assert self._mean is not None
        return self._mean

    def covariance(self, *, ddof: int = 1) -> np.ndarray:
        """(d, d), the scatter over n - ``ddof``; as given where it was given.

        Raises:
            InputError: if there are too few features.
        """
        self._check_any()
        if self._covariance is not None:
            return self._covariance
        if self.n <= ddof:
            raise InputError(f"a covariance needs more than {ddof} features; got {self.n}.")
        assert self._scatter is not None
        return self._scatter / (self.n - ddof)

    def update(self, features: ArrayLike) -> FeatureStatistics:
        """Add a batch (b, d); returns itself."""
        batch = read_features(features)
        part = FeatureStatistics()
        part.n, part._mean = len(batch), batch.mean(axis=0)
        centred = batch - part._mean
        part._scatter = centred.T @ centred
        return self.merge(part)

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Add what another one has seen; returns itself.

        Raises:
            InputError: if the numbers of features differ, or one was given without its scatter.
        """
        if self._covariance is not None or other._covariance is not None:
            raise InputError("statistics that were given as mean and covariance cannot be merged.")
        if other._mean is None or other._scatter is None:
            return self
        if self._mean is None or self._scatter is None:
            self.n, self._mean, self._scatter = other.n, other._mean.copy(), other._scatter.copy()
            return self
        if self.d != other.d:
            raise InputError(f"features have {self.d} and {other.d} columns; statistics of the same extractor merge.")
        n = self.n + other.n
        difference = other._mean - self._mean
        self._scatter = self._scatter + other._scatter + np.outer(difference, difference) * (self.n * other.n / n)
        self._mean = self._mean + difference * (other.n / n)
        self.n = n
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
        try:
            with np.load(path, allow_pickle=False) as file:
                names = set(file.files)
                if not {"mu", "sigma"} <= names:
                    raise InputError(
                        f"{path} has {', '.join(sorted(names)) or 'nothing'}; expected mu and sigma, as precomputed "
                        "statistics of features have."
                    )
                return cls.given(file["mu"], file["sigma"], n=int(file["n"]) if "n" in names else 0)
        except FileNotFoundError:
            raise InputError(f"{path} does not exist; expected an .npz of precomputed statistics.") from None
        except (OSError, ValueError, AttributeError, EOFError, KeyError) as error:
            raise InputError(f"{path} is not a readable .npz of statistics ({error}).") from None

    def _check_any(self) -> None:
        if self._mean is None:
            raise InputError("no features were seen yet; update the statistics first.")
