"""Machines on a line against scikit-learn's solver run to convergence, and against the definition of the optimum."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from disentangle.evaluations import sap
from disentangle.evaluations.disentanglement.linear_svm import SortedCodes, fit_line_machines


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("uneven", [False, True])
def test_weights_are_those_of_the_converged_solver(classes: int, uneven: bool) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 800)
    if uneven:
        labels[rng.random(800) < 0.7] = 0
    codes = np.stack([labels + rng.normal(size=800), rng.normal(size=800), 5 + 0.1 * labels], axis=1)
    machines = fit_line_machines(SortedCodes.of(codes), labels)
    for j in range(3):
        solver = LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000)
        solver.fit(codes[:, [j]], labels)
        np.testing.assert_allclose(machines.weight[j], solver.coef_[:, 0], atol=1e-5)
        np.testing.assert_allclose(machines.bias[j], solver.intercept_, atol=1e-5)
        right = machines.right(codes, labels)[j]
        assert np.mean(right == (machines.predict(codes)[j] == labels)) == 1
        assert np.mean(machines.predict(codes)[j] == solver.predict(codes[:, [j]])) > 0.995


def objective(parameters: np.ndarray, x: np.ndarray, sign: np.ndarray, cost: np.ndarray) -> float:
    margin = np.maximum(0, 1 - sign * (parameters[0] * x + parameters[1]))
    return float(0.5 * parameters @ parameters + np.sum(cost * margin**2))


def test_no_point_nearby_is_better() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    codes = (labels + rng.normal(size=300))[:, None]
    machines = fit_line_machines(SortedCodes.of(codes), labels)
    for c in range(4):
        sign = np.where(labels == c, 1.0, -1.0)
        cost = np.where(labels == c, 0.01 * 300 / (4 * np.sum(labels == c)), 0.01)
        best = np.array([machines.weight[0, c], machines.bias[0, c]])
        at_best = objective(best, codes[:, 0], sign, cost)
        for step in rng.normal(scale=1e-3, size=(50, 2)):
            assert objective(best + step, codes[:, 0], sign, cost) >= at_best


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1e5, 1e30])
def test_any_scale_of_codes(scale: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    codes = scale * (labels + 0.1 * rng.normal(size=300))[:, None]
    machines = fit_line_machines(SortedCodes.of(codes), labels)
    assert np.isfinite(machines.weight).all()
    assert np.isfinite(machines.bias).all()
    if scale >= 1:
        assert np.mean(machines.predict(codes)[0] == labels) > 0.6


def test_constant_codes_name_one_value() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    for constant in (0.0, 7.0):
        codes = np.full((100, 1), constant)
        machines = fit_line_machines(SortedCodes.of(codes), labels)
        predicted = machines.predict(codes)
        assert len(np.unique(predicted)) == 1
        np.testing.assert_array_equal(machines.right(codes, labels), predicted == labels)
        assert not machines.right(codes, np.full(100, -1)).any()
    score = sap(np.full((100, 2), 3.0), labels[:, None], baselines=False)
    assert score.value == 0
