"""The approximations and the published derivatives err as much as they say, not more and not less."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from disentangle.linalg import matrix_inverse_sqrt, matrix_sqrt
from disentangle.linalg.iterative_roots import quintics
from tests.linalg.test_matrix_power import relative, spread, value_and_gradient, with_spectrum

ROOTS = {"root": matrix_sqrt, "inverse root": matrix_inverse_sqrt}
ITERATIVE = ["newton_schulz", "isqrt_cov", "polar_express", "pade", "taylor"]

# (method, condition number) -> errors of root, its gradient, inverse root, its gradient; n = 32, log-uniform spectrum.
# Independent values of another implementation (of isqrt_cov: test_published_roots); each must be met within a factor
# of 4 on both sides.
ERRORS = {
    ("newton_schulz", 1e1): (6e-6, 1e-4, 2e-5, 3e-4),
    ("newton_schulz", 1e4): (3e-2, 5e-1, 8e-1, 1e0),
    ("isqrt_cov", 1e1): (0.13, 0.2, 0.3, 0.7),
    ("isqrt_cov", 1e4): (0.12, 0.8, 0.9, 1.0),
    ("pade", 1e1): (5e-3, 1e-2, 1e-2, 4e-2),
    ("pade", 1e4): (2e-1, 8e-1, 9e-1, 1e0),
    ("taylor", 1e1): (5e-2, 8e-2, 1e-1, 3e-1),
    ("taylor", 1e4): (4e-1, 9e-1, 9e-1, 1e0),
}


def problem(condition: float, n: int = 32) -> tuple[Tensor, Tensor]:
    G = torch.randn(n, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return with_spectrum(spread(n, condition)), G


def errors(method: str, condition: float, **options: int) -> list[float]:
    P, G = problem(condition)
    found = []
    for root in ROOTS.values():
        exact = value_and_gradient(root, P, G)
        near = value_and_gradient(partial(root, method=method, **options), P, G)
        found += [relative(a, b) for a, b in zip(near, exact, strict=True)]
    return found


@pytest.mark.parametrize(("method", "condition"), ERRORS)
def test_errors_are_those_documented_on_both_sides(method, condition):
    for found, documented in zip(errors(method, condition), ERRORS[method, condition], strict=True):
        assert documented / 4 < found < 4 * documented


@pytest.mark.parametrize(("steps", "condition"), [(6, 1e2), (9, 1e4), (9, 1e7), (13, 1e8)])
def test_polar_express_with_enough_steps_is_exact(steps, condition):
    values = errors("polar_express", condition, steps=steps)
    assert max(values[0], values[2]) < 1e-15 * max(condition, 1e4)
    assert max(values) < 1e-7
    assert max(errors("polar_express", 1e8, steps=6)) > 0.1


@pytest.mark.parametrize("steps", [3, 6, 9])
def test_quintics_are_minimax(steps):
    """The first one equioscillates on its interval: its largest error is taken four times, with alternating sign."""
    a, b, c = quintics(steps)[0]
    lower = min(10 ** (-2 * (steps - 3) / 3), 0.5)
    x = torch.linspace(lower, 1, 200_001, dtype=torch.float64)
    p = a * x + b * x**3 + c * x**5
    middle = 0.5 * (float(p.max()) + float(p.min()))
    size = 0.5 * (float(p.max()) - float(p.min()))
    touched = (p - middle).abs() > size * (1 - 1e-6)
    signs = (p - middle)[touched].sign()
    assert int((signs.diff() != 0).sum()) == 3


@pytest.mark.parametrize("method", ["newton_schulz", "isqrt_cov", "polar_express"])
@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_unrolled_gradients(method, root):
    P = with_spectrum([2.0, 1.0, 1.0]).requires_grad_()
    f = partial(root, method=method, steps=4)
    assert torch.autograd.gradcheck(lambda P: f(0.5 * (P + P.mT)), (P,), atol=1e-6)


def test_fifteen_newton_schulz_steps_are_exact():
    assert max(errors("newton_schulz", 1e1, steps=15)) < 1e-13


def test_pade_overestimates_small_eigenvalues_as_documented():
    """The root of a zero eigenvalue is 1/11 of the scale."""
    P = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(matrix_sqrt(P, "pade").diagonal(), torch.tensor([1.0, 1 / 11], dtype=torch.float64))


@pytest.mark.parametrize("method", ITERATIVE)
@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_batches_zero_and_non_finite(method, root):
    good = with_spectrum(spread(5, 10.0))
    P = torch.stack([good, torch.zeros_like(good), good * float("nan"), 1e30 * good, 1e-30 * good])
    value, gradient = value_and_gradient(partial(root, method=method), P, torch.ones_like(P))
    alone, alone_gradient = value_and_gradient(partial(root, method=method), good, torch.ones_like(good))
    assert relative(value[0], alone) < 1e-12
    assert relative(gradient[0], alone_gradient) < 1e-9
    assert torch.isnan(value[2]).all()
    assert torch.isfinite(value[[0, 1, 3, 4]]).all()
    assert torch.isfinite(gradient[[0, 1, 3, 4]]).all()
    power = 0.5 if root is matrix_sqrt else -0.5
    assert relative(value[3], 1e30**power * alone) < 1e-12
    assert relative(value[4], 1e-30**power * alone) < 1e-12


@pytest.mark.parametrize("method", ITERATIVE)
def test_float32_inside_and_large_entries(method):
    P = with_spectrum(spread(6, 10.0), dtype=torch.float32)
    expected = matrix_sqrt(P.double(), method)
    assert relative(matrix_sqrt(P, method, precision="input"), expected) < 1e-4
    assert relative(matrix_sqrt(1e30 * P, method, precision="input"), 1e15 * expected) < 1e-4


# ------------------------------------------------------------------------------------------ published SVD backwards


@pytest.mark.parametrize("method", ["svd_plain", "svd_trunc", "svd_pade"])
def test_are_exact_on_distinct_eigenvalues(method):
    assert max(errors(method, 1e4)) < 1e-11


def test_taylor_and_power_iteration_err_by_their_series():
    """Ratio r of neighbours: what is left of the geometric series after k terms is r^k of it."""
    taylor, power = errors("svd_taylor", 1e1), errors("power_iteration", 1e1)
    assert taylor[0] == power[0] == 0
    assert 1e-5 < taylor[1] < 1e-3  # r = 0.93, 101 terms; another implementation gives 2e-4
    assert 1e-2 < power[1] < 1
    assert errors("svd_taylor", 1e1, steps=400)[1] < 1e-9


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_equal_eigenvalues_break_them_and_not_the_exact_one(root):
    P, G = with_spectrum([1.0, 1.0, 1.0, 0.5]), problem(1.0, 4)[1]
    _, exact = value_and_gradient(root, P, G)
    assert torch.isfinite(exact).all()
    for method in ("svd_plain", "svd_trunc", "svd_taylor", "svd_pade", "power_iteration"):
        value, gradient = value_and_gradient(partial(root, method=method), torch.diag(P.diagonal().round()), G)
        assert torch.isfinite(value).all()
        reference = value_and_gradient(root, torch.diag(P.diagonal().round()), G)[1]
        assert not relative(gradient, reference) < 0.1  # NaN and infinity count as wrong


def test_top_n_drops_the_smallest():
    P = with_spectrum(spread(6, 10.0))
    kept = torch.linalg.eigvalsh(matrix_sqrt(P, "svd_top_n", steps=2))
    expected = torch.linalg.eigvalsh(P).sqrt()
    torch.testing.assert_close(kept[2:], expected[2:])
    assert float(kept[:2].max()) < 1e-6
    for root in ROOTS.values():  # the dropped ones are all equal, and still their gradient is finite
        _, gradient = value_and_gradient(partial(root, method="svd_top_n", steps=2), P, torch.ones_like(P))
        assert torch.isfinite(gradient).all()
