"""Metrics that predict or correlate: explicitness, IRS, downstream accuracy, MCC, R2, DCI's estimators, DCI-ES."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import dci, dci_es, downstream, explicitness, irs, mcc, r2
from disentangle.evaluations.disentanglement.linear_readout import area_under_roc

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, (3, 4), (900, 2))
EXACT = (FACTORS - FACTORS.mean(axis=0)) / FACTORS.std(axis=0)
TURNED = EXACT @ np.array([[0.6, 0.8], [-0.8, 0.6]])
NOISE = RNG.normal(size=(900, 2))
PLAIN: dict[str, Any] = {"baselines": False}


def test_area_under_roc_by_ranks() -> None:
    labels = RNG.integers(0, 4, 500)
    scores = np.round(RNG.normal(size=(500, 4)) + (labels[:, None] == np.arange(4)), 1)  # with ties
    expected = [roc_auc_score(labels == c, scores[:, c]) for c in range(4)]
    np.testing.assert_allclose(area_under_roc(scores, labels, np.arange(4)), expected, atol=1e-12)
    assert np.isnan(area_under_roc(scores, labels, np.array([9, 1, 2, 3]))[0])


def test_explicitness_does_not_see_rotations() -> None:
    assert explicitness(EXACT, FACTORS, **PLAIN).value > 0.95
    turned = explicitness(TURNED, FACTORS, **PLAIN).value
    assert turned == pytest.approx(explicitness(EXACT, FACTORS, **PLAIN).value, abs=5e-3)
    assert explicitness(NOISE, FACTORS, **PLAIN).value == pytest.approx(0.5, abs=0.06)
    assert explicitness(NOISE, FACTORS, protocol="ubisoft-2023", **PLAIN).value < 0.15
    weights = explicitness(EXACT, FACTORS, **PLAIN).parts["weight"]
    assert weights.argmax(axis=0).tolist() == [0, 1]


def test_irs_of_exact_and_mixed_codes() -> None:
    assert irs(EXACT, FACTORS, **PLAIN).value == pytest.approx(1, abs=1e-12)
    assert irs(TURNED, FACTORS, **PLAIN).value < 0.75
    one = irs(np.concatenate([EXACT, 5 + 0 * EXACT[:, :1]], axis=1), FACTORS, **PLAIN)
    assert one.value == pytest.approx(1, abs=1e-12)  # a constant code has no weight
    assert one.parts["code_weight"][2] == 0
    assert irs(np.ones((900, 2)), FACTORS, **PLAIN).value == 0
    assert irs(3 * TURNED, FACTORS, **PLAIN).value == pytest.approx(irs(TURNED, FACTORS, **PLAIN).value, abs=1e-9)
    assert irs(TURNED, FACTORS, quantile=0.5, **PLAIN).value > irs(TURNED, FACTORS, **PLAIN).value
    with pytest.raises(InputError, match="quantile is 1.5; expected a number above 0, at most 1"):
        irs(EXACT, FACTORS, quantile=1.5)


def test_downstream_accuracy_grows_with_points() -> None:
    score = downstream(TURNED, FACTORS, sizes=(10, 100, 400), predictor="logistic", **PLAIN)
    assert score.name == "downstream/logistic"
    assert score.parts["sizes"].tolist() == [10, 100, 400]
    assert score.parts["accuracy"].shape == (3, 2)
    assert score.parts["mean_accuracy"][0] < score.parts["mean_accuracy"][-1] == pytest.approx(score.value)
    assert 0 < score.parts["efficiency"] <= 1.05
    assert downstream(TURNED, FACTORS, **PLAIN).parts["sizes"].tolist() == [10, 100]  # 600 points to learn from
    with pytest.raises(InputError, match="sizes are .5000,., but there are 600 points to learn from"):
        downstream(TURNED, FACTORS, sizes=(5000,))
    with pytest.raises(InputError, match="Unknown predictor 'svm'"):
        downstream(TURNED, FACTORS, predictor="svm")


def test_mcc_is_blind_to_order_sign_and_scale() -> None:
    moved = np.concatenate([NOISE[:, :1], -3 * EXACT[:, [1]], 7 + 0.1 * EXACT[:, [0]]], axis=1)
    score = mcc(moved, FACTORS, **PLAIN)
    assert score.value == pytest.approx(1)
    assert score.parts["paired_code"].tolist() == [2, 1]
    assert mcc(TURNED, FACTORS, **PLAIN).value == pytest.approx(0.8, abs=0.02)
    bent = np.exp(3 * EXACT)
    assert mcc(bent, FACTORS, correlation="rank", **PLAIN).value == pytest.approx(1)
    assert mcc(bent, FACTORS, **PLAIN).value < 0.95


def test_mcc_pairs_one_to_one() -> None:
    """One code for two equal factors can stand for one of them only."""
    same = np.repeat(FACTORS[:, :1], 2, axis=1)
    assert mcc(np.concatenate([same[:, :1], NOISE[:, :1]], axis=1), same, **PLAIN).value == pytest.approx(0.5, abs=0.05)
    short = mcc(EXACT[:, :1], FACTORS, **PLAIN)  # fewer codes than factors
    assert short.value == pytest.approx(0.5)
    assert short.parts["paired_code"].tolist() == [0, -1]


def test_mcc_of_an_angle() -> None:
    angle = RNG.uniform(0, 360, (900, 1))
    codes = np.concatenate([np.sin(np.radians(angle)), NOISE], axis=1)
    assert mcc(codes, angle, factor_kinds="periodic:360", **PLAIN).value == pytest.approx(1)
    assert mcc(codes, angle, factor_kinds="continuous", **PLAIN).value < 0.9


def test_r2_sees_through_linear_maps_only() -> None:
    assert r2(TURNED, FACTORS, **PLAIN).value == pytest.approx(1)
    assert r2(TURNED**3, FACTORS, **PLAIN).value < 0.95
    assert r2(NOISE, FACTORS, **PLAIN).value < 0.02


@pytest.mark.parametrize("estimator", ["gradient-boosting", "random-forest", "lasso"])
def test_dci_with_every_estimator(estimator: str) -> None:
    codes = np.concatenate([EXACT, 0.5 * NOISE], axis=1)
    score = dci(codes, FACTORS, estimator=estimator, **PLAIN)
    assert score.name == f"dci/{estimator}"
    assert score.value > 0.8
    assert score.parts["completeness"] > 0.8
    assert score.parts["importance"].argmax(axis=0).tolist() == [0, 1]
    assert dci(TURNED, FACTORS, estimator=estimator, **PLAIN).value < 0.5


@pytest.mark.parametrize("estimator", ["gradient-boosting", "random-forest", "lasso"])
def test_dci_of_continuous_and_periodic_factors(estimator: str) -> None:
    angle, size = RNG.uniform(0, 360, 600), RNG.uniform(0, 1, 600)
    codes = np.stack([np.sin(np.radians(angle)), np.cos(np.radians(angle)), size], axis=1)
    factors = np.stack([angle, size], axis=1)
    score = dci(codes, factors, estimator=estimator, factor_kinds=["periodic:360", "continuous"], **PLAIN)
    assert score.value > 0.95
    assert score.parts["informativeness_test"] > 0.95
    assert score.parts["per_factor"][0] < 0.5 < score.parts["per_factor"][1]  # the angle takes two codes
    forest = RandomForestClassifier()
    with pytest.raises(InputError, match="is a classifier, but a factor is periodic"):
        dci(codes, factors, estimator=forest, factor_kinds=["periodic:360", "continuous"], **PLAIN)


@pytest.mark.parametrize("probe", ["random-forest", "random-features"])
def test_explicitness_by_capacity(probe: str) -> None:
    """The sign of one code is read by the smallest probe; the product of three signs takes a larger one."""
    codes = RNG.normal(size=(1500, 3))
    sign, parity = codes[:, :1] > 0, np.prod(np.sign(codes), axis=1, keepdims=True) > 0
    options = {"trees": 20, "capacities": (1, 2, 4, 8, 16)} if probe == "random-forest" else {}
    easy = dci_es(codes, sign, probe=probe, **options, **PLAIN)
    hard = dci_es(codes, parity, probe=probe, **options, **PLAIN)
    assert 1 >= easy.value > hard.value + 0.15
    assert easy.parts["size"] == pytest.approx(1 / 3)
    assert hard.parts["loss"][0] > 1.5 * hard.parts["loss"][-1]
    values = dci_es(codes, codes[:, :1], factor_kinds="continuous", probe=probe, **options, **PLAIN)
    assert 0 < values.value <= 1
    with pytest.raises(InputError, match="Unknown probe 'mlp'"):
        dci_es(codes, sign, probe="mlp")
    said = r"capacities(\[1\])? is .*; expected (two or more rising |a list of |a )whole number"
    for wrong in ((4, 2), (4,), "1,2,4", 3, (0, 1), (1, "x")):
        with pytest.raises(InputError, match=said):
            dci_es(codes, sign, capacities=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="trees is 0; expected a whole number from 1"):
        dci_es(codes, sign, trees=0)


def test_dci_es_of_labels() -> None:
    options = {"trees": 20, "capacities": (1, 2, 4, 8, 16, 32)}
    score = dci_es(EXACT, FACTORS, n_jobs=2, **options, **PLAIN)
    assert score.value > 0.6
    assert score.settings["protocol"] == "custom (from dci-es-2023)"
    assert score.parts["loss"][-1].max() < 0.01
    nothing = dci_es(np.ones((900, 3)), FACTORS, **options, **PLAIN)
    assert nothing.value == 1, "as the authors' code has it: the curve is flat"
    np.testing.assert_allclose(nothing.parts["loss"], nothing.parts["constant_loss"][None].repeat(6, 0))
