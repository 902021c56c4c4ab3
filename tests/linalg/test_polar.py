"""Polar factor: reference values, gradients, identities, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.errors import InputError
from disentangle.linalg import polar

METHODS = ("gram_eigh", "svd")
FULL_RANK = ("tall", "wide", "square", "conv", "k1e4", "subspace")


def with_singular_values(values: list[float] | torch.Tensor, m: int, n: int, seed: int = 0) -> torch.Tensor:
    """An (m, n) float64 matrix with the given singular values and Haar singular vectors."""
    g = torch.Generator().manual_seed(seed)
    s = torch.as_tensor(values, dtype=torch.float64)
    u = torch.linalg.qr(torch.randn(m, len(s), generator=g, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(n, len(s), generator=g, dtype=torch.float64)).Q
    return (u * s) @ v.T


def orthogonality(q: torch.Tensor) -> float:
    q = q.double()
    gram = q @ q.mT if q.shape[-2] <= q.shape[-1] else q.mT @ q
    return float((gram - torch.eye(gram.shape[-1], dtype=torch.float64)).norm() / gram.shape[-1] ** 0.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", FULL_RANK)
def test_value_equals_reference(spectral, case, method):
    a = torch.from_numpy(spectral[f"polar_{case}/A"])
    s = spectral[f"polar_{case}/s"]
    tolerance = max(2e-14, 5 * np.finfo(float).eps * s[0] / s[-1])
    error = (polar(a, method=method) - torch.from_numpy(spectral[f"polar_{case}/Q"])).norm() / min(a.shape) ** 0.5
    assert error <= tolerance


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", [case for case in FULL_RANK if case != "subspace"])
def test_gradient_equals_reference(spectral, case, method):
    a = torch.from_numpy(spectral[f"polar_{case}/A"]).requires_grad_()
    s = spectral[f"polar_{case}/s"]
    (polar(a, method=method) * torch.from_numpy(spectral[f"polar_{case}/G"])).sum().backward()
    expected = torch.from_numpy(spectral[f"polar_{case}/A_grad"])
    assert (a.grad - expected).norm() / expected.norm() <= max(5e-14, 20 * np.finfo(float).eps * s[0] / s[-1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["rank3", "zero"])
def test_rank_deficient_gives_the_partial_isometry(spectral, case, method):
    a = torch.from_numpy(spectral[f"polar_{case}/A"])
    assert torch.allclose(polar(a, method=method), torch.from_numpy(spectral[f"polar_{case}/Q"]), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(6, 100), (100, 6)])
def test_complete_gives_a_zero_matrix_full_norm_as_published(shape, method):
    q = polar(torch.zeros(shape), method=method, rank_deficient="complete")
    assert q.norm() == pytest.approx(6**0.5, rel=1e-5)
    deficient = with_singular_values([3.0, 2.0], *shape).float()
    q = polar(deficient, method=method, rank_deficient="complete")
    assert orthogonality(q) < 1e-6
    partial = polar(deficient, method=method)
    assert torch.allclose(q @ partial.mT @ partial, partial, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6), (1, 7), (7, 1), (1, 1)])
def test_gradcheck(shape, method, generator):
    a = torch.randn(2, *shape, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: polar(x, method=method), a)


def test_newton_schulz_gradcheck(generator):
    a = torch.randn(4, 6, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: polar(x, method="newton_schulz"), a, atol=1e-6)


def test_second_derivative_is_refused_not_wrong(generator):
    a = torch.randn(3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(polar(a).square().sum() + polar(a)[0, 0], a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("kappa", [1e1, 1e2, 1e4])
@pytest.mark.parametrize("shape", [(64, 576), (6, 8192), (27, 64)])
def test_float32_accuracy(shape, kappa):
    rank = min(shape)
    exact = with_singular_values(torch.logspace(0, -np.log10(kappa), rank, dtype=torch.float64), *shape)
    a = exact.float()
    q = polar(a)
    assert q.dtype == torch.float32
    assert orthogonality(q) <= max(1e-6, 1e-8 * kappa)
    assert (q.double() - polar(a.double(), method="svd")).norm() / rank**0.5 <= max(1e-6, 1e-8 * kappa)


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("largest", [1.0, 1.1, 2.0, 3.9, 4.1])
def test_well_conditioned_float32_is_as_exact_as_any(largest, scale, batch):
    """Its decomposition is in float32, which alone would be wrong by 1e-6 and more."""
    s = scale * torch.linspace(1, largest, 64, dtype=torch.float64)
    A = with_singular_values(s, 64, 200).expand(*batch, 64, 200).float().requires_grad_()
    G = with_singular_values(torch.rand(64, generator=torch.Generator().manual_seed(1)), 64, 200, seed=2).float()
    Q = polar(A)
    (grad,) = torch.autograd.grad(Q, A, G.expand_as(Q))
    wide = A.detach().double().requires_grad_()
    expected = polar(wide)
    (expected_grad,) = torch.autograd.grad(expected, wide, G.double().expand_as(expected))
    with torch.no_grad():
        assert orthogonality(Q.reshape(-1, 64, 200)[-1]) < 3e-7
        assert (Q.double() - expected).norm() < 3e-7 * expected.norm()
        assert (grad.double() - expected_grad).norm() < 2e-6 * expected_grad.norm()


def test_one_bad_matrix_beside_orthonormal_ones(generator):
    batch = torch.stack([with_singular_values(torch.ones(20), 20, 50, seed=seed) for seed in range(3)]).float()
    batch[1, 3, 4] = float("nan")
    Q = polar(batch)
    assert Q[1].isnan().all()
    assert (Q[::2] - batch[::2]).abs().max() < 1e-6


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("method", [*METHODS, "newton_schulz"])
def test_positive_scaling_changes_nothing(scale, method, generator):
    a = torch.randn(8, 20, generator=generator)
    assert torch.allclose(polar(a * scale, method=method), polar(a, method=method), atol=1e-5)


@given(
    m=st.integers(1, 8),
    n=st.integers(1, 8),
    exponents=st.lists(st.floats(-6, 0), min_size=8, max_size=8),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_identities(m, n, exponents, seed):
    k = min(m, n)
    a = with_singular_values([10.0**e for e in exponents[:k]], m, n, seed)
    q = polar(a)
    kappa = 10.0 ** (max(exponents[:k]) - min(exponents[:k]))
    tolerance = 1e-13 * max(10.0, kappa)
    assert orthogonality(q) <= 1e-12
    g = torch.Generator().manual_seed(seed + 1)
    left = torch.linalg.qr(torch.randn(m, m, generator=g, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64)).Q
    assert (polar(left @ a @ right) - left @ q @ right).norm() <= tolerance
    assert (polar(a.mT) - q.mT).norm() <= tolerance
    assert (polar(q) - q).norm() <= 1e-13 * k + 1e-14
    symmetric = a @ q.mT if m <= n else q.mT @ a
    assert (symmetric - symmetric.mT).norm() <= 1e-13 * float(a.norm())


def test_repeated_and_near_equal_singular_values_have_finite_right_gradients():
    for values in ([1.0] * 5, [1.0, 1.0, 1.0 + 1e-9, 1e-3, 1e-3]):
        a = with_singular_values(values, 5, 9).requires_grad_()
        assert torch.autograd.gradcheck(polar, a)


def test_rank_8_of_64_with_rounding_noise_keeps_8_directions(generator):
    a = torch.randn(64, 8, generator=generator) @ torch.randn(8, 576, generator=generator)
    s = torch.linalg.svdvals(polar(a).double())
    assert torch.allclose(s[:8], torch.ones(8, dtype=torch.float64), atol=1e-5)
    assert float(s[8:].max()) < 1e-6


def test_one_zero_row(generator):
    a = torch.randn(64, 576, generator=generator)
    a[17] = 0
    s = torch.linalg.svdvals(polar(a).double())
    assert torch.allclose(s[:63], torch.ones(63, dtype=torch.float64), atol=1e-5)
    assert float(s[63]) < 1e-6


@pytest.mark.parametrize("method", [*METHODS, "newton_schulz"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_matrix_gives_nan_and_leaves_the_others_alone(poison, method, generator):
    a = torch.randn(3, 4, 6, generator=generator)
    clean = polar(a, method=method)
    a[1, 2, 3] = poison
    q = polar(a, method=method)
    assert torch.isnan(q[1]).all()
    assert torch.allclose(q[[0, 2]], clean[[0, 2]], atol=1e-6)


def test_newton_schulz_zero_stays_zero():
    assert float(polar(torch.zeros(4, 7), method="newton_schulz").abs().max()) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_and_out(dtype, generator):
    a = torch.randn(8, 30, generator=generator).to(dtype)
    q = polar(a)
    assert q.dtype == dtype
    assert (q.double() - polar(a.double())).abs().max() <= 4e-3


def test_autocast_changes_nothing(generator):
    a = torch.randn(8, 30, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for method in (*METHODS, "newton_schulz"):
            assert torch.equal(polar(a, method=method), polar(a, method=method).float())
            assert orthogonality(polar(a, method=method)) < 1e-5


def test_batches_views_and_input_are_respected(generator):
    a = torch.randn(2, 3, 5, 8, generator=generator, dtype=torch.float64)
    before = a.clone()
    q = polar(a)
    looped = torch.stack([polar(x) for x in a.reshape(6, 5, 8)]).reshape(a.shape)
    assert torch.allclose(q, looped, atol=1e-14)
    assert torch.equal(a, before)
    assert torch.allclose(polar(a.mT), q.mT, atol=1e-14)
    expanded = a[0, 0].expand(4, 5, 8)
    assert torch.allclose(polar(expanded), q[0, 0].expand(4, 5, 8), atol=1e-14)
    assert polar(torch.zeros(0, 5, 8)).shape == (0, 5, 8)


def test_vmap_and_func_grad_agree_with_the_loop(generator):
    a = torch.randn(4, 3, 6, generator=generator, dtype=torch.float64)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return (polar(x) * torch.arange(18.0, dtype=torch.float64).reshape(3, 6)).sum()

    assert torch.allclose(torch.func.vmap(polar)(a), polar(a), atol=1e-14)
    per_sample = torch.func.vmap(torch.func.grad(loss))(a)
    for x, expected in zip(a, per_sample, strict=True):
        x = x.clone().requires_grad_()
        loss(x).backward()
        assert torch.allclose(x.grad, expected, atol=1e-13)


def test_rtol_sets_which_directions_count():
    a = with_singular_values([1.0, 1e-3, 1e-5], 3, 10)
    assert round(float(polar(a, rtol=1e-4).square().sum())) == 2
    assert round(float(polar(a, rtol=1e-2).square().sum())) == 1
    assert round(float(polar(a).square().sum())) == 3


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match=r"did you mean 'gram_eigh'"):
        polar(torch.eye(3), method="gram_eig")
    with pytest.raises(InputError, match=r"rank_deficient.*'partial'"):
        polar(torch.eye(3), rank_deficient="half")
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        polar(torch.ones(3))
    with pytest.raises(InputError, match="int64"):
        polar(torch.ones(3, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="newton_schulz"):
        polar(torch.eye(3), method="newton_schulz", rank_deficient="complete")
