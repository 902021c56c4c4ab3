"""Roots, powers and the logarithm by sums and products: the eigendecomposition's values, and no decomposition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.linalg import matrix_sqrt
from disentangle.linalg.products import check_products, log_by_products, power_by_products, root_by_products


def spectrum(n: int, condition: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Eigenvalues from 7 down to 7 / condition, and eigenvectors."""
    noise = torch.randn(2, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values = 7 * torch.logspace(0, -math.log10(condition), n, dtype=torch.float64)
    return values, torch.linalg.qr(noise).Q


def made(values: Tensor, V: Tensor) -> Tensor:
    P = (V * values) @ V.mT
    return 0.5 * (P + P.mT)


def error(ours: Tensor, values: Tensor, V: Tensor) -> float:
    expected = made(values, V)
    return float((ours - expected).norm() / expected.norm())


# relative errors that the module states, with a margin of three
STATED = {
    "root": (1e-10, 1e-10, 1e-10, 3e-10),
    0.75: (1e-10, 1e-10, 1e-10, 1e-10),
    0.25: (3e-11, 3e-11, 3e-11, 6e-8),
    "log": (1e-10, 3e-11, 3e-10, 6e-6),
}


@pytest.mark.parametrize("n", [1, 8, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", STATED)
def test_errors_are_those_stated(what, n):
    for condition, bound in zip((10, 1e4, 1e8, 1e12), STATED[what], strict=True):
        values, V = spectrum(n, condition)
        P = made(values, V)
        if what == "root":
            assert error(root_by_products(P), values.sqrt(), V) < bound
        elif what == "log":
            assert error(log_by_products(P), values.log(), V) < bound
        else:
            assert error(power_by_products(P, what), values**what, V) < bound


def test_roots_of_singular_matrices():
    values, V = spectrum(40, 100)
    values = torch.where(torch.arange(40) < 9, values, 0)
    assert error(root_by_products(made(values, V)), values.sqrt(), V) < 2e-9
    assert torch.equal(root_by_products(torch.zeros(1, 3, 3, dtype=torch.float64)), torch.zeros(1, 3, 3).double())


@pytest.mark.parametrize("method", ["pade", "taylor", "isqrt_cov", "newton_schulz", "polar_express", "svd_taylor"])
def test_published_iterations_are_repeated_as_they_are(method):
    values, V = spectrum(12, 1e3)
    P = made(values, V)
    torch.testing.assert_close(root_by_products(P, method), matrix_sqrt(P, method), rtol=0, atol=1e-10)


def test_a_matrix_that_is_not_finite_spoils_its_own_result_only():
    P = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    P[0, 0, 0] = float("nan")
    for ours in (root_by_products(P), log_by_products(P), power_by_products(P, 0.3)):
        assert ours[0].isnan().all()
        assert ours[1].isfinite().all()


def test_what_drops_eigenvalues_is_refused():
    with pytest.raises(InputError, match="'svd_top_n' drops the smallest eigenvalues"):
        check_products("svd_top_n")
