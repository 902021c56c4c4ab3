"""MIG from densities: pieces, order of codes, variances of any size."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import mig_density

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 4, size=(90, 2))
MEANS = np.concatenate([FACTORS, RNG.normal(size=(90, 1)), np.zeros((90, 1))], axis=1)
LOG_VARIANCES = RNG.normal(-2, 0.5, size=MEANS.shape)


def test_by_definition() -> None:
    """Every density of every sample at once."""
    score = mig_density(MEANS, LOG_VARIANCES, FACTORS, samples=300, seed=5)
    rng = np.random.default_rng(5)
    origin = rng.integers(len(MEANS), size=300)
    deviation = np.exp(LOG_VARIANCES / 2)
    drawn = MEANS[origin] + deviation[origin] * rng.standard_normal((300, 4))
    density = np.exp(-0.5 * ((drawn[:, None] - MEANS) / deviation) ** 2) / deviation  # (300, 90, 4)
    for k, labels in enumerate(FACTORS.T):
        same = labels[origin][:, None] == labels
        inside = np.einsum("spj,sp->sj", density, same) / same.sum(axis=1, keepdims=True)
        gained = np.log(inside / density.mean(axis=1))
        expected = np.maximum(gained.mean(axis=0), 0)
        np.testing.assert_allclose(score.parts["mutual_information"][:, k], expected, atol=1e-12)
        np.testing.assert_allclose(score.parts["error"][:, k], gained.std(axis=0, ddof=1) / np.sqrt(300), atol=1e-12)


def test_pieces_and_order_of_codes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mig_density(MEANS, LOG_VARIANCES, FACTORS, samples=50)
    monkeypatch.setattr(sys.modules[mig_density.__module__], "_CELLS", 40)  # the function shadows its module
    pieces = mig_density(MEANS, LOG_VARIANCES, FACTORS, samples=50)
    np.testing.assert_allclose(pieces.parts["mutual_information"], whole.parts["mutual_information"], atol=1e-12)
    assert pieces.value == pytest.approx(whole.value, abs=1e-12)
    turned = mig_density(-MEANS[:, ::-1], LOG_VARIANCES[:, ::-1], FACTORS, samples=4_000)
    straight = mig_density(MEANS, LOG_VARIANCES, FACTORS, samples=4_000)
    assert turned.value == pytest.approx(straight.value, abs=0.05)
    assert turned.parts["best_code"].tolist() == [3, 2]
    assert straight.parts["best_code"].tolist() == [0, 1]


@pytest.mark.parametrize("log_variance", [-500.0, -30.0, 30.0, 500.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e200])
def test_extreme_posteriors_give_numbers(log_variance: float, scale: float) -> None:
    spread = np.full(MEANS.shape, log_variance)
    for variances in (spread, np.where(np.arange(90)[:, None] % 2 == 0, spread, 0.0)):
        score = mig_density(MEANS * scale, variances, FACTORS, samples=40)
        assert all(np.all(np.isfinite(part)) for part in score.parts.values())
        assert np.isfinite(score.value)


def test_narrow_posteriors_tell_all_that_values_do() -> None:
    # points of one value share one narrow posterior, so the code is the label
    score = mig_density(MEANS[:, :2], np.full((90, 2), -500.0), FACTORS, samples=2_000)
    np.testing.assert_allclose(np.diag(score.parts["mutual_information"]), score.parts["entropy"], atol=0.05)


def test_no_variance_is_refused() -> None:
    spread = LOG_VARIANCES.copy()
    spread[3, 1] = -2000
    with pytest.raises(InputError, match=r"log_variances hold -2000; expected from -500 to 500"):
        mig_density(MEANS, spread, FACTORS)
