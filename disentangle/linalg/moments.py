"""Mean and covariance of rows that arrive in parts, in float64, and the principal axes in them."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError

__all__ = ["Moments", "leading_eigenpairs"]


class Moments:
    """Number, mean and scatter of rows, of which none is kept.

    The scatter (sum of outer products) of each part is taken about the part's own mean, and parts are merged by

        n = n1 + n2,  d = m2 - m1,  m = m1 + d n2 / n,  S = S1 + S2 + d d^T n1 n2 / n

    (Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", The American Statistician 37, 1983). A
    mean far from zero costs no digits, and how the rows are cut into parts, or dealt to processes, changes nothing
    beyond float64's rounding.

    Args:
        width: entries of a row.

    Attributes:
        count: rows so far.

    >>> rows = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
    >>> moments = Moments(2).add(rows[:1]).merge(Moments(2).add(rows[1:]))
    >>> moments.covariance().tolist()
    [[4.0, 6.0], [6.0, 12.0]]
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._mean = torch.zeros(width, dtype=torch.float64)
        self._scatter = torch.zeros(width, width, dtype=torch.float64)

    @property
    def width(self) -> int:
        """Entries of a row."""
        return len(self._mean)

    def add(self, rows: Tensor) -> Moments:
        """Take (n, width) more rows in, n from 0; returns itself.

        Raises:
            InputError: on another shape, or numbers that are not real.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width or rows.is_complex():
            raise InputError(
                f"rows have shape {tuple(rows.shape)} and dtype {rows.dtype}; expected real numbers (n, {self.width})."
            )
        if not len(rows):
            return self
        rows = rows.detach().to("cpu", torch.float64)
        mean = rows.mean(0)
        rows = rows - mean
        self._scatter.addmm_(rows.mT, rows)
        return self._move(len(rows), mean)

    def merge(self, other: Moments) -> Moments:
        """Take in what another one has seen; returns itself.

        Raises:
            InputError: if its rows have another width.
        """
        if other.width != self.width:
            raise InputError(f"rows have {self.width} and {other.width} entries; moments of equal rows merge.")
        if not other.count:
            return self
        self._scatter += other._scatter
        return self._move(other.count, other._mean)

    def _move(self, count: int, mean: Tensor) -> Moments:
        """Bring the mean, and the part of the scatter that it makes, up to date with ``count`` more rows."""
        total = self.count + count
        difference = mean - self._mean
        if self.count:
            self._scatter.addr_(difference, difference, alpha=self.count * count / total)
        self._mean = self._mean + difference * (count / total) if self.count else mean.clone()
        self.count = total
        return self

    def mean(self) -> Tensor:
        """(width,) float64."""
        return self._mean.clone()

    def covariance(self, *, correction: int = 1) -> Tensor:
        """(width, width) float64, exactly symmetric, over n - ``correction``.

        Raises:
            InputError: if there are too few rows.
        """
        if self.count <= correction:
            raise InputError(f"a covariance needs more than {correction} rows; got {self.count}.")
        return (self._scatter + self._scatter.mT) / (2 * (self.count - correction))

    def rounding(self) -> float:
        """An eigenvalue of the covariance that rounding alone may give, were all rows the same."""
        return self.width * (4 * torch.finfo(torch.float64).eps * float(self._mean.abs().max())) ** 2


def leading_eigenpairs(matrix: Tensor, top: int, *, rounding: float = 0.0) -> tuple[Tensor, Tensor]:
    """The ``top`` largest eigenvalues of a symmetric positive semi-definite matrix, falling, and their eigenvectors.

    Args:
        matrix: (n, n) float64.
        top: how many, at most n.
        rounding: eigenvalues up to it count as zero, as do those within float64's rounding of the largest.

    Returns:
        (top,) eigenvalues and (top, n) eigenvectors, of unit length and either sign.

    Raises:
        InputError: if fewer than ``top`` are not zero, so that further axes would be noise, or on NaN.
    """
    from scipy.linalg import eigh

    if not torch.isfinite(matrix).all():
        raise InputError("the samples hold NaN or infinity; expected finite numbers from the generator.")
    n = len(matrix)
    values, vectors = eigh(matrix.numpy(), subset_by_index=(n - top, n - 1))
    values, vectors = values[::-1].copy(), vectors[:, ::-1].T.copy()
    rank = int((values > max(rounding, n * torch.finfo(torch.float64).eps * values[0])).sum())
    if rank < top:
        raise InputError(f"top is {top}, but the samples vary along {rank} axes only; ask for no more.")
    return torch.from_numpy(values), torch.from_numpy(vectors)
