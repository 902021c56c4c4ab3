"""Scores whose right value follows from how the inputs are made, and which somebody, somewhere, got wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.evaluations.disentanglement import evaluate_encoder
from disentangle.evaluations.features import PROTOCOLS, extract_features, file_images, load_extractor
from disentangle.evaluations.generation import frechet_distance, precision_recall


def test_a_generator_of_one_good_picture_is_precise_and_recalls_nothing() -> None:
    rng = np.random.default_rng(3)
    real = rng.standard_normal((300, 12))
    made = real[17] + 1e-4 * rng.standard_normal((300, 12))
    scores = {name: score.value for name, score in precision_recall(made, real).items()}
    assert scores["precision"] == 1  # all lie in the ball of the real picture they copy
    assert scores["recall"] == pytest.approx(1 / 300)  # and their own tiny balls hold that one alone
    assert scores["coverage"] < 0.1


def test_a_distance_of_single_pictures_is_refused_and_a_shift_of_all_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    with pytest.raises(InputError, match="1 row, one an image; expected 2 or more"):
        frechet_distance(rng.standard_normal((1, 5)), rng.standard_normal((1, 5)))
    one, two = rng.standard_normal((20_000, 3)), 3 * rng.standard_normal((20_000, 3)) - 2
    found = frechet_distance(one, two).value
    assert found == pytest.approx(3 * 2**2 + 3 * (3 - 1) ** 2, rel=0.02)  # of diagonal Gaussians
    assert frechet_distance(one + 1e6, two + 1e6).value == pytest.approx(found, abs=1e-4)
    assert 0 <= frechet_distance(one, one).value < 1e-9


class Levels:
    """Three factors, each the brightness of a pixel."""

    factor_sizes, factor_names, image_shape = (3, 5, 4), ("a", "b", "c"), (1, 1, 3)

    def sample(self, n: int, generator: Any = None) -> Tensor:
        return torch.stack([torch.randint(size, (n,), generator=generator) for size in self.factor_sizes], dim=1)

    def render(self, factors: Tensor) -> Tensor:
        return factors.float()[:, None, None, :] / 5


@pytest.mark.parametrize(("width", "low", "high"), [(3, 1.0, 1.0), (8, 1.0, 1.0), (2, 0.5, 0.85)])
def test_the_factor_vae_score_of_more_and_of_fewer_codes_than_factors(width: int, low: float, high: float) -> None:
    def encode(images: Tensor) -> Tensor:
        codes = nn.functional.pad(images.flatten(1), (0, 5))  # spare codes are dead
        return codes[:, :width]

    options = {"factor-vae": {"train": 400, "evaluate": 300}}
    found = evaluate_encoder(encode, Levels(), ["factor-vae"], n=100, options=options)["factor-vae"].value
    assert low <= found <= high


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_folder_of_sizes_and_modes(protocol: str, tmp_path: Path) -> None:
    """Even pictures stay even whatever they are resized from, grey or coloured, each in its place."""
    levels = {"a.png": (30, (21, 50, 3)), "b.png": (200, (9, 9)), "c.png": (90, (60, 12, 3)), "d.png": (7, (32, 32))}
    for name, (level, shape) in levels.items():
        Image.fromarray(np.full(shape, level, np.uint8)).save(tmp_path / name)
    mean = load_extractor(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=16)
    found = extract_features(file_images(tmp_path), mean, PROTOCOLS[protocol], batch=3, cache=False)["features"]
    expected = np.array([[level / 127.5 - 1] * 3 for level, _ in levels.values()])
    np.testing.assert_allclose(found, expected, atol=1e-5)
