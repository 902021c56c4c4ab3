"""The polar factor: the nearest matrix with orthonormal rows (or columns).

For the thin singular value decomposition ``G = U S V^T`` the polar factor is ``Q = U V^T``, the solution of
``min ||G - Q||_F`` subject to ``Q Q^T = I`` (orthogonal Procrustes, Schönemann 1966). It is the *nearest orthogonal
gradient* of Song, Sebe and Wang (TPAMI 2023) when ``G`` is the gradient of a weight.

The default route costs one small eigendecomposition instead of a singular value decomposition: with the shorter side
first, ``G = P Q`` and ``P^2 = G G^T``, so ``Q = (G G^T)^(-1/2) G``. Forming ``G G^T`` squares the condition number,
therefore it is done in float64 whatever the input's dtype. Of a well-conditioned float32 matrix the decomposition
itself is in float32, and a Newton step with the float64 Gram matrix corrects its result to the same error.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from disentangle.errors import InputError, unknown_name
from disentangle.linalg.differentiable import (
    DifferentiableFunction,
    are_values_visible,
    autocast_off,
    is_under_autocast,
)
from disentangle.linalg.matrices import check_matrix

__all__ = ["polar", "relative_tolerance"]

Method = Literal["gram_eigh", "svd", "newton_schulz"]

# Below this ratio of singular values the float64 Gram matrix no longer resolves them to 1e-4 of their size.
_GRAM_RESOLUTION = 1e-6


def polar(
    G: Tensor,
    method: Method = "gram_eigh",
    rank_deficient: Literal["partial", "complete"] = "partial",
    *,
    rtol: float | None = None,
    steps: int = 30,
) -> Tensor:
    """Polar factor of a batch of matrices.

    Args:
        G: (..., m, n) real floating point; any memory layout, never modified.
        method: ``"gram_eigh"`` (default) eigendecomposes the float64 Gram matrix of the shorter side; float64 input
            is refined to full accuracy, and matrices it cannot resolve (singular values apart by more than 1e6) go
            through the SVD. ``"svd"`` is the published route. ``"newton_schulz"`` iterates
            ``X <- 1.5 X - 0.5 X X^T X`` in the input's precision (float32 for half precision): products only, exact
            for condition numbers up to about ``1.5**steps / sqrt(min(m, n))``, differentiated by unrolling.
        rank_deficient: ``"partial"`` returns the partial isometry: directions whose singular value is at most
            ``rtol`` times the largest are zero, so a zero matrix gives zero. ``"complete"`` gives every direction
            length one, noise or not, as the SVD in the paper's code does.
        rtol: relative tolerance of the numerical rank; see :func:`relative_tolerance` for the default.
        steps: iterations of ``"newton_schulz"``.

    Returns:
        (..., m, n), dtype of ``G``. Singular values are 1, or 0 on the directions that ``"partial"`` drops. A matrix
        that holds NaN or infinity gives NaN in all its entries and leaves the rest of the batch alone.

    The gradient is the closed form with ``1 / (s_i + s_j)`` only, finite for repeated singular values; dropped
    directions get none. Second derivatives raise.

    Raises:
        InputError: if ``G`` is not a floating point matrix or an option is unknown.

    >>> polar(torch.tensor([[3.0, 0.0], [0.0, -0.5]]))
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """
    check_matrix(G, "polar")
    if rank_deficient not in ("partial", "complete"):
        raise InputError(f"rank_deficient is {rank_deficient!r}; expected 'partial' or 'complete'.")
    if method not in ("gram_eigh", "svd", "newton_schulz"):
        raise unknown_name("polar method", str(method), ["gram_eigh", "svd", "newton_schulz"])
    tall = G.shape[-2] > G.shape[-1]
    wide = G.mT if tall else G
    if method == "newton_schulz":
        if rank_deficient == "complete":
            raise InputError(
                "rank_deficient='complete' does not go with method='newton_schulz', which cannot complete a "
                "null space; use 'gram_eigh' or 'svd'."
            )
        with autocast_off(G):
            factor = _newton_schulz(wide, steps)
    else:
        tolerance = relative_tolerance(wide.dtype, wide.shape[-2]) if rtol is None else rtol
        factor = _Polar.call(wide, method, rank_deficient == "complete", tolerance)[0]
    return factor.mT if tall else factor


def relative_tolerance(dtype: torch.dtype, shorter_side: int) -> float:
    """Default tolerance of the numerical rank: shorter side times the machine epsilon of the dtype, at most 0.01.

    The shorter side, because rounding noise in a wide gradient does not grow with its length relative to the largest
    singular value; the cap, because half precision would otherwise call everything noise.
    """
    return min(shorter_side * torch.finfo(dtype).eps, 1e-2)


def _working(matrix: Tensor) -> tuple[Tensor, Tensor | None]:
    """``matrix`` in float64 and the number it was divided by, if any.

    Products of float32 entries cannot leave float64's range, so only float64 is scaled by its largest entry first.
    """
    if matrix.dtype != torch.float64 or matrix.numel() == 0:
        return matrix.double(), None
    largest = matrix.abs().amax(dim=(-2, -1), keepdim=True)
    scale = torch.where(torch.isfinite(largest) & (largest > 0), largest, torch.ones_like(largest))
    return matrix / scale, scale


def _inverse_on_range(s: Tensor, largest: Tensor, tolerance: float) -> Tensor:
    """1/s where s exceeds the tolerance times the largest, else 0; s is (..., k), largest (..., 1)."""
    return torch.where(s > tolerance * largest, s, float("inf")).reciprocal()


def _by_svd(a: Tensor, tolerance: float, complete: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Polar factor (..., k, n), left singular vectors (..., k, k), inverse singular values (..., k), 0 if dropped."""
    bad = ~torch.isfinite(a).all(dim=(-2, -1))
    u, s, vh = torch.linalg.svd(torch.where(bad[..., None, None], 0.0, a), full_matrices=False)
    inverse = _inverse_on_range(s, s[..., :1], tolerance)
    kept = torch.ones_like(s) if complete else (inverse > 0).to(s.dtype)
    kept = torch.where(bad.unsqueeze(-1), float("nan"), kept)
    return (u * kept.unsqueeze(-2)) @ vh, u, inverse


def _by_gram(
    a: Tensor, tolerance: float, complete: bool, refine: bool, single: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`_by_svd`, from the eigenvectors of ``a a^T``; ``single`` is ``a`` in float32, where it was given so.

    Where no branch may depend on the values this takes the one path that is right for all of them: no short cut for
    what is well-conditioned, and the SVD where some matrices would have to go through it.
    """
    visible = are_values_visible(a)
    if not visible and (refine or complete):
        return _by_svd(a, tolerance, complete)
    gram = a @ a.mT
    if visible and single is not None and _looks_well_conditioned(gram):
        found = _by_single(gram, single)
        if found is not None:
            return found
    bad = None
    # NaN and infinity reach the Gram matrix, on which eigh would raise.
    if not (visible and math.isfinite(gram.sum())):
        bad = ~torch.isfinite(gram).all(dim=(-2, -1))
        gram = torch.where(bad[..., None, None], 0.0, gram)
    eigenvalues, v = torch.linalg.eigh(gram.mT)  # in LAPACK's order, which spares it a slow copy
    s = eigenvalues.clamp_min(0).sqrt()  # ascending
    if single is not None and bad is None and _is_well_conditioned(s):
        inverse = s.reciprocal()
        return ((v * inverse.unsqueeze(-2)) @ v.mT).float() @ single, v, inverse
    inverse = _inverse_on_range(s, s[..., -1:], tolerance)
    if bad is not None:
        inverse = torch.where(bad.unsqueeze(-1), float("nan"), inverse)
    q = ((v * inverse.unsqueeze(-2)) @ v.mT) @ a
    if not (refine or complete):
        return q, v, inverse
    if bad is None:
        bad = torch.zeros(gram.shape[:-2], dtype=torch.bool, device=gram.device)
    if refine:
        q = _refine(a, q, v, s, inverse)
        # The symmetric factor P = a q^T has the singular values themselves, not their squares.
        product = torch.where(bad[..., None, None], 0.0, a @ q.mT)
        s, v = torch.linalg.eigh(0.5 * (product + product.mT))
        inverse = _inverse_on_range(s, s[..., -1:], tolerance)
    hard = torch.zeros_like(bad)
    if refine and s.shape[-1]:
        hard = (s <= _GRAM_RESOLUTION * s[..., -1:]).any(-1)
    if complete:
        hard = hard | (inverse == 0).any(-1)
    hard = hard & ~bad
    if bool(hard.any()):  # rare: ill-conditioned float64, or directions to complete
        q, v, inverse = q.clone(), v.clone(), inverse.clone()
        q[hard], v[hard], inverse[hard] = _by_svd(a[hard], tolerance, complete)
    return q, v, inverse


def _is_well_conditioned(s: Tensor, spread: float = 100.0) -> bool:
    """Whether products are known to lose nothing in float32: all of s (..., k) less than a factor ``spread`` apart."""
    if not are_values_visible(s):
        return False
    low, high = map(float, s.aminmax())
    return high < spread * low and low > 1e-30 and high < 1e30


def _looks_well_conditioned(gram: Tensor) -> bool:
    """Whether the eigenvalues of every ``gram`` (..., k, k) deviate from their mean by less than half of it (rms).

    So do those of weights under the parametrisation, of weights after a step, and of noise that is wide. False where
    anything is not finite, and for small matrices, whose eigendecomposition is cheap in any precision.
    """
    k = gram.shape[-1]
    if k < 16 or gram.numel() == 0:
        return False
    mean, norm = gram.diagonal(dim1=-2, dim2=-1).mean(-1), torch.linalg.vector_norm(gram, dim=(-2, -1))
    if gram.ndim == 2:
        low = high = float(mean)
        ratio = float(norm) / low if low else math.inf
    else:
        low, high = map(float, mean.aminmax())
        ratio = float((norm / mean).amax())
    return low > 1e-30 and high < 1e30 and ratio * ratio < 1.25 * k


def _by_single(gram: Tensor, single: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """As :func:`_by_gram` from a decomposition in float32, a third faster; one Newton step squares its error away.

    None where singular values are a factor of four or more apart.
    """
    eigenvalues, v = torch.linalg.eigh(gram.float().mT)
    if not _is_well_conditioned(eigenvalues, 16.0):
        return None
    inverse = eigenvalues.rsqrt_()
    root = ((v * inverse.unsqueeze(-2)) @ v.mT).double()
    root = _plus_product(1.5, root, -0.5, root @ gram @ root, root)
    return root.float() @ single, v, inverse


def _plus_product(beta: float, matrix: Tensor, alpha: float, left: Tensor, right: Tensor) -> Tensor:
    """``beta matrix + alpha left right``, in one call for what is no batch."""
    if matrix.ndim == 2:
        return torch.addmm(matrix, left, right, beta=beta, alpha=alpha)
    return torch.add(matrix if beta == 1 else beta * matrix, left @ right, alpha=alpha)


def _refine(a: Tensor, q: Tensor, v: Tensor, s: Tensor, inverse: Tensor) -> Tensor:
    """One Newton step towards ``q q^T = I`` and ``a q^T`` symmetric, the two equations that define the factor.

    The Gram matrix loses eps * kappa^2; its eigenvectors are good enough to solve the linearised equations
    ``P X + X P = a q^T - q a^T`` for the skew correction, after which the error is about eps * kappa.
    """
    kept = inverse > 0
    pair = (kept.unsqueeze(-1) & kept.unsqueeze(-2)).to(s.dtype)
    total = s.unsqueeze(-1) + s.unsqueeze(-2)
    weights = pair / torch.where(pair > 0, total, torch.ones_like(total))
    for _ in range(2):
        q = 1.5 * q - 0.5 * (q @ q.mT) @ q
        product = a @ q.mT
        q = q + v @ ((v.mT @ (product - product.mT) @ v) * weights) @ v.mT @ q
    return 1.5 * q - 0.5 * (q @ q.mT) @ q


def _newton_schulz(matrix: Tensor, steps: int) -> Tensor:
    """Cubic Newton-Schulz iteration on (..., k, n) with k <= n; Björck and Bowie 1971."""
    if not matrix.numel():
        return matrix.clone()
    working = matrix.dtype if matrix.dtype in (torch.float32, torch.float64) else torch.float32
    largest = matrix.detach().abs().amax(dim=(-2, -1), keepdim=True).to(working)
    bad = ~torch.isfinite(largest)
    scale = torch.where(bad | (largest == 0), torch.ones_like(largest), largest)
    x = torch.where(bad, torch.zeros((), dtype=working, device=matrix.device), matrix.to(working)) / scale
    square = x.square().sum(dim=(-2, -1), keepdim=True)
    x = x / torch.where(square > 0, square, torch.ones_like(square)).sqrt()  # every singular value is now at most 1
    for _ in range(steps):
        x = 1.5 * x - 0.5 * (x @ x.mT) @ x
    return torch.where(bad, torch.full((), float("nan"), dtype=working, device=matrix.device), x).to(matrix.dtype)


class _Polar(DifferentiableFunction):
    """Polar factor of (..., k, n), k <= n; also returns what its backward needs: V and 1/s."""

    generate_vmap_rule = False

    @staticmethod
    def forward(matrix: Tensor, method: Method, complete: bool, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        a, scale = _working(matrix)
        if method == "svd":
            q, v, inverse = _by_svd(a, tolerance, complete)
        else:
            # Under autocast a float32 product would be rounded to half precision; float64 ones are left alone.
            exact = matrix.dtype != torch.float32 or is_under_autocast(matrix)
            single = None if exact else matrix
            q, v, inverse = _by_gram(a, tolerance, complete, matrix.dtype == torch.float64, single)
        if scale is not None:
            inverse = inverse / scale.squeeze(-1)
        return q.to(matrix.dtype), v, inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        q, v, inverse = output
        ctx.mark_non_differentiable(v, inverse)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, v, inverse)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None, None]:
        """Adjoint of ``dQ = X Q + P^-1 dA (I - Q^T Q)`` with ``P X + X P = dA Q^T - Q dA^T``."""
        if grad is None:
            return None, None, None, None
        (q, v, inverse), dtype = ctx.saved_tensors, grad.dtype
        # Products with the long side are most of the work; of a well-conditioned matrix float32 holds all of them.
        single = q.dtype == dtype == torch.float32
        if single and (v.dtype == torch.float32 or _is_well_conditioned(inverse, 10.0)):
            v, inverse = v.float(), inverse.float()
        else:
            grad, q, v, inverse = grad.double(), q.double(), v.double(), inverse.double()
        s = inverse.reciprocal()  # infinite for a dropped direction, whose weights are then zero
        weights = (s.unsqueeze(-1) + s.unsqueeze(-2)).reciprocal()
        # X Q + P^-1 (G - C Q) for C = G Q^T, with the products of Q gathered: only three have the long side
        half = v.mT @ (grad @ q.mT)
        inner = half @ v
        short = v @ _plus_product(-1.0, inverse.unsqueeze(-1) * half, 1.0, (inner - inner.mT) * weights, v.mT)
        root = (v * inverse.unsqueeze(-2)) @ v.mT
        result = _plus_product(1.0, short @ q, 1.0, root, grad)
        return result.to(dtype), None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], matrix: Tensor, method: Method, complete: bool, tolerance: float
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        # The function is batched already, so a vmapped call is one call with the mapped dimension in front.
        if in_dims[0] is not None:
            matrix = matrix.movedim(in_dims[0], 0)
            return _Polar.apply(matrix, method, complete, tolerance), (0, 0, 0)
        return _Polar.apply(matrix, method, complete, tolerance), (None, None, None)  # type: ignore[return-value]
