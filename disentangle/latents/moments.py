"""Sums of products of samples, and the principal axes in them, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError

__all__ = ["Moments", "leading_eigenpairs"]


class Moments:
    """Mean and exact covariance of rows that arrive in parts, of which none is kept.

    Sums are taken about the mean of the first part, so that a mean far from zero costs no digits, and in float64, where
    products of float32 numbers are exact: how the rows are cut into parts changes nothing beyond float64's rounding.

    Attributes:
        count: rows so far.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._origin = torch.zeros(width, dtype=torch.float64)
        self._sum = torch.zeros(width, dtype=torch.float64)
        self._products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Take (n, width) more rows in."""
        rows = rows.to("cpu", torch.float64)
        if not self.count:
            self._origin = rows.mean(0)
        rows = rows - self._origin
        self.count += len(rows)
        self._sum += rows.sum(0)
        self._products.addmm_(rows.mT, rows)

    def mean(self) -> Tensor:
        """(width,) float64."""
        return self._origin + self._sum / self.count

    def rounding(self) -> float:
        """An eigenvalue of the covariance that rounding alone may give, were all rows the same."""
        return self._origin.numel() * (4 * torch.finfo(torch.float64).eps * float(self._origin.abs().max())) ** 2

    def covariance(self) -> Tensor:
        """(width, width) float64, over n - 1."""
        product = self._products - torch.outer(self._sum, self._sum) / self.count
        return (product + product.mT) / (2 * (self.count - 1))


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
