"""Metrics without factors, or over several models: correlations of codes, active units, UDR; MIG from densities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import (
    active_units,
    divergence_from_prior,
    mig_density,
    pairwise_information,
    total_correlation,
    udr,
    wasserstein_correlation,
)

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(5000, 3))


def test_gaussian_formulas_for_two_correlated_codes() -> None:
    mixing = np.array([[2.0, 0.0], [1.2, 1.6]])  # standard deviations 2 and 2, correlation 0.6
    codes = RNG.normal(size=(5000, 2))
    codes = (codes - codes.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(codes.T)).T)  # exactly white
    codes = codes @ mixing.T
    score = total_correlation(codes)
    assert score.value == pytest.approx(-0.5 * np.log(1 - 0.36), abs=1e-9)
    np.testing.assert_allclose(score.parts["per_code"], -0.5 * np.log(1 - 0.36), atol=1e-9)
    assert not score.higher_is_better
    # covariance 4 [[1, r], [r, 1]]: eigenvalues of D^1/2 S D^1/2 are 16 (1 +- r)
    expected = 2 * 8 - 2 * (4 * np.sqrt(1.6) + 4 * np.sqrt(0.4))
    score = wasserstein_correlation(codes)
    assert score.value == pytest.approx(expected, abs=1e-9)
    assert score.parts["normalised"] == pytest.approx(expected / 8, abs=1e-9)
    assert score.parts["per_code"].sum() == pytest.approx(expected, abs=1e-9)


def test_dependent_and_constant_codes_stay_finite() -> None:
    twice = np.concatenate([CODES, CODES[:, :1], np.ones((5000, 1))], axis=1)
    score = total_correlation(twice)
    assert 10 < score.value < 20  # half the logarithm of 1e12
    assert score.settings["dependent_directions"] == 1
    assert score.settings["constant_codes"] == 1
    assert np.isfinite(wasserstein_correlation(twice).value)
    assert total_correlation(np.ones((50, 2))).value == 0
    assert total_correlation(CODES, bootstrap=30).interval is not None


def test_pairwise_information() -> None:
    assert pairwise_information(CODES).value == pytest.approx(
        19**2 / 2 / 5000, rel=0.35
    )  # its bias, if all bins were full
    same = np.repeat(np.arange(4.0)[:, None], 100, axis=0)
    assert pairwise_information(np.concatenate([same, same], axis=1)).value == pytest.approx(np.log(4))
    with pytest.raises(InputError, match="needs at least 2 columns"):
        pairwise_information(CODES[:, :1])


def test_active_units_and_divergence() -> None:
    means = CODES * [1, 0.05, 0.2]
    score = active_units(torch.from_numpy(means))
    assert score.value == 2
    assert score.parts["active"].tolist() == [True, False, True]
    assert active_units(means, threshold=0.1).value == 1
    with pytest.raises(InputError, match="threshold is -1"):
        active_units(means, threshold=-1)
    np.testing.assert_allclose(divergence_from_prior(np.zeros((4, 2)), np.zeros((4, 2))), 0)
    np.testing.assert_allclose(divergence_from_prior(np.full((4, 1), 2.0), np.full((4, 1), np.log(0.25))),
                               0.5 * (0.25 + 4 - 1 - np.log(0.25)))  # fmt: skip
    with pytest.raises(InputError, match=r"means have shape \(4, 2\) and log_variances \(4, 1\)"):
        divergence_from_prior(np.zeros((4, 2)), np.zeros((4, 1)))


@pytest.mark.parametrize("similarity", ["spearman", "lasso"])
def test_models_that_agree_and_that_do_not(similarity: str) -> None:
    agreeing = [CODES, -CODES[:, [2, 0, 1]], CODES[:, [1, 2, 0]] + 0.1 * RNG.normal(size=CODES.shape)]
    rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    high = udr(agreeing, similarity=similarity)  # type: ignore[arg-type]
    low = udr([CODES, CODES @ rotation, RNG.normal(size=CODES.shape)], similarity=similarity)  # type: ignore[arg-type]
    assert high.value > 0.85
    assert low.value < 0.6 * high.value
    assert high.parts["pairwise"].shape == (3, 3)
    assert high.parts["per_model"].shape == (3,)


def test_udr_leaves_uninformative_codes_out() -> None:
    padded = [np.concatenate([CODES, RNG.normal(size=(5000, 2))], axis=1) for _ in range(2)]
    kept = [np.array([1, 1, 1, 0.001, 0.0])] * 2
    assert udr(padded, divergences=kept).value > 0.95
    assert udr(padded).value < 0.9
    assert udr([np.concatenate([CODES, np.ones((5000, 1))], axis=1)] * 2).parts["informative"].tolist() == [3, 3]
    for models, message in (
        ([CODES], "needs the codes of two or more; got 1"),
        ([CODES, CODES[:9]], r"codes of model 1 have shape \(9, 3\); expected \(5000, d\)"),
        ([CODES, CODES * np.nan], "codes of model 1 hold 15000 values that are NaN"),
    ):
        with pytest.raises(InputError, match=message):
            udr(models)
    with pytest.raises(InputError, match=r"divergences of model 0 have shape \(2,\); expected \(3,\)"):
        udr([CODES, CODES], divergences=[np.ones(2), np.ones(2)])


def information_by_quadrature(centres: np.ndarray, deviation: float) -> float:
    """I(z; y) of a uniform label y and z = centre of y plus Gaussian noise."""
    x = np.linspace(centres.min() - 9 * deviation, centres.max() + 9 * deviation, 20_001)
    density = np.exp(-0.5 * ((x[:, None] - centres) / deviation) ** 2).mean(axis=1) / deviation / np.sqrt(2 * np.pi)
    mixture = -trapezoid(density * np.log(np.maximum(density, 1e-300)), x)
    return float(mixture - 0.5 * np.log(2 * np.pi * np.e * deviation**2))


def test_density_mig_against_quadrature() -> None:
    factors = np.tile(np.stack(np.meshgrid(np.arange(4), np.arange(3), indexing="ij"), axis=-1).reshape(-1, 2), (50, 1))
    means = np.stack([2.0 * factors[:, 0], 1.0 * factors[:, 1], 0.0 * factors[:, 0]], axis=1)
    log_variances = np.full(means.shape, np.log(0.25))
    score = mig_density(means, log_variances, factors, samples=6_000)
    expected = [information_by_quadrature(2.0 * np.arange(4), 0.5), information_by_quadrature(np.arange(3.0), 0.5)]
    for k in range(2):
        error = score.parts["error"][k, k]
        assert score.parts["mutual_information"][k, k] == pytest.approx(expected[k], abs=4 * error)
        assert error < 0.02
    np.testing.assert_allclose(score.parts["mutual_information"][2], 0, atol=1e-9)  # independent of both
    assert score.value == pytest.approx(np.mean(np.array(expected) / np.log([4, 3])), abs=0.02)
    assert mig_density(means, log_variances, factors, samples=50, seed=1).value != score.value


def test_density_mig_of_any_frequencies_and_bad_arrays() -> None:
    factors = np.stack([np.arange(400) % 2, (np.arange(400) < 40).astype(int)], axis=1)
    means = 9.0 * factors
    score = mig_density(means, np.zeros((400, 2)) - 4, factors, samples=4000)
    assert score.value == pytest.approx(1, abs=0.05)  # separated: all of H, however uneven
    done: list[tuple[int, int]] = []
    mig_density(means, np.zeros((400, 2)), factors, samples=100, progress=lambda *call: done.append(call))
    assert done[-1] == (100, 100)
    with pytest.raises(InputError, match=r"log_variances have shape \(400, 3\) but means have \(400, 2\)"):
        mig_density(means, np.zeros((400, 3)), factors)
    with pytest.raises(InputError, match="samples is 1"):
        mig_density(means, np.zeros((400, 2)), factors, samples=1)
