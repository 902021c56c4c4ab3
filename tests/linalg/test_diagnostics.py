"""Condition numbers, ranks, orthogonality error."""

from __future__ import annotations

import math

import pytest
import torch

from disentangle.errors import InputError
from disentangle.linalg import (
    condition_number,
    effective_condition_number,
    effective_rank,
    numerical_rank,
    orthogonality_error,
)


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
