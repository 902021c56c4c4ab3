"""StyleGAN's path length and PIPL against their own code on the same latents (tests/reference)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.evaluations.generation import path_length, perceptual_perturbation
from disentangle.models.base import LatentSpace

VALUES = np.load(Path(__file__).parents[2] / "reference" / "authors_methods.npz")


def tensor(key: str) -> Tensor:
    return torch.tensor(VALUES[f"ppl/{key}"], dtype=torch.float64)


class Stored:
    """A mapping and a synthesis of one layer each, and latents that are stored instead of drawn."""

    def __init__(self) -> None:
        self.spaces = {name: LatentSpace(name, (4,)) for name in ("w", "z")}
        self.left = list(tensor("latents").chunk(2))

    def mapping(self, z: Tensor) -> Tensor:
        return torch.tanh(z @ tensor("mapping"))

    def sample_latents(self, n: int, *, space: str, **options: Any) -> Tensor:
        z = self.left.pop(0)
        return self.mapping(z) if space == "w" else z

    def __call__(self, latents: Tensor, *, space: str) -> Tensor:
        w = latents if space == "w" else self.mapping(latents)
        return torch.tanh(0.3 * (w @ tensor("synthesis"))).reshape(-1, 3, 16, 16)


def distance(one: Tensor, other: Tensor) -> Tensor:
    features = [
        torch.tanh(F.interpolate((images + 1) / 2, size=(16, 16)).flatten(1) @ tensor("distance").T / 20)
        for images in (one, other)
    ]
    return (features[0] - features[1]).square().sum(1)


@pytest.mark.parametrize("preset", ["ppl2_wend", "stylegan2", "stylegan2-z", "rosinality"])
def test_presets_of_stylegan(preset: str) -> None:
    score = path_length(Stored(), distance, preset=preset, n=40, seed=9)
    assert score.settings["protocol"] == preset
    np.testing.assert_allclose(score.parts["distances"], VALUES[f"ppl/{preset}/distances"], rtol=1e-6)
    assert score.value == pytest.approx(float(VALUES[f"ppl/{preset}/value"]), rel=1e-8)


def test_pipl_along_one_direction() -> None:
    """Of HouseholderGAN's script with its README's options; it draws directions, so there is one."""
    direction = torch.tensor(VALUES["pipl/direction"], dtype=torch.float64).mT
    score = perceptual_perturbation(Stored(), distance, {"layer": direction}, space="w", n=40, batch=40, seed=9)
    assert score.value == pytest.approx(float(VALUES["pipl/value"]), rel=1e-10)
    assert score.parts["unfiltered_mean"] == pytest.approx(float(VALUES["pipl/distances"].mean()), rel=1e-10)
