"""The two operations of a whitening layer that touch the whole batch, with their derivatives in closed form.

Each derivative is one or two products in the data's own precision, where following the single steps would take three
in float64 and keep as many copies of the batch. :class:`disentangle.linalg.moments.Moments` is no part of it: what
arrives in parts and is not kept cannot be differentiated, and here the batch is there as a whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.linalg.differentiable import DifferentiableFunction

__all__ = ["moments", "shifted_product"]


def moments(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased covariance and what is left of float32 or float64 (groups, c, n) when the mean is taken off.

    Returns:
        mean (groups, c) and covariance (groups, c, c) in float64, centred (groups, c, n) in the dtype of X.
    """
    mean, second, centred = _Moments.call(X)
    return mean, second, centred


def shifted_product(matrix: Tensor, centred: Tensor, shift: Tensor) -> Tensor:
    """``matrix centred + shift``, in the dtype of ``centred``.

    Args:
        matrix: (groups, c, c) float64.
        centred: (groups, c, n) float32 or float64.
        shift: (groups, c) float64.
    """
    y: Tensor = _ShiftedProduct.call(matrix, centred, shift)
    return y


class _Moments(DifferentiableFunction):
    @staticmethod
    def forward(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wide = X.double()
        mean = wide.mean(-1, keepdim=True)
        wide = wide - mean if wide is X else wide.sub_(mean)
        return mean.squeeze(-1), wide @ wide.mT / X.shape[-1], wide.to(X.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(output[2])
        ctx.save_for_forward(output[2])

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor, grad_second: Tensor, grad_centred: Tensor) -> Tensor:
        (centred,) = ctx.saved_tensors
        count = centred.shape[-1]
        twice = (grad_second + grad_second.mT) / count
        constant = grad_mean / count - grad_centred.mean(-1)
        own = torch.baddbmm(constant.to(centred.dtype).unsqueeze(-1), twice.to(centred.dtype), centred)
        return own.add_(grad_centred)

    @staticmethod
    def tangent(ctx: Any, dX: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (centred,) = ctx.saved_tensors
        wide = dX.double()
        mean = wide.mean(-1, keepdim=True)
        wide = wide - mean
        half = wide @ centred.double().mT / centred.shape[-1]
        return mean.squeeze(-1), half + half.mT, wide.to(centred.dtype)


class _ShiftedProduct(DifferentiableFunction):
    @staticmethod
    def forward(matrix: Tensor, centred: Tensor, shift: Tensor) -> Tensor:
        return torch.baddbmm(shift.to(centred.dtype).unsqueeze(-1), matrix.to(centred.dtype), centred)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        matrix, centred = ctx.saved_tensors
        return (
            (grad @ centred.mT).double() if ctx.needs_input_grad[0] else None,
            matrix.to(grad.dtype).mT @ grad if ctx.needs_input_grad[1] else None,
            grad.sum(-1).double() if ctx.needs_input_grad[2] else None,
        )

    @staticmethod
    def tangent(ctx: Any, dmatrix: Tensor | None, dcentred: Tensor | None, dshift: Tensor | None) -> Tensor:
        matrix, centred = ctx.saved_tensors
        y = torch.zeros_like(centred)
        if dmatrix is not None:
            y = y + dmatrix.to(centred.dtype) @ centred
        if dcentred is not None:
            y = y + matrix.to(centred.dtype) @ dcentred
        return y if dshift is None else y + dshift.to(centred.dtype).unsqueeze(-1)
