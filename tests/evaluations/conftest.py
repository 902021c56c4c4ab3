"""Small representations with a known answer, and the reference values."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

REFERENCE = Path(__file__).parent.parent / "reference"
SIZES = (3, 4, 2)


@pytest.fixture(scope="session")
def representations() -> ModuleType:
    """The module that regenerates the reference arrays."""
    spec = importlib.util.spec_from_file_location("representations", REFERENCE / "representations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def disentanglement_reference() -> dict[str, Any]:
    return json.loads((REFERENCE / "disentanglement_metrics.json").read_text())


@pytest.fixture(scope="session")
def factors() -> np.ndarray:
    """(600, 3) labels: every combination of three factors equally often, in random order."""
    grid = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), axis=-1).reshape(-1, len(SIZES))
    return np.random.default_rng(0).permutation(np.tile(grid, (25, 1)))


@pytest.fixture(scope="session")
def perfect(factors: np.ndarray) -> np.ndarray:
    """(600, 5) codes: one factor a code, two codes of independent noise."""
    noise = np.random.default_rng(1).normal(size=(len(factors), 2))
    return np.concatenate([factors - factors.mean(axis=0), noise], axis=1)


@pytest.fixture(scope="session")
def inputs() -> ModuleType:
    """The module that regenerates the reference inputs."""
    spec = importlib.util.spec_from_file_location("images_and_features", REFERENCE / "images_and_features.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def generation_reference() -> dict[str, Any]:
    return json.loads((REFERENCE / "generation_metrics.json").read_text())
