"""The exact square root and inverse square root of symmetric positive semi-definite matrices.

With ``P = V diag(l) V^T`` and ``s = sqrt(l)`` the derivative of a function of ``P`` is elementwise in the eigenbasis
(Daleckii and Krein 1965). For the two roots the divided differences simplify to

    P^(1/2):   1 / (s_i + s_j)                   the solution of S X + X S = C
    P^(-1/2): -1 / (s_i s_j (s_i + s_j))         the solution of W X + X W = -W^2 C W^2

in which no difference of eigenvalues is left, so repeated and clustered spectra are ordinary input. Each derivative is
a differentiable function of the root again, which gives second derivatives by the same two equations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from disentangle.linalg.differentiable import (
    DifferentiableFunction,
    are_values_visible,
    refuse_second_derivative,
    to_input_dtype,
)

__all__ = ["decompose", "exact_inverse_root", "exact_root", "floor_weights", "floors", "in_eigenbasis"]


def exact_root(P: Tensor, working: torch.dtype, floor: float, absolute: float) -> Tensor:
    """``P^(1/2)`` (..., n, n) in the working dtype; see :func:`disentangle.linalg.matrix_sqrt`."""
    return _Root.call(P, working, floor, absolute)[0]


def exact_inverse_root(P: Tensor, working: torch.dtype, floor: float, absolute: float) -> Tensor:
    """``P^(-1/2)`` (..., n, n) in the working dtype; see :func:`disentangle.linalg.matrix_inverse_sqrt`."""
    return _InverseRoot.call(P, working, floor, absolute)[0]


def decompose(P: Tensor, working: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
    """Eigenvalues (..., n) ascending and eigenvectors of ``(P + P^T) / 2``, and (..., 1) that is 0, or NaN where P
    is not finite; None where that is known to be nowhere.

    Of a matrix that is not finite the finite entries are decomposed, since ``eigh`` would raise and take the rest of
    the batch with it.
    """
    P = P if P.dtype == working else P.to(working)
    twice = P + P.mT
    poison = None
    if not (are_values_visible(twice) and math.isfinite(twice.sum())):
        poison = (twice.sum(dim=(-2, -1), dtype=torch.float64) * 0).to(working).unsqueeze(-1)
        twice.nan_to_num_(0.0, 0.0, 0.0)
    eigenvalues, V = torch.linalg.eigh(twice.mT)  # the same matrix in LAPACK's order, which spares it a slow copy
    return eigenvalues.mul_(0.5), V, poison


def is_above(eigenvalues: Tensor, ratio: float, poison: Tensor | None) -> bool:
    """Whether it is known that every eigenvalue exceeds ``ratio`` times the largest: the usual case, spared the rest.

    Over the whole batch, so that one comparison decides.
    """
    if poison is not None:  # also where no branch may depend on the values
        return False
    if eigenvalues.ndim == 1:
        values = eigenvalues.tolist()
        low, high = values[0], values[-1]
    else:
        low, high = map(float, eigenvalues.aminmax())
    return low > max(ratio * high, torch.finfo(eigenvalues.dtype).tiny)


def floors(eigenvalues: Tensor, floor: float, absolute: float) -> Tensor:
    """Smallest eigenvalue (..., 1) that counts: relative to the largest one, absolute where there is none."""
    largest = eigenvalues[..., -1:]
    return torch.where(largest > torch.finfo(largest.dtype).tiny, floor * largest, absolute)


def floor_weights(eigenvalues: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """u and e, both (..., n): ``(u_i + u_j) / (e_i + e_j)`` is the divided difference of ``max(l, least)``.

    1 between two eigenvalues above the floor, 0 between two at or below it, and in between otherwise: the share of
    their distance that lies above the floor.
    """
    gap = eigenvalues - least
    return gap.clamp_min(0), gap.abs().clamp_min(torch.finfo(gap.dtype).tiny)


def in_eigenbasis(C: Tensor, V: Tensor) -> Tensor:
    """``V^T (C + C^T) V``."""
    inner = V.mT @ C @ V
    return inner + inner.mT


def _outer_sum(vector: Tensor) -> Tensor:
    return vector.unsqueeze(-1) + vector.unsqueeze(-2)


class _Lyapunov(DifferentiableFunction):
    """Solution X of ``S X + X S = (C + C^T) / 2`` for symmetric ``S = V diag(s) V^T``, both given.

    ``least`` (..., 1), if any, bounds the denominators ``s_i + s_j`` from below. V, s and least are constants: the
    dependence on S is in the derivative, ``dX`` being the solution for ``dC - dS X - X dS``.
    """

    @staticmethod
    def forward(S: Tensor, C: Tensor, V: Tensor, s: Tensor, least: Tensor | None) -> Tensor:
        total = _outer_sum(2 * s)
        if least is not None:
            total = total.clamp(min=2 * least.unsqueeze(-1))
        return V @ in_eigenbasis(C, V).div_(total) @ V.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        S, _, V, s, least = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(S, output, V, s, least)
        ctx.save_for_forward(S, output, V, s, least)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None, None
        S, X, V, s, least = ctx.saved_tensors
        H = _Lyapunov.call(S, grad, V, s, least)
        product = H @ X
        grad_S = -(product + product.mT)
        if least is not None and ctx.needs_input_grad[0]:
            grad_S = grad_S + _refused_root(s, least)
        return grad_S, H, None, None, None

    @staticmethod
    def tangent(ctx: Any, dS: Tensor | None, dC: Tensor | None, *_: Any) -> Tensor:
        S, X, V, s, least = ctx.saved_tensors
        right = torch.zeros_like(X) if dC is None else dC
        if dS is not None:
            right = right - dS @ X - X @ dS
            if least is not None:
                right = right + _refused_root(s, least)
        return _Lyapunov.call(S, right, V, s, least)


def _refused_root(s: Tensor, least: Tensor) -> Tensor:
    return refuse_second_derivative(2 * s.amin(-1) < least.squeeze(-1), "the square root")


class _Root(DifferentiableFunction):
    """``P^(1/2)``, and what its derivative needs: V, s, and the least denominator."""

    @staticmethod
    def forward(P: Tensor, working: torch.dtype, floor: float, absolute: float) -> tuple[Tensor | None, ...]:
        eigenvalues, V, poison = decompose(P, working)
        resolution = P.shape[-1] * torch.finfo(working).eps
        if is_above(eigenvalues, max(floor, resolution), poison):
            s = eigenvalues.sqrt_()
            return (V * s.unsqueeze(-2)) @ V.mT, V, s, None
        # What is below the resolution of eigh itself is noise around zero and gives zero.
        s = eigenvalues.masked_fill(eigenvalues <= resolution * eigenvalues[..., -1:], 0).sqrt_()
        if poison is not None:
            s += poison
        return (V * s.unsqueeze(-2)) @ V.mT, V, s, floors(eigenvalues, 4 * floor, 4 * absolute).sqrt_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        ctx.dtype = inputs[0].dtype
        ctx.mark_non_differentiable(*(value for value in output[1:] if value is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None
        S, V, s, least = ctx.saved_tensors
        return to_input_dtype(_Lyapunov.call(S, grad, V, s, least), ctx.dtype), None, None, None

    @staticmethod
    def tangent(ctx: Any, dP: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:
        S, V, s, least = ctx.saved_tensors
        return _Lyapunov.call(S, dP.to(S.dtype), V, s, least), None, None, None


class _InverseRootDerivative(DifferentiableFunction):
    """Solution X of ``W X + X W = -W^2 C W^2`` with C symmetrised, for ``W = V diag(w) V^T`` and ``A = V diag(w)``.

    Elementwise in the basis A, whose factors w are the ``1 / (s_i s_j)``, and ``1 / (s_i + s_j)`` with two more of them
    is ``1 / (w_i + w_j)``. u and e are the weights of the floor, see :func:`floor_weights`, if any.
    """

    @staticmethod
    def forward(W: Tensor, C: Tensor, A: Tensor, w: Tensor, u: Tensor | None, e: Tensor | None) -> Tensor:
        inner = in_eigenbasis(C, A)
        inner /= _outer_sum(-2 * w)
        if u is not None and e is not None:
            inner *= _outer_sum(u) / _outer_sum(e)
        return A @ inner @ A.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        W, C, A, w, u, e = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(W, C, output, A, w, u, e)
        ctx.save_for_forward(W, C, output, A, w, u, e)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        if grad is None:
            return None, None, None, None, None, None
        W, C, X, A, w, u, e = ctx.saved_tensors
        grad_C = _InverseRootDerivative.call(W, grad, A, w, u, e)
        if not ctx.needs_input_grad[0]:
            return None, grad_C, None, None, None, None
        H = _Lyapunov.call(W, grad, A / w.unsqueeze(-2), w, None)
        product = H @ W @ W @ (0.5 * (C + C.mT))
        half = (product + product.mT) @ W + H @ X
        grad_W = -(half + half.mT)
        if u is not None:
            grad_W = grad_W + _refused_inverse(u)
        return grad_W, grad_C, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, dW: Tensor | None, dC: Tensor | None, *_: Any) -> Tensor:
        W, C, X, A, w, u, e = ctx.saved_tensors
        tangent = torch.zeros_like(X) if dC is None else _InverseRootDerivative.call(W, dC, A, w, u, e)
        if dW is not None:
            half = dW @ X + (dW @ W + W @ dW) @ (0.5 * (C + C.mT)) @ W @ W
            tangent = tangent - _Lyapunov.call(W, half + half.mT, A / w.unsqueeze(-2), w, None)
            if u is not None:
                tangent = tangent + _refused_inverse(u)
        return tangent


def _refused_inverse(u: Tensor) -> Tensor:
    return refuse_second_derivative((u == 0).any(-1), "the inverse square root")


class _InverseRoot(DifferentiableFunction):
    """``P^(-1/2)``, and what its derivative needs: A = V diag(w), the inverse roots w, and the weights of the floor."""

    @staticmethod
    def forward(P: Tensor, working: torch.dtype, floor: float, absolute: float) -> tuple[Tensor | None, ...]:
        eigenvalues, V, poison = decompose(P, working)
        if is_above(eigenvalues, floor, poison):
            w = eigenvalues.rsqrt_()
            A = V * w.unsqueeze(-2)
            return A @ V.mT, A, w, None, None
        least = floors(eigenvalues, floor, absolute)
        w = torch.maximum(eigenvalues, least).rsqrt()
        if poison is not None:
            w += poison
        A = V * w.unsqueeze(-2)
        return A @ V.mT, A, w, *floor_weights(eigenvalues, least)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        ctx.dtype = inputs[0].dtype
        ctx.mark_non_differentiable(*(value for value in output[1:] if value is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None
        W, A, w, u, e = ctx.saved_tensors
        return to_input_dtype(_InverseRootDerivative.call(W, grad, A, w, u, e), ctx.dtype), None, None, None

    @staticmethod
    def tangent(ctx: Any, dP: Tensor, *_: Any) -> tuple[Tensor, None, None, None, None]:
        W, A, w, u, e = ctx.saved_tensors
        return _InverseRootDerivative.call(W, dP.to(W.dtype), A, w, u, e), None, None, None, None
