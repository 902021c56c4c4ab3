"""Penalties that pull a weight or a generator towards orthogonality, to be added to a loss."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from disentangle.errors import InputError
from disentangle.linalg.matrices import excess, shorter_side_first

__all__ = ["orthogonality_loss"]


def orthogonality_loss(weight: Tensor, *, reduction: Literal["sum", "mean"] = "sum") -> Tensor:
    """OL, the orthogonality loss ``||W W^T - I||_F^2`` on the shorter side; differentiable, 0-d.

    Args:
        weight: (m, n, ...) with at least two dimensions, flattened to (m, rest).
        reduction: ``"sum"`` over the entries of ``W W^T - I`` (the squared Frobenius norm), or ``"mean"``, which
            EigenGAN uses with weight 100 (He et al. 2021, and the code of the TPAMI 2023 paper).

    >>> import torch
    >>> orthogonality_loss(2 * torch.eye(2, 3)).item()
    18.0
    """
    if weight.ndim < 2:
        raise InputError(f"weight has shape {tuple(weight.shape)}; expected at least two dimensions.")
    if reduction not in ("sum", "mean"):
        raise InputError(f"reduction is {reduction!r}; expected 'sum' or 'mean'.")
    error = excess(shorter_side_first(weight.flatten(1)))
    return error.square().sum() if reduction == "sum" else error.square().mean()


def orthogonality_gradient(weight: Tensor) -> Tensor:
    """Gradient of :func:`orthogonality_loss` (``sum``) in closed form, ``4 (W W^T - I) W``; shape of ``weight``."""
    matrix = shorter_side_first(weight.detach().flatten(1))
    gradient = 4 * excess(matrix) @ matrix
    tall = weight.shape[0] > weight[0].numel()
    return (gradient.mT if tall else gradient).reshape(weight.shape)
