"""How far a matrix is from orthogonal, and how well conditioned a covariance is.

All functions take (..., m, n) and return (...) float64; a matrix with NaN or infinity gives NaN (rank: 0) and never
raises, so that they can be logged at any step of a training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.linalg.polar import relative_tolerance

__all__ = [
    "condition_number",
    "effective_condition_number",
    "effective_rank",
    "numerical_rank",
    "orthogonality_error",
]


def _check(matrix: Tensor) -> None:
    if matrix.ndim < 2:
        raise InputError(f"got a tensor of shape {tuple(matrix.shape)}; expected matrices (..., m, n).")


def _singular_values(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(..., k) descending in float64, and which matrices hold NaN or infinity (their values are zeros)."""
    _check(matrix)
    matrix = matrix.detach()
    bad = ~torch.isfinite(matrix).all(dim=(-2, -1))
    finite = torch.where(bad[..., None, None], torch.zeros_like(matrix), matrix).double()
    return torch.linalg.svdvals(finite), bad


def _nan_where(bad: Tensor, value: Tensor) -> Tensor:
    return torch.where(bad, torch.full_like(value, float("nan")), value)


def condition_number(P: Tensor) -> Tensor:
    """Largest over smallest singular value; infinity if the smallest is zero.

    For a covariance (symmetric positive semi-definite) this is the ratio of its extreme eigenvalues. A covariance of
    more directions than the data have is singular, and its condition number then only measures rounding or the ridge
    that was added: look at :func:`effective_condition_number` and :func:`numerical_rank` beside it.

    >>> condition_number(torch.diag(torch.tensor([4.0, 2.0]))).item()
    2.0
    """
    s, bad = _singular_values(P)
    largest, smallest = s[..., 0], s[..., -1]
    singular = smallest <= 0
    ratio = largest / torch.where(singular, torch.ones_like(smallest), smallest)
    return _nan_where(bad, torch.where(singular, torch.full_like(ratio, float("inf")), ratio))


def numerical_rank(P: Tensor, *, rtol: float | None = None) -> Tensor:
    """Number of singular values above ``rtol`` times the largest, int64.

    The default ``rtol`` is the shorter side times the machine epsilon of the dtype.
    """
    s, _ = _singular_values(P)
    return _kept(P, s, rtol).sum(-1)


def effective_condition_number(P: Tensor, *, rtol: float | None = None) -> Tensor:
    """Condition number over the numerical rank: largest over smallest singular value that is not noise.

    NaN for a zero matrix.
    """
    s, bad = _singular_values(P)
    kept = _kept(P, s, rtol)
    smallest = torch.where(kept, s, torch.full_like(s, float("inf"))).amin(-1)
    return _nan_where(bad | ~kept.any(-1), s[..., 0] / smallest)


def effective_rank(P: Tensor) -> Tensor:
    """Exponential of the entropy of the normalised singular values (Roy and Vetterli, EUSIPCO 2007, equation 4).

    Between 1 and the rank: the number of directions that carry the matrix. NaN for a zero matrix.
    """
    s, bad = _singular_values(P)
    total = s.sum(-1, keepdim=True)
    share = s / torch.where(total > 0, total, torch.ones_like(total))
    entropy = -torch.xlogy(share, share).sum(-1)
    return _nan_where(bad | (total.squeeze(-1) == 0), entropy.exp())


def orthogonality_error(W: Tensor) -> Tensor:
    """``||W W^T - I||_F`` on the shorter side (``W^T W`` when W is tall): 0 for orthonormal rows or columns."""
    _check(W)
    matrix = W.detach().double()
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = matrix.mT
    identity = torch.eye(matrix.shape[-2], dtype=torch.float64, device=matrix.device)
    return torch.linalg.matrix_norm(matrix @ matrix.mT - identity)


def _kept(matrix: Tensor, s: Tensor, rtol: float | None) -> Tensor:
    tolerance = relative_tolerance(matrix.dtype, min(matrix.shape[-2:])) if rtol is None else rtol
    return (s > tolerance * s[..., :1]) & (s > 0)
