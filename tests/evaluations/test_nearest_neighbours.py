"""Information by nearest neighbours, and InfoMEC on top of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import infoc, infoe, infom
from disentangle.evaluations.disentanglement.knn_information import (
    information_with_labels,
    information_with_values,
    jittered,
)


@pytest.mark.parametrize("case", ["normal", "uneven", "ties", "constant", "rare", "wide"])
@pytest.mark.parametrize("neighbors", [1, 3, 10])
def test_equal_to_scikit_learn_with_labels(case: str, neighbors: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 700)
    code = labels + rng.normal(size=700)
    if case == "uneven":
        labels = (rng.random(700) < 0.02).astype(int)
    elif case == "ties":
        code = np.round(code)
    elif case == "constant":
        code = np.full(700, 3.0)
    elif case == "rare":
        labels[:3] = [7, 8, 8]  # one value alone, one with a single neighbour
    elif case == "wide":
        code = np.exp(8 * code)
    expected = mutual_info_classif(
        code[:, None], labels, discrete_features=False, n_neighbors=neighbors, random_state=1
    )[0]
    got = information_with_labels(
        jittered(code, np.random.RandomState(1).standard_normal((700,))),
        np.unique(labels, return_inverse=True)[1],
        neighbors=neighbors,
    )
    assert got == pytest.approx(expected, abs=1e-10)


def test_equal_to_scikit_learn_with_values() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=900)
    code = target + 0.7 * rng.normal(size=900)
    stream = np.random.RandomState(2)
    expected = mutual_info_regression(code[:, None], target, n_neighbors=4, random_state=2)[0]
    noisy = jittered(code, stream.standard_normal((900,)))
    values = jittered(target, stream.standard_normal((900,)))[:, None]
    assert information_with_values(noisy, values, neighbors=4) == pytest.approx(expected, abs=1e-10)


def test_known_information_of_a_gaussian_pair() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=4000)
    code = 0.8 * target + 0.6 * rng.normal(size=4000)
    got = information_with_values(code, target[:, None], neighbors=10)
    assert got == pytest.approx(-0.5 * np.log(1 - 0.64), abs=0.04)


FACTORS = np.random.default_rng(5).integers(0, (3, 4), (2000, 2))
NOISE = np.random.default_rng(6).normal(size=(2000, 2))


def test_perfect_redundant_and_mixed_codes() -> None:
    codes = FACTORS + 0.01 * NOISE
    assert infom(codes, FACTORS, baselines=False).value > 0.98
    assert infoc(codes, FACTORS, baselines=False).value > 0.98
    twice = np.concatenate([codes, codes[:, ::-1] + 0.01 * NOISE], axis=1)
    assert infom(twice, FACTORS, baselines=False).value > 0.98  # each code still serves one factor
    assert infoc(twice, FACTORS, baselines=False).value < 0.4  # but two share each factor
    turned = codes @ np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    assert infom(turned, FACTORS, baselines=False).value < 0.4
    assert infoe(codes, FACTORS, baselines=False).value > 0.95
    assert infoe(turned, FACTORS, baselines=False).value == pytest.approx(
        infoe(codes, FACTORS, baselines=False).value, abs=1e-2
    )
    assert infoe(NOISE, FACTORS, baselines=False).value < 0.01


def test_what_prunes_a_code() -> None:
    codes = np.concatenate([FACTORS + 0.01 * NOISE, 0.04 * NOISE[:, :1]], axis=1)
    assert infom(codes, FACTORS, baselines=False).parts["live"].tolist() == [True, True, True]
    assert infom(0.5 * codes, FACTORS, baselines=False).settings["live_codes"] == 3  # relative to the widest
    quiet = codes * [1, 1, 0.1]
    assert infom(quiet, FACTORS, baselines=False).parts["live"].tolist() == [True, True, False]
    spiked = np.concatenate([codes[:, :2], np.where(np.arange(2000) == 0, 9.0, 0.0)[:, None]], axis=1)
    assert infom(spiked, FACTORS, baselines=False).settings["live_codes"] == 3
    assert infom(spiked, FACTORS, protocol="tripod-2024", baselines=False).settings["live_codes"] == 2


def test_policies_where_the_source_gives_nan() -> None:
    labels = np.arange(400)[:, None] % 2
    both = np.concatenate([labels, labels], axis=1)
    unrelated = np.linspace(0, 1, 400)[:, None]
    score = infom(np.concatenate([labels + 1e-3 * unrelated, unrelated], axis=1), both, baselines=False)
    assert np.isfinite(score.value)
    assert infom(np.ones((400, 2)), both, baselines=False).value == 0  # no live code
    assert infoc(unrelated, labels, baselines=False).value in (0.0, 1.0)  # a single code


def test_discrete_codes_are_counted() -> None:
    codes = np.stack([FACTORS[:, 0], FACTORS[:, 1]], axis=1)
    score = infom(codes, FACTORS, discrete_codes=True, baselines=False)
    assert score.value == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(np.diag(score.parts["normalised_information"]), 1, atol=1e-12)
    assert infoe(codes, FACTORS, discrete_codes=True, baselines=False).value > 0.99


def test_continuous_and_periodic_factors() -> None:
    rng = np.random.default_rng(3)
    angle, size = rng.uniform(0, 360, 1500), rng.uniform(0, 1, 1500)
    codes = np.stack([np.sin(np.radians(angle)), np.cos(np.radians(angle)), size], axis=1)
    codes += 0.05 * rng.normal(size=codes.shape)
    factors, kinds = np.stack([angle, size], axis=1), ["periodic:360", "continuous"]
    assert infom(codes, factors, factor_kinds=kinds, baselines=False).value > 0.9
    assert infoe(codes, factors, factor_kinds=kinds, baselines=False).value > 0.95  # linear in sine and cosine
    assert infoe(codes, factors, factor_kinds="continuous", baselines=False).value < 0.9


def test_two_factors_are_needed() -> None:
    with pytest.raises(InputError, match="InfoM needs at least 2 factors"):
        infom(NOISE, FACTORS[:, :1])
