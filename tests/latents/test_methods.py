"""The list of methods that find directions: what every one of them keeps, and one of somebody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import disentangle
from disentangle.cli import cli
from disentangle.errors import InputError
from disentangle.latents import METHODS, DirectionMethod, Directions, find_directions, register
from disentangle.latents.method import keywords_of
from disentangle.models import build_model

SMALL = {"kind": "stylegan2", "resolution": 16, "z_dim": 6, "w_dim": 6, "mapping_layers": 2, "channels": (4, 4, 4)}
SHARED = {"space", "layers", "top", "seed", "label", "progress", "batch", "samples"}


@pytest.fixture(scope="module")
def generator() -> Any:
    return build_model(SMALL, seed=0)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_the_contract(name: str, generator: Any) -> None:
    method = METHODS[name]
    assert method.name == name == name.lower()
    assert method.about.endswith(".")
    assert {"space", "top"} <= set(method.options), "all of them"
    assert len(set(method.options)) == len(method.options)
    assert set(method.replaces) <= set(method.options)
    assert {other for others in method.replaces.values() for other in others} <= set(method.options)
    options = {"samples": 4} if "samples" in method.options else {}
    options |= {"seeds": (0,)} if "seeds" in method.options else {}
    space = "s" if name == "style-channel" else "w"
    found = find_directions(generator, name, space=space, top=2, layers=(1,), **options)
    assert isinstance(found, Directions)
    assert len(found) == 2
    assert found.generator is not None
    assert found.space == space
    assert found.layers == (None if space == "s" else (1,))
    with pytest.raises(InputError, match=f"Unknown option of {name} 'tpo'; did you mean 'top'"):
        find_directions(generator, name, tpo=2)
    with pytest.raises(InputError):
        find_directions(generator, name, space="nowhere")


def test_the_help_names_every_method_of_the_list() -> None:
    shown = " ".join(CliRunner().invoke(cli, ["directions", "find", "--help"]).output.split())
    said = shown.split("--method METHOD")[1].split(" --space")[0]
    for name in METHODS:
        assert f"{name}," in said, name


def test_an_option_that_takes_the_place_of_others(generator: Any) -> None:
    with pytest.raises(InputError, match="samples is not read where at is given; leave one of them out"):
        find_directions(generator, "jacobian", at=None, samples=3)
    with pytest.raises(InputError, match="Unknown method 'sefaa'; did you mean 'sefa'"):
        find_directions(generator, "sefaa")


# ------------------------------------------------------------------------------------------------ somebody else's


def corners(generator: Any, *, space: str = "w", top: int = 3, sharpness: float = 1.0) -> Directions:
    """The first axes, as long as one likes."""
    size = generator.spaces[space].size
    return Directions(
        vectors=torch.eye(size)[:top], space=space, labels=tuple(f"corner {i}" for i in range(top)), method="corners",
        scale=torch.full((top,), sharpness),
    )  # fmt: skip


@pytest.fixture
def with_corners(monkeypatch: pytest.MonkeyPatch) -> DirectionMethod:
    monkeypatch.setattr(METHODS, "_records", {name: METHODS[name] for name in METHODS})
    return register(DirectionMethod("corners", "The first axes.", corners))


def test_a_method_from_outside(with_corners: DirectionMethod, generator: Any, tmp_path: Path) -> None:
    assert with_corners.options == keywords_of(corners) == ("space", "top", "sharpness")
    found = find_directions(generator, "corners", sharpness=2.0, layers=[1, 2])
    assert found.scale.tolist() == [2, 2, 2]
    assert found.layers == (1, 2)
    with pytest.raises(InputError, match="layers chooses rows of w"):
        find_directions(generator, "corners", space="s", layers=[1])
    with pytest.raises(InputError, match="Unknown option of corners 'sharpnes'; did you mean 'sharpness'"):
        find_directions(generator, "corners", sharpnes=2.0)
    disentangle.save(generator, tmp_path / "m.safetensors")
    command = ["directions", "find", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "d.safetensors")]
    good = CliRunner().invoke(cli, [*command, "--method", "corners", "--top", "2", "--layers", "0"])
    assert good.exit_code == 0, good.output
    assert Directions.load(tmp_path / "d.safetensors").layers == (0,)
    assert len(Directions.load(tmp_path / "d.safetensors")) == 2
    for options, message in (
        (["--method", "cornrs"], "Unknown method 'cornrs'; did you mean 'corners'"),
        (["--method", "corners", "--seeds", "3"], "--seeds is not for --method corners"),
    ):
        bad = CliRunner().invoke(cli, [*command, *options])
        assert bad.exit_code == 2
        assert message in bad.output


def test_what_gives_no_directions_is_told(with_corners: DirectionMethod, generator: Any) -> None:
    register(DirectionMethod("idle", "Nothing.", lambda generator: None))
    with pytest.raises(InputError, match="The method 'idle' gave None; expected Directions"):
        find_directions(generator, "idle")
    with pytest.raises(InputError, match="The method 'corners' exists already"):
        register(DirectionMethod("corners", "Others.", corners))
