"""SAP on codes whose accuracies are known, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from disentangle.evaluations import sap
from disentangle.evaluations.disentanglement.inputs import read_points
from disentangle.evaluations.disentanglement.sap import squared_correlation


def binary(n: int, seed: int = 0) -> np.ndarray:
    """(n, 2) two independent factors of two classes, balanced."""
    grid = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    return np.random.default_rng(seed).permutation(np.tile(grid, (n // 4, 1)))


def test_perfect_codes_of_binary_factors() -> None:
    labels = binary(600)
    codes = 2.0 * labels - 1
    score = sap(codes, labels, test=(codes, labels))
    assert score.name == "sap"
    np.testing.assert_allclose(score.parts["accuracy"], [[1.0, 0.5], [0.5, 1.0]])
    assert score.value == pytest.approx(0.5)  # the other code is at chance, which is one half
    np.testing.assert_array_equal(score.parts["best_code"], [0, 1])


def test_duplicated_codes_have_no_gap() -> None:
    labels = binary(600)
    assert sap(np.concatenate([labels, labels], axis=1), labels).value == pytest.approx(0.0, abs=1e-12)


def test_noise_is_near_zero() -> None:
    labels = binary(3000)
    assert sap(np.random.default_rng(1).normal(size=(3000, 4)), labels).value < 0.06


def test_accuracies_are_those_of_one_machine_a_pair(factors: np.ndarray, perfect: np.ndarray) -> None:
    codes = perfect + 0.5 * np.random.default_rng(2).normal(size=perfect.shape)
    train, test = slice(0, 400), slice(400, 600)
    score = sap(codes[train], factors[train], test=(codes[test], factors[test]))
    for j in range(5):
        for k in range(3):
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=1).fit(
                codes[train][:, [j]], factors[train, k]
            )
            accuracy = np.mean(machine.predict(codes[test][:, [j]]) == factors[test, k])
            assert score.parts["accuracy"][j, k] == accuracy
    ordered = np.sort(score.parts["accuracy"], axis=0)
    np.testing.assert_allclose(score.parts["per_factor"], ordered[-1] - ordered[-2])
    assert score.value == pytest.approx(score.parts["per_factor"].mean())


@pytest.mark.parametrize("level", [0.0, 3.0, -1e4])
def test_constant_codes_predict_one_class(level: float) -> None:
    labels = np.concatenate([np.zeros((90, 2), int), np.ones((30, 2), int)])
    labels[:, 1] = np.arange(120) % 3
    codes = np.stack([labels[:, 0] - 0.5, np.full(120, level)], axis=1)
    score = sap(codes, labels, test=(codes, labels))
    assert score.parts["accuracy"][1, 0] in (0.25, 0.75)
    assert score.parts["accuracy"][1, 1] == pytest.approx(1 / 3)
    assert score.settings["dead_codes"] == 1
    assert sap(codes, labels, continuous=True).parts["r2"][1].tolist() == [0.0, 0.0]


def test_all_codes_constant() -> None:
    labels = binary(60)
    assert sap(np.zeros((60, 3)), labels).value == 0.0
    assert sap(np.zeros((60, 3)), labels, continuous=True).value == 0.0


def test_constant_factor_takes_no_part(factors: np.ndarray, perfect: np.ndarray) -> None:
    score = sap(perfect, np.insert(factors, 3, 0, axis=1))
    assert score.value == sap(perfect, factors).value
    assert score.settings["constant_factors"] == [3]
    assert score.parts["factors"].tolist() == [0, 1, 2]


def test_classes_unseen_in_training_are_merely_missed() -> None:
    labels = binary(400)
    codes = 2.0 * labels - 1
    held_out = labels.copy()
    held_out[:200, 0] = 7
    score = sap(codes, labels, test=(codes, held_out))
    assert score.parts["accuracy"][0, 0] == pytest.approx(0.5)


def test_continuous_is_the_squared_correlation() -> None:
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(500, 2))
    codes = np.stack([factors[:, 0], factors[:, 1] + rng.normal(size=500), rng.normal(size=500)], axis=1)
    score = sap(codes, factors, continuous=True)
    expected = np.corrcoef(codes.T, factors.T)[:3, 3:] ** 2
    assert score.name == "sap/continuous"
    np.testing.assert_allclose(score.parts["r2"], expected, atol=1e-12)
    assert score.parts["r2"][0, 0] == pytest.approx(1.0)
    assert score.settings["n_train"] == 500
    assert score.settings["factor_labels"] == "real values"
    assert score.value == pytest.approx(
        np.mean([1 - np.sort(expected[:, 0])[-2], expected[1, 1] - np.sort(expected[:, 1])[-2]])
    )


def test_correlation_ignores_codes_below_the_variance_of_the_protocol() -> None:
    factors = np.arange(10.0)[:, None]
    codes = factors * [1.0, 1e-7, 1e-6]
    np.testing.assert_allclose(
        squared_correlation(read_points(codes, factors, factor_kinds="continuous"))[:, 0], [1.0, 0.0, 1.0]
    )


def test_split_depends_on_the_seed(factors: np.ndarray, perfect: np.ndarray) -> None:
    codes = perfect + np.random.default_rng(4).normal(size=perfect.shape)
    first, second = sap(codes, factors, seed=1), sap(codes, factors, seed=1)
    np.testing.assert_array_equal(first.parts["accuracy"], second.parts["accuracy"])
    assert not np.array_equal(first.parts["accuracy"], sap(codes, factors, seed=2).parts["accuracy"])
    assert first.settings == second.settings
    expected = {"protocol": "dlib-2018", "n_train": 400, "n_test": 200, "seed": 1, "test_part": "split by seed"}
    assert expected.items() <= first.settings.items()
    assert set(first.settings["packages"]) == {"numpy", "scikit-learn"}
    assert type(first).from_json(first.to_json()) == first


def test_global_generator_is_left_alone(factors: np.ndarray, perfect: np.ndarray) -> None:
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    sap(perfect, factors)
    assert np.random.random() == expected  # noqa: NPY002


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_and_sign_of_codes_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size=(120, 2))
    labels[:3] = [[0, 0], [1, 1], [2, 2]]
    codes = rng.normal(size=(120, 3)) + np.concatenate([labels, labels[:, :1]], axis=1)
    order, signs = rng.permutation(3), rng.choice([-1.0, 1.0], size=3)
    parts = [slice(0, 80), slice(80, 120)]
    plain = sap(codes[parts[0]], labels[parts[0]], test=(codes[parts[1]], labels[parts[1]]))
    changed = (codes * signs)[:, order]
    other = sap(changed[parts[0]], labels[parts[0]], test=(changed[parts[1]], labels[parts[1]]))
    np.testing.assert_allclose(other.parts["accuracy"], plain.parts["accuracy"][order], atol=0.03)
    assert other.value == pytest.approx(plain.value, abs=0.03)
    assert 0 <= plain.value <= 1
    assert sap(changed, labels, continuous=True).value == pytest.approx(sap(codes, labels, continuous=True).value)
