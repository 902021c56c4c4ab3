"""Shared fixtures: reference values, a seeded generator, single-threaded torch for repeatable speed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def spectral() -> dict[str, np.ndarray]:
    """Arrays of `reference/spectral_reference.npz` by key."""
    with np.load(REFERENCE / "spectral_reference.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
