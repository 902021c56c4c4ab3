"""Adversarial losses and penalties against what the code of OrthoImproveCond printed (tests/reference)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from disentangle.training.adversarial import LOSSES, gradient_penalty, r1_penalty

VALUES = np.load(Path(__file__).parents[1] / "reference" / "authors_methods.npz")


def tensor(key: str) -> Tensor:
    return torch.tensor(VALUES[f"losses/{key}"], dtype=torch.float64)


def critic(images: Tensor) -> Tensor:
    return torch.tanh(images.flatten(1) @ tensor("critic").T).sum(1)


@pytest.mark.parametrize(("ours", "theirs"), [("hinge-clipped", "hinge"), ("non-saturating", "non_saturating")])
def test_losses_of_the_eigengan(ours: str, theirs: str) -> None:
    discriminator, generator = LOSSES[ours]
    real, fake = tensor("real"), tensor("fake")
    assert float(discriminator(real, fake)) == pytest.approx(float(VALUES[f"losses/{theirs}_discriminator"]), rel=1e-13)
    assert float(generator(fake)) == pytest.approx(float(VALUES[f"losses/{theirs}_generator"]), rel=1e-13)


def test_r1_of_the_eigengan() -> None:
    assert r1_penalty(critic, tensor("images")).item() == pytest.approx(float(VALUES["losses/r1"]), rel=1e-12)


def test_gradient_penalty_of_the_simple_gan() -> None:
    found = gradient_penalty(critic, tensor("images"), tensor("others"), tensor("between"))
    assert found.item() == pytest.approx(float(VALUES["losses/gradient_penalty"]), rel=1e-12)
