"""The list of formats: what every one of them keeps, and one of somebody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from disentangle.errors import CheckpointError, InputError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Limits
from disentangle.io.checkpoint import load
from disentangle.io.foreign import FORMATS, ForeignFormat, contents, convert, read, register
from disentangle.io.foreign.formats import ONLY, Content, Converted, Options
from disentangle.io.foreign.registry import formats
from disentangle.io.foreign.unstated import Setting, settled
from disentangle.models import build_model

CONFIG = {"kind": "gan", "resolution": 8, "channels": [4, 4], "latent_dim": 3}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_contract(name: str, tmp_path: Path) -> None:
    family = FORMATS[name]
    assert family.name == name
    assert name.startswith(("a ", "an ", "the ")), "'it looks like ...'"
    assert not name.endswith(".")
    assert all(isinstance(setting, Setting) for setting in family.settings)
    assert len({setting.name for setting in family.settings}) == len(family.settings)
    for data in ({}, [], (), None, 3, {"a": {}}, {"a": {"b": torch.zeros(2)}}, {1: {2: 3}}):
        limits = Limits()
        content = Content(tmp_path, "zip", data, Budget(limits, size=0), limits)
        assert family.recognise(content) is False, data


def test_general_ones_are_asked_last() -> None:
    assert [family.name for family in formats(general=True)] == [
        "a plain generator whose layers have names of their own"
    ]
    assert [*formats(), *formats(general=True)] == list(FORMATS.values())


def test_those_with_a_discriminator() -> None:
    having = [name for name, family in FORMATS.items() if family.convert_discriminator is not None]
    assert len(having) == 3
    assert all("StyleGAN2" in name for name in having)


# ------------------------------------------------------------------------------------------------ somebody else's

LEVEL = (Setting("level", 1.0, "what all numbers are multiplied by"),)


def recognise(content: Content) -> bool:
    return isinstance(content.data, dict) and "painted_by_numbers" in content.data


def from_numbers(content: Content, options: Options) -> Converted:
    values, said = settled(LEVEL, options.settings)
    held: Any = content.data["painted_by_numbers"]
    if not isinstance(held, dict):
        raise CheckpointError("its numbers are not by name.")
    return Converted(dict(CONFIG), {key: values["level"] * value for key, value in held.items()}, ONLY, said)


@pytest.fixture
def painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(FORMATS, "_records", {name: FORMATS[name] for name in FORMATS})
    register(ForeignFormat("a picture painted by numbers", recognise, from_numbers, LEVEL))
    path = tmp_path / "mine.pt"
    torch.save({"painted_by_numbers": build_model(CONFIG, seed=3).state_dict()}, path)
    return path


def test_a_format_from_outside(painted: Path, tmp_path: Path) -> None:
    assert contents(painted)["format"] == "a picture painted by numbers"
    assert contents(painted)["settings"] == {"level": {"default": 1.0, "meaning": "what all numbers are multiplied by"}}
    found = convert(painted, tmp_path / "mine.safetensors")
    assert found.format == found.provenance["format"] == "a picture painted by numbers"
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "mine.safetensors").eval()(z), build_model(CONFIG, seed=3).eval()(z))
    other = read(painted, settings={"level": 2})
    key = next(iter(found.state))
    assert torch.equal(other.state[key], 2 * found.state[key])
    with pytest.raises(InputError, match="Unknown setting of a picture painted by numbers 'levl'; did you mean"):
        read(painted, settings={"levl": 2})
    with pytest.raises(CheckpointError, match="looks like a picture painted by numbers, but its discriminator is not"):
        convert(painted, tmp_path / "a.safetensors", discriminator=tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="exists already"):
        register(ForeignFormat("a picture painted by numbers", recognise, from_numbers))


def test_what_it_says_of_a_damaged_file_names_the_file(painted: Path) -> None:
    torch.save({"painted_by_numbers": 3}, painted)
    with pytest.raises(CheckpointError, match=r"mine\.pt looks like a picture painted by numbers, but its numbers are"):
        read(painted)
