"""Frames: matrices (n, k), k at most n, with orthonormal columns, as functions of a free matrix of the same shape.

All of them are computed in float64 and given in the type of their argument, so that a frame is orthonormal to the
rounding of that type, whatever is in the free matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "cayley_frame",
    "exponential_frame",
    "householder_frame",
    "leading_frames",
    "reflectors_of_frame",
]


def householder_frame(reflectors: Tensor) -> Tensor:
    """The first k columns of ``H_1 H_2 ... H_k``, ``H_i = I - 2 v_i v_i^T / |v_i|^2``; differentiable.

    Args:
        reflectors: (n, k), k at most n. Column i gives ``v_i``: zeros above the diagonal and a one on it, whatever is
            stored there, and the entries below. Every frame can be written so, up to the signs of its columns.

    By the compact WY form ``I - V T V^T``, T the inverse of the upper triangle of V^T V with halves on its diagonal
    (Schreiber and Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989): the same as ``torch.linalg.householder_product``,
    whose backward pass costs n^2 k where this one costs n k^2.

    Returns:
        (n, k) with orthonormal columns.

    >>> householder_frame(torch.zeros(3, 1))
    tensor([[-1.],
            [ 0.],
            [ 0.]])
    """
    n, k = reflectors.shape
    unit = torch.eye(n, k, dtype=torch.float64, device=reflectors.device)
    trapezoid = reflectors.double().tril(-1) + unit
    # Only the direction of a column counts, so a constant may be divided out to keep the products in range.
    trapezoid = trapezoid / trapezoid.detach().abs().amax(dim=0)
    gram = trapezoid.mT @ trapezoid
    triangle = gram.triu(1) + torch.diag(gram.diagonal() / 2)
    frame = unit - trapezoid @ torch.linalg.solve_triangular(triangle, trapezoid[:k].mT, upper=True)
    return frame.to(reflectors.dtype)


def cayley_frame(free: Tensor) -> Tensor:
    """The first k columns of ``(I - A/2)^(-1) (I + A/2)`` for the skew ``A = L E^T - E L^T``; differentiable.

    L is the lower triangle of ``free`` (n, k) and E the first k columns of the identity. Of a narrow frame only a
    system of size 2 k is solved (Wen and Yin, Mathematical Programming 142, 2013, lemma 4); zeros give E.
    """
    n, k = free.shape
    if 2 * k >= n:
        half = 0.5 * _skew(free.double())
        identity = torch.eye(n, dtype=half.dtype, device=free.device)
        frame = _solution(identity - half, (identity + half)[:, :k])
    else:
        U, V, E = _skew_factors(free.double())
        inner = torch.eye(2 * k, dtype=U.dtype, device=free.device) - 0.5 * V.mT @ U
        frame = E + U @ _solution(inner, V[:k].mT)
    return frame.to(free.dtype)


def exponential_frame(free: Tensor) -> Tensor:
    """The first k columns of ``exp(A)`` for the same A as in :func:`cayley_frame`; differentiable.

    Of a narrow frame ``A = U V^T`` with 2 k columns each, and ``exp(A) = I + U f(V^T U) V^T`` with
    ``f(x) = (exp(x) - 1) / x``, which is a corner of one exponential of size 4 k (Higham, Functions of Matrices, 2008,
    section 10.7.4).
    """
    n, k = free.shape
    if 4 * k >= n:
        frame = torch.linalg.matrix_exp(_skew(free.double()))[:, :k]
    else:
        U, V, E = _skew_factors(free.double())
        identity = torch.eye(2 * k, dtype=U.dtype, device=free.device)
        block = F.pad(torch.cat([V.mT @ U, identity], 1), (0, 0, 0, 2 * k))
        frame = E + U @ torch.linalg.matrix_exp(block)[: 2 * k, 2 * k :] @ V[:k].mT
    return frame.to(free.dtype)


def _solution(matrix: Tensor, right: Tensor) -> Tensor:
    """X of ``matrix X = right`` by a QR decomposition: torch's LU decomposition is not right everywhere."""
    Q, R = torch.linalg.qr(matrix)
    return torch.linalg.solve_triangular(R, Q.mT @ right, upper=True)


def _skew(free: Tensor) -> Tensor:
    """A (n, n)."""
    n, k = free.shape
    lower = F.pad(free.tril(), (0, n - k))
    return lower - lower.mT


def _skew_factors(free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U and V (n, 2 k) with ``A = U V^T``, and E (n, k). Both are as large as A, which V^T U then is too."""
    n, k = free.shape
    E = torch.eye(n, k, dtype=free.dtype, device=free.device)
    lower = free.tril()
    # Moves a factor from one to the other and leaves A and its derivatives as they are.
    size = torch.linalg.matrix_norm(lower.detach())
    size = torch.where(size > 0, size, torch.ones_like(size))
    return torch.cat([lower, size * E], 1), torch.cat([E, -lower / size], 1), E


def reflectors_of_frame(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Reflectors (n, k) and signs (k,) with ``householder_frame(reflectors) * signs`` equal to a frame (n, k)."""
    exact = frame.detach().to(torch.float64)
    n, k = exact.shape
    packed, _ = torch.geqrf(exact)
    # LAPACK skips the reflection of a column that needs none; ours always reflects, and the sign tells.
    reflectors = packed.tril(-1)
    signs = (householder_frame(reflectors) * exact).sum(dim=0).sign()
    reflectors = reflectors + torch.eye(n, k, dtype=torch.float64, device=exact.device)
    return reflectors.to(frame.dtype), signs.to(frame.dtype)


def leading_frames(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Leading left (m, rank) and right (n, rank) singular vectors of a weight (m, n), in float64."""
    left, _, right = torch.linalg.svd(weight.detach().to(torch.float64), full_matrices=False)
    return left[:, :rank].contiguous(), right[:rank].mT.contiguous()
