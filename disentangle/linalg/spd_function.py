"""Functions of symmetric positive semi-definite matrices whose derivative is a table of divided differences.

For ``F(P) = V diag(f(l)) V^T`` the derivative in the direction C is ``V (D * (V^T C V)) V^T`` with
``D_ij = (f(l_i) - f(l_j)) / (l_i - l_j)`` and ``D_ii = f'(l_i)`` (Daleckii and Krein 1965). The exact tables are here
and never divide by a difference of eigenvalues: with b the smaller one and ``x = (a - b) / b``

    power p:    b^(p - 1) expm1(p log1p(x)) / x        p b^(p - 1) at x = 0
    logarithm:  log1p(x) / (b x)                       1 / b at x = 0

The published, inexact ones are in :mod:`disentangle.linalg.svd_backwards`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.linalg.differentiable import DifferentiableFunction, to_input_dtype
from disentangle.linalg.spd_root import decompose, floor_weights, floors, in_eigenbasis
from disentangle.linalg.svd_backwards import keep_top, svd_differences

__all__ = ["spectral_function"]


def spectral_function(
    P: Tensor, working: torch.dtype, floor: float, absolute: float, exponent: float, backward: str, steps: int
) -> Tensor:
    """``P^exponent`` (..., n, n) in the working dtype, or ``log P`` where the exponent is 0.

    ``backward`` is ``"exact"`` or a name of :mod:`disentangle.linalg.svd_backwards`, which also uses ``steps``.
    """
    return _SpectralFunction.call(P, working, floor, absolute, exponent, backward, steps)[0]


def exact_differences(eigenvalues: Tensor, exponent: float) -> Tensor:
    """Divided differences (..., n, n) of ``l^exponent``, or of ``log l`` where the exponent is 0; l > 0 (..., n)."""
    first, second = eigenvalues.unsqueeze(-1), eigenvalues.unsqueeze(-2)
    smaller = torch.minimum(first, second)
    # The difference of close eigenvalues is exact (Sterbenz), so x is right to the last digit or exactly 0.
    x = (first - second).abs() / smaller
    equal = x == 0
    safe = x.masked_fill(equal, 1)
    if exponent == 0:
        return (torch.log1p(safe) / safe).masked_fill(equal, 1) / smaller
    ratio = torch.expm1(exponent * torch.log1p(safe)) / safe
    return ratio.masked_fill(equal, exponent) * smaller.pow(exponent - 1)


class _Derivative(DifferentiableFunction):
    """``V (D * (V^T (C + C^T) V / 2)) V^T``; F, the function itself, stands for the matrix it depends on."""

    @staticmethod
    def forward(F: Tensor, C: Tensor, V: Tensor, differences: Tensor) -> Tensor:
        return V @ (in_eigenbasis(C, V) * (0.5 * differences)) @ V.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0], inputs[2], inputs[3])
        ctx.save_for_forward(inputs[0], inputs[2], inputs[3])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        if grad is None:
            return None, None, None, None
        if ctx.needs_input_grad[0]:
            raise _no_second_derivative()
        F, V, differences = ctx.saved_tensors
        return None, _Derivative.call(F, grad, V, differences), None, None

    @staticmethod
    def tangent(ctx: Any, dF: Tensor | None, dC: Tensor | None, *_: Any) -> Tensor:
        if dF is not None:
            raise _no_second_derivative()
        F, V, differences = ctx.saved_tensors
        return _Derivative.call(F, dC, V, differences)


def _no_second_derivative() -> InputError:
    return InputError(
        "a second derivative was asked of matrix_power, matrix_log or a published SVD backward, which have a first one "
        "only; use matrix_sqrt or matrix_inverse_sqrt with method='eigh'."
    )


class _SpectralFunction(DifferentiableFunction):
    """``F(P)``, and what its derivative needs: V and the divided differences."""

    @staticmethod
    def forward(
        P: Tensor, working: torch.dtype, floor: float, absolute: float, exponent: float, backward: str, steps: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        eigenvalues, V, poison = decompose(P, working)
        least = floors(eigenvalues, floor, absolute)
        clamped = torch.maximum(eigenvalues, least)
        if backward == "svd_top_n":
            clamped = keep_top(clamped, least, steps)
        if backward != "exact":
            values = clamped.pow(exponent)
            differences = svd_differences(clamped, values, exponent, backward, steps)
        else:
            differences = exact_differences(clamped, exponent)
            if exponent > 0:
                # A power of zero is zero; only its derivative needs the floor. Below the resolution of eigh is noise.
                resolution = P.shape[-1] * torch.finfo(working).eps
                noise = eigenvalues <= resolution * eigenvalues[..., -1:]
                values = eigenvalues.masked_fill(noise, 1).pow(exponent).masked_fill(noise, 0)
            else:
                values = clamped.log() if exponent == 0 else clamped.pow(exponent)
                u, e = floor_weights(eigenvalues, least)
                differences = differences * (u.unsqueeze(-1) + u.unsqueeze(-2)) / (e.unsqueeze(-1) + e.unsqueeze(-2))
        if poison is not None:
            values = values + poison
        return (V * values.unsqueeze(-2)) @ V.mT, V, differences

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.dtype = inputs[0].dtype
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None, None, None, None, None]:
        if grad is None:
            return None, None, None, None, None, None, None
        F, V, differences = ctx.saved_tensors
        dP = _Derivative.call(F, grad, V, differences)
        return to_input_dtype(dP, ctx.dtype), None, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, dP: Tensor, *_: Any) -> tuple[Tensor, None, None]:
        F, V, differences = ctx.saved_tensors
        return _Derivative.call(F, dP.to(F.dtype), V, differences), None, None
