"""The reference values and the inputs they were computed on."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REFERENCE = Path(__file__).parents[2] / "reference"


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
def reference() -> dict[str, Any]:
    return json.loads((REFERENCE / "generation_metrics.json").read_text())
