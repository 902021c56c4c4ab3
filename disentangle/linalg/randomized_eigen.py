"""Leading eigenpairs of a symmetric matrix that is only known by its products, with a statement of the error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Eigenpairs", "products_needed", "randomized_eigenpairs"]

_OVERSAMPLED, _POWERS, _PROBES = 10, 2, 5


class Eigenpairs(NamedTuple):
    """What :func:`randomized_eigenpairs` found.

    Attributes:
        values: (rank,) falling.
        vectors: (rank, n) rows of unit length.
        residual: largest ``|A v - value v|``: an eigenvalue of A lies within it of each value.
        missed: with probability 1 - 1e-5 (over the probes) no direction outside the searched space has an eigenvalue
            above it (equation 4.3 of the source).
    """

    values: Tensor
    vectors: Tensor
    residual: float
    missed: float


def products_needed(rank: int, n: int) -> int:
    """Vectors that are multiplied for ``rank`` eigenpairs of an (n, n) matrix."""
    return min(rank + _OVERSAMPLED, n) * (_POWERS + 2) + _PROBES


def randomized_eigenpairs(
    product: Callable[[Tensor], Tensor], n: int, rank: int, *, generator: torch.Generator
) -> Eigenpairs:
    """The ``rank`` largest eigenpairs of a positive semi-definite matrix A.

    Source: Halko, Martinsson, Tropp, "Finding Structure with Randomness", SIAM Review 53 (2), 2011: subspace iteration
    (algorithm 4.4) from ``rank + 10`` Gaussian vectors with two powers, then the eigenpairs within (section 5.3).

    Args:
        product: (m, n) float64 rows to their products with A, float64.
        n: side of A.
        rank: from 1 to n.
        generator: of the Gaussian vectors.
    """

    def gaussian(rows: int) -> Tensor:
        return torch.randn(rows, n, generator=generator, dtype=torch.float64)

    basis = gaussian(min(rank + _OVERSAMPLED, n))
    for _ in range(_POWERS + 1):
        basis = torch.linalg.qr(product(basis).mT)[0].mT
    probes = gaussian(_PROBES)
    products = product(torch.cat([basis, probes]))
    inside, probed = products[: len(basis)], products[len(basis) :]
    small = basis @ inside.mT
    values, turn = torch.linalg.eigh((small + small.mT) / 2)
    values, turn = values.flip(0)[:rank], turn.flip(1)[:, :rank]
    vectors = turn.mT @ basis
    residual = (turn.mT @ inside - values[:, None] * vectors).norm(dim=1).max()
    outside = probed - (probed @ basis.mT) @ basis
    missed = 10 * math.sqrt(2 / math.pi) * outside.norm(dim=1).max()
    return Eigenpairs(values, vectors, float(residual), float(missed))
