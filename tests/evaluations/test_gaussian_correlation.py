"""Correlations of codes: invariances, codes of any magnitude, constant codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import (
    pairwise_information,
    total_correlation,
    wasserstein_correlation,
)

CODES = np.random.default_rng(0).normal(size=(500, 3))
CODES[:, 1] += CODES[:, 0]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-1000, 1000))
def test_order_sign_and_scale(seed: int, power: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 4))
    order, signs = rng.permutation(4), rng.choice([-1.0, 1.0], size=4)
    scales = np.array([2.0**power, 1.0, 2.0**-power, 3.0])  # the scale of each code alone
    score, moved = total_correlation(codes), total_correlation((codes * scales)[:, order] * signs)
    assert moved.value == pytest.approx(score.value, abs=1e-9)
    np.testing.assert_allclose(moved.parts["per_code"], score.parts["per_code"][order], atol=1e-9)
    score, moved = wasserstein_correlation(codes), wasserstein_correlation(2 * codes[:, order] * signs)
    assert moved.value == pytest.approx(4 * score.value, abs=1e-9)
    assert moved.parts["normalised"] == pytest.approx(score.parts["normalised"], abs=1e-9)
    assert 0 <= score.parts["normalised"] <= 2
    assert pairwise_information(codes[:, order]).value == pytest.approx(pairwise_information(codes).value, abs=1e-12)


def test_wasserstein_in_any_unit() -> None:
    expected = wasserstein_correlation(CODES)
    for power in (-900, -500, 450):
        score = wasserstein_correlation(CODES * 2.0**power)
        assert score.value == np.ldexp(expected.value, 2 * power)  # 0 where that is below float64
        assert score.parts["normalised"] == expected.parts["normalised"]
    with pytest.raises(InputError, match=r"whose square is beyond float64; give them in a larger unit"):
        wasserstein_correlation(CODES * 1e160)


@pytest.mark.parametrize("metric", [total_correlation, wasserstein_correlation, pairwise_information])
def test_constant_codes(metric: type) -> None:
    padded = np.concatenate([CODES, np.ones((500, 1)), np.full((500, 1), 1e9)], axis=1)
    score = metric(padded)
    assert score.settings["constant_codes"] == 2
    assert all(np.all(np.isfinite(part)) for part in score.parts.values())
    # a constant code's pairs count in the mean of pairs: 3 of 10 are left
    share = 3 / 10 if metric is pairwise_information else 1
    assert score.value == pytest.approx(share * metric(CODES).value, abs=1e-9)
    np.testing.assert_allclose(score.parts["per_code"][3:], 0, atol=1e-9)
    assert metric(np.ones((9, 2))).value == 0
    assert not score.higher_is_better
    assert score.chance is None


def test_a_single_code_has_nothing_to_share() -> None:
    assert total_correlation(CODES[:, :1]).value == pytest.approx(0, abs=1e-12)
    assert wasserstein_correlation(CODES[:, :1]).value == pytest.approx(0, abs=1e-12)
    assert total_correlation(CODES[:2]).value < 30  # two points lie on a line: bounded, not infinite
