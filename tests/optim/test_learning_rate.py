"""OLR: reference values of the three forms, the quartic behind them, undefined cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from disentangle.errors import InputError
from disentangle.optim import accepted_learning_rate, optimal_learning_rate
from disentangle.optim.learning_rate import orthogonality_quartic

STEPS = [f"step{i}_{tag}" for i in range(3) for tag in ("plain", "aligned", "opposed", "nog")]
BASE = 0.1


def pair(spectral, case):
    return torch.from_numpy(spectral[f"{case}/W"]), torch.from_numpy(spectral[f"{case}/L"])


@pytest.mark.parametrize("case", STEPS)
def test_released_form_equals_reference(spectral, case):
    w, l = pair(spectral, case)
    proposed, used = spectral[f"{case}/olr"]
    rate = optimal_learning_rate(w, l, form="released")
    assert rate.ndim == 0
    assert float(rate) == pytest.approx(proposed, rel=1e-12)
    assert accepted_learning_rate(float(rate), BASE) == pytest.approx(used, rel=1e-12)


@pytest.mark.parametrize("case", STEPS)
def test_quartic_equals_reference(spectral, case):
    w, l = pair(spectral, case)
    assert np.allclose(orthogonality_quartic(w, l).numpy(), spectral[f"{case}/quartic"], rtol=1e-11)


@pytest.mark.parametrize("case", STEPS)
def test_exact_form_is_the_minimiser_on_the_interval(spectral, case):
    w, l = pair(spectral, case)
    rate = float(optimal_learning_rate(w, l, form="exact", maximum=BASE))
    assert rate == pytest.approx(float(spectral[f"{case}/matrix_olr"][0]), abs=1e-9)
    free = float(optimal_learning_rate(w, l, form="exact"))
    grid = np.linspace(0, max(4 * free, 1.0), 20_001)
    assert np.polyval(spectral[f"{case}/quartic"], free) <= np.polyval(spectral[f"{case}/quartic"], grid).min() + 1e-9


@pytest.mark.parametrize("case", STEPS)
def test_matrix_form_minimises_the_quadratic_part(spectral, case):
    w, l = pair(spectral, case)
    _, _, c2, c1, _ = spectral[f"{case}/quartic"]
    assert float(optimal_learning_rate(w, l, form="matrix")) == pytest.approx(-c1 / (2 * c2), rel=1e-11)


def test_the_shorter_side_is_used(spectral):
    w, l = pair(spectral, "step1_aligned")
    assert w.shape[0] > w.shape[1]
    for form in ("matrix", "exact", "released"):
        assert float(optimal_learning_rate(w, l, form=form)) == pytest.approx(
            float(optimal_learning_rate(w.T, l.T, form=form)), rel=1e-11
        )


def test_convolution_weights_are_flattened(generator):
    w, l = (torch.randn(8, 3, 3, 3, generator=generator) for _ in range(2))
    for form in ("released", "matrix", "exact"):
        assert torch.equal(
            optimal_learning_rate(w, l, form=form), optimal_learning_rate(w.flatten(1), l.flatten(1), form=form)
        )


def test_released_form_scales_as_weight_over_gradient(generator):
    w, l = (torch.randn(6, 20, generator=generator, dtype=torch.float64) for _ in range(2))
    l = l + 0.3 * w
    rate = float(optimal_learning_rate(w, l, form="released"))
    assert float(optimal_learning_rate(1e6 * w, 1e-8 * l, form="released")) == pytest.approx(rate * 1e14, rel=1e-9)


@pytest.mark.parametrize("form", ["released", "matrix", "exact"])
def test_undefined_is_nan_and_falls_back_to_the_base_rate(form):
    zero = torch.zeros(3, 5)
    one = torch.ones(3, 5)
    for w, l in ((one, zero), (zero, zero), (one, torch.full((3, 5), float("nan")))):
        rate = float(optimal_learning_rate(w, l, form=form))
        assert math.isnan(rate)
        assert accepted_learning_rate(rate, BASE) == BASE


def test_zero_weight_falls_back_to_the_base_rate():
    w, l = torch.zeros(2, 4), torch.eye(2, 4)
    for form in ("released", "matrix"):
        assert accepted_learning_rate(float(optimal_learning_rate(w, l, form=form)), BASE) == BASE


@pytest.mark.parametrize("rate", [-0.1, 0.0, BASE, 0.2, float("nan"), float("inf")])
def test_accept_rule_is_strict(rate):
    assert accepted_learning_rate(rate, BASE) == BASE
    assert accepted_learning_rate(0.05, BASE) == 0.05


def test_bad_arguments():
    with pytest.raises(InputError, match=r"\(2, 3\).*\(3, 2\)"):
        optimal_learning_rate(torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(InputError, match="did you mean 'matrix'"):
        optimal_learning_rate(torch.ones(2, 3), torch.ones(2, 3), form="matrx")
    with pytest.raises(InputError, match="two dimensions"):
        optimal_learning_rate(torch.ones(3), torch.ones(3))
