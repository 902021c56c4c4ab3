"""The exact square root and inverse square root of symmetric positive semi-definite matrices.

With ``P = V diag(l) V^T`` and ``s = sqrt(l)`` the derivative of a function of ``P`` is elementwise in the eigenbasis
(Daleckii and Krein 1965). For the two roots the divided differences simplify to

    P^(1/2):   1 / (s_i + s_j)                   the solution of S X + X S = G
    P^(-1/2): -1 / (s_i s_j (s_i + s_j))         the solution of W X + X W = -W^2 G W^2

in which no difference of eigenvalues is left, so repeated and clustered spectra are ordinary input. Each derivative is
a differentiable function of the root again, which gives second derivatives by the same two equations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

__all__ = ["exact_inverse_root", "exact_root"]

_Call = TypeVar("_Call", bound=Callable[..., Any])


def exact_root(P: Tensor, floor: float, absolute: float) -> Tensor:
    """``P^(1/2)`` of float32 or float64 (..., n, n); see :func:`disentangle.linalg.matrix_sqrt`."""
    return _apply(_Root, P, floor, absolute)[0]


def exact_inverse_root(P: Tensor, floor: float, absolute: float) -> Tensor:
    """``P^(-1/2)`` of float32 or float64 (..., n, n); see :func:`disentangle.linalg.matrix_inverse_sqrt`."""
    return _apply(_InverseRoot, P, floor, absolute)[0]


def decompose(P: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (..., n) ascending and eigenvectors of ``(P + P^T) / 2``, and (..., 1) that is 0, or NaN where P
    is not finite.

    Of such a matrix the finite entries are decomposed, since ``eigh`` would raise and take the rest of the batch with
    it.
    """
    twice = P + P.mT
    poison = (twice.amax(dim=(-2, -1)) + twice.amin(dim=(-2, -1))) * 0
    twice.nan_to_num_(0.0, 0.0, 0.0)
    eigenvalues, V = torch.linalg.eigh(twice)
    return 0.5 * eigenvalues, V, poison.unsqueeze(-1)


def floors(eigenvalues: Tensor, floor: float, absolute: float) -> Tensor:
    """Smallest eigenvalue (..., 1) that counts: relative to the largest one, absolute where there is none."""
    largest = eigenvalues[..., -1:]
    return torch.where(largest > torch.finfo(largest.dtype).tiny, floor * largest, absolute)


def resolved_roots(eigenvalues: Tensor) -> Tensor:
    """Square roots (..., n); what is below the resolution of ``eigh`` itself is noise around zero and gives zero."""
    resolution = eigenvalues.shape[-1] * torch.finfo(eigenvalues.dtype).eps
    threshold = (resolution * eigenvalues[..., -1:]).clamp_min(0)
    return torch.where(eigenvalues > threshold, eigenvalues, 0).sqrt()


def _apply(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    """``function.apply`` with its rule for forward mode, except while compiling, which refuses functions with one."""
    return (function if torch.compiler.is_compiling() else _WITH_JVP[function]).apply(*inputs)


def _derivative(function: type[torch.autograd.Function], root: Tensor, *others: Tensor) -> Tensor:
    """As :func:`_apply`; where nothing can follow ``root`` any further, without the bookkeeping (0.1 ms)."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or unpack_dual(root).tangent is not None:
        return _apply(function, root, *others)
    return function.forward(root, *others)


def _island(function: _Call) -> _Call:
    """A method of a context and tensors with autocast off: a derivative may be taken inside a region too."""

    @functools.wraps(function)
    def outside(ctx: Any, first: Tensor, *others: Any) -> Any:
        if first is None or not torch.is_autocast_enabled(first.device.type):
            return function(ctx, first, *others)
        with torch.autocast(first.device.type, enabled=False):
            return function(ctx, first, *others)

    return outside  # type: ignore[return-value]


def _congruence(C: Tensor, V: Tensor, twice_total: Tensor, outer: Tensor) -> Tensor:
    """``outer (sym(V^T C V) / total) outer^T``, ``twice_total`` (..., n, n) being twice the symmetric ``total``."""
    inner = V.mT @ C @ V
    inner = inner + inner.mT
    inner /= twice_total
    return outer @ inner @ outer.mT


class _Lyapunov(torch.autograd.Function):
    """Solution X of ``S X + X S = (C + C^T) / 2`` for symmetric ``S = V diag(s) V^T``, both given.

    ``least`` (..., 1) bounds the denominators ``s_i + s_j`` from below. V, s and least are constants: the dependence
    on S is in the derivative, ``dX`` being the solution for ``dC - dS X - X dS``.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(S: Tensor, C: Tensor, V: Tensor, s: Tensor, least: Tensor) -> Tensor:
        twice = 2 * s
        total = torch.clamp(twice.unsqueeze(-1) + twice.unsqueeze(-2), min=2 * least.unsqueeze(-1))
        return _congruence(C, V, total, V)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        S, _, V, s, least = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(S, output, V, s, least)
        ctx.save_for_forward(S, output, V, s, least)

    @staticmethod
    @_island
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None, None
        S, X, V, s, least = ctx.saved_tensors
        H = _derivative(_Lyapunov, S, grad, V, s, least)
        product = H @ X
        return -(product + product.mT), H, None, None, None


class _LyapunovJvp(_Lyapunov):
    @staticmethod
    @_island
    def jvp(ctx: Any, dS: Tensor | None, dC: Tensor | None, *_: Any) -> Tensor:
        S, X, V, s, least = ctx.saved_tensors
        right = torch.zeros_like(X) if dC is None else dC
        if dS is not None:
            right = right - dS @ X - X @ dS
        return _apply(_Lyapunov, S, right, V, s, least)


class _Root(torch.autograd.Function):
    """``P^(1/2)``, and what its derivative needs: V, s, and the least denominator."""

    generate_vmap_rule = True

    @staticmethod
    def forward(P: Tensor, floor: float, absolute: float) -> tuple[Tensor, ...]:
        eigenvalues, V, poison = decompose(P)
        s = resolved_roots(eigenvalues) + poison
        return (V * s.unsqueeze(-2)) @ V.mT, V, s, 2 * floors(eigenvalues, floor, absolute).sqrt()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    @_island
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        S, V, s, least = ctx.saved_tensors
        return _derivative(_Lyapunov, S, grad, V, s, least), None, None


class _RootJvp(_Root):
    @staticmethod
    @_island
    def jvp(ctx: Any, dP: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:
        S, V, s, least = ctx.saved_tensors
        return _apply(_Lyapunov, S, dP, V, s, least), None, None, None


class _InverseRootDerivative(torch.autograd.Function):
    """Solution X of ``W X + X W = -W^2 C W^2`` with C symmetrised, for symmetric ``W = V diag(w) V^T``.

    Done in the eigenbasis, where it costs no more than a Lyapunov solve and loses no digits to ``W^2``. Between two
    directions that are both at the floor the root is a constant and X is zero.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(W: Tensor, C: Tensor, V: Tensor, w: Tensor, floored: Tensor) -> Tensor:
        s = w.reciprocal() * -2
        total = s.unsqueeze(-1) + s.unsqueeze(-2)
        total.masked_fill_(floored.unsqueeze(-1) & floored.unsqueeze(-2), float("inf"))
        # 1 / (s_i s_j) goes to the eigenvectors: as one number it would leave the range of the dtype sooner.
        return _congruence(C, V, total, V * w.unsqueeze(-2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        W, C, V, w, floored = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(W, C, output, V, w, floored)
        ctx.save_for_forward(W, C, output, V, w, floored)

    @staticmethod
    @_island
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None, None
        W, C, X, V, w, floored = ctx.saved_tensors
        H = _derivative(_Lyapunov, W, grad, V, w, torch.zeros_like(w[..., :1]))
        product = H @ W @ W @ (0.5 * (C + C.mT))
        half = (product + product.mT) @ W + H @ X
        grad_C = _derivative(_InverseRootDerivative, W, grad, V, w, floored)
        return -(half + half.mT), grad_C, None, None, None


class _InverseRootDerivativeJvp(_InverseRootDerivative):
    @staticmethod
    @_island
    def jvp(ctx: Any, dW: Tensor | None, dC: Tensor | None, *_: Any) -> Tensor:
        W, C, X, V, w, floored = ctx.saved_tensors
        tangent = torch.zeros_like(X) if dC is None else _apply(_InverseRootDerivative, W, dC, V, w, floored)
        if dW is not None:
            half = dW @ X + (dW @ W + W @ dW) @ (0.5 * (C + C.mT)) @ W @ W
            tangent = tangent - _apply(_Lyapunov, W, half + half.mT, V, w, torch.zeros_like(w[..., :1]))
        return tangent


class _InverseRoot(torch.autograd.Function):
    """``P^(-1/2)``, and what its derivative needs: V, the inverse roots w, and which eigenvalues are at the floor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(P: Tensor, floor: float, absolute: float) -> tuple[Tensor, ...]:
        eigenvalues, V, poison = decompose(P)
        least = floors(eigenvalues, floor, absolute)
        w = torch.maximum(eigenvalues, least).sqrt().reciprocal() + poison
        return (V * w.unsqueeze(-2)) @ V.mT, V, w, eigenvalues <= least

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    @_island
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        W, V, w, floored = ctx.saved_tensors
        return _derivative(_InverseRootDerivative, W, grad, V, w, floored), None, None


class _InverseRootJvp(_InverseRoot):
    @staticmethod
    @_island
    def jvp(ctx: Any, dP: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:
        W, V, w, floored = ctx.saved_tensors
        return _apply(_InverseRootDerivative, W, dP, V, w, floored), None, None, None


_WITH_JVP: dict[type[torch.autograd.Function], type[torch.autograd.Function]] = {
    _Lyapunov: _LyapunovJvp,
    _Root: _RootJvp,
    _InverseRootDerivative: _InverseRootDerivativeJvp,
    _InverseRoot: _InverseRootJvp,
}

for _function in [*_WITH_JVP, *_WITH_JVP.values()]:
    _function.forward.__signature__ = inspect.signature(_function.forward)
