"""`disentangle train` of the generators: what options become, training further, Ctrl-C, bad pictures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import disentangle
from disentangle.errors import DisentangleError
from disentangle.training import PRESETS, preset_config
from tests.cli.conftest import invoke

SIZES = {
    "stylegan2": [
        "model.channels=[8,6,4,4]", "model.z_dim=6", "model.w_dim=6", "model.mapping_layers=2",
        "discriminator.channels=[8,6,4,4]",
    ],
    "progan": ["model.channels=[8,6,4,4]", "model.latent_dim=6", "discriminator.channels=[8,6,4,4]"],
    "gan": ["model.channels=[8,6,4,4]", "model.latent_dim=5", "discriminator.channels=[4,6,8]"],
}  # fmt: skip


def tiny(kind: str, *options: object) -> list[str]:
    sizes = [word for size in SIZES[kind] for word in ("--set", size)]
    common = ["--data", "rooms", "--resolution", "32", "--batch", "4", "--steps", "2"]
    return ["train", kind, *common, *sizes, *map(str, options)]


def said(result: Any) -> str:
    """What the command line prints: an expected failure's sentence, or click's own."""
    expected = isinstance(result.exception, DisentangleError)
    assert expected or isinstance(result.exception, SystemExit), repr(result.exception)
    return str(result.exception) if expected else result.output


def config_of(*command: object) -> dict:
    result = invoke(*command, "--dry-run")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_options_reach_the_configuration(pictures):
    command = tiny("stylegan2", "--treat", "ow", "--penalty", "orojar", "--penalty-weight", "1e-7")
    command[command.index("rooms")] = str(pictures)
    options = ["--augment", "ada", "--accumulate", "2", "--ema", "0.9", "--on-bad-image", "skip"]
    config = config_of(*command, *options)
    treatment = config_of(*tiny("stylegan2", "--treat", "nog,olr"))["treatment"]
    assert treatment["nog"]
    assert treatment["olr"]
    assert config["model"]["projection"]["kind"] == "polar"
    assert config["generator_penalty"]["kind"] == "orojar"
    assert config["generator_penalty"]["weight"] == 1e-7
    assert config["augment_target"] == 0.6
    assert config["augment"] == ["color", "translation", "cutout"]
    assert (config["accumulate"], config["ema"]) == (2, 0.9)
    assert config["data"]["options"] == {"on_bad_image": "skip"}


def test_train_then_train_further_with_a_projection(tmp_path):
    run, further = tmp_path / "run", tmp_path / "further"
    assert invoke(*tiny("stylegan2", "--out", run)).exit_code == 0
    command = ["train", "projection", "--from", run, "--data", "rooms", "--rank", "2", "--batch", "4", "--steps", "2"]
    assert invoke(*command, "--out", further).exit_code == 0
    projection = disentangle.load(further).config.projection
    assert projection.kind == "householder"
    assert config_of(*command, "--treat", "ow,nog")["model"]["projection"]["kind"] == "householder"
    assert projection.layers == ("b8.conv0", "b16.conv0", "b32.conv0")
    grid = tmp_path / "grid.png"
    assert (
        invoke("directions", "find", further, "--method", "basis", "--out", tmp_path / "d.safetensors").exit_code == 0
    )
    result = invoke("traverse", further, "--directions", tmp_path / "d.safetensors", "--out", grid)
    assert result.exit_code == 0, result.output
    assert Image.open(grid).width > 32
    assert invoke("report", run, further, "--out", tmp_path / "report.html").exit_code == 0


def test_a_vae_takes_treatments_and_is_trained_further(tmp_path):
    command = ["train", "vae", "--data", "sprites", "--batch", "4", "--steps", "2", "--out", tmp_path / "first"]
    small = ["--resolution", "32", "--latent-dim", "3", "--set", "model.channels=[4,4,8]", "--set", "model.hidden=8"]
    assert invoke(*command, *small, "--treat", "nog,ow").exit_code == 0
    assert disentangle.load(tmp_path / "first").config.projection.kind == "polar"
    further = ["--from", tmp_path / "first", "--data", "sprites", "--steps", "1"]
    assert invoke("train", "vae", *further, "--out", tmp_path / "second").exit_code == 0
    result = invoke("train", "projection", *further, "--penalty", "vp", "--out", tmp_path / "third")
    assert result.exit_code == 1
    assert "generator_penalty" in said(result)


def test_a_progan_says_how_far_it_has_grown(tmp_path):
    assert invoke(*tiny("progan", "--out", tmp_path / "run")).exit_code == 0
    assert disentangle.load(tmp_path / "run").config.lod == 2.0
    assert invoke("sample", tmp_path / "run", "--out", tmp_path / "s.png").exit_code == 0


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (["train", "projection", "--data", "rooms", "--out", "x"], 2, "which generator to train further: --from MODEL"),
        (
            ["train", "stylegan2", "--data", "rooms", "--resolution", "48", "--out", "x"],
            1,
            "no stylegan2 preset for 48",
        ),
        (["train", "gan", "--data", "rooms", "--resolution", "32", "--treat", "now", "--out", "x"], 1, "treatment"),
        (["train", "gan", "--from", "vae-rooms", "--data", "rooms", "--out", "x"], 1, "holds a 'vae'"),
        (["train", "gan", "--from", "nothing", "--data", "rooms", "--out", "x"], 1, "model"),
        (tiny("gan", "--accumulate", "3", "--out", "x"), 1, "accumulate is 3"),
        (["train", "stylegan2", "--classes", "--from", "x", "--data", "rooms", "--out", "y"], 2, "leave --classes out"),
        (tiny("stylegan2", "--classes", "--out", "x"), 1, "rooms has no classes to learn"),
    ],
)
def test_bad_input_is_one_sentence(command, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*command)
    assert result.exit_code == status
    assert message in said(result)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------- pictures


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Of several sizes and modes, one of them no picture at all."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, (mode, size) in enumerate(
        [("RGB", (40, 32)), ("RGBA", (32, 50)), ("L", (20, 20)), ("P", (33, 33)), ("CMYK", (64, 40)), ("RGB", (32, 32))]
    ):
        picture = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)
        picture.save(folder / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}")
    Image.fromarray(rng.integers(0, 65536, (30, 30)).astype(np.uint16)).save(folder / "deep.png")
    (folder / "3-broken.png").write_bytes((folder / "0.png").read_bytes()[:200])
    return folder


def on(folder: Path, *options: object) -> list[str]:
    command = tiny("gan", *options)
    command[command.index("rooms")] = str(folder)
    return command


def test_a_broken_picture_is_named_and_may_be_left_out(pictures, tmp_path):
    result = invoke(*on(pictures, "--out", tmp_path / "run", "--set", "steps=3"))
    assert result.exit_code == 1
    assert "3-broken.png" in said(result)
    assert "on_bad_image='skip'" in said(result)
    result = invoke(*on(pictures, "--out", tmp_path / "skipping", "--on-bad-image", "skip"))
    assert result.exit_code == 0, result.output
    assert disentangle.load(tmp_path / "skipping").config.resolution == 32


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    result = invoke(*on(tmp_path / "empty", "--out", tmp_path / "run"))
    assert result.exit_code == 1
    assert "holds no images" in said(result)
    assert not (tmp_path / "run").exists()


# --------------------------------------------------------------------------------------------------------- faults


def start(*command: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "disentangle", "--device", "cpu", *map(str, command)],
        stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def same(first: Path, second: Path) -> bool:
    one, other = (disentangle.load(path).state_dict() for path in (first, second))
    return all(bool((one[name] == other[name]).all()) for name in one)


def wait_for(path: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


@pytest.mark.faults
def test_ctrl_c_saves_and_exits_with_130(tmp_path):
    command = tiny("gan", "--out", tmp_path / "run", "--set", "steps=100000", "--set", "checkpoint_every=5")
    process = start(*command)
    wait_for(tmp_path / "run" / "latest")
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in message
    step = int((tmp_path / "run" / "latest").read_text())
    command = tiny("gan", "--out", tmp_path / "run", "--set", f"steps={step + 2}", "--set", "checkpoint_every=5")
    assert invoke(*command).exit_code == 0


@pytest.mark.faults
def test_killed_at_any_moment_ends_where_an_unbroken_run_ends(tmp_path):
    """The command itself, three times (tests/faults has every family): also in the middle of a checkpoint."""
    fields = ["--set", "steps=30", "--set", "checkpoint_every=2", "--treat", "nog"]
    assert start(*tiny("gan", "--out", tmp_path / "whole", *fields)).wait(timeout=120) == 0
    rng = np.random.default_rng(0)
    broken = tmp_path / "broken"
    for _ in range(3):
        before = (broken / "latest").read_text() if (broken / "latest").exists() else ""
        process = start(*tiny("gan", "--out", broken, *fields))
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            if (broken / "latest").exists() and (broken / "latest").read_text() != before:
                break
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0, 0.15)))
        process.kill()
        process.communicate()
    assert start(*tiny("gan", "--out", broken, *fields)).wait(timeout=120) == 0
    assert same(tmp_path / "whole", broken)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from disentangle.cli import main
main(sys.argv[2:])
"""


@pytest.mark.faults
@pytest.mark.parametrize("steps", [4, 6])  # in the last step it is the samples that do not fit, else the state
def test_a_disk_that_takes_no_more_leaves_the_last_checkpoint(steps, tmp_path):
    """Files may not grow beyond a limit in the second process, which fails its writes as a full disk does."""
    whole, run = tmp_path / "whole", tmp_path / "run"

    def command(out: Path, steps: int) -> list[str]:
        return ["--device", "cpu", *tiny("gan", "--out", out, "--set", f"steps={steps}", "--set", "checkpoint_every=2")]

    assert invoke(*command(whole, steps)).exit_code == 0
    assert invoke(*command(run, 2)).exit_code == 0
    state = (run / "checkpoints" / "000002" / "state.pt").stat().st_size
    limit = 20_000
    assert state > limit
    failed = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *command(run, steps)], capture_output=True, text=True, timeout=120
    )
    assert failed.returncode == 1, failed.stderr
    assert f"tep 4 could not be written to {run}" in failed.stderr
    assert "the last good" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (run / "latest").read_text().strip() == "000002"
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]
    assert invoke(*command(run, steps)).exit_code == 0
    assert same(whole, run)


def test_presets_are_in_the_help(run):
    commands = dict.fromkeys(("qlae", "fsq", "tripod"), "autoencoder")
    for name, row in PRESETS.items():
        page = re.sub(r"-\n +", "-", run("train", commands.get(row["kind"], row["kind"]), "--help"))
        assert re.search(rf"\b{name}(?![-\w])", page), name


def test_learning_rates(run):
    def rates(kind: str, *options: str) -> list[float]:
        config = json.loads(run("train", kind, "--data", "rooms", "--resolution", 32, *options, "--dry-run"))
        return [config[name]["lr"] for name in ("optimizer", "discriminator_optimizer") if name in config]

    assert rates("eigengan") == [5e-4, 4e-4]
    assert rates("eigengan", "--lr", "1e-3") == [1e-3, 1e-3]
    assert rates("stylegan2", "--lr", "1e-3", "--d-lr", "2e-3") == [1e-3, 2e-3]
    assert rates("gan", "--d-lr", "3e-3") == [2e-4, 3e-3]
    assert rates("projection", "--from", "vae-rooms", "--lr", "1e-3") == [1e-3]
    assert rates("projection", "--from", "eigengan-rooms", "--lr", "1e-3") == [1e-3, 1e-3]
    assert rates("progan", "--lr", "1e-3", "--set", "optimizer.lr=5e-3") == [5e-3, 1e-3]
    assert rates("vae", "--lr", "2e-3") == [2e-3]
    for bad in ("0", "-1", "nan", "inf"):
        assert invoke("train", "vae", "--data", "rooms", "--lr", bad, "--dry-run").exit_code == 2


def test_stylegan2_at_128_and_512_pixels(tmp_path):
    """NVIDIA's: R1 of 0.0002 resolution^2 / batch at 128; 0.5 at 512; here without the factor 1/2."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = {"name": str(tmp_path)}
    small, large = (preset_config("stylegan2", data={**data, "resolution": side}) for side in (128, 512))
    assert small.penalty.weight == pytest.approx(0.0002 * 128**2 / 32 / 2, rel=1e-3)
    assert small.model.channels == tuple(min(512, 16384 // side) for side in (4, 8, 16, 32, 64, 128))
    assert (small.batch, small.model.mapping_layers) == (32, 2)
    assert large.penalty.weight == 0.5 / 2
    assert large.model.channels == tuple(min(512, 32768 // side) for side in (4, 8, 16, 32, 64, 128, 256, 512))
    for config in (small, large):
        assert config.optimizer.lr == pytest.approx(0.0025 * 4 / 5)
        assert config.discriminator_optimizer.lr == pytest.approx(0.0025 * 16 / 17)
        half_life = 10_000 * config.batch / 32  # pictures
        assert config.ema == pytest.approx(0.5 ** (config.batch / half_life), abs=1e-5)
        assert config.steps * config.batch == pytest.approx(25e6, rel=2e-3)
