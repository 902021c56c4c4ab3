"""``disentangle directions`` and ``traverse`` on model files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import disentangle
from disentangle.latents import Directions, Latents
from disentangle.models import build_model

SMALL = {"resolution": 16, "z_dim": 10, "w_dim": 10, "mapping_layers": 2, "channels": (6, 6, 4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Model files: a StyleGAN2, a conditional one, one with orthogonal layers, a ProGAN, a simple GAN."""
    made = tmp_path_factory.mktemp("models")
    records = {
        "style": {"kind": "stylegan2", **SMALL},
        "classes": {"kind": "stylegan2", **SMALL, "c_dim": 3},
        "orthogonal": {"kind": "stylegan2", **SMALL, "projection": {"rank": 3, "layers": ("b8.conv0", "b16.conv0")}},
        "progan": {"kind": "progan", "resolution": 8, "latent_dim": 6, "channels": (4, 4)},
        "gan": {"kind": "gan", "resolution": 16, "latent_dim": 4, "channels": [8, 6, 4]},
    }
    for name, record in records.items():
        disentangle.save(build_model(record, seed=0), made / f"{name}.safetensors")
    return made


def find(run, folder: Path, model: str, out: Path, *options: object) -> Directions:
    run("directions", "find", folder / f"{model}.safetensors", *options, "--out", out)
    return Directions.load(out)


@pytest.mark.parametrize(
    ("model", "options", "space", "count", "layers"),
    [
        ("style", [], "w", 10, None),
        ("style", ["--layers", "2-5", "--top", "3"], "w", 3, (2, 3, 4, 5)),
        ("style", ["--no-normalize", "--top", "3"], "w", 3, None),
        ("style", ["--layers", "1", "--torgb", "--top", "2"], "w", 2, (1,)),
        ("style", ["--method", "ganspace", "--samples", "50", "--layers", "0"], "w", 10, (0,)),
        ("style", ["--method", "ganspace", "--samples", "50", "--top", "2", "--module", "synthesis.b8.conv0"],
         "w", 2, None),
        ("style", ["--method", "style-channel", "--layers", "0", "--top", "2", "--seeds", "1"], "s", 2, None),
        ("style", ["--method", "random", "--space", "s", "--top", "2"], "s", 2, None),
        ("style", ["--method", "basis", "--space", "w"], "w", 10, None),
        ("classes", ["--method", "ganspace", "--samples", "50", "--label", "2", "--top", "2"], "w", 2, None),
        ("orthogonal", ["--method", "basis"], "w", 6, ((1,),) * 3 + ((3,),) * 3),
        ("orthogonal", ["--method", "basis", "--layers", "2-3", "--top", "2"], "w", 2, ((3,), (3,))),
        ("progan", ["--top", "4"], "z", 4, None),
        ("gan", ["--top", "4"], "z", 4, None),
        ("gan", ["--method", "ganspace", "--module", "first", "--samples", "60", "--top", "2"], "z", 2, None),
        ("gan", ["--method", "jacobian", "--samples", "2", "--criterion", "joint"], "z", 4, None),
        ("style", ["--method", "jacobian", "--samples", "1", "--layers", "1", "--top", "2"], "w", 2, (1,)),
    ],
)  # fmt: skip
def test_find_and_walk(model, options, space, count, layers, run, folder, tmp_path):
    found = find(run, folder, model, tmp_path / "d.safetensors", *options)
    assert (found.space, len(found), found.layers) == (space, count, layers)
    assert found.generator is not None
    klass = ["--label", "1"] if model == "classes" else []
    run("traverse", folder / f"{model}.safetensors", "--directions", tmp_path / "d.safetensors", "--dims", "0-1",
        "--steps", "2", *klass, "--out", tmp_path / "walk.png")  # fmt: skip
    assert (tmp_path / "walk.png").stat().st_size > 100


def test_published_components_are_taken_for_a_model(run, fails, folder, tmp_path):
    np.savez(tmp_path / "c.npz", lat_comp=np.eye(10)[:5, None], lat_stdev=np.arange(1.0, 6), lat_mean=np.ones((1, 10)))
    options = ["--method", "ganspace", "--from", tmp_path / "c.npz", "--top", "3"]
    found = find(run, folder, "style", tmp_path / "d.safetensors", *options, "--layers", "1-2")
    assert found.scale.tolist() == [1, 2, 3]
    assert (found.layers, found.generator) == ((1, 2), "stylegan2, w 10")
    said = fails("directions", "find", folder / "gan.safetensors", *options, "--out", tmp_path / "o.safetensors")
    assert "10 numbers, but a latent of space 'z' has 4" in said
    said = fails(
        "directions",
        "find",
        folder / "gan.safetensors",
        "--from",
        tmp_path / "c.npz",
        "--out",
        tmp_path / "o.safetensors",
    )
    assert "--from is not for --method" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.npz", "d.safetensors"]


def test_names_are_written_in_place_or_elsewhere(run, fails, folder, tmp_path):
    path = tmp_path / "d.safetensors"
    before = find(run, folder, "style", path, "--top", "4", "--layers", "2-5")
    run("directions", "label", path, "0=smile", "3=a = b")
    named = Directions.load(path)
    assert named.labels == ("smile", "sefa 1", "sefa 2", "a = b")
    assert torch.equal(named.vectors, before.vectors)
    assert (named.layers, named.generator) == (before.layers, before.generator)
    run("directions", "label", path, "1=age", "--out", tmp_path / "e.safetensors")
    assert Directions.load(path).labels[1] == "sefa 1"
    assert Directions.load(tmp_path / "e.safetensors").labels == ("smile", "age", "sefa 2", "a = b")
    content = path.read_bytes()
    assert "There is no direction 4" in fails("directions", "label", path, "0=x", "4=y")
    assert "expected POSITION=NAME" in fails("directions", "label", path, "smile")
    assert "expected POSITION=NAME" in fails("directions", "label", path, "0=")
    assert path.read_bytes() == content
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["d.safetensors", "e.safetensors"]


def test_show(run, folder, tmp_path):
    path = tmp_path / "d.safetensors"
    find(run, folder, "orthogonal", path, "--method", "basis", "--top", "4")
    table = run("directions", "show", path).splitlines()
    assert table[0] == "basis, in w (10 numbers), of stylegan2, w 10"
    assert len(table) == 5
    assert "b8.conv0, 0" in table[1]
    assert table[1].endswith("layers 1")
    record = json.loads(run("directions", "show", path, "--json"))
    assert (record["method"], record["space"], record["size"]) == ("basis", "w", 10)
    assert record["generator"] == "stylegan2, w 10"
    assert record["directions"][3] == {"position": 3, "label": "b16.conv0, 0", "scale": 1.0, "layers": [3]}


def test_a_walk_starts_from_latents_and_is_labelled(run, folder, tmp_path):
    find(run, folder, "style", tmp_path / "d.safetensors", "--top", "2", "--layers", "2-5")
    model = disentangle.load(folder / "style.safetensors")
    values = model.sample_latents(2, space="w+", generator=torch.Generator().manual_seed(0))
    Latents(values, "w+").save(tmp_path / "l.safetensors")
    common = ["traverse", folder / "style.safetensors", "--directions", tmp_path / "d.safetensors", "--steps", "3",
              "--start", tmp_path / "l.safetensors", "--scale", "1"]  # fmt: skip
    run(*common, "--out", tmp_path / "walk.png")
    with Image.open(tmp_path / "walk.png") as picture:
        assert picture.width > 3 * 16 + 40  # names of the rows beside 3 pictures
        assert picture.height > 4 * 16  # 2 directions of 2 starts, positions above
        held = np.asarray(picture.convert("RGB"))
    top, left = picture.height - (4 * 16 + 3 * 4), picture.width - (3 * 16 + 2 * 4)  # the frame takes 4 pixels between
    middle = held[top : top + 16, left + 20 : left + 36]
    expected = model(values[:1], space="w+")[0].detach()
    shown = (((expected.clamp(-1, 1) + 1) / 2) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(middle - shown).max() <= 1
    run(*common, "--out", tmp_path / "walk.gif")
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.n_frames == 4  # there and back


def test_absolute_positions(run, folder, tmp_path):
    find(run, folder, "style", tmp_path / "d.safetensors", "--method", "ganspace", "--samples", "50", "--top", "1")
    common = ["traverse", folder / "style.safetensors", "--directions", tmp_path / "d.safetensors", "--steps", "3"]
    for option in ("--absolute", "--relative"):
        run(*common, option, "--out", tmp_path / f"{option[2:]}.png")
    assert (tmp_path / "absolute.png").read_bytes() != (tmp_path / "relative.png").read_bytes()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("style", ["--label", "1"], "--label is not for --method sefa"),
        ("classes", ["--method", "ganspace", "--samples", "50"], "3 classes and none was given"),
        ("classes", ["--method", "ganspace", "--label", "3", "--samples", "50"], "expected 0 to 2"),
        ("style", ["--space", "s"], "sefa finds directions in 'w' on this model, not in 's'"),
        ("style", ["--method", "style-channel", "--space", "w"], "style channels live in 's'"),
        ("style", ["--method", "random", "--space", "s", "--layers", "1"], "layers chooses rows of w+"),
        ("style", ["--method", "random", "--layers", "8"], "name layer 8, but this generator has 0 to 5"),
        ("style", ["--method", "ganspace", "--module", "synthesis.b8.conv"], "no module 'synthesis.b8.conv'"),
        ("style", ["--layers", "0", "--top", "9"], "top is 9; expected 1 to 6"),
        ("orthogonal", ["--method", "basis", "--layers", "5"], "no orthogonal layer among [5]"),
        ("gan", ["--method", "style-channel"], "no style space"),
        ("progan", ["--layers", "1"], "no w+"),
        ("gan", ["--method", "jacobian", "--top", "5"], "rank is 5"),
        ("gan", ["--metric", "lpips"], "--metric is not for --method sefa: it is for --method jacobian"),
        ("gan", ["--samples", "9"], "--samples is not for --method sefa"),
        ("progan", ["--top", "7"], "top is 7; expected 1 to 6"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(model, options, message, fails, folder, tmp_path):
    said = fails("directions", "find", folder / f"{model}.safetensors", *options, "--out", tmp_path / "d.safetensors")
    assert message in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("gan", [], "live in space 'w', which this generator lacks"),
        ("style", ["--space", "s"], "holds directions in 'w', not in 's'"),
        ("style", ["--label", "1"], "has no classes"),
        ("style", ["--layers", "9"], "name layer 9"),
        ("style", ["--dims", "7"], "no direction 7"),
        ("style", ["--start", "{d}"], "holds directions; expected a file of latents"),
    ],
)
def test_walks_that_make_no_sense(model, options, message, run, fails, folder, tmp_path):
    path = tmp_path / "d.safetensors"
    find(run, folder, "style", path, "--top", "2")
    options = [str(option).format(d=path) for option in options]
    said = fails(
        "traverse", folder / f"{model}.safetensors", "--directions", path, *options, "--out", tmp_path / "w.png"
    )
    assert message in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.safetensors"]


def test_a_film_without_its_package_says_what_to_install(fails, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    said = fails("traverse", folder / "gan.safetensors", "--steps", "2", "--out", tmp_path / "w.mp4")
    assert "install disentangle-toolkit[video]" in said
    assert not list(tmp_path.iterdir())


def test_a_turned_model_refuses_directions_of_the_model_before(run, fails, folder, tmp_path):
    """Axes of one latent are found and shown; the turned file has them as its coordinates, and is told apart."""
    model, file, turned = folder / "gan.safetensors", tmp_path / "axes.safetensors", tmp_path / "turned.safetensors"
    Latents(disentangle.load(model).sample_latents(1), "z").save(tmp_path / "at.safetensors")
    axes = find(run, folder, "gan", file, "--method", "jacobian", "--at", tmp_path / "at.safetensors")
    shown = json.loads(run("directions", "show", file, "--json"))
    assert shown["note"]["at"] is True
    assert [row["eigenvalue"] for row in shown["directions"]] == axes.eigenvalues.tolist()
    run("turn", model, "--axes", file, "--out", turned)
    before, after = disentangle.load(model), disentangle.load(turned)
    z = before.sample_latents(3)
    torch.testing.assert_close(after(z @ axes.vectors.mT), before(z), rtol=0, atol=1e-5)
    assert "this generator is a gan, z 4, turned" in fails(
        "traverse", turned, "--directions", file, "--out", tmp_path / "walk.png"
    )
    assert "--samples is not for --axes: it is for finding the axes" in fails(
        "turn", model, "--axes", file, "--samples", "3", "--out", tmp_path / "x.safetensors"
    )
    assert not (tmp_path / "x.safetensors").exists()
