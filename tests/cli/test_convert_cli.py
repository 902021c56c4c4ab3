"""``disentangle convert``: what is printed, what is written, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "io" / "foreign"))
from writers import nvidia_stylegan2, rosinality, rough
from writers_discriminators import rosinality_discriminator, rough_discriminator

from disentangle.cli import main
from disentangle.io import model_info

CONFIG = {
    "kind": "stylegan2", "resolution": 8, "z_dim": 6, "w_dim": 6, "mapping_layers": 2, "channels": (4, 4),
}  # fmt: skip


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in args])
    return int(stopped.value.code or 0)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("r.pt").write_bytes(rosinality(rough(CONFIG), training=True))
    Path("n.pkl").write_bytes(nvidia_stylegan2(rough(CONFIG), half=(8,)))
    return tmp_path


def test_what_is_said(folder, capsys):
    assert run("convert", "r.pt", "--out", "m.safetensors") == 0
    said = capsys.readouterr().err
    assert "r.pt is a StyleGAN2 checkpoint in rosinality's layout; taken: g_ema." in said
    assert "computed from 10,000 latents" in said
    assert said.rstrip().endswith("m.safetensors")


def test_the_discriminator_too(folder, capsys):
    model, made = rough({**CONFIG, "resolution": 16, "channels": (4, 4, 4)}), rough_discriminator()
    Path("d.pt").write_bytes(rosinality(model, training=True, discriminator=rosinality_discriminator(made)))
    assert run("convert", "d.pt", "--out", "m.safetensors", "--discriminator", "md.safetensors") == 0
    assert "its discriminator: md.safetensors" in capsys.readouterr().err
    train = ["train", "projection", "--from", "m.safetensors", "--data", "rooms", "--rank", "2", "--out", "run"]
    assert run(*train, "--discriminator", "md.safetensors", "--steps", "1", "--batch", "2") == 0
    assert run("convert", "d.pt", "--out", "m.safetensors", "--discriminator", "md.pt") == 2
    assert "md.pt has no known ending; expected a name that ends with .safetensors" in capsys.readouterr().err
    assert run("train", "gan", "--discriminator", "md.safetensors", "--data", "rooms", "--out", "x") == 2
    assert "give that one as --from" in capsys.readouterr().err
    for options, message in (
        (["--list"], "--discriminator is not for --list: it is for --out"),
        (["--out", "md.safetensors"], "--discriminator and --out are both md.safetensors; give each a name of its own"),
    ):
        assert run("convert", "d.pt", *options, "--discriminator", "md.safetensors") == 2
        assert message in capsys.readouterr().err
    assert run("convert", "n.pkl", "--out", "n.safetensors", "--discriminator", "nd.safetensors") == 1
    assert "holds no discriminator" in capsys.readouterr().err
    assert not Path("n.safetensors").exists()


def test_json(folder, capsys):
    assert run("convert", "r.pt", "--weights", "g", "--out", "m.safetensors", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["which"], record["kind"], record["out"]) == ("g", "stylegan2", "m.safetensors")
    assert model_info("m.safetensors")["provenance"]["sha256"] == record["sha256"]


def test_the_list_shows_shapes_once(folder, capsys):
    assert run("convert", "r.pt", "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["container: torch-zip", "format: a StyleGAN2 checkpoint in rosinality's layout"]
    assert lines.count("  convs.0.conv.weight: 1 x 4 x 4 x 3 x 3") == 1
    assert "  the same names and shapes as g" in lines
    assert "args: Namespace" in lines
    assert run("convert", "n.pkl", "--list") == 0
    shown = capsys.readouterr().out
    assert "G_ema: Generator, " in shown
    assert "  synthesis.b8.conv1.noise_strength: one number" in shown
    assert sorted(p.name for p in folder.iterdir()) == ["n.pkl", "r.pt"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["r.pt", "--out", "m.safetensors", "--weights", "ema"], "no weights 'ema'; it has g_ema, g"),
        (["n.pkl", "--out", "m.safetensors", "--weights", "D"], "no weights 'D'; it has G_ema"),
        (["cut.pkl", "--out", "m.safetensors"], "cut.pkl"),
        (["lfs.pkl", "--out", "m.safetensors"], "git lfs pull"),
        (["page.pkl", "--list"], "is a web page"),
        (["folder.safetensors", "--out", "m.safetensors"], "is a folder without a model"),
        (["r.pt", "--out", "folder.safetensors"], "folder.safetensors cannot be written (it is a folder)"),
    ],
)
def test_bad_input(args, message, folder, capsys):
    Path("cut.pkl").write_bytes(Path("n.pkl").read_bytes()[:3000])
    Path("lfs.pkl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    Path("page.pkl").write_text("<!DOCTYPE html><html></html>")
    Path("folder.safetensors").mkdir()
    before = sorted(p.name for p in folder.iterdir())
    assert run("convert", *args) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(p.name for p in folder.iterdir()) == before
