"""A small folder of labelled pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_stripes(folder: Path, counts: dict[str, int], *, side: int = 16, seed: int = 0) -> Path:
    """A folder a class: stripes lying, standing or slanting, of random phase, under noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            along = (y, x, x + y)[number % 3]
            wave = np.sin(0.9 * along + rng.uniform(0, 6.3))[:, :, None] * rng.uniform(50, 90, 3)
            picture = 128 + wave + rng.normal(0, 12, (side, side, 3))
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / name / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="session")
def stripes(tmp_path_factory) -> Path:
    """Three classes of 24 pictures of 16x16."""
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes", {"lying": 24, "slanting": 24, "standing": 24})
