"""Agreement with the values of disentanglement-lib on the same arrays, and with the definitions where it gave none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from disentangle.evaluations import dci, mig, sap

Load = Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]

NAMES = ["perfect", "noisy", "rotated", "dead", "shared", "periodic", "random"]
NAMES = [f"{kind}/shapes3d" for kind in NAMES] + ["noisy/dsprites"]
WITHOUT_VALUES = [("rotated_pairs", "shapes3d", 3), ("constant", "shapes3d", 5)]
WITHOUT_VALUES += [("duplicated", "shapes3d", 6), ("noisy", "mpi3d", 11)]
DCI_NAMES = ["perfect/shapes3d", "noisy/shapes3d", "rotated/shapes3d", "dead/shapes3d", "noisy/dsprites"]


@pytest.fixture(scope="session")
def load(representations: ModuleType, disentanglement_reference: dict[str, Any]) -> Load:
    @cache
    def arrays(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        recipe = disentanglement_reference["representations"][name]
        parts = representations.arrays(recipe["kind"], recipe["space"], recipe["seed"])
        assert representations.digest(parts) == recipe["sha256_16"]
        return parts

    return arrays


def test_every_reference_is_tested(disentanglement_reference: dict[str, Any]) -> None:
    values = disentanglement_reference["values"]
    assert sorted(values) == sorted(NAMES)
    assert sorted(name for name in values if "dlib.dci" in values[name]) == sorted(DCI_NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_mig(name: str, load: Load, disentanglement_reference: dict[str, Any]) -> None:
    expected = disentanglement_reference["values"][name]["dlib.mig"]
    codes, factors, _, _ = load(name)
    score = mig(codes, factors)
    assert score.value == pytest.approx(expected["values"]["discrete_mig"], abs=2e-8)  # stored with 8 decimals
    np.testing.assert_allclose(
        score.parts["mutual_information"], expected["matrices"]["mutual_information"], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(("kind", "space", "seed"), WITHOUT_VALUES)
def test_mig_by_definition(kind: str, space: str, seed: int, representations: ModuleType) -> None:
    codes, factors, _, _ = representations.arrays(kind, space, seed)
    matrix = np.empty((codes.shape[1], factors.shape[1]))
    for j, code in enumerate(codes.T):
        cells = np.digitize(code, np.histogram(code, 20)[1][:-1])
        matrix[j] = [mutual_info_score(cells, labels) for labels in factors.T]
    ordered = np.sort(matrix, axis=0)
    entropies = [mutual_info_score(labels, labels) for labels in factors.T]
    score = mig(codes, factors)
    assert score.value == pytest.approx(np.mean((ordered[-1] - ordered[-2]) / entropies), abs=1e-10)
    np.testing.assert_allclose(score.parts["mutual_information"], matrix, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    NAMES,
)
def test_sap(name: str, load: Load, disentanglement_reference: dict[str, Any]) -> None:
    expected = disentanglement_reference["values"][name]["dlib.sap"]
    codes, factors, test_codes, test_factors = load(name)
    score = sap(codes, factors, test=(test_codes, test_factors))
    assert score.value == pytest.approx(expected["values"]["SAP_score"], abs=5e-4)
    live = codes.std(axis=0) > 0.05  # on others LinearSVC stops far from its optimum
    matrix = np.array(expected["matrices"]["accuracy"])
    np.testing.assert_allclose(score.parts["accuracy"][live], matrix[live], rtol=0, atol=5e-4)
    np.testing.assert_allclose(score.parts["accuracy"], matrix, rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_sap_continuous(name: str, load: Load, disentanglement_reference: dict[str, Any]) -> None:
    expected = disentanglement_reference["values"][name]["dlib.sap_continuous"]
    codes, factors, _, _ = load(name)
    score = sap(codes, factors, continuous=True)
    assert score.value == pytest.approx(expected["values"]["SAP_score"], abs=1e-7)
    np.testing.assert_allclose(score.parts["r2"], expected["matrices"]["r2"], rtol=0, atol=1e-6)


@pytest.mark.reference
@pytest.mark.parametrize("name", DCI_NAMES)
@pytest.mark.parametrize(
    "estimator", ["gradient-boosting", pytest.param("sklearn-gradient-boosting", marks=pytest.mark.slow)]
)
def test_dci(estimator: str, name: str, load: Load, disentanglement_reference: dict[str, Any]) -> None:
    expected = disentanglement_reference["values"][name]["dlib.dci"]
    codes, factors, test_codes, test_factors = load(name)
    score = dci(codes, factors, test=(test_codes, test_factors), estimator=estimator, n_jobs=2)
    for key in ("disentanglement", "completeness", "informativeness_train", "informativeness_test"):
        assert score.parts[key] == pytest.approx(expected["values"][key], abs=2e-3), key
    np.testing.assert_allclose(score.parts["importance"], expected["matrices"]["importance"], rtol=0, atol=5e-3)
