"""Frames: matrices (n, k) with orthonormal columns, as a product of k reflections."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["householder_frame", "leading_frames", "reflectors_of_frame"]


def householder_frame(reflectors: Tensor) -> Tensor:
    """The first k columns of ``H_1 H_2 ... H_k``, ``H_i = I - 2 v_i v_i^T / |v_i|^2``; differentiable.

    Args:
        reflectors: (n, k), k at most n. Column i gives ``v_i``: zeros above the diagonal and a one on it, whatever is
            stored there, and the entries below. Every frame can be written so, up to the signs of its columns.

    By the compact WY form ``I - V T V^T``, T the inverse of the upper triangle of V^T V with halves on its diagonal
    (Schreiber and Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989): the same as ``torch.linalg.householder_product``,
    whose backward pass costs n^2 k where this one costs n k^2.

    Returns:
        (n, k) with orthonormal columns, in the type of ``reflectors`` (half precision is computed in float32).

    >>> householder_frame(torch.zeros(3, 1)).T
    tensor([[-1., 0., 0.]])
    """
    if reflectors.dtype in (torch.float16, torch.bfloat16):
        return householder_frame(reflectors.float()).to(reflectors.dtype)
    n, k = reflectors.shape
    unit = torch.eye(n, k, dtype=reflectors.dtype, device=reflectors.device)
    trapezoid = reflectors.tril(-1) + unit
    gram = trapezoid.mT @ trapezoid
    triangle = gram.triu(1) + torch.diag(gram.diagonal() / 2)
    return unit - trapezoid @ torch.linalg.solve_triangular(triangle, trapezoid[:k].mT, upper=True)


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
