"""Frames of a free matrix: their definitions, whatever its size and scale, and their derivatives."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor

from disentangle.nn import frames
from disentangle.nn.frames import cayley_frame, exponential_frame, householder_frame

# Square, nearly square, and narrow enough for the forms of size 2 k and 4 k.
SHAPES = [(6, 6), (7, 5), (9, 4), (30, 3), (1, 1), (5, 1)]
SCALES = [1e-3, 1.0, 30.0]


def free(shape: tuple[int, int], scale: float = 1.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def skew(matrix: Tensor) -> Tensor:
    n, k = matrix.shape
    lower = torch.zeros(n, n, dtype=matrix.dtype)
    lower[:, :k] = matrix.tril()
    return lower - lower.mT


def cayley(A: Tensor) -> Tensor:
    identity = torch.eye(len(A), dtype=A.dtype)
    return torch.linalg.inv(identity - A / 2) @ (identity + A / 2)


def exponential(A: Tensor) -> Tensor:
    """By the eigenvalues of the Hermitian matrix ``-i A``."""
    values, vectors = torch.linalg.eigh(-1j * A)
    return ((vectors * torch.exp(1j * values)) @ vectors.mH).real


DEFINITIONS = {cayley_frame: cayley, exponential_frame: exponential}
FUNCTIONS = [cayley_frame, exponential_frame, householder_frame]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", DEFINITIONS)
def test_first_columns_of_the_square_map(function, shape, scale):
    X = free(shape, scale)
    expected = DEFINITIONS[function](skew(X))[:, : shape[1]]
    torch.testing.assert_close(function(X), expected, rtol=0, atol=1e-14 * max(30.0, 30 * scale))


@pytest.mark.parametrize("function", DEFINITIONS)
def test_zero_is_the_identity(function):
    for shape in SHAPES:
        assert torch.equal(function(torch.zeros(shape)), torch.eye(*shape))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("scale", [1e-6, *SCALES, 1e4])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_orthonormal_at_any_scale(function, scale, dtype):
    for shape in ((40, 40), (60, 9)):
        X = free(shape, scale).to(dtype)
        Q = function(X)
        assert Q.dtype == dtype
        Q = Q.double()
        departure = float((Q.mT @ Q - torch.eye(shape[1], dtype=torch.float64)).abs().max())
        # an angle of 1e4 and more has lost that many digits, though none of the other precisions notice
        assert departure < max(4 * torch.finfo(dtype).eps, 1e-13 * (max(scale, 1.0) if dtype == torch.float64 else 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives(function, shape):
    for scale in (0.0, 1.0):  # zero is where a parametrisation begins
        X = free(shape, scale).requires_grad_()
        assert torch.autograd.gradcheck(function, X)
    assert torch.autograd.gradgradcheck(function, X)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_not_finite_gives_nan_and_no_exception(function):
    for bad in (float("nan"), float("inf")):
        for shape in ((6, 6), (30, 3)):
            X = free(shape)
            X[2, 1] = bad
            assert function(X).isnan().any()


def test_reflectors_of_any_length_are_directions():
    X = free((7, 4)).tril(-1)
    scaled = X.clone()
    scaled[1:, 0] *= 1e200
    Q = householder_frame(scaled)
    expected = X.clone()
    expected[1:, 0] *= 1e20  # as good as infinite: the one on the diagonal is lost beside it
    torch.testing.assert_close(Q, householder_frame(expected), rtol=0, atol=1e-14)


def test_doctests():
    result = doctest.testmod(frames, extraglobs={"torch": torch})
    assert result.attempted > 0
    assert result.failed == 0
