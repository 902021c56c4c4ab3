"""Covariance and the whitenings built on it: closed forms, precision, derivatives, degenerate and wrong input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.linalg import covariance
from disentangle.linalg.pca_whitening import pca_whitening


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_eigenvalues(values: list[float], seed: int = 0) -> Tensor:
    Q = torch.linalg.qr(normal(len(values), len(values), seed=seed)).Q
    P = (Q * torch.tensor(values, dtype=torch.float64)) @ Q.T
    return 0.5 * (P + P.T)


# ---------------------------------------------------------------------------------------------------- covariance


@pytest.mark.parametrize("case", ["zca_g1", "zca_g2", "zca_fewer_samples"])
def test_equals_reference(spectral, case):
    x = torch.from_numpy(spectral[f"{case}/x"])
    eps, groups = spectral[f"{case}/eps_groups"]
    X = x.transpose(0, 1).reshape(int(groups), x.shape[1] // int(groups), -1)
    mean, second = covariance(X)
    expected = torch.from_numpy(spectral[f"{case}/cov"])
    assert torch.allclose(mean.unsqueeze(-1), torch.from_numpy(spectral[f"{case}/mean"]), atol=1e-15)
    assert torch.allclose(second, expected - eps * torch.eye(X.shape[1], dtype=torch.float64), atol=1e-14)


@pytest.mark.parametrize("correction", [0, 1])
def test_equals_numpy(correction):
    X = normal(2, 3, 4, 9) + 3
    mean, second = covariance(X, correction=correction)
    for i in range(2):
        for j in range(3):
            assert np.allclose(second[i, j], np.cov(X[i, j].numpy(), ddof=correction), atol=1e-14)
            assert np.allclose(mean[i, j], X[i, j].numpy().mean(1), atol=1e-15)


def test_covariances_of_the_pooling_reference(spectral):
    _, second = covariance(torch.from_numpy(spectral["gcp/x"]))
    assert torch.allclose(second, torch.from_numpy(spectral["gcp/cov"]), atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_float64_inside_whatever_the_input(dtype):
    X = (normal(6, 50) + 30).to(dtype)
    mean, second = covariance(X)
    exact_mean, exact = covariance(X.double())
    assert mean.dtype == second.dtype == torch.float64
    assert torch.equal(mean, exact_mean)
    assert torch.equal(second, exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(covariance(X)[1], exact)


def test_rank_deficient_float32_data_has_no_negative_eigenvalues():
    X = (normal(64, 27) @ normal(27, 4000, seed=1)).float()
    _, second = covariance(X)
    eigenvalues = torch.linalg.eigvalsh(second)
    assert eigenvalues[0] > -1e-14 * eigenvalues[-1]
    assert torch.equal(second, second.mT)


def test_memory_layout_and_batch_shapes():
    X = normal(5, 40)
    _, expected = covariance(X)
    assert torch.allclose(covariance(X.T.contiguous().T)[1], expected, atol=1e-15)
    assert torch.allclose(covariance(X.expand(3, 5, 40))[1], expected.expand(3, 5, 5), atol=1e-15)
    assert covariance(X[:, :1])[1].eq(0).all()
    mean, second = covariance(torch.zeros(0, 5, 40))
    assert (mean.shape, second.shape) == ((0, 5), (0, 5, 5))


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_derivatives_of_the_covariance(check):
    X = normal(2, 3, 5).requires_grad_()
    assert check(lambda X: covariance(X, correction=1), (X,))


@pytest.mark.parametrize(
    ("X", "arguments", "message"),
    [
        (torch.zeros(3), {}, "expected a tensor (..., channels, samples)"),
        ([[1.0]], {}, "type list"),
        (torch.zeros(2, 3, dtype=torch.long), {}, "torch.int64"),
        (torch.zeros(2, 1), {"correction": 1}, "expected at least 2"),
        (torch.zeros(2, 0), {}, "expected at least 1"),
    ],
)
def test_wrong_input_is_one_sentence(X, arguments, message):
    with pytest.raises(InputError) as raised:
        covariance(X, **arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


# ------------------------------------------------------------------------------------------------- pca_whitening

SPECTRA = {
    "distinct": [4.0, 2.0, 1.0, 0.25],
    "k1e8": [1.0, 1e-2, 1e-5, 1e-8],
    "equal": [3.0] * 4,
    "pairs": [2.0, 2, 1, 1],
}


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_pca_whitens(spectrum):
    P = with_eigenvalues(SPECTRA[spectrum])
    W = pca_whitening(P)
    condition = max(SPECTRA[spectrum]) / min(SPECTRA[spectrum])
    assert torch.allclose(W @ P @ W.T, torch.eye(4, dtype=torch.float64), atol=1e-14 * condition)
    rows = W.norm(dim=1)
    assert torch.allclose(rows, torch.tensor(SPECTRA[spectrum], dtype=torch.float64).rsqrt(), rtol=1e-14 * condition)
    assert (W.gather(1, W.abs().argmax(1, keepdim=True)) > 0).all()


def test_pca_batch_equals_loop_and_input_is_kept():
    P = torch.stack([with_eigenvalues(SPECTRA["distinct"], seed=i) for i in range(6)]).view(2, 3, 4, 4)
    before = P.clone()
    together = pca_whitening(P)
    assert torch.equal(P, before)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(together[i, j], pca_whitening(P[i, j]), atol=1e-14)
    assert pca_whitening(P[:0]).shape == (0, 3, 4, 4)


def test_pca_in_float32_is_computed_in_float64():
    P = with_eigenvalues([1.0, 1e-2, 1e-3, 1e-4]).float()
    exact = pca_whitening(P.double())
    W = pca_whitening(P)
    assert W.dtype == torch.float32
    assert float((W - exact).norm() / exact.norm()) <= 1e-7
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pca_whitening(P), W)


def test_pca_derivatives_of_every_kind():
    P = torch.stack([with_eigenvalues(SPECTRA["distinct"], seed=i) for i in range(2)]).requires_grad_()

    def function(P: Tensor) -> Tensor:
        return pca_whitening(P)

    assert torch.autograd.gradcheck(function, (P,), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, (P,))
    reverse, forward = torch.func.jacrev(function)(P.detach()), torch.func.jacfwd(function)(P.detach())
    assert torch.allclose(reverse, forward, atol=1e-12)
    mapped = torch.func.vmap(torch.func.grad(lambda p: pca_whitening(p).sin().sum()))(P.detach())
    (looped,) = torch.autograd.grad(function(P).sin().sum(), P)
    assert torch.allclose(mapped, looped, atol=1e-13)


def test_pca_gradient_is_symmetric_and_obeys_eulers_identity():
    P, G = with_eigenvalues(SPECTRA["distinct"]).requires_grad_(), normal(4, 4, seed=3)
    W = pca_whitening(P)
    (grad,) = torch.autograd.grad((W * G).sum(), P)
    assert torch.allclose(grad, grad.T, atol=1e-14)
    # W(cP) = c^(-1/2) W(P)
    assert abs(float(((P * grad).sum() + 0.5 * (W * G).sum()).detach())) < 1e-13


def test_pca_leaves_out_the_turning_of_equal_axes():
    """Of a loss that does not depend on the choice of axes: all but what would turn the two equal ones."""
    # diagonal, so that no rounding of the machine's LAPACK chooses the two axes
    P = torch.diag(torch.tensor([2.0, 2.0, 1.0, 0.5], dtype=torch.float64)).requires_grad_()
    C = with_eigenvalues([1.0, 2.0, 3.0, 4.0], seed=5)
    W = pca_whitening(P, gap=1e-10)
    (grad,) = torch.autograd.grad(((W.T @ W) * C).sum(), P)
    V = nn.functional.normalize(W.detach(), dim=1).T
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(P.detach()))
    expected = V.T @ (-inverse @ C @ inverse) @ V
    assert expected[0, 1].abs() > 0.01
    expected[0, 1] = expected[1, 0] = 0
    assert torch.allclose(V.T @ grad @ V, expected, atol=1e-12)


@pytest.mark.parametrize("values", [[1.0, 1.0, 0.0, 0.0], [0.0] * 4, [1.0, 0.5, 0.2, -1e-9]])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pca_of_singular_matrices_is_finite(values, dtype):
    P = with_eigenvalues(values).to(dtype).requires_grad_()
    W = pca_whitening(P)
    (grad,) = torch.autograd.grad((W * normal(4, 4, seed=3).to(dtype)).sum(), P)
    assert W.isfinite().all()
    assert grad.isfinite().all()
    eps = torch.finfo(dtype).eps
    least = 4 * eps * max(values) if max(values) else eps
    assert float(W.norm(dim=1).max()) == pytest.approx(max(least, min(values)) ** -0.5, rel=1e-4)


def test_pca_of_a_bad_matrix_is_nan_alone():
    P = torch.stack([with_eigenvalues(SPECTRA["distinct"])] * 2)
    P[0, 1, 2] = float("nan")
    P.requires_grad_()
    W = pca_whitening(P)
    (grad,) = torch.autograd.grad(W.sum(), P)
    assert W[0].isnan().all()
    assert torch.allclose(W[1], pca_whitening(P[1]))
    assert grad[1].isfinite().all()


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (torch.zeros(3), "expected square matrices"),
        (torch.zeros(2, 3), "shape (2, 3)"),
        (3.0, "type float"),
        (torch.zeros(2, 2, dtype=torch.long), "torch.int64"),
    ],
)
def test_wrong_matrix_is_one_sentence(P, message):
    with pytest.raises(InputError) as raised:
        pca_whitening(P)
    assert message in str(raised.value)
