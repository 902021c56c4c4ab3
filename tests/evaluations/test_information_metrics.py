"""The metrics made of one table of mutual information, on codes whose information is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import (
    aam,
    dcimig,
    jemmig,
    med,
    mig,
    mig_sup,
    modularity,
    rmig,
    topk_med,
)

METRICS = [mig, rmig, mig_sup, jemmig, dcimig, aam, modularity, med, topk_med]
GRID = np.stack(np.meshgrid(*map(np.arange, (2, 4, 4)), indexing="ij"), axis=-1).reshape(-1, 3)
FACTORS = np.tile(GRID, (10, 1))  # 320 points, exactly independent
H = np.log([2, 4, 4])


def value(metric: Callable[..., Any], codes: np.ndarray, factors: np.ndarray = FACTORS, **options: Any) -> float:
    return float(measure(metric, codes, factors, **options).value)


def measure(metric: Callable[..., Any], codes: np.ndarray, factors: np.ndarray = FACTORS, **options: Any) -> Any:
    """On all points: those that predict get the same ones to predict, so none is split off."""
    if metric in (med, topk_med):
        options["test"] = (codes.astype(float), factors)
    return metric(codes.astype(float), factors, baselines=False, **options)


@pytest.mark.parametrize("metric", METRICS)
def test_one_code_a_factor_is_perfect(metric: Callable[..., Any]) -> None:
    assert value(metric, FACTORS) == pytest.approx(1, abs=1e-8)


def test_redundant_codes() -> None:
    twice = np.concatenate([FACTORS, FACTORS], axis=1)
    assert value(mig, twice) == pytest.approx(0, abs=1e-12)  # a second code tells as much
    assert value(aam, twice) == pytest.approx(0, abs=1e-12)
    assert value(mig_sup, twice) == pytest.approx(1)  # each code still serves one factor
    assert value(modularity, twice) == pytest.approx(1)
    assert value(dcimig, twice) == pytest.approx(1)
    assert value(med, twice) == pytest.approx(1, abs=1e-8)
    score = measure(med, twice)
    assert score.parts["completeness"] == pytest.approx(1 - np.log(2) / np.log(6), abs=1e-8)


def test_missing_factor() -> None:
    codes = np.concatenate([FACTORS[:, :2], 0 * FACTORS[:, :1]], axis=1)
    assert value(mig, codes) == pytest.approx(2 / 3)
    assert value(aam, codes) == pytest.approx(2 / 3)
    assert value(dcimig, codes) == pytest.approx((H[0] + H[1]) / H.sum())
    assert value(mig_sup, codes) == pytest.approx(2 / 3)  # over codes, of which one is constant
    assert value(modularity, codes) == pytest.approx(2 / 3)
    score = mig_sup(codes.astype(float), FACTORS, baselines=False)
    np.testing.assert_allclose(score.parts["per_factor"], [1, 1, 0], atol=1e-12)


def test_a_code_that_mixes_two_factors() -> None:
    """Code 0 is factor 1 and factor 2 at once, 16 values: it tells all about both."""
    mixed = 4 * FACTORS[:, 1:2] + FACTORS[:, 2:]
    codes, factors = np.concatenate([FACTORS[:, :1], mixed], axis=1), FACTORS
    assert value(mig, codes) == pytest.approx(1)  # each factor has one code
    assert value(mig_sup, codes) == pytest.approx(0.5)  # that code serves two
    assert value(modularity, codes) == pytest.approx((1 + (1 - 1 / 2)) / 2)
    assert value(dcimig, codes) == pytest.approx(H[0] / H.sum())
    score = jemmig(codes.astype(float), factors, baselines=False)
    # the joint entropy is that of both factors, the gap that of one
    expected = 1 - (np.log(16) - np.log(4)) / (np.log(4) + np.log(20))
    np.testing.assert_allclose(score.parts["per_factor"][1:], expected, atol=1e-9)


def test_chosen_codes_of_topk_med() -> None:
    mixed = 4 * FACTORS[:, 1:2] + FACTORS[:, 2:]
    codes = np.concatenate([FACTORS, mixed], axis=1).astype(float)
    assert measure(topk_med, codes).parts["chosen"].tolist() == [0, 1, 2]
    assert value(topk_med, codes) == pytest.approx(1, abs=1e-8)
    assert value(med, codes) < 0.8
    assert measure(topk_med, codes, k=2).parts["chosen"].tolist() == [0, 1, 2, 3]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_order_sign_and_scale_of_codes_do_not_matter(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    codes = FACTORS[:, [0, 1, 2, 1]] + rng.normal(size=(320, 4))
    metric = data.draw(st.sampled_from(METRICS))
    expected = measure(metric, codes)
    order = rng.permutation(4)
    moved = measure(metric, 4.0 * codes[:, order])
    assert moved.value == pytest.approx(expected.value, abs=1e-9)
    np.testing.assert_allclose(moved.parts["per_code"], np.asarray(expected.parts["per_code"])[order], atol=1e-9)
    renamed = measure(metric, codes, 7 - 3 * FACTORS)
    assert renamed.value == pytest.approx(expected.value, abs=1e-9)
    # mirrored, a point on an edge of two bins changes sides: there is none among random numbers
    assert measure(metric, -codes).value == pytest.approx(expected.value, abs=1e-9)
    assert -1e-9 <= expected.value <= 1 + 1e-9


@pytest.mark.parametrize("metric", [mig_sup, dcimig, modularity, med, topk_med])
def test_two_factors_are_needed(metric: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="needs at least 2 factors with two classes or more; got 1 of 1"):
        metric(FACTORS.astype(float), FACTORS[:, :1])


@pytest.mark.parametrize("metric", METRICS)
def test_few_points_are_warned_of(metric: Callable[..., Any]) -> None:
    few = metric(FACTORS[:32].astype(float), FACTORS[:32], baselines=False)
    assert "information is overestimated by up to" in few.settings["warning"]
    many = metric(np.tile(FACTORS, (10, 1)).astype(float), np.tile(FACTORS, (10, 1)), baselines=False)
    assert "warning" not in many.settings
    with pytest.raises(InputError, match="bins is 1; expected a whole number from 2"):
        metric(FACTORS.astype(float), FACTORS, bins=1)


def test_labels_are_needed_by_the_one_that_classifies() -> None:
    values = FACTORS + 0.5
    with pytest.raises(InputError, match=r"MED classifies, so it needs discrete factors, but columns 0 \(continuous\)"):
        med(FACTORS.astype(float), values, factor_kinds="continuous")
    assert mig(FACTORS.astype(float), values, factor_kinds="continuous", baselines=False).value == pytest.approx(1)
