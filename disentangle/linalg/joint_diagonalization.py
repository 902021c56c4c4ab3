"""The orthogonal basis in which several symmetric matrices are as diagonal as they can be together."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.linalg.matrices import check_matrix

__all__ = ["joint_diagonalization"]

_SWEEPS = 50  # of all pairs; ten are usual where the matrices share a basis
_GAIN = 1e-9  # of all squares, that a sweep must bring: where they share a basis, what is left then is its square


def joint_diagonalization(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The rotation V that makes the sum of squares off the diagonals of ``V^T A_i V`` smallest, by Jacobi angles.

    Source: Cardoso and Souloumiac, "Jacobi Angles for Simultaneous Diagonalization", SIAM Journal on Matrix Analysis
    and Applications 17 (1), 1996. Each angle is the best one of its plane; planes without a common coordinate are
    turned at once (Brent and Luk's rounds). It starts from the eigenvectors of the mean, so that of a single matrix it
    gives these. Where no direction is better than another, the start stays.

    Args:
        matrices: (n, k, k) real, symmetric.

    Returns:
        (k, k) float64 orthonormal columns, and (n, k) the diagonals of ``V^T A_i V``; columns by falling mean diagonal.

    Raises:
        InputError: on another shape, complex numbers, NaN or infinity, or matrices that are not symmetric.

    >>> turned = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    >>> both = torch.stack([turned @ torch.diag(d) @ turned.T for d in torch.tensor([[3.0, 1.0], [2.0, 5.0]]).double()])
    >>> V, diagonals = joint_diagonalization(both)
    >>> diagonals.round(decimals=6)
    tensor([[1., 3.],
            [5., 2.]], dtype=torch.float64)
    """
    check_matrix(matrices, "joint_diagonalization")
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not matrices.numel():
        raise InputError(f"matrices have shape {tuple(matrices.shape)}; expected (n, k, k), n and k from 1.")
    given = matrices.detach().to("cpu", torch.float64)
    if not torch.isfinite(given).all():
        raise InputError("matrices hold NaN or infinity; expected finite numbers.")
    largest = given.abs().amax()
    if not torch.allclose(given, given.mT, rtol=0, atol=1e-5 * float(largest)):
        raise InputError("matrices are not symmetric; joint diagonalisation by a rotation needs symmetric ones.")
    k = given.shape[-1]
    A = (given + given.mT) / (2 * largest if largest > 0 else 2)
    V = torch.linalg.eigh(A.mean(0))[1]
    A = (V.mT @ A @ V).permute(1, 2, 0).contiguous()  # (k, k, n): what is turned lies together
    V = V.mT.contiguous()
    total = float(A.square().sum())
    rounding = (k * torch.finfo(torch.float64).eps) ** 2 * total
    rounds, left = _rounds(k), _off(A)
    for _ in range(_SWEEPS):
        for p, q in rounds:
            _turn(A, V, p, q, rounding)
        before, left = left, _off(A)
        if before - left <= _GAIN * total:
            break
    V, diagonals = V.mT, A.diagonal(dim1=0, dim2=1) * (largest if largest > 0 else 1)
    order = diagonals.mean(0).argsort(descending=True, stable=True)
    return V[:, order], diagonals[:, order]


def _rounds(k: int) -> list[tuple[Tensor, Tensor]]:
    """Each pair of 0 to k - 1 once, in rounds of pairs that share nothing: a tournament in which one stays seated."""
    seats = list(range(k + k % 2))
    rounds = []
    for _ in range(len(seats) - 1):
        pairs = [(min(a, b), max(a, b)) for a, b in zip(seats[: len(seats) // 2], reversed(seats), strict=False)]
        pairs = [pair for pair in pairs if pair[1] < k]  # an odd number: one has nobody to play
        if pairs:
            rounds.append((torch.tensor([p for p, _ in pairs]), torch.tensor([q for _, q in pairs])))
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds


def _off(A: Tensor) -> float:
    """Sum of squares off the diagonals of (k, k, n)."""
    return float(A.square().sum() - A.diagonal(dim1=0, dim2=1).square().sum().clamp(min=0))


def _turn(A: Tensor, V: Tensor, p: Tensor, q: Tensor, rounding: float) -> None:
    """Turn the planes of coordinates p and q, in place, by the angles that leave least off the diagonals.

    A is (k, k, n), V (k, k) with the basis in its rows.
    """
    difference, twice = A[p, p] - A[q, q], 2 * A[p, q]
    on = (difference.square() - twice.square()).sum(1)
    across = 2 * (difference * twice).sum(1)
    length = torch.hypot(on, across)
    angle = torch.where(length > rounding, 0.25 * torch.atan2(across, on), 0.0)
    c, s = torch.cos(angle), torch.sin(angle)
    for rows in (A, A.transpose(0, 1), V[:, :, None]):  # views: of the rows, the columns, and the basis
        first, second = rows[p], rows[q]
        rows[p] = c[:, None, None] * first + s[:, None, None] * second
        rows[q] = c[:, None, None] * second - s[:, None, None] * first
