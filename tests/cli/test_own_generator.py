"""Commands on a module of the user's, by --generator."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

OWN = """
import torch
from torch import nn
import disentangle
from own_layers import images

class Net(nn.Module):
    def __init__(self, z_dim=5):
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Linear(z_dim, 6)
        self.body = nn.Linear(6, 3 * 16 * 16)
    def paint(self, w):
        return images(torch.tanh(self.body(w)))
    def forward(self, z):
        return self.paint(self.map(z))

def build():
    return Net()

def styled():
    net = Net()
    return disentangle.wrap(net, mapping="map", synthesis="paint", built_by="own_cli:styled")

def untold():
    return nn.Unflatten(1, (3, 16, 16))

def broken():
    raise KeyError("weights")

net = Net()
"""
LAYERS = "def images(x):\n    return x.reshape(-1, 3, 16, 16)\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_cli.py").write_text(OWN)
    (tmp_path / "code" / "own_layers.py").write_text(LAYERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("own_cli", "own_layers"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["net", "styled"])
def test_every_command_takes_a_module_of_ones_own(run, own, name):
    given = ("--generator", f"code/own_cli.py:{name}")
    run("traverse", *given, "--steps", 3, "--dims", "0,1", "--out", "walk.png")
    run("sample", *given, "--seeds", "0-3", "--out", "some.png")
    run("directions", "find", *given, "--top", 2, "--out", "dirs.safetensors")
    shown = json.loads(run("directions", "show", "dirs.safetensors", "--json"))
    assert shown["space"] == ("w" if name == "styled" else "z")
    run("traverse", *given, "--directions", "dirs.safetensors", "--steps", 3, "--out", "edit.png")
    Image.new("RGB", (20, 20), "red").save("photo.png")
    before = Path("photo.png").read_bytes()
    run("invert", *given, "photo.png", "--steps", 2, "--pixels-only", "--out", "photo.safetensors")
    assert Path("photo.png").read_bytes() == before
    for picture in ("walk.png", "some.png", "edit.png", "photo.invert.png"):
        with Image.open(picture) as image:
            assert image.width > 16
    scores = json.loads(run("evaluate", *given, "--metrics", "activeness", "--set", "activeness.n=2", "--json"))
    assert scores["activeness"]["value"] >= 0


def test_a_models_file_and_the_code_it_is_for(run, fails, own):
    import disentangle

    sys.path.insert(0, "code")
    import own_cli

    disentangle.save(disentangle.wrap(own_cli.Net(), 5), "m.safetensors")
    del sys.modules["own_cli"]
    sys.path.remove("code")
    told = fails("traverse", "m.safetensors", "--out", "a.png")
    assert "built by own_cli:Net" in told
    assert "--generator module:function" in told
    assert "own_cli" not in sys.modules
    both = ("m.safetensors", "--generator", "code/own_cli.py:build")
    run("traverse", *both, "--steps", 3, "--out", "a.gif")  # a film has no title, which would name the file
    run("traverse", "--generator", "code/own_cli.py:build", "--steps", 3, "--out", "b.gif")
    assert Path("a.gif").read_bytes() == Path("b.gif").read_bytes()  # its weights are those of the seed in the code
    Image.new("RGB", (16, 16)).save("photo.png")
    run("invert", *both, "photo.png", "--steps", 1, "--pixels-only", "--out", "p.safetensors")
    assert "holds all of a vae" in fails(
        "sample", "vae-rooms", "--generator", "code/own_cli.py:build", "--out", "b.png"
    )
    assert "the file knows it" in fails("sample", *both, "--z-dim", 5, "--out", "b.png")


def test_what_is_wrong_with_it_is_said(run, fails, own):
    out = ("--out", "a.png")
    assert "--generator MODULE:FUNCTION" in fails("traverse", *out)
    assert "Missing argument 'MODEL'" in fails("sample", *out)
    assert "Missing argument 'PHOTOS...'" in fails("invert", "--generator", "a:b", "--out", "a.safetensors")
    assert "--z-dim is for --generator" in fails("sample", "vae-rooms", "--z-dim", 3, *out)
    file = "code/own_cli.py"
    assert "give z_dim (--z-dim)" in fails("sample", "--generator", f"{file}:untold", *out)
    run("sample", "--generator", f"{file}:untold", "--z-dim", 768, *out)
    assert "does not accept latents of shape (2, 4)" in fails(
        "sample", "--generator", f"{file}:net", "--z-dim", 4, *out
    )
    assert "generator whose latents have 5 numbers" in fails(
        "sample", "--generator", f"{file}:styled", "--z-dim", 4, *out
    )
    assert "KeyError: 'weights'" in fails("sample", "--generator", f"{file}:broken", *out)
    assert "no file own_cli.py" in fails("sample", "--generator", "own_cli.py:build", *out)
    assert "cannot be imported" in fails("sample", "--generator", "absent_cli:build", *out)
    assert "has scores of images" in fails("evaluate", "--generator", f"{file}:build", "--data", "rooms")
    assert "Give one of MODEL" in fails("evaluate", "--generator", f"{file}:net", "--images", "x", "--metrics", "fid")


def test_the_help_says_that_code_is_run(run):
    for command in (("traverse",), ("sample",), ("directions", "find"), ("invert",), ("evaluate",)):
        assert "runs that code" in " ".join(run(*command, "--help").split())
