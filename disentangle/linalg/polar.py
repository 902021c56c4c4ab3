"""The polar factor: the nearest matrix with orthonormal rows (or columns).

For the thin singular value decomposition ``G = U S V^T`` the polar factor is ``Q = U V^T``, the solution of
``min ||G - Q||_F`` subject to ``Q Q^T = I`` (orthogonal Procrustes, Schönemann 1966). It is the *nearest orthogonal
gradient* of Song, Sebe and Wang (TPAMI 2023) when ``G`` is the gradient of a weight.

The default route costs one small eigendecomposition instead of a singular value decomposition: with the shorter side
first, ``G = P Q`` and ``P^2 = G G^T``, so ``Q = (G G^T)^(-1/2) G``. Forming ``G G^T`` squares the condition number,
therefore it is done in float64 whatever the input's dtype.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from disentangle.errors import InputError, unknown_name

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
        method: ``"gram_eigh"`` (default) eigendecomposes the Gram matrix of the shorter side in float64; float64
            input is refined to full accuracy, and matrices it cannot resolve (singular values apart by more than
            1e6) go through the SVD. ``"svd"`` is the published route. ``"newton_schulz"`` iterates
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
    if not isinstance(G, Tensor) or G.ndim < 2:
        shape = f"shape {tuple(G.shape)}" if isinstance(G, Tensor) else f"type {type(G).__name__}"
        raise InputError(f"polar got an argument of {shape}; expected a tensor (..., m, n).")
    if not G.is_floating_point():
        raise InputError(f"polar got dtype {G.dtype}; expected a real floating point tensor.")
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
        with torch.autocast(G.device.type, enabled=False):
            factor = _newton_schulz(wide, steps)
    else:
        tolerance = relative_tolerance(wide) if rtol is None else rtol
        function = _Polar.apply if _is_tracked(wide) else _Polar.forward
        factor = function(wide, method, rank_deficient == "complete", tolerance)[0]
    return factor.mT if tall else factor


def _is_tracked(matrix: Tensor) -> bool:
    """Whether autograd or a ``torch.func`` transform follows ``matrix``; if not, its bookkeeping (0.1 ms) is spared."""
    wrapped = getattr(torch._C._functorch, "is_functorch_wrapped_tensor", None)
    return wrapped is None or wrapped(matrix) or (matrix.requires_grad and torch.is_grad_enabled())


def relative_tolerance(matrix: Tensor) -> float:
    """Default tolerance of the numerical rank: shorter side times the machine epsilon of the dtype, at most 0.01.

    The shorter side, because rounding noise in a wide gradient does not grow with its length relative to the largest
    singular value; the cap, because half precision would otherwise call everything noise.
    """
    return min(min(matrix.shape[-2:]) * torch.finfo(matrix.dtype).eps, 1e-2)


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
    """As :func:`_by_svd`, from the eigenvectors of ``a a^T``; ``single`` is ``a`` in float32, where it was given so."""
    gram = a @ a.mT
    bad = None
    if not bool(torch.isfinite(gram.sum())):  # NaN and infinity reach the Gram matrix, on which eigh would raise
        bad = ~torch.isfinite(gram).all(dim=(-2, -1))
        gram = torch.where(bad[..., None, None], 0.0, gram)
    eigenvalues, v = torch.linalg.eigh(gram)
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
    """Whether products lose nothing in float32: s (..., k) ascending, its ends less than a factor ``spread`` apart."""
    if not s.numel():
        return False
    lowest, highest = (s[0], s[-1]) if s.ndim == 1 else (s[..., 0].amin(), s[..., -1].amax())
    low, high = float(lowest), float(highest)
    return high < spread * low and low > 1e-30 and high < 1e30


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


class _Polar(torch.autograd.Function):
    """Polar factor of (..., k, n), k <= n; also returns what its backward needs: V and 1/s."""

    @staticmethod
    def forward(matrix: Tensor, method: Method, complete: bool, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        a, scale = _working(matrix)
        if method == "svd":
            q, v, inverse = _by_svd(a, tolerance, complete)
        else:
            # Under autocast a float32 product would be rounded to half precision; float64 ones are left alone.
            exact = matrix.dtype != torch.float32 or torch.is_autocast_enabled(matrix.device.type)
            single = None if exact else matrix
            q, v, inverse = _by_gram(a, tolerance, complete, matrix.dtype == torch.float64, single)
        if scale is not None:
            inverse = inverse / scale.squeeze(-1)
        return q.to(matrix.dtype), v, inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        q, v, inverse = output
        ctx.mark_non_differentiable(v, inverse)
        ctx.save_for_backward(q, v, inverse)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:
        """Adjoint of ``dQ = X Q + P^-1 dA (I - Q^T Q)`` with ``P X + X P = dA Q^T - Q dA^T``."""
        (q, v, inverse), dtype = ctx.saved_tensors, grad.dtype
        # Products with the long side are most of the work; of a well-conditioned matrix float32 holds them as well.
        single = q.dtype == dtype == torch.float32 and not torch.is_autocast_enabled(q.device.type)
        if single and _is_well_conditioned(inverse.flip(-1), 10.0):
            s = inverse.reciprocal()
            weights = (s.unsqueeze(-1) + s.unsqueeze(-2)).reciprocal()
        else:
            grad, q, kept = grad.double(), q.double(), inverse > 0
            s = torch.where(kept, 1 / torch.where(kept, inverse, torch.ones_like(inverse)), torch.ones_like(inverse))
            pair = kept.unsqueeze(-1) & kept.unsqueeze(-2)
            weights = pair.to(s.dtype) / (s.unsqueeze(-1) + s.unsqueeze(-2))
        cross = (grad @ q.mT).double()
        skew = v @ ((v.mT @ (cross - cross.mT) @ v) * weights) @ v.mT
        root = (v * inverse.unsqueeze(-2)) @ v.mT
        # skew q + P^-1 (g - cross q), with the products of q gathered: only three have the long side
        result = (skew - root @ cross).to(q.dtype) @ q + root.to(q.dtype) @ grad
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
