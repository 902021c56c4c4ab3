"""EigenGAN against the pictures and gradients that the authors' code of NOG printed (tests/reference)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import disentangle
from disentangle.models import build_model
from disentangle.models.eigengan import EigenGAN
from disentangle.nn import SubspaceProjection

VALUES = np.load(Path(__file__).parents[1] / "reference" / "authors_methods.npz")
CONFIG = {"kind": "eigengan", "resolution": 16, "basis": 3, "noise_dim": 4, "channels": (4, 4, 2)}
NAMES = (  # theirs, ours
    (r"(fc|blocks\.\d+\.projection)\.(\w+)", r"\1.\2"),
    (r"(blocks\.\d+\.subspace_conv\d)\.0\.(\w+)", r"\1.\2"),
    (r"(blocks\.\d+\.feature_conv\d)\.1\.(\w+)", r"\1.\2"),
    (r"to_rgb\.0\.1\.(\w+)", r"to_image.\1"),
)


def tensor(key: str) -> Tensor:
    return torch.tensor(VALUES[f"eigengan/{key}"], dtype=torch.float64)


def relative(ours: Tensor, key: str) -> float:
    expected = tensor(key)
    return float((ours.detach() - expected).norm() / expected.norm())


@pytest.fixture
def generator() -> EigenGAN:
    state = {}
    for key in VALUES.files:
        if key.startswith("eigengan/weights/"):
            theirs = key.removeprefix("eigengan/weights/")
            (name,) = {re.sub(a, b, theirs) for a, b in NAMES if re.fullmatch(a, theirs)}
            state[name] = torch.tensor(VALUES[key], dtype=torch.float64)
    model = build_model(CONFIG, seed=0).double()
    assert isinstance(model, EigenGAN)
    model.load_state_dict(state)
    return model


def latents() -> Tensor:
    return torch.cat([tensor("noise"), tensor("coordinates").flatten(1)], dim=1)


def test_the_subspace_begins_with_the_authors_importances() -> None:
    layer = SubspaceProjection(3, 64)
    assert torch.equal(layer.L.double(), tensor("weights/blocks.0.projection.L"))


def test_the_subspace_layer(generator: EigenGAN) -> None:
    layer = generator.blocks[1].projection
    assert relative(layer(tensor("coordinates")[:, 1]), "phi") < 1e-14


def test_pictures_gradients_and_nearest_orthogonal_gradients(generator: EigenGAN) -> None:
    pictures = generator(latents())
    (pictures * tensor("loss_weights")).sum().backward()
    assert relative(pictures, "pictures") < 1e-13
    for i, block in enumerate(generator.blocks):
        for name, parameter in block.projection.named_parameters():
            assert relative(parameter.grad, f"gradient/{i}.{name}") < 1e-12
        assert relative(disentangle.linalg.polar(block.projection.U.grad), f"nog/{i}") < 1e-12


def test_three_steps_of_nog_and_adam(generator: EigenGAN) -> None:
    bases = [block.projection.U for block in generator.blocks]
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.01, betas=(0.5, 0.99))
    disentangle.orthogonalize(optimizer, bases, nog=True)
    for step in range(3):
        optimizer.zero_grad()
        ((step + 1) * (generator(latents()) * tensor("loss_weights")).sum()).backward()
        optimizer.step()
    for i, basis in enumerate(bases):
        assert relative(basis, f"nog_after_three_steps/{i}") < 1e-11
