"""SeFa and GANSpace against what the authors' code printed (tests/reference); a direction is so up to its sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentangle.latents import ganspace, sefa
from disentangle.models.base import LatentModule, LatentSpace, ProjectionLayer, StyleLayer

VALUES = np.load(Path(__file__).parents[1] / "reference" / "authors_methods.npz")


class Affine(nn.Module):
    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight))

    def matrix(self) -> Tensor:
        return self.weight


class Stored(LatentModule):
    """A StyleGAN of three convolutions and a layer to the image, with the stored styles and the stored w."""

    def __init__(self) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine(VALUES[f"sefa/weight/{i}"]) for i in range(4))
        self.spaces = {"w": LatentSpace("w", (6,)), "w+": LatentSpace("w+", (4, 6))}
        self.left = torch.from_numpy(VALUES["ganspace/samples"])

    def style_layers(self) -> tuple[StyleLayer, ...]:
        kinds = ("conv", "conv", "conv", "torgb")
        return tuple(
            StyleLayer(f"layer{i}", kinds[i], i, len(affine.weight), affine, i, 1)  # type: ignore[arg-type]
            for i, affine in enumerate(self.affines)
        )

    def sample_latents(self, n: int, **options: Any) -> Tensor:
        drawn, self.left = self.left[:n], self.left[n:]
        return drawn

    def projections(self) -> dict[str, ProjectionLayer]:
        return {}


def assert_same_axes(ours: Tensor, theirs: np.ndarray) -> None:
    cosines = np.abs(np.sum(ours.double().numpy() * theirs[: len(ours)], axis=1))
    np.testing.assert_allclose(cosines, 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("layers", "key"), [(None, "all"), ((1, 2), "1,2")])
def test_sefa(layers: tuple[int, ...] | None, key: str) -> None:
    assert_same_axes(sefa(Stored(), top=6, layers=layers).vectors, VALUES[f"sefa/{key}/vectors"])


def test_ganspace_of_w() -> None:
    found = ganspace(Stored(), top=4, samples=400)
    assert_same_axes(found.vectors, VALUES["ganspace/components"])
    np.testing.assert_allclose(found.scale.numpy(), VALUES["ganspace/stdev"], rtol=1e-6)
