"""Exact roots, powers and logarithms: reference values, derivatives, identities, degenerate spectra, torch modes."""

from __future__ import annotations

import itertools
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import disentangle
from disentangle.errors import InputError
from disentangle.linalg import cholesky_whitening, matrix_inverse_sqrt, matrix_log, matrix_power, matrix_sqrt

SPECTRA = [
    "sym_k10", "sym_k10000", "sym_k1e+08", "sym_k1e+12", "sym_equal", "sym_clusters", "sym_near_equal",
    "sym_scaled_up", "sym_scaled_down",
]  # fmt: skip
ROOTS = {"sqrt": matrix_sqrt, "invsqrt": matrix_inverse_sqrt}
FUNCTIONS = {
    "root": matrix_sqrt,
    "inverse root": matrix_inverse_sqrt,
    "power": partial(matrix_power, exponent=0.3),
    "inverse power": partial(matrix_power, exponent=-0.7),
    "log": matrix_log,
    "cholesky": cholesky_whitening,
}
EPS = torch.finfo(torch.float64).eps


def with_spectrum(eigenvalues: list[float] | Tensor, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    l = torch.as_tensor(eigenvalues, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    Q, _ = torch.linalg.qr(torch.randn(len(l), len(l), generator=generator, dtype=torch.float64))
    P = (Q * l) @ Q.mT
    return (0.5 * (P + P.mT)).to(dtype)


def spread(n: int, condition: float) -> Tensor:
    return torch.logspace(0, -np.log10(condition), n, dtype=torch.float64)


def relative(value: Tensor, expected: Tensor | np.ndarray) -> float:
    expected = torch.as_tensor(expected).double()
    return float(torch.linalg.norm(value.detach().double() - expected) / torch.linalg.norm(expected))


def value_and_gradient(function, P: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
    P = P.clone().requires_grad_()
    value = function(P)
    (value * G).sum().backward()
    assert P.grad is not None
    return value.detach(), P.grad


# ------------------------------------------------------------------------------------------------- reference values


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "key"), list(itertools.product(ROOTS, SPECTRA)))
def test_value_and_gradient_equal_reference(spectral, name, key, threads):
    P, G = torch.from_numpy(spectral[f"{key}/P"]), torch.from_numpy(spectral[f"{key}/G"])
    low, high = spectral[f"{key}/lam_min_max"]
    condition = float(high / low)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        value, gradient = value_and_gradient(partial(ROOTS[name], floor=0.0), P, G)
    finally:
        torch.set_num_threads(before)
    kappa = condition**0.5 if name == "sqrt" else condition
    assert relative(value, spectral[f"{key}/{name}"]) <= max(2e-14, 5 * EPS * kappa)
    assert relative(gradient, spectral[f"{key}/{name}_grad"]) <= max(5e-14, 20 * EPS * condition)
    assert torch.equal(gradient, gradient.mT) or relative(gradient, gradient.mT) < 1e-12


@pytest.mark.parametrize("name", ROOTS)
def test_a_batch_equals_reference(spectral, name):
    P, G = torch.from_numpy(spectral["sym_batch/P"]), torch.from_numpy(spectral["sym_batch/G"])
    value, gradient = value_and_gradient(ROOTS[name], P, G)
    assert relative(value, spectral[f"sym_batch/{name}"]) < 1e-12
    assert relative(gradient, spectral[f"sym_batch/{name}_grad"]) < 1e-11


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize(
    ("n", "condition", "ridge", "floor"), [(200, 1e4, 0.0, None), (64, 1e6, 0.0, 1e-9), (64, 1e12, 1e-5, 1e-9)]
)
def test_float32_is_computed_in_float64(name, n, condition, ridge, floor):
    """Against float64 on the same rounded input."""
    P = with_spectrum(spread(n, condition), dtype=torch.float32) + ridge * torch.eye(n)
    G = with_spectrum(spread(n, 3.0), seed=1, dtype=torch.float32)
    function = partial(ROOTS[name], floor=floor)
    value, gradient = value_and_gradient(function, P, G)
    exact, exact_gradient = value_and_gradient(partial(ROOTS[name], floor=0.0), P.double(), G.double())
    assert value.dtype == gradient.dtype == torch.float32
    assert relative(value, exact) < 1e-6
    assert relative(gradient, exact_gradient) < 1e-6


# ------------------------------------------------------------------------------------------------------ derivatives


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "eigenvalues", [[3.0, 2.0, 0.5, 0.1], [1.0] * 4, [2.0, 2.0, 0.3, 0.3], [1.0, 1.0 + 1e-9, 1e-3, 1e-3 + 1e-12]]
)
def test_gradcheck(name, eigenvalues):
    P = with_spectrum(eigenvalues).requires_grad_()
    # Cholesky differentiates by the lower triangle alone, so it is asked about the symmetric part like the others.
    assert torch.autograd.gradcheck(lambda P: FUNCTIONS[name](0.5 * (P + P.mT)), (P,), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("eigenvalues", [[3.0, 2.0, 0.5], [1.0] * 3, [2.0, 2.0, 0.3]])
def test_second_derivatives(name, eigenvalues):
    P = with_spectrum(eigenvalues).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda P: ROOTS[name](0.5 * (P + P.mT)), (P,), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("function", [FUNCTIONS["power"], matrix_log])
def test_second_derivatives_of_powers_are_refused_not_wrong(function):
    P = with_spectrum([3.0, 2.0]).requires_grad_()
    (gradient,) = torch.autograd.grad(function(P).square().sum(), P, create_graph=True)
    with pytest.raises(InputError, match="second derivative was asked"):
        gradient.sum().backward()


@pytest.mark.parametrize("name", ROOTS)
def test_second_derivative_at_the_floor_is_refused(name):
    P = with_spectrum([1.0, 1.0, 0.0]).requires_grad_()
    (gradient,) = torch.autograd.grad(ROOTS[name](P).square().sum(), P, create_graph=True)
    with pytest.raises(InputError, match="second derivative"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("exponent", [0.5, -0.5])
def test_powers_agree_with_roots(exponent):
    P, G = with_spectrum(spread(12, 1e4)), with_spectrum(spread(12, 2.0), seed=1)
    root = matrix_sqrt if exponent > 0 else matrix_inverse_sqrt
    expected = value_and_gradient(root, P, G)
    for ours, theirs in zip(value_and_gradient(partial(matrix_power, exponent=exponent), P, G), expected, strict=True):
        assert relative(ours, theirs) < 1e-11


# ------------------------------------------------------------------------------------------------------- identities


def test_identities():
    P = with_spectrum(spread(10, 1e3))
    S, W = matrix_sqrt(P), matrix_inverse_sqrt(P)
    identity = torch.eye(10, dtype=torch.float64)
    torch.testing.assert_close(S @ S, P, atol=1e-13, rtol=0)
    torch.testing.assert_close(S @ W, identity, atol=1e-11, rtol=0)
    torch.testing.assert_close(W @ P @ W, identity, atol=1e-10, rtol=0)
    torch.testing.assert_close(torch.matrix_exp(matrix_log(P)), P, atol=1e-12, rtol=0)
    torch.testing.assert_close(matrix_power(P, 0.25) @ matrix_power(P, 0.75), P, atol=1e-12, rtol=0)
    L = cholesky_whitening(P)
    torch.testing.assert_close(L @ P @ L.mT, identity, atol=1e-10, rtol=0)
    assert torch.equal(L, L.tril())


@pytest.mark.parametrize("name", ROOTS)
def test_gradient_solves_its_equation_and_eulers(name):
    P, G = with_spectrum(spread(8, 1e3)), torch.randn(8, 8, generator=torch.Generator().manual_seed(1)).double()
    f, X = value_and_gradient(ROOTS[name], P, G)
    symmetric = 0.5 * (G + G.mT)
    right = symmetric if name == "sqrt" else -f @ f @ symmetric @ f @ f
    torch.testing.assert_close(f @ X + X @ f, right, atol=1e-6 * float(right.norm()), rtol=1e-8)
    sign = 0.5 if name == "sqrt" else -0.5
    assert float((P * X).sum()) == pytest.approx(sign * float((f * G).sum()), rel=1e-10)


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e12])
def test_scaling_and_rotation(name, factor):
    power = 0.5 if name == "sqrt" else -0.5
    P = with_spectrum(spread(9, 1e2))
    Q, _ = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    f = ROOTS[name]
    assert relative(f(factor * P), factor**power * f(P)) < 1e-12
    assert relative(f(Q @ P @ Q.mT), Q @ f(P) @ Q.mT) < 1e-12


# ------------------------------------------------------------------------------------------------ degenerate spectra

DEGENERATE = {
    "all equal": [1.0] * 6,
    "two clusters": [2.0] * 3 + [0.1] * 3,
    "equal to 1e-7": [1 + i * 1e-7 for i in range(6)],
    "one zero": [1.0, 0.8, 0.5, 0.3, 0.2, 0.0],
    "half zero": [1.0, 0.8, 0.5, 0.0, 0.0, 0.0],
    "all zero": [0.0] * 6,
    "one -1e-7": [1.0, 0.8, 0.5, 0.3, 0.2, -1e-7],
    "scale 1e30": [1e30 * x for x in (1.0, 0.8, 0.5, 0.3, 0.2, 0.1)],
    "scale 1e-30": [1e-30 * x for x in (1.0, 0.8, 0.5, 0.3, 0.2, 0.1)],
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("rotated", [True, False])
def test_degenerate_spectra_are_finite(name, dtype, case, rotated):
    l = torch.tensor(DEGENERATE[case], dtype=torch.float64)
    P = (with_spectrum(l) if rotated else torch.diag(l)).to(dtype)
    value, gradient = value_and_gradient(FUNCTIONS[name], P, torch.ones_like(P))
    assert torch.isfinite(value).all()
    if (name, case, dtype) != ("cholesky", "scale 1e-30", torch.float32):  # its true gradient is beyond float32
        assert torch.isfinite(gradient).all()
    if name == "root" and "zero" in case and rotated:
        assert relative(value @ value + 1e-3, P + 1e-3) < 1e-3


def test_zero_gives_zero_and_the_documented_multiple_of_the_identity():
    P = torch.zeros(3, 3)
    assert torch.equal(matrix_sqrt(P), P)
    torch.testing.assert_close(matrix_inverse_sqrt(P), torch.finfo(torch.float32).eps ** -0.5 * torch.eye(3))


def test_default_floor_is_that_of_the_input():
    """A float32 covariance of rank 2: what is below n eps32 counts as the floor although it is computed in float64."""
    x = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    P = torch.cat([x, x.sum(0, keepdim=True)])
    P = P @ P.mT / 50
    largest = float(torch.linalg.eigvalsh(P.double())[-1])
    W = matrix_inverse_sqrt(P)
    floor = 3 * torch.finfo(torch.float32).eps * largest
    assert float(torch.linalg.eigvalsh(W.double())[-1]) == pytest.approx(floor**-0.5, rel=1e-4)


@pytest.mark.parametrize("eps", [1e-2, 1e-5, 1e-10])
def test_the_papers_stem_has_a_finite_gradient(eps):
    """A 3x3 convolution from 3 to 64 channels: rank 27, and 37 eigenvalues that all equal eps; float32."""
    generator = torch.Generator().manual_seed(0)
    weight = (0.1 * torch.randn(64, 27, generator=generator)).requires_grad_()
    patches = torch.randn(27, 27, generator=generator) @ torch.randn(27, 4096, generator=generator)
    X = weight @ patches
    X = X - X.mean(1, keepdim=True)
    P = X @ X.mT / X.shape[1] + eps * torch.eye(64)
    (matrix_inverse_sqrt(P) @ X).pow(3).sum().backward()
    assert weight.grad is not None
    assert torch.isfinite(weight.grad).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_matrix_that_is_not_finite_gives_nan_and_leaves_the_others_alone(name, bad):
    good = with_spectrum(spread(4, 10.0))
    P = torch.stack([good, good.clone(), 2 * good])
    P[1, 2, 2] = bad
    value, gradient = value_and_gradient(FUNCTIONS[name], P, torch.ones_like(P))
    assert torch.isnan(value[1]).any()
    for i in (0, 2):
        alone = value_and_gradient(FUNCTIONS[name], P[i], torch.ones(4, 4, dtype=torch.float64))
        assert relative(value[i], alone[0]) < 1e-12
        assert relative(gradient[i], alone[1]) < 1e-10


# ------------------------------------------------------------------------------------------------ shapes and dtypes


@pytest.mark.parametrize("name", FUNCTIONS)
def test_batches_views_and_input_are_respected(name):
    f = FUNCTIONS[name]
    P = torch.stack([with_spectrum(spread(5, 10.0), seed) for seed in range(6)]).reshape(2, 3, 5, 5)
    kept = P.clone()
    value = f(P)
    assert torch.equal(P, kept)
    for index in itertools.product(range(2), range(3)):
        assert relative(value[index], f(P[index])) < 10 * 50 * EPS
    assert relative(f(P.mT), value) < 1e-12
    wide = torch.empty(2, 3, 5, 10, dtype=torch.float64)
    wide[..., ::2] = P
    assert relative(f(wide[..., ::2]), value) < 1e-12
    assert relative(f(P[0, 0].expand(4, 5, 5))[3], value[0, 0]) < 1e-12
    assert f(P[:0]).shape == (0, 3, 5, 5)
    one = f(torch.full((2, 1, 1), 4.0, dtype=torch.float64))
    assert one.shape == (2, 1, 1)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_and_out(name, dtype):
    P = with_spectrum(spread(6, 10.0)).to(dtype)
    value, gradient = value_and_gradient(FUNCTIONS[name], P, torch.ones_like(P))
    exact = FUNCTIONS[name](P.double())
    assert value.dtype == gradient.dtype == dtype
    assert relative(value, exact) < 4e-3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_autocast_changes_nothing(name):
    P = with_spectrum(spread(6, 100.0), dtype=torch.float32)
    expected = value_and_gradient(FUNCTIONS[name], P, torch.ones_like(P))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = value_and_gradient(FUNCTIONS[name], P, torch.ones_like(P))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ROOTS)
def test_precision_of_the_input_is_float32_accurate(name):
    P = with_spectrum(spread(16, 10.0), dtype=torch.float32)
    value = ROOTS[name](P, precision="input")
    error = relative(value, ROOTS[name](P.double()))
    assert 1e-8 < error < 5e-6


# ------------------------------------------------------------------------------------------- transforms and compiler


@pytest.mark.parametrize("name", ["root", "inverse root", "power", "log"])
def test_vmap_and_func_grad_agree_with_the_loop(name):
    f = FUNCTIONS[name]
    P = torch.stack([with_spectrum(spread(4, 20.0), seed) for seed in range(3)])
    mapped = torch.func.vmap(torch.func.grad(lambda P: f(P).pow(3).sum()))(P)
    for index in range(3):
        _, gradient = value_and_gradient(f, P[index], 3 * f(P[index]).detach().square())
        torch.testing.assert_close(mapped[index], gradient, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ROOTS)
def test_jacobians_agree_in_both_modes(name):
    P = with_spectrum([2.0, 1.0, 1.0])
    reverse = torch.func.jacrev(ROOTS[name])(P)
    forward = torch.func.jacfwd(ROOTS[name])(P)
    torch.testing.assert_close(reverse, forward, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["root", "inverse root", "power"])
def test_compiles_without_a_break(name):
    P, G = with_spectrum(spread(4, 20.0)), with_spectrum(spread(4, 2.0), seed=1)
    torch._dynamo.reset()
    compiled = torch.compile(FUNCTIONS[name], fullgraph=True, backend="aot_eager")
    expected = value_and_gradient(FUNCTIONS[name], P, G)
    for ours, theirs in zip(value_and_gradient(compiled, P, G), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("P", [torch.zeros(3), torch.zeros(2, 3), torch.eye(3, dtype=torch.int64), "P"])
def test_bad_matrices(function, P):
    with pytest.raises(InputError, match=r"expected (square matrices|a real floating point tensor)"):
        function(P)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda P: matrix_sqrt(P, "eig"), "did you mean 'eigh'"),
        (lambda P: matrix_sqrt(P, precision="float32"), "precision is 'float32'"),
        (lambda P: matrix_sqrt(P, floor=-1.0), "floor is -1.0"),
        (lambda P: matrix_inverse_sqrt(P, floor=1.0), "floor is 1.0"),
        (lambda P: matrix_sqrt(P, steps=3), "none for 'eigh'"),
        (lambda P: matrix_sqrt(P, "pade", steps=0), "steps is 0"),
        (lambda P: matrix_sqrt(P, "pade", floor=1e-3), "which has none; leave it out"),
        (lambda P: matrix_power(P, 0.0), "exponent is 0.0"),
        (lambda P: matrix_power(P, 1.5), "exponent is 1.5"),
        (lambda P: matrix_power(P, float("nan")), "exponent is nan"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call(torch.eye(3))


def test_no_lu_in_the_library():
    """Batched LU on the CPU is silently wrong from n = 256 on with two threads, a fault of torch (its issue 142815)."""
    root = Path(disentangle.__file__).parent
    for path in [*root.rglob("*.py"), *(root.parent / "evaluations").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"torch\.(linalg\.)?(solve|inv|inverse|lu\w*)\(", text), path
