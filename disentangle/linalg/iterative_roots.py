"""Approximate square roots and inverse square roots of SPD matrices by products only, as published.

``A = P / ||P||_F`` has its eigenvalues in (0, 1]. On it

    newton_schulz   the coupled iteration Y <- Y T, Z <- T Z with T = (3 I - Z Y) / 2 (Higham, Functions of Matrices)
    isqrt_cov       the same after a division by the trace in place of the norm (Li, Xie, Wang, Gao, CVPR 2018; for the
                    inverse root Huang et al., "Iterative Normalization", CVPR 2019)
    polar_express   the same with the best odd quintic of each step on the interval where the values are by then
                    (Amsel et al. 2025), T = a I + b Z Y + c (Z Y)^2
    pade            the [5/5] Pade approximant of sqrt(1 - z) at z = I - A ("MPA", Song, Sebe and Wang, ICLR 2022)
    taylor          the Taylor polynomial of degree 10 of sqrt(1 - z) ("MTP", same source)

The quintics of ``polar_express`` are those of the authors' code for their interval; it makes polar factors, not roots,
and the list of coefficients it holds ready, for l = 1e-3 in bfloat16 with a cushion and a safety factor, is not used.

The first three are differentiated by unrolling. The last two solve the Lyapunov equation ``S X + X S = C`` by the
Newton-Schulz iteration for the sign of ``[[S, C], [0, -S]]``, as their authors do: for the root scaled by the root of
``||P||_F``, for the inverse root by its own norm (in their code by that of all matrices of a batch together).

Relative Frobenius errors against the exact root with the default steps, in float64 at n = 32 and a log-uniform
spectrum, as root (its gradient) / inverse root (its gradient):

                    condition number 10               1e4
    newton_schulz   6e-6 (1e-4) / 2e-5 (3e-4)         3e-2 (0.5) / 0.8 (1)
    isqrt_cov       0.13 (0.2) / 0.3 (0.7)            0.12 (0.8) / 0.9 (1)
    polar_express   below 1e-13 (4e-11)               below 1e-12 (1e-11); 1e8: 1e-13 (9e-9) / 4e-10 (2e-8)
    pade            5e-3 (9e-3) / 1e-2 (4e-2)         0.2 (0.8) / 0.9 (1)
    taylor          5e-2 (8e-2) / 0.2 (0.6)           0.4 (0.9) / 0.9 (1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disentangle.linalg.differentiable import DifferentiableFunction, autocast_off

__all__ = ["ITERATIVE_STEPS", "iterative_root", "quintics"]

# Default of `steps` by method: the iterations, or those of the Lyapunov equation in the backward pass.
ITERATIVE_STEPS = {"newton_schulz": 7, "isqrt_cov": 5, "polar_express": 9, "pade": 8, "taylor": 8}

_PADE_NUMERATOR = (1.0, -11 / 4, 11 / 4, -77 / 64, 55 / 256, -11 / 1024)
_PADE_DENOMINATOR = (1.0, -9 / 4, 7 / 4, -35 / 64, 15 / 256, -1 / 1024)
# Binomial series of (1 - z)^(1/2) and (1 - z)^(-1/2).
_TAYLOR_ROOT = tuple(-math.comb(2 * k, k) / ((2 * k - 1) * 4**k) for k in range(11))
_TAYLOR_INVERSE = tuple(math.comb(2 * k, k) / 4**k for k in range(11))


def iterative_root(
    P: Tensor,
    method: str,
    inverse: bool,
    working: torch.dtype,
    absolute: float,
    steps: int,
    *,
    by_products: bool = False,
) -> Tensor:
    """``P^(1/2)`` or ``P^(-1/2)`` (..., n, n), approximately, in the working dtype.

    A zero matrix gives 0, or ``absolute^(-1/2) I``, with gradient 0; one that is not finite gives NaN. With
    ``by_products`` nothing but sums and products is done, so that exporters can follow; pade's and taylor's derivatives
    are then those of the steps taken.
    """
    with autocast_off(P):
        wide = P.to(working)
        has_none = not torch.jit.is_tracing() and P.numel() == 0  # a trace would take the question for a part of it
        largest = wide.detach()[..., :1, :1] if has_none else wide.detach().abs().amax(dim=(-2, -1), keepdim=True)
        bad, zero = ~torch.isfinite(largest), largest == 0
        identity = torch.eye(P.shape[-1], dtype=working, device=P.device)
        # The largest entry goes first: the norm of float32 entries of 1e30 would overflow.
        scale = largest.masked_fill(bad | zero, 1)
        A = torch.where(bad | zero, identity, wide / scale)
        A = 0.5 * (A + A.transpose(-2, -1))  # the older exporter to ONNX knows no mT
        if method in ("newton_schulz", "isqrt_cov", "polar_express"):
            norm = _trace(A) if method == "isqrt_cov" else _norm(A)
            coupled = _coupled(A / norm, quintics(steps) if method == "polar_express" else _cubics(steps))
            root = coupled[1] / norm.sqrt() if inverse else coupled[0] * norm.sqrt()
        elif by_products:
            root = _approximate(A, method, inverse, _quotient_by_products)
        else:
            function = _ApproximateInverseRoot if inverse else _ApproximateRoot
            root = function.call(A, method, steps)
        root = root / scale.sqrt() if inverse else root * scale.sqrt()
        of_zero = identity * absolute**-0.5 if inverse else torch.zeros_like(identity)
        return torch.where(bad, float("nan"), torch.where(zero, of_zero, root))


def _norm(A: Tensor) -> Tensor:
    return A.square().sum(dim=(-2, -1), keepdim=True).sqrt()


def _trace(A: Tensor) -> Tensor:
    return A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def _coupled(A: Tensor, coefficients: Sequence[tuple[float, float, float]]) -> tuple[Tensor, Tensor]:
    """Root and inverse root of A, whose eigenvalues lie in (0, 1]."""
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    Y, Z = A, identity.expand_as(A)
    for a, b, c in coefficients:
        product = Z @ Y
        T = a * identity + b * product
        if c:
            T = T + c * (product @ product)
        Y, Z = Y @ T, T @ Z
    return Y, Z


def _cubics(steps: int) -> list[tuple[float, float, float]]:
    return [(1.5, -0.5, 0.0)] * steps


def quintics(steps: int) -> list[tuple[float, float, float]]:
    """Coefficients (a, b, c) of the odd quintics ``a x + b x^3 + c x^5`` that bring [l, 1] closest to 1 in turn.

    More steps serve a longer interval, ``l = 10^(-2 (steps - 3) / 3)``: 1e-2 for 6 steps, 1e-4 for 9, 1e-6 for 12.
    x is the square root of an eigenvalue over the Frobenius norm.
    """
    lower = min(10 ** (-2 * (steps - 3) / 3), 0.5)
    result = []
    for step in range(steps):
        a, b, c, error = _minimax(lower)
        # Values then lie in [1 - error, 1 + error]; all but the last step bring that back below 1.
        shrink = 1.0 if step == steps - 1 else 1 / (1 + error)
        result.append((a * shrink, b * shrink, c * shrink))
        lower = (1 - error) / (1 + error)
    return result


# What torch.compiler.assume_constant_result sets; calling that imports the whole compiler, 160 MB, with the package.
quintics._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _minimax(lower: float) -> tuple[float, float, float, float]:
    """Best odd quintic for the constant 1 on [lower, 1], and its largest error, by the exchange of Remez."""
    if lower > 0.99:  # the exchange is singular in floating point; the osculating quintic has an error below 3e-6
        return 15 / 8, -10 / 8, 3 / 8, 2.5 * (1 - lower) ** 3
    points = np.array([lower, (3 * lower + 1) / 4, (lower + 3) / 4, 1.0])
    previous = math.inf
    for _ in range(100):
        system = np.stack([points, points**3, points**5, np.array([1.0, -1.0, 1.0, -1.0])], axis=1)
        a, b, c, error = np.linalg.lstsq(system, np.ones(4), rcond=None)[0].tolist()
        if abs(previous - error) <= 1e-15:
            break
        previous = error
        root = math.sqrt(max(9 * b * b - 20 * a * c, 0.0))
        points[1:3] = math.sqrt((-3 * b - root) / (10 * c)), math.sqrt((-3 * b + root) / (10 * c))
    return a, b, c, abs(error)


def _polynomial(coefficients: Sequence[float], z: Tensor) -> Tensor:
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    result = coefficients[-1] * z + coefficients[-2] * identity
    for coefficient in reversed(coefficients[:-2]):
        result = result @ z + coefficient * identity
    return result


def _approximate(
    A: Tensor, method: str, inverse: bool, quotient: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Tensor:
    norm = _norm(A)
    z = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device) - A / norm
    if method == "taylor":
        root = _polynomial(_TAYLOR_INVERSE if inverse else _TAYLOR_ROOT, z)
    else:
        above, below = _polynomial(_PADE_NUMERATOR, z), _polynomial(_PADE_DENOMINATOR, z)
        if inverse:
            above, below = below, above
        root = (_quotient if quotient is None else quotient)(above, below)
    return root / norm.sqrt() if inverse else root * norm.sqrt()


def _quotient(above: Tensor, below: Tensor) -> Tensor:
    """``below^(-1) above`` of two matrices that commute and are positive definite."""
    # No LU decomposition is needed then, which torch gets wrong for some batches.
    factor, failed = torch.linalg.cholesky_ex(below)
    root = torch.cholesky_solve(above, factor)
    return torch.where((failed != 0)[..., None, None], float("nan"), 0.5 * (root + root.mT))


def _quotient_by_products(above: Tensor, below: Tensor) -> Tensor:
    """The same by the Newton-Schulz iteration for the inverse, for eigenvalues of ``below`` in [2^-10, 2].

    Pade's polynomials are within [2^-10, 1]. The error ``I - below X``, at first at most ``1 - 2^-11``, is squared in
    each step: below 1e-16 after 17.
    """
    identity = torch.eye(below.shape[-1], dtype=below.dtype, device=below.device)
    inverse = identity * 0.5 + torch.zeros_like(below)
    for _ in range(17):
        inverse = inverse @ (2 * identity - below @ inverse)
    root = inverse @ above
    return 0.5 * (root + root.transpose(-2, -1))


def _lyapunov(S: Tensor, C: Tensor, steps: int, norm: Tensor) -> Tensor:
    """Solution X of ``S X + X S = C`` for positive definite S whose eigenvalues are at most ``norm``, approximately."""
    b, c = S / norm, C / norm
    for _ in range(steps):
        square = b @ b
        c = 1.5 * c - 0.5 * (c @ square + square @ c - b @ c @ b)
        b = 1.5 * b - 0.5 * b @ square
    return 0.5 * c


class _ApproximateRoot(DifferentiableFunction):
    """Pade or Taylor root of A; the derivative is that of the exact root, by an approximate Lyapunov equation."""

    @staticmethod
    def forward(A: Tensor, method: str, steps: int) -> Tensor:
        return _approximate(A, method, inverse=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.steps = inputs[2]
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        A, S = ctx.saved_tensors
        return _lyapunov(S, 0.5 * (grad + grad.mT), ctx.steps, _norm(A).sqrt()), None, None

    @staticmethod
    def tangent(ctx: Any, dA: Tensor, *_: Any) -> Tensor:
        A, S = ctx.saved_tensors
        return _lyapunov(S, 0.5 * (dA + dA.mT), ctx.steps, _norm(A).sqrt())


class _ApproximateInverseRoot(DifferentiableFunction):
    """Pade or Taylor inverse root W of A, with ``W X + X W = -W^2 C W^2`` for the derivative."""

    @staticmethod
    def forward(A: Tensor, method: str, steps: int) -> Tensor:
        return _approximate(A, method, inverse=True)

    setup_context = _ApproximateRoot.setup_context

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        _, W = ctx.saved_tensors
        square = W @ W
        return _lyapunov(W, -0.5 * square @ (grad + grad.mT) @ square, ctx.steps, _norm(W)), None, None

    @staticmethod
    def tangent(ctx: Any, dA: Tensor, *_: Any) -> Tensor:
        _, W = ctx.saved_tensors
        square = W @ W
        return _lyapunov(W, -0.5 * square @ (dA + dA.mT) @ square, ctx.steps, _norm(W))
