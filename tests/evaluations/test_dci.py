"""DCI: the aggregation on matrices with a known answer, then whole scores on small data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import entropy
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from disentangle.errors import InputError
from disentangle.evaluations import dci
from disentangle.evaluations.disentanglement.dci import completeness_per_factor, disentanglement_per_code


def test_diagonal_importance_is_perfect() -> None:
    matrix = np.diag([1.0, 0.5, 0.1])
    np.testing.assert_allclose(disentanglement_per_code(matrix), 1.0, atol=1e-8)
    np.testing.assert_allclose(completeness_per_factor(matrix), 1.0, atol=1e-8)


def test_uniform_and_empty_importance_score_nothing() -> None:
    for matrix in (np.ones((4, 3)), np.zeros((4, 3))):
        np.testing.assert_allclose(disentanglement_per_code(matrix), 0.0, atol=1e-12)
        np.testing.assert_allclose(completeness_per_factor(matrix), 0.0, atol=1e-12)


def test_redundant_codes_are_disentangled_but_not_complete() -> None:
    matrix = np.repeat(np.eye(2), 2, axis=0) / 2  # two codes for each of two factors
    np.testing.assert_allclose(disentanglement_per_code(matrix), 1.0, atol=1e-8)
    np.testing.assert_allclose(completeness_per_factor(matrix), 0.5, atol=1e-8)  # log 2 of log 4


def test_shared_code_is_complete_but_not_disentangled() -> None:
    matrix = np.array([[1.0, 1.0], [0.0, 0.0]])  # one code for both factors
    np.testing.assert_allclose(disentanglement_per_code(matrix), 0.0, atol=1e-8)
    np.testing.assert_allclose(completeness_per_factor(matrix), 1.0, atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.float64, st.tuples(st.integers(2, 6), st.integers(2, 5)), elements=st.floats(0, 1, allow_subnormal=False)
    )
)
def test_per_code_is_one_less_the_entropy(matrix: np.ndarray) -> None:
    expected = 1 - entropy(matrix.T + 1e-11, base=matrix.shape[1])
    np.testing.assert_allclose(disentanglement_per_code(matrix), np.maximum(expected, 0), atol=1e-9)
    assert np.all(disentanglement_per_code(matrix) <= 1)
    np.testing.assert_allclose(completeness_per_factor(matrix), disentanglement_per_code(matrix.T))


def test_perfect_codes(factors: np.ndarray, perfect: np.ndarray) -> None:
    score = dci(perfect, factors)
    assert score.name == "dci/gradient-boosting"
    assert score.value > 0.98
    assert score.value == score.parts["disentanglement"]
    assert score.parts["completeness"] > 0.98
    assert score.parts["informativeness_train"] == score.parts["informativeness_test"] == 1.0
    assert score.parts["importance"].shape == (5, 3)
    np.testing.assert_allclose(score.parts["importance"].sum(axis=0), 1.0)
    np.testing.assert_allclose(score.parts["importance"][:3], np.eye(3), atol=0.01)
    assert score.parts["per_code"] @ score.parts["code_weight"] == pytest.approx(score.value)
    assert score.parts["code_weight"].sum() == pytest.approx(1.0)


def test_scikit_learns_trees_give_the_same(factors: np.ndarray, perfect: np.ndarray) -> None:
    codes = perfect + 0.5 * np.random.default_rng(6).normal(size=perfect.shape)
    ours, theirs = dci(codes, factors), dci(codes, factors, estimator="sklearn-gradient-boosting")
    assert theirs.name == "dci/sklearn-gradient-boosting"
    assert ours.value == pytest.approx(theirs.value, abs=0.01)
    np.testing.assert_allclose(ours.parts["importance"], theirs.parts["importance"], atol=0.02)
    assert ours.parts["informativeness_test"] == pytest.approx(theirs.parts["informativeness_test"], abs=0.01)


def test_rotation_lowers_the_score(factors: np.ndarray, perfect: np.ndarray) -> None:
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
    forest = RandomForestClassifier(20, random_state=0)
    score = dci(perfect @ rotation, factors, estimator=forest)
    assert score.value < 0.5
    assert score.parts["completeness"] < 0.5


def test_dead_codes_score_zero(factors: np.ndarray) -> None:
    score = dci(np.full((len(factors), 3), 2.5), factors)
    assert score.value == 0.0
    assert score.parts["completeness"] == 0.0
    assert all(np.all(np.isfinite(part)) for part in score.parts.values())
    assert score.settings["dead_codes"] == 3
    assert 0 < score.parts["informativeness_test"] < 0.6  # the majority class of each factor


def test_a_dead_code_beside_good_ones(factors: np.ndarray, perfect: np.ndarray) -> None:
    codes = perfect[:, :4].copy()
    codes[:, 3] = 0.0
    score = dci(codes, factors)
    assert score.value == pytest.approx(1.0, abs=1e-6)
    assert score.parts["per_code"][3] == pytest.approx(0.0, abs=1e-9)
    assert score.parts["code_weight"][3] == 0.0


def test_constant_factor_takes_no_part(factors: np.ndarray, perfect: np.ndarray) -> None:
    tree = DecisionTreeClassifier()
    score = dci(perfect, np.insert(factors, 0, 4, axis=1), estimator=tree)
    assert score.value == dci(perfect, factors, estimator=tree).value
    assert score.parts["importance"].shape == (5, 3)
    assert score.parts["factors"].tolist() == [1, 2, 3]


def test_any_classifier_with_importances(factors: np.ndarray, perfect: np.ndarray) -> None:
    score = dci(perfect, factors, estimator=DecisionTreeClassifier(max_depth=3), seed=4)
    assert score.name == "dci/DecisionTreeClassifier"
    assert score.value > 0.95
    assert score.settings["estimator"] == "DecisionTreeClassifier(max_depth=3, random_state=4)"
    kept = dci(perfect, factors, estimator=DecisionTreeClassifier(random_state=9), seed=4)
    assert kept.settings["estimator"] == "DecisionTreeClassifier(random_state=9)"


def test_importances_are_scaled_per_factor(factors: np.ndarray, perfect: np.ndarray) -> None:
    class Counting(DecisionTreeClassifier):
        @property
        def feature_importances_(self) -> np.ndarray:
            return 1000.0 * len(self.classes_) * super().feature_importances_

    plain = dci(perfect, factors, estimator=DecisionTreeClassifier())
    counted = dci(perfect, factors, estimator=Counting())
    np.testing.assert_allclose(counted.parts["importance"], plain.parts["importance"], atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ("gradient-bosting", r"Unknown estimator 'gradient-bosting'; did you mean 'gradient-boosting'"),
        (3, "estimator is 3; expected"),
        (RandomForestClassifier, "expected .* or a scikit-learn classifier object"),
        (RandomForestRegressor(), "RandomForestRegressor is a regressor"),
        (LogisticRegression(), "LogisticRegression has no feature_importances_"),
    ],
)
def test_estimators_that_do_not_fit(estimator: object, message: str, factors: np.ndarray, perfect: np.ndarray) -> None:
    with pytest.raises(InputError, match=message):
        dci(perfect, factors, estimator=estimator)


def test_one_factor_is_refused(factors: np.ndarray, perfect: np.ndarray) -> None:
    with pytest.raises(InputError, match="DCI needs at least 2 factors with two classes or more; got 1 of 1"):
        dci(perfect, factors[:, :1])


def test_codes_beyond_float32_are_the_same_codes(factors: np.ndarray, perfect: np.ndarray) -> None:
    single = perfect.astype(np.float32).astype(np.float64)
    expected, found = dci(single, factors), dci(single * 2.0**900, factors)
    assert found.value == expected.value
    np.testing.assert_array_equal(found.parts["importance"], expected.parts["importance"])


def test_codes_that_trees_cannot_tell_apart_are_said(factors: np.ndarray, perfect: np.ndarray) -> None:
    assert "warning" not in dci(perfect, factors).settings
    assert "trees take values closer than 1e-7 for equal" in dci(perfect * 1e-9, factors).settings["warning"]
    assert "warning" not in dci(perfect * 1e-9, factors, estimator="lasso").settings


def test_seed_settings_and_processes(factors: np.ndarray, perfect: np.ndarray) -> None:
    forest = RandomForestClassifier(5)
    codes = perfect + 0.5 * np.random.default_rng(5).normal(size=perfect.shape)
    first = dci(codes, factors, estimator=forest, seed=1)
    second = dci(codes, factors, estimator=forest, seed=1, n_jobs=2)
    np.testing.assert_array_equal(first.parts["importance"], second.parts["importance"])
    assert first.settings == second.settings
    assert first.value != dci(codes, factors, estimator=forest, seed=2).value
    expected = {
        "protocol": "custom (from dlib-2018)",
        "n_train": 400,
        "n_test": 200,
        "seed": 1,
        "n_codes": 5,
        "n_factors": 3,
    }
    assert expected.items() <= first.settings.items()
    assert type(first).from_json(first.to_json()) == first


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_and_sign_of_codes_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (40, 1))
    codes = np.concatenate([labels + 0.2 * rng.normal(size=labels.shape), rng.normal(size=(160, 1))], axis=1)
    order, signs = rng.permutation(3), rng.choice([-1.0, 1.0], size=3)
    changed = (codes * signs)[:, order]
    stump = DecisionTreeClassifier(max_depth=1)  # deeper trees break ties among equal splits by feature order
    plain = dci(codes[:120], labels[:120], test=(codes[120:], labels[120:]), estimator=stump)
    other = dci(changed[:120], labels[:120], test=(changed[120:], labels[120:]), estimator=stump)
    np.testing.assert_allclose(other.parts["importance"], plain.parts["importance"][order], atol=1e-12)
    assert other.value == pytest.approx(plain.value)
    assert other.parts["completeness"] == pytest.approx(plain.parts["completeness"])
