"""PCA whitening: the principal axes of a covariance, each scaled to unit variance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.linalg.differentiable import DifferentiableFunction, autocast_off
from disentangle.linalg.matrix_power import check_matrices
from disentangle.linalg.polar import relative_tolerance

__all__ = ["pca_whitening"]


def pca_whitening(P: Tensor, *, floor: float | None = None, gap: float | None = None) -> Tensor:
    """``diag(l)^(-1/2) V^T`` for ``P = V diag(l) V^T``, so that ``W P W^T = I``.

    Args:
        P: (..., n, n) symmetric positive semi-definite, floating point; never modified. Computed in float64.
        floor: smallest eigenvalue that counts, relative to the largest; default n times the machine epsilon of ``P``.
        gap: eigenvalues closer than this, relative to the largest, count as equal; default as ``floor``.

    Returns:
        (..., n, n), dtype of ``P``. Rows are sorted by eigenvalue, largest first; the sign of each makes its entry of
        largest magnitude positive. A matrix with NaN or infinity gives NaN and leaves the rest of the batch alone.

    Differentiable to any order, except where eigenvalues meet: unlike the inverse root this function has no derivative
    there, since its axes turn by ``1 / (l_i - l_j)``. Between eigenvalues within ``gap`` the axes are arbitrary, and
    their turning is left out of the derivative (as a pseudo-inverse does).

    Raises:
        InputError: if ``P`` is not a square floating point matrix.

    >>> pca_whitening(torch.diag(torch.tensor([0.25, 4.0])))
    tensor([[0.0000, 0.5000],
            [2.0000, 0.0000]])
    """
    check_matrices(P, "pca_whitening")
    relative = relative_tolerance(P.dtype, P.shape[-1]) if floor is None else floor
    with autocast_off(P):
        l, V = _PrincipalAxes.call(P.double(), relative if gap is None else gap)
        top = l[..., :1].detach()
        least = torch.where(top > torch.finfo(top.dtype).tiny, relative * top, torch.finfo(P.dtype).eps)
        w = torch.where(l <= least, least, l).rsqrt()  # so that NaN stays
        whitening: Tensor = w.unsqueeze(-1) * V.mT
        return whitening.to(P.dtype)


class _PrincipalAxes(DifferentiableFunction):
    """Eigenvalues l (..., n), largest first, and axes V in columns, sign-fixed, of ``(P + P^T) / 2``.

    The derivatives are functions of l and V themselves, so that theirs follow.
    """

    @staticmethod
    def forward(P: Tensor, gap: float) -> tuple[Tensor, Tensor]:
        symmetric = torch.lerp(P, P.mT, 0.5)
        poison = (symmetric * 0).sum(dim=(-2, -1)).unsqueeze(-1)  # 0, or NaN where P is not finite: eigh would raise
        l, V = torch.linalg.eigh(symmetric.nan_to_num(0.0, 0.0, 0.0))
        l, V = l.flip(-1), V.flip(-1)
        largest = torch.gather(V, -2, V.abs().argmax(-2, keepdim=True))
        return l + poison, V * torch.where(largest < 0, -1.0, 1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.gap = inputs[1]
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, grad_l: Tensor, grad_V: Tensor) -> tuple[Tensor, None]:
        l, V = ctx.saved_tensors
        inner = V.mT @ grad_V * _turning(l, ctx.gap)
        return V @ (0.5 * (inner + inner.mT) + torch.diag_embed(grad_l)) @ V.mT, None

    @staticmethod
    def tangent(ctx: Any, dP: Tensor, _: None) -> tuple[Tensor, Tensor]:
        l, V = ctx.saved_tensors
        inner = 0.5 * (V.mT @ (dP + dP.mT) @ V)
        return inner.diagonal(dim1=-2, dim2=-1), V @ (inner * _turning(l, ctx.gap))


def _turning(l: Tensor, gap: float) -> Tensor:
    """``1 / (l_j - l_i)``, and 0 between eigenvalues that count as equal."""
    difference = l.unsqueeze(-2) - l.unsqueeze(-1)
    tied = difference.abs() <= gap * l[..., :1].clamp_min(0).unsqueeze(-1)
    return torch.where(tied, float("inf"), difference).reciprocal()
