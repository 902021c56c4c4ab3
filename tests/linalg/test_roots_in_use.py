"""Roots as the meta-layers use them: reference layers, two threads, right gradients, every method in every mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from disentangle.linalg import (
    cholesky_whitening,
    covariance,
    matrix_inverse_sqrt,
    matrix_log,
    matrix_power,
    matrix_sqrt,
)
from disentangle.linalg.matrix_power import ROOT_METHODS
from tests.linalg.test_matrix_power import relative, value_and_gradient, with_spectrum

ROOTS = {"sqrt": matrix_sqrt, "invsqrt": matrix_inverse_sqrt}
ALL: dict[str, Callable[[Tensor], Tensor]] = {
    f"{method} {name}": partial(root, method=method) for method in ROOT_METHODS for name, root in ROOTS.items()
}
ALL |= {"power": partial(matrix_power, exponent=0.3), "log": matrix_log, "cholesky": cholesky_whitening}
DIFFERENTIABLE = [name for name in ALL if "top_n" not in name]  # at n = 4 that one drops all eigenvalues but one


# ------------------------------------------------------------------------------------------------- reference values


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("key", ["sym32_k1e+08", "sym32_k1e+12"])
def test_float32_with_a_ridge_equals_reference(spectral, key, name):
    P = torch.from_numpy(spectral[f"{key}/P"])
    assert torch.equal(P.float().double(), P.double())  # the stored matrices are exact in float32
    value, gradient = value_and_gradient(ROOTS[name], P.float(), torch.from_numpy(spectral[f"{key}/G"]).float())
    assert relative(value, spectral[f"{key}/{name}"]) <= 1e-6
    assert relative(gradient, spectral[f"{key}/{name}_grad"]) <= 1e-6


def test_root_of_a_singular_matrix_equals_reference(spectral):
    P, null = torch.from_numpy(spectral["sym_singular/P"]), torch.from_numpy(spectral["sym_singular/null"])
    P.requires_grad_()
    S = matrix_sqrt(P)
    S.sum().backward()
    assert relative(S, spectral["sym_singular/sqrt"]) < 1e-7  # the root of the rounding error of zero
    assert float((S.detach() @ null).norm()) < 1e-7
    assert P.grad is not None
    assert torch.isfinite(P.grad).all()


@pytest.mark.parametrize("case", ["zca_g1", "zca_g2", "zca_fewer_samples"])
def test_whitening_equals_reference(spectral, case):
    """ZCA of groups of channels over batch and positions, with its gradient."""
    x = torch.from_numpy(spectral[f"{case}/x"]).requires_grad_()
    eps, groups = float(spectral[f"{case}/eps_groups"][0]), int(spectral[f"{case}/eps_groups"][1])
    X = x.transpose(0, 1).reshape(groups, x.shape[1] // groups, -1)
    mean, P = covariance(X)
    W = matrix_inverse_sqrt(P + eps * torch.eye(P.shape[-1], dtype=P.dtype))
    y = W @ (X - mean.unsqueeze(-1))
    y = y.reshape(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)
    (y * torch.from_numpy(spectral[f"{case}/g"])).sum().backward()
    assert relative(W, spectral[f"{case}/W"]) < 1e-12
    assert relative(y, spectral[f"{case}/y"]) < 1e-12
    assert relative(mean, spectral[f"{case}/mean"][..., 0]) < 1e-13
    assert x.grad is not None
    assert relative(x.grad, spectral[f"{case}/x_grad"]) < 1e-10


def test_covariance_pooling_equals_reference(spectral):
    x = torch.from_numpy(spectral["gcp/x"]).requires_grad_()
    _, P = covariance(x)
    y = matrix_sqrt(P)
    (y * torch.from_numpy(spectral["gcp/G"])).sum().backward()
    assert relative(P, spectral["gcp/cov"]) < 1e-13
    assert relative(y, spectral["gcp/y"]) < 1e-13
    assert x.grad is not None
    assert relative(x.grad, spectral["gcp/x_grad"]) < 1e-12


@pytest.mark.parametrize("method", ["eigh", "pade"])
def test_a_batch_of_large_matrices_is_right_with_two_threads(method, generator):
    """Batched LU is not, at just this size: a fault of torch (its issue 142815)."""
    X = torch.randn(8, 256, 1024, generator=generator)
    P = X @ X.mT / 1024 + torch.eye(256)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        S, W = (root(P, method).double() for root in (matrix_sqrt, matrix_inverse_sqrt))
    finally:
        torch.set_num_threads(before)
    tolerance = {"eigh": 1e-6, "pade": 0.3}[method]
    assert relative(S @ S, P.double()) < tolerance
    assert relative(W @ P.double() @ W, torch.eye(256, dtype=torch.float64).expand(8, 256, 256)) < tolerance


# ------------------------------------------------------------------------ degenerate spectra: right, not only finite

RIGHT = {
    "all equal": [1.0] * 8,
    "two clusters": [1.0] * 4 + [0.25] * 4,
    "equal to 1e-7": [1 + 1e-7 * i for i in range(8)],
    "scale 1e12": [1e12 * (1 + i) for i in range(8)],
    "scale 1e-12": [1e-12 * (1 + i) for i in range(8)],
}


def closed_form(l: np.ndarray, Q: np.ndarray, G: np.ndarray, inverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient for P = Q diag(l) Q^T from the eigenvalues that made it, without a decomposition."""
    s = np.sqrt(l)
    value = (Q / s if inverse else Q * s) @ Q.T
    K = 1 / (s[:, None] + s[None])
    K = -K / np.outer(s, s) if inverse else K
    return value, Q @ (K * (Q.T @ (G + G.T) @ Q) / 2) @ Q.T


@pytest.mark.parametrize("case", RIGHT)
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ROOTS)
def test_repeated_and_scaled_spectra_have_the_right_gradient(name, dtype, rotated, case):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((8, 8)))[0] if rotated else np.eye(8)
    l, G = np.array(RIGHT[case]), rng.standard_normal((8, 8))
    value, gradient = closed_form(l, Q, G, name == "invsqrt")
    P = torch.from_numpy((Q * l) @ Q.T).to(dtype)
    found = value_and_gradient(ROOTS[name], P, torch.from_numpy(G).to(dtype))
    tolerance = 1e-13 if dtype == torch.float64 else 1e-6
    assert relative(found[0], value) < tolerance
    assert relative(found[1], gradient) < 10 * tolerance


def test_the_gradient_at_the_floor_is_that_of_the_floored_function():
    """Finite differences of a function whose largest eigenvalue, and with it the floor of 1/64, stay where they are."""

    def function(B: Tensor) -> Tensor:
        one = torch.ones(1, 1, dtype=torch.float64)
        return matrix_inverse_sqrt(torch.block_diag(one, 0.5 * (B + B.mT)), floor=1 / 64)

    B = with_spectrum([0.25, 0.05, 1e-3, -1e-3]).requires_grad_()
    expected = torch.tensor([1.0, 2.0, 0.05**-0.5, 8.0, 8.0], dtype=torch.float64)
    torch.testing.assert_close(torch.linalg.eigvalsh(function(B)), expected)
    assert torch.autograd.gradcheck(function, (B,), atol=1e-6)


# ------------------------------------------------------------------------------------------ every method in every mode


@pytest.fixture(scope="module")
def pair() -> Tensor:
    return torch.stack([with_spectrum([3.0, 1.0, 0.5, 0.2], seed) for seed in (1, 2)])


def gradient_of_cubes(f: Callable[[Tensor], Tensor], P: Tensor) -> Tensor:
    P = P.clone().requires_grad_()
    f(P).pow(3).sum().backward()
    assert P.grad is not None
    return P.grad


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_every_function_under_torch_func(name, pair):
    f = ALL[name]

    def loss(P: Tensor) -> Tensor:
        return f(P).pow(3).sum()

    gradient = gradient_of_cubes(f, pair)
    torch.testing.assert_close(torch.func.vmap(f)(pair), f(pair), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(pair), gradient, rtol=1e-8, atol=1e-8)
    direction = with_spectrum([1.0, -0.5, 0.2, 2.0], 3).expand(2, 4, 4)
    _, slope = torch.func.jvp(loss, (pair,), (direction,))
    torch.testing.assert_close(slope, (gradient * direction).sum(), rtol=1e-8, atol=1e-8)
    jacobian = torch.func.jacrev(f)(pair[0])
    vectorised = torch.autograd.functional.jacobian(f, pair[0], vectorize=True)
    torch.testing.assert_close(vectorised, jacobian, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_every_function_compiles_without_a_break(name, pair):
    torch._dynamo.reset()
    compiled = torch.compile(ALL[name], fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradient_of_cubes(compiled, pair), gradient_of_cubes(ALL[name], pair))


@pytest.mark.parametrize("name", ROOTS)
def test_hessians_agree(name, pair):
    def loss(P: Tensor) -> Tensor:
        return ROOTS[name](P).pow(3).sum()

    forward_over_reverse = torch.func.hessian(loss)(pair[0])
    reverse_over_reverse = torch.autograd.functional.hessian(loss, pair[0])
    torch.testing.assert_close(forward_over_reverse, reverse_over_reverse, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ROOTS)
def test_second_derivative_at_the_floor_is_nan_where_a_transform_hides_the_numbers(name):
    P = torch.stack([with_spectrum([1.0, 0.5, 0.0]), with_spectrum([1.0, 0.5, 0.2])])
    hessian = torch.func.vmap(torch.func.hessian(lambda P: ROOTS[name](P).pow(3).sum()))(P)
    assert torch.isnan(hessian[0]).all()
    assert torch.isfinite(hessian[1]).all()


@pytest.mark.parametrize("name", ALL)
def test_every_function_gives_nan_in_all_entries_of_a_bad_matrix(name, pair):
    P = pair.clone()
    P[0, 1, 1] = float("nan")
    value = ALL[name](P)
    assert torch.isnan(value[0]).all()
    torch.testing.assert_close(value[1], ALL[name](pair)[1])


def test_the_gradient_at_the_identity_is_a_quarter():
    """``(I + E)^(1/2) = I + E/2 + ...`` with E symmetrised: where many an eigendecomposition's gradient is NaN."""
    for n in (2, 3, 10):
        identity = torch.eye(n, dtype=torch.float64, requires_grad=True)
        matrix_sqrt(identity)[0, 1].backward()
        expected = torch.zeros(n, n, dtype=torch.float64)
        expected[0, 1] = expected[1, 0] = 0.25
        assert identity.grad is not None
        torch.testing.assert_close(identity.grad, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_equal_pairs_of_eigenvalues_at_every_scale_of_float32(scale):
    values = scale * torch.tensor([2.2e5, 2.2e5, 1.4e6, 1.4e6, 4e8, 4e8], dtype=torch.float64)
    basis = torch.linalg.qr(with_spectrum([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 5)).Q
    functions = {matrix_sqrt: torch.sqrt, matrix_inverse_sqrt: torch.rsqrt, matrix_log: torch.log}
    for function, of_numbers in functions.items():
        P = ((basis * values) @ basis.T).float().requires_grad_()
        value = function(P)
        value.sum().backward()
        assert relative(value, (basis * of_numbers(values)) @ basis.T) < 1e-4
        assert P.grad is not None
        assert torch.isfinite(P.grad).all()
