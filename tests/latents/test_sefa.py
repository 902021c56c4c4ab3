"""Which layers SeFa reads, on a generator whose singular vectors are known by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from disentangle.errors import InputError
from disentangle.latents import sefa
from disentangle.models.base import LatentModule, LatentSpace, StyleLayer


class Affine(nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def matrix(self) -> torch.Tensor:
        return self.weight


class Axes(LatentModule):
    """Layer i of four reads e_i alone, with one style channel of strength i + 1; the third and last make the image."""

    def __init__(self) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine((i + 1) * torch.eye(4)[i : i + 1]) for i in range(4))
        self.spaces = {"w": LatentSpace("w", (4,)), "w+": LatentSpace("w+", (3, 4)), "s": LatentSpace("s", (4,))}

    def style_layers(self) -> tuple[StyleLayer, ...]:
        kinds, rows = ("conv", "conv", "torgb", "torgb"), (0, 1, 1, 2)
        return tuple(
            StyleLayer(f"layer{i}", kinds[i], rows[i], 4, self.affines[i], i, 1)  # type: ignore[arg-type]
            for i in range(4)
        )

    def projections(self):
        return {}


@pytest.mark.parametrize(
    ("options", "axes"),
    [
        ({"normalize": False}, {0, 1, 2}),  # the first layer to the image, as rosinality's filter has it
        ({"normalize": False, "layers": (0, 1)}, {0, 1}),
        ({"normalize": False, "torgb": False}, {0, 1}),
        ({"normalize": False, "torgb": True}, {0, 1, 2, 3}),
        ({}, {0, 1, 3}),  # the layer that ends the network, as the authors' code has it
        ({"layers": (1,)}, {1}),
        ({"layers": (1, 2)}, {1, 3}),
        ({"layers": (2,)}, {3}),
        ({"layers": (1,), "torgb": True}, {1, 2}),
        ({"torgb": False}, {0, 1}),
    ],
)
def test_the_layers_that_count(options, axes):
    found = sefa(Axes(), top=len(axes), **options)
    assert {int(i) for i in found.vectors.argmax(1)} == axes
    torch.testing.assert_close(found.vectors.sum(1), torch.ones(len(axes)))  # unit vectors of positive sign
    if options.get("normalize") is False:  # strongest first
        assert found.vectors.argmax(1).tolist() == sorted(axes, reverse=True)


def test_no_more_directions_than_the_weight_has():
    with pytest.raises(InputError, match="top is 4; expected 1 to 3 for a weight of 3 x 4"):
        sefa(Axes(), top=4)


def test_layers_to_the_image_alone_are_refused_with_a_hint():
    model = Axes()
    model.style_layers = lambda: (  # type: ignore[method-assign]
        StyleLayer("a", "input", 0, 4, model.affines[0], 0, 1),
        StyleLayer("b", "conv", 1, 4, model.affines[1], 1, 1),
    )
    with pytest.raises(InputError, match=r"none of the layers \[0\] counts"):
        sefa(model, top=1, layers=(0,))


def test_scale_of_a_channel_only_counts_without_normalisation():
    """Two channels along e_0, one of strength 3 along e_1: counted alike the first win, by strength the second."""
    model = Axes()
    model.affines[0] = Affine(torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
    model.affines[1] = Affine(torch.tensor([[0, 3.0, 0, 0]]))
    rows = {"layers": (0, 1), "torgb": False, "top": 1}
    assert int(sefa(model, normalize=True, **rows).vectors[0].argmax()) == 0
    assert int(sefa(model, normalize=False, **rows).vectors[0].argmax()) == 1


def test_half_precision_weights_are_factorised_in_float64():
    full = Axes()
    for affine in full.affines:
        affine.weight.data += 0.25 * torch.arange(4.0)  # exact in half precision
    expected = sefa(full, top=3).vectors
    assert torch.equal(sefa(full.half(), top=3).vectors, expected)
    weights = np.concatenate([full.affines[i].weight.detach().double().numpy() for i in (0, 1, 3)])
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(expected.numpy()), np.abs(np.linalg.svd(weights)[2][:3]), atol=1e-6)
