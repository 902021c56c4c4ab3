"""How far a matrix is from orthogonal, and how well conditioned a covariance is.

All functions take (..., m, n), real or complex floating point, and return (...) float64; a matrix with NaN or infinity
gives NaN (rank: 0), as does one without entries where the number is not defined, and neither raises, so that they can
be logged at any step of a training. What is no such tensor is an :class:`~disentangle.errors.InputError`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.checks import check_number
from disentangle.linalg.matrices import check_matrix, excess, shorter_side_first
from disentangle.linalg.polar import relative_tolerance

__all__ = [
    "condition_number",
    "effective_condition_number",
    "effective_rank",
    "numerical_rank",
    "orthogonality_error",
    "row_length",
    "row_orthogonality_error",
    "weight_diagnostics",
]

_LARGE = 2.0**60  # entries up to which no power of theirs that is taken overflows


def _wide(matrix: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The matrices in float64 or complex128, zero where they hold NaN or infinity, and which do (...)."""
    check_matrix(matrix, name, may_be_complex=True)
    matrix = matrix.detach()
    bad = ~torch.isfinite(matrix).all(dim=(-2, -1))
    finite = torch.where(bad[..., None, None], torch.zeros_like(matrix), matrix)
    return finite.to(torch.complex128 if matrix.is_complex() else torch.float64), bad


def _singular_values(matrix: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """(..., k) descending in float64, one zero at least, and which matrices have no such values."""
    finite, bad = _wide(matrix, name)
    if not min(matrix.shape[-2:]):
        return bad.new_zeros((*bad.shape, 1), dtype=torch.float64), torch.ones_like(bad)
    return torch.linalg.svdvals(finite), bad


def _nan_where(bad: Tensor, value: Tensor) -> Tensor:
    return torch.where(bad, torch.full_like(value, float("nan")), value)


def condition_number(P: Tensor) -> Tensor:
    """Largest over smallest singular value; infinity if the smallest is zero, NaN for a matrix without entries.

    For a covariance (symmetric positive semi-definite) this is the ratio of its extreme eigenvalues. A covariance of
    more directions than the data have is singular, and its condition number then only measures rounding or the ridge
    that was added: look at :func:`effective_condition_number` and :func:`numerical_rank` beside it.

    >>> condition_number(torch.diag(torch.tensor([4.0, 2.0]))).item()
    2.0
    """
    s, bad = _singular_values(P, "condition_number")
    largest, smallest = s[..., 0], s[..., -1]
    singular = smallest <= 0
    ratio = largest / torch.where(singular, torch.ones_like(smallest), smallest)
    return _nan_where(bad, torch.where(singular, torch.full_like(ratio, float("inf")), ratio))


def numerical_rank(P: Tensor, *, rtol: float | None = None) -> Tensor:
    """Number of singular values above ``rtol`` times the largest, int64.

    The default ``rtol`` is the shorter side times the machine epsilon of the dtype.
    """
    s, _ = _singular_values(P, "numerical_rank")
    return _kept(P, s, rtol).sum(-1)


def effective_condition_number(P: Tensor, *, rtol: float | None = None) -> Tensor:
    """Condition number over the numerical rank: largest over smallest singular value that is not noise.

    NaN for a zero matrix, and for one without entries.
    """
    s, bad = _singular_values(P, "effective_condition_number")
    kept = _kept(P, s, rtol)
    smallest = torch.where(kept, s, torch.full_like(s, float("inf"))).amin(-1)
    return _nan_where(bad | ~kept.any(-1), s[..., 0] / smallest)


def effective_rank(P: Tensor) -> Tensor:
    """Exponential of the entropy of the normalised singular values (Roy and Vetterli, EUSIPCO 2007, equation 4).

    Between 1 and the rank: the number of directions that carry the matrix. NaN for a zero matrix, and for one without
    entries.
    """
    s, bad = _singular_values(P, "effective_rank")
    s = s / torch.where(s[..., :1] > 0, s[..., :1], 1.0)  # the sum of large ones would be infinite
    total = s.sum(-1, keepdim=True)
    share = s / torch.where(total > 0, total, torch.ones_like(total))
    entropy = -torch.xlogy(share, share).sum(-1)
    return _nan_where(bad | (total.squeeze(-1) == 0), entropy.exp())


def orthogonality_error(W: Tensor) -> Tensor:
    """``||W W^H - I||_F`` on the shorter side (``W^H W`` when W is tall): 0 for orthonormal rows or columns.

    ``W^H`` is the conjugate transpose, which of a real matrix is ``W^T``. A matrix without entries has nothing to miss:
    0. Entries beyond 1e154 give infinity, which is their error to float64's range.

    >>> orthogonality_error(torch.tensor([[0.6, 0.8j]])).item() < 1e-7
    True
    """
    matrix, bad = _wide(W, "orthogonality_error")
    if not matrix.shape[-1] or not matrix.shape[-2]:
        return _nan_where(bad, torch.zeros_like(bad, dtype=torch.float64))
    largest = matrix.abs().amax(dim=(-2, -1))
    # Fourth powers of large entries are beyond float64 before their root is; a power of two changes no digit.
    scale = torch.where(largest > _LARGE, torch.exp2(torch.frexp(largest.clamp_min(_LARGE))[1].double() - 1), 1.0)
    rows = shorter_side_first(matrix / scale[..., None, None])
    identity = torch.eye(rows.shape[-2], dtype=rows.dtype, device=rows.device)
    error = excess(rows) + identity * (1 - scale**-2)[..., None, None]
    return _nan_where(bad, torch.linalg.matrix_norm(error) * scale * scale)


def row_length(W: Tensor) -> Tensor:
    """Root mean square length of the vectors on the shorter side (the columns when W is tall): 1 for orthonormal ones.

    :func:`orthogonality_error` of a weight whose training lets it grow is mostly this. NaN without entries.

    >>> row_length(torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0]])).item()
    5.0
    """
    check_matrix(W, "row_length")
    matrix, bad = _wide(W, "row_length")
    if not matrix.shape[-1] or not matrix.shape[-2]:
        return bad.new_full(bad.shape, float("nan"), dtype=torch.float64)
    largest = matrix.abs().amax(dim=(-2, -1), keepdim=True)
    rows = shorter_side_first(matrix) / torch.where(largest > 0, largest, 1.0)  # squares of large entries overflow
    return _nan_where(bad, rows.square().sum(-1).mean(-1).sqrt() * largest[..., 0, 0])


def row_orthogonality_error(W: Tensor) -> Tensor:
    """:func:`orthogonality_error` of W with the vectors of its shorter side brought to length one: of the angles alone.

    A zero vector stays zero, and counts 1 like any vector that misses its length. Neither the length of the vectors nor
    a common scale changes it.

    >>> row_orthogonality_error(torch.tensor([[30.0, 0.0, 0.0], [0.0, 5.0, 0.0]])).item()
    0.0
    """
    check_matrix(W, "row_orthogonality_error")
    matrix, bad = _wide(W, "row_orthogonality_error")
    if not matrix.shape[-1] or not matrix.shape[-2]:
        return _nan_where(bad, torch.zeros_like(bad, dtype=torch.float64))
    rows = shorter_side_first(matrix)
    largest = rows.abs().amax(dim=-1, keepdim=True)
    rows = rows / torch.where(largest > 0, largest, 1.0)
    length = rows.norm(dim=-1, keepdim=True)
    return _nan_where(bad, torch.linalg.matrix_norm(excess(rows / torch.where(length > 0, length, 1.0))))


def weight_diagnostics(W: Tensor) -> dict[str, float]:
    """What is reported of a weight wherever its orthogonality is: the error, and what of it is not mere scale.

    Returns:
        ``orthogonality_error``, ``condition_number`` (over the numerical rank), ``row_error``
        (:func:`row_orthogonality_error`) and ``row_length``.
    """
    check_matrix(W, "weight_diagnostics")
    return {
        "orthogonality_error": float(orthogonality_error(W)),
        "condition_number": float(effective_condition_number(W)),
        "row_error": float(row_orthogonality_error(W)),
        "row_length": float(row_length(W)),
    }


def _kept(matrix: Tensor, s: Tensor, rtol: float | None) -> Tensor:
    if rtol is None:
        tolerance = relative_tolerance(matrix.dtype, min(matrix.shape[-2:]))
    else:
        tolerance = check_number("rtol", rtol, least=0)
    return (s > tolerance * s[..., :1]) & (s > 0)
