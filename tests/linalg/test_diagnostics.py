"""Condition numbers, ranks, orthogonality error."""

from __future__ import annotations

import math

import pytest
import torch

from disentangle.errors import InputError
from disentangle.linalg import (
    cholesky_whitening,
    condition_number,
    effective_condition_number,
    effective_rank,
    matrix_inverse_sqrt,
    matrix_log,
    matrix_sqrt,
    numerical_rank,
    orthogonality_error,
    polar,
    row_length,
    row_orthogonality_error,
    weight_diagnostics,
)
from disentangle.linalg.matrices import excess, shorter_side_first


def haar(n: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64)).Q


def test_condition_number_of_known_spectra():
    q = haar(5)
    p = (q * torch.tensor([4.0, 3, 2, 1, 0.5], dtype=torch.float64)) @ q.T
    assert float(condition_number(p)) == pytest.approx(8.0)
    assert float(condition_number(q[:3])) == pytest.approx(1.0)
    assert math.isinf(condition_number(torch.diag(torch.tensor([1.0, 0.0]))))


def test_rank_27_of_64_is_seen_through_rounding():
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 27, generator=g)
    covariance = weight @ weight.T
    assert float(condition_number(covariance)) > 1e6
    assert int(numerical_rank(covariance)) == 27
    s = torch.linalg.svdvals(weight.double())
    assert float(effective_condition_number(covariance)) == pytest.approx(float((s[0] / s[-1]) ** 2), rel=1e-3)


def test_effective_rank_is_the_exponential_of_the_spectral_entropy():
    assert float(effective_rank(torch.eye(7))) == pytest.approx(7.0)
    s = torch.tensor([1.0, 0.5, 0.25])
    p = s / s.sum()
    assert float(effective_rank(torch.diag(s))) == pytest.approx(float((-(p * p.log()).sum()).exp()), rel=1e-6)


def test_orthogonality_error_uses_the_shorter_side():
    q = haar(6)
    assert float(orthogonality_error(q[:2])) == pytest.approx(0.0, abs=1e-12)
    assert float(orthogonality_error(q[:, :2])) == pytest.approx(0.0, abs=1e-12)
    assert float(orthogonality_error(2 * q[:2])) == pytest.approx(3 * 2**0.5)


def test_batches_zero_and_non_finite():
    batch = torch.stack([torch.eye(3), torch.zeros(3, 3), torch.full((3, 3), float("nan"))])
    c = condition_number(batch)
    assert float(c[0]) == 1.0
    assert math.isinf(c[1])
    assert math.isnan(c[2])
    assert numerical_rank(batch)[:2].tolist() == [3, 0]
    assert math.isnan(effective_condition_number(batch)[1])
    assert math.isnan(effective_rank(batch)[1])
    assert math.isnan(orthogonality_error(batch)[2])


def test_a_vector_is_refused():
    with pytest.raises(InputError, match=r"shape \(4,\)"):
        condition_number(torch.ones(4))


# ------------------------------------------------------------------------------------- complex, empty, far, and none


def unitary(n: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.complex128)).Q


def test_complex_matrices_keep_their_imaginary_part():
    u, v, s = unitary(5), unitary(5).mH, torch.tensor([4.0, 3, 2, 1, 0.5], dtype=torch.float64)
    matrix = (u * s) @ v
    assert float(condition_number(matrix)) == pytest.approx(8.0)
    assert float(condition_number(u)) == pytest.approx(1.0)  # its real part alone: not
    assert float(condition_number(u.real)) > 2
    assert float(effective_condition_number(matrix)) == pytest.approx(8.0)
    singular = (u * torch.tensor([4.0, 3, 2, 0, 0], dtype=torch.float64)) @ v
    assert int(numerical_rank(singular)) == 3
    assert float(effective_condition_number(singular)) == pytest.approx(2.0)
    assert float(effective_rank(u)) == pytest.approx(5.0)
    assert float(effective_rank(matrix)) == pytest.approx(float(effective_rank(torch.diag(s))))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_orthogonality_of_complex_matrices_is_by_the_conjugate(dtype: torch.dtype):
    u = unitary(6).to(dtype)
    for part in (u, u[:2], u[:, :2]):
        assert float(orthogonality_error(part)) == pytest.approx(0.0, abs=1e-6)
    assert float(orthogonality_error(2 * u[:2])) == pytest.approx(3 * 2**0.5, rel=1e-6)
    assert orthogonality_error(u).dtype == torch.float64
    # rows orthonormal without the conjugate, but not with it: (1, i) has the square 0
    assert float(orthogonality_error(torch.tensor([[2**0.5, 1j]], dtype=dtype))) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 0, 0), (2, 0, 3), (0, 3, 3), (0, 0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_matrices_without_entries(shape: tuple[int, ...], dtype: torch.dtype):
    matrix, batch = torch.zeros(shape, dtype=dtype), shape[:-2]
    for undefined in (condition_number, effective_condition_number, effective_rank):
        assert undefined(matrix).shape == batch
        assert undefined(matrix).isnan().all()
    assert numerical_rank(matrix).shape == batch
    assert numerical_rank(matrix).sum() == 0
    assert orthogonality_error(matrix).shape == batch
    assert orthogonality_error(matrix).abs().sum() == 0


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e100, 1e150, 1e300])
def test_numbers_of_any_size(scale: float):
    q = haar(4)
    p = scale * (q * torch.tensor([4.0, 2, 1, 0.5], dtype=torch.float64)) @ q.T
    assert float(condition_number(p)) == pytest.approx(8.0)
    assert float(effective_condition_number(p)) == pytest.approx(8.0)
    assert int(numerical_rank(p)) == 4
    assert float(effective_rank(p)) == pytest.approx(float(effective_rank(p / scale)))
    if 1 < scale < 1e154:
        assert float(orthogonality_error(scale * q)) == pytest.approx(scale**2 * 2)
    elif scale > 1:
        assert math.isinf(orthogonality_error(scale * q))
    else:
        assert float(orthogonality_error(scale * q)) == pytest.approx(2.0)


def test_infinity_is_no_number_either():
    for diagnostic in (condition_number, effective_condition_number, effective_rank, orthogonality_error):
        assert math.isnan(diagnostic(torch.full((2, 3), math.inf)))


DIAGNOSTICS = [condition_number, effective_condition_number, effective_rank, numerical_rank, orthogonality_error]


@pytest.mark.parametrize("diagnostic", DIAGNOSTICS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], "argument of type list; expected a tensor"),
        (torch.eye(2).numpy(), "argument of type ndarray"),
        (2.0, "argument of type float"),
        (None, "argument of type NoneType"),
        (torch.eye(2, dtype=torch.int64), r"dtype torch.int64; expected a real or complex floating point"),
        (torch.eye(2, dtype=torch.bool), r"dtype torch.bool"),
        (torch.eye(2).to(torch.float8_e4m3fn), r"dtype torch.float8_e4m3fn"),
        (torch.tensor(1.0), r"shape \(\)"),
        (torch.eye(2).to_sparse(), "sparse or quantised tensor; expected a dense one"),
    ],
)
def test_what_is_no_matrix_is_one_sentence(diagnostic, value, message: str):
    with pytest.raises(InputError, match=message) as caught:
        diagnostic(value)
    assert str(caught.value).startswith(f"{diagnostic.__name__} got ")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("diagnostic", [numerical_rank, effective_condition_number])
@pytest.mark.parametrize("rtol", [-1e-3, math.nan, math.inf, "1e-3"])
def test_tolerances_that_are_none(diagnostic, rtol):
    with pytest.raises(InputError, match="rtol is .*; expected a number of 0 or more"):
        diagnostic(torch.eye(2), rtol=rtol)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 0, 3), (0, 2, 3)])
@pytest.mark.parametrize("method", ["gram_eigh", "svd", "newton_schulz"])
def test_the_polar_factor_of_a_matrix_without_entries_is_itself(shape: tuple[int, ...], method: str):
    matrix = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    factor = polar(matrix, method)
    assert factor.shape == shape
    factor.sum().backward()
    assert matrix.grad is not None
    assert matrix.grad.shape == shape


@pytest.mark.parametrize("function", [polar, matrix_sqrt, matrix_inverse_sqrt, matrix_log, cholesky_whitening])
def test_other_functions_refuse_complex_sparse_and_lists(function):
    for bad, message in (
        (torch.eye(2, dtype=torch.complex64), "dtype torch.complex64; expected a real floating point tensor"),
        (torch.eye(2).to_sparse(), "sparse or quantised"),
        (torch.eye(2).to(torch.float8_e5m2), "float8_e5m2"),
        ([[1.0]], "type list"),
    ):
        with pytest.raises(InputError, match=message):
            function(bad)


def test_excess_of_both_sides():
    X = torch.tensor([[3.0, 4.0, 0.0]])
    assert excess(X).tolist() == [[24.0]]
    assert shorter_side_first(X.mT).tolist() == X.tolist()
    assert excess(torch.tensor([[1.0, 1j]])).tolist() == [[1.0]]
    assert excess(torch.zeros(2, 0, 3)).shape == (2, 0, 0)


def test_of_a_scaled_basis_only_the_length_speaks():
    q = torch.linalg.qr(torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0].mT
    lengths = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    for weight in (lengths[:, None] * q, (lengths[:, None] * q).mT):
        found = weight_diagnostics(weight)
        assert found["orthogonality_error"] == pytest.approx((0 + 9 + 9) ** 0.5)
        assert found["row_error"] == pytest.approx(0, abs=1e-12)
        assert found["row_length"] == pytest.approx(3**0.5)
        assert found["condition_number"] == pytest.approx(2)


def test_of_leaning_rows_only_the_angle_speaks():
    """Two rows at 60 degrees: each of the two products is 1/2."""
    weight = torch.tensor([[2.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)
    assert float(row_orthogonality_error(weight)) == pytest.approx(0.5**0.5)
    assert float(row_orthogonality_error(1e200 * weight)) == pytest.approx(0.5**0.5)
    assert float(row_length(1e200 * weight)) == pytest.approx(2.5**0.5 * 1e200)
    assert float(row_orthogonality_error(torch.zeros(2, 3))) == pytest.approx(2**0.5)


@pytest.mark.parametrize("diagnostic", [row_length, row_orthogonality_error, weight_diagnostics])
def test_scale_free_diagnostics_are_of_real_weights(diagnostic):
    with pytest.raises(InputError, match="real floating point"):
        diagnostic(torch.eye(2, dtype=torch.complex64))
    batch = torch.eye(2).repeat(2, 1, 1)
    batch[1] = float("nan")
    if diagnostic is not weight_diagnostics:
        assert torch.isnan(diagnostic(batch)).tolist() == [False, True]
        assert diagnostic(torch.eye(2).half()).dtype == torch.float64
