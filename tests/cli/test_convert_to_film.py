"""From another project's file to edited pictures, by the commands of the README."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "io" / "foreign"))
from writers import nvidia_stylegan2, rough

from disentangle.cli import main

CONFIG = {
    "kind": "stylegan2", "resolution": 16, "z_dim": 10, "w_dim": 10, "mapping_layers": 2, "channels": (6, 6, 4),
}  # fmt: skip


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in args])
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def pickled(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "net.pkl"
    path.write_bytes(nvidia_stylegan2(rough(CONFIG), half=(16,)))
    return path


def test_convert_directions_traverse(pickled, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("convert", pickled, "--list") == 0
    assert "G_ema: Generator" in capsys.readouterr().out
    assert run("convert", pickled, "--out", "m.safetensors") == 0
    said = capsys.readouterr().err
    assert "taken: G_ema" in said
    assert "half precision" in said
    assert run("directions", "find", "m.safetensors", "--layers", "1-3", "--top", "2", "--out", "d.safetensors") == 0
    assert run("directions", "label", "d.safetensors", "0=age", "1=open mouth") == 0
    capsys.readouterr()
    assert run("directions", "show", "d.safetensors", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in shown["directions"]] == ["age", "open mouth"]
    assert shown["directions"][0]["layers"] == [1, 2, 3]
    for name in ("walk.png", "walk.gif", "walk.webp"):
        common = ["--directions", "d.safetensors", "--seeds", "0,1", "--truncation", "0.7", "--steps", "3"]
        assert run("traverse", "m.safetensors", *common, "--out", name) == 0
        with Image.open(name) as picture:
            picture.load()
            assert (getattr(picture, "n_frames", 1) > 1) == (name != "walk.png")
    pytest.importorskip("av")
    assert run("traverse", "m.safetensors", "--directions", "d.safetensors", "--steps", "3", "--out", "walk.mp4") == 0
    assert Path("walk.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("method", ["ganspace", "style-channel", "random", "basis"])
def test_every_method_finds_directions_that_are_walked(method, pickled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("-q", "convert", pickled, "--out", "m.safetensors") == 0
    more = ["--samples", "200"] if method == "ganspace" else []
    assert run("-q", "directions", "find", "m.safetensors", "--method", method, "--top", "2", *more, "--out", "d.safetensors") == 0  # fmt: skip  # noqa: E501
    assert (
        run("-q", "traverse", "m.safetensors", "--directions", "d.safetensors", "--steps", "2", "--out", "w.png") == 0
    )


def test_samples_are_truncated_and_take_a_class(tmp_path, monkeypatch, capsys):
    from disentangle.io import save

    monkeypatch.chdir(tmp_path)
    save(rough({**CONFIG, "c_dim": 3}), "m.safetensors")
    assert run("sample", "m.safetensors", "--seeds", "0-3", "--out", "s.png") == 1
    assert "choose one by label (--label)" in capsys.readouterr().err
    assert run("sample", "m.safetensors", "--seeds", "0-3", "--label", "2", "--out", "s.png") == 0
    for seed in ("0", "1"):  # truncated to nothing, every picture is the mean's
        options = ["--label", "2", "--truncation", "0", "--seeds", seed]
        assert run("sample", "m.safetensors", *options, "--out", f"t{seed}.png") == 0
    assert Path("t0.png").read_bytes() == Path("t1.png").read_bytes()
    assert run("sample", "vae-rooms", "--label", "2", "--out", "v.png") == 2
    assert "has no classes" in capsys.readouterr().err


def test_a_photo_is_inverted_and_edited(pickled, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = torch.randint(0, 256, (20, 30, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save("photo.png")
    assert run("-q", "convert", pickled, "--out", "m.safetensors") == 0
    assert run("invert", "m.safetensors", "photo.png", "--steps", "8", "--pixels-only", "--out", "p.safetensors") == 0
    assert "photo.png: " in capsys.readouterr().err
    assert {"p.safetensors", "p.invert.png", "p.loss.png"} <= {path.name for path in tmp_path.iterdir()}
    assert run("traverse", "m.safetensors", "--start", "p.safetensors", "--steps", "2", "--out", "edits.png") == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["convert", "page.pkl", "--out", "o.safetensors"], 1, "is a web page"),
        (["convert", "none.pkl", "--out", "o.safetensors"], 1, "does not exist"),
        (["convert", "page.pkl"], 2, "--out FILE to convert, or --list"),
        (["convert", "page.pkl", "--out", "o.pkl"], 2, "ends with .safetensors"),
        (["directions", "show", "page.pkl"], 1, "not a readable safetensors file"),
        (["directions", "label", "page.pkl", "x"], 1, "not a readable safetensors file"),
        (["invert", "vae-rooms", "page.pkl", "--out", "o.safetensors"], 1, "cannot be read as an image"),
        (["invert", "vae-rooms", "none.png", "--out", "o.safetensors"], 1, "There is no photo none.png"),
        (["directions", "find", "vae-rooms", "--layers", "1", "--out", "o.safetensors"], 1, "no w+"),
    ],
)
def test_bad_input(args, code, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("page.pkl").write_text("<!DOCTYPE html><html></html>")
    assert run(*args) == code
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["page.pkl"]
