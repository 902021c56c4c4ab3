"""What is no model, no module and no generator is refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import disentangle
from disentangle import latents
from disentangle.errors import CheckpointError, InputError

STATE = nn.Linear(5, 3).state_dict()
OTHERS: dict[str, Any] = {
    "a path": "file.pth", "nothing": None, "a state": STATE, "a module": nn.Linear(5, 3), "a class": nn.Linear,
    "a function": torch.sin,
}  # fmt: skip


@pytest.mark.parametrize("subject", sorted(OTHERS))
@pytest.mark.parametrize("function", ["sefa", "ganspace", "basis", "traverse"])
def test_what_is_no_generator(function, subject):
    found = latents.basis(disentangle.load("eigengan-rooms"))
    arguments = (found,) if function == "traverse" else ()
    call = disentangle.traverse if function == "traverse" else getattr(latents, function)
    with pytest.raises(InputError, match="expected a generator[:;] "):
        call(OTHERS[subject], *arguments)


@pytest.mark.parametrize("module", [None, STATE, nn.Linear, torch.sin, "file.pth"], ids=str)
def test_what_is_no_module(module):
    with pytest.raises(InputError, match="expected a torch module"):
        disentangle.wrap(module, z_dim=5)


@pytest.mark.parametrize("model", [None, 5, b"x", {}, [], STATE, nn.Linear(5, 3)], ids=str)
def test_what_is_no_name_of_a_model(model):
    with pytest.raises(InputError, match="expected a name or a path"):
        disentangle.load(model)


def test_a_file_of_another_project_says_convert(tmp_path: Path):
    torch.save(STATE, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="or `disentangle convert` of another project's file"):
        disentangle.load(tmp_path / "file.pth")


class Constant(nn.Module):
    """A module without parameters, which is no fault of it."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z[:, :1, None, None].expand(-1, 3, 8, 8)


def test_a_module_without_parameters():
    generator = disentangle.wrap(Constant(), z_dim=5)
    assert generator(generator.sample_latents(2)).shape == (2, 3, 8, 8)
    with pytest.raises(InputError, match="names no projection, whose weight SeFa reads"):
        latents.sefa(generator, top=2)
