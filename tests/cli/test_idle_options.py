"""What was given is used or refused: options that the chosen way of working does not read, and wrong values."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from disentangle.cli import evaluate as evaluate_command
from disentangle.cli import main
from disentangle.cli.evaluate_images import OF_GENERATORS, OF_SETS, read_by

ARRAYS = ["evaluate", "--codes", "z.npy", "--factors", "y.npy", "--metrics", "mig", "--jobs", "1", "--no-baselines"]
IMAGES = ["evaluate", "--images", "pictures", "--reference", "pictures", "--extractor", "efficientnet-lite0"]
MADE = ["evaluate", "eigengan-rooms", "--extractor", "efficientnet-lite0"]
EIGENGAN = ["train", "eigengan", "--data", "sprites", "--resolution", "32", "--dry-run"]
VAE = ["train", "vae", "--data", "sprites", "--resolution", "32", "--dry-run"]
FIND = ["directions", "find", "eigengan-rooms", "--out", "d.safetensors"]
WALK = ["traverse", "vae-rooms", "--out", "t.png"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idle")
    rng = np.random.default_rng(0)
    np.save(folder / "z.npy", rng.normal(size=(60, 3)))
    np.save(folder / "y.npy", rng.integers(0, 3, (60, 2)))
    (folder / "pictures").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / "pictures" / f"{i}.png")
    (folder / "pictures" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


@pytest.fixture
def ends(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command; returns its exit status, and the last line of its messages."""
    monkeypatch.chdir(files)

    def call(*arguments: Any) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        messages = capsys.readouterr().err
        assert "Traceback" not in messages
        return int(ended.value.code or 0), messages.strip().split("\n")[-1]

    return call


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        # what is asked is measured or refused
        ([*IMAGES, "--metrics", "mig"], "mig is no score of images"),
        ([*IMAGES, "--metrics", "all"], "all is no score of images"),
        ([*IMAGES, "--metrics", "dci,sap"], "dci is no score of images"),
        ([*IMAGES, "--metrics", "mig,fid"], "mig is no score of images, as fid is; measure them in two commands"),
        ([*ARRAYS[:5], "--metrics", "fid"], "fid is a score of images; it needs a generator as MODEL, or --images"),
        ([*ARRAYS[:5], "--metrics", "factor-vae"], "factor-vae draws pictures of its own"),
        ([*MADE[:2], "--metrics", "mig"], "is a generator (eigengan) without an encoder, so it has no mig"),
        ([*MADE[:2], "--metrics", "all"], "is a generator (eigengan) without an encoder"),
        ([*MADE[:2]], "is a generator (eigengan) without an encoder"),
        (["evaluate", "vae-rooms", "--metrics", "mig"], "Say what to encode: --data"),
        # options of another way of measuring
        ([*ARRAYS, "--num", "5"], "--num is not for codes and factors"),
        ([*ARRAYS, "--data", "rooms"], "--data is not for codes and factors"),
        ([*ARRAYS, "--reference", "rooms"], "--reference is not for codes and factors"),
        ([*ARRAYS, "--no-overlap"], "--no-overlap is not for codes and factors: it is for a classifier"),
        ([*ARRAYS, "--download"], "--download is not for codes and factors"),
        ([*ARRAYS, "--device", "cpu"], "--device is not for codes and factors"),
        (["evaluate", "vae-rooms", "--data", "rooms", "--resolution", "32"], "--resolution is not for an encoder as"),
        (["evaluate", "vae-rooms", "--data", "rooms", "--factors", "y.npy"], "--factors is not for an encoder as"),
        ([*IMAGES, "--num", "3"], "--num is not for scores of given --images"),
        ([*IMAGES, "--bootstrap", "3"], "--bootstrap is not for scores of given --images"),
        ([*MADE, "--metrics", "ppl", "--num", "3"], "--num is not for ppl: how much they draw is a setting of each"),
        ([*MADE, "--metrics", "vp"], "--extractor is not for vp"),
        ([*MADE, "--metrics", "ppl", "--reference", "rooms"], "--reference is not for ppl, which compare with nothing"),
        ([*MADE, "--metrics", "fid", "--reference", "rooms", "--data", "rooms"], "--data is not for fid"),
        # options of a training that nothing reads
        ([*EIGENGAN, "--penalty", "hessian", "--nog"], "--penalty takes the place of a treatment"),
        ([*EIGENGAN, "--penalty", "vp", "--mode", "landing"], "--penalty takes the place of a treatment"),
        ([*EIGENGAN, "--penalty-weight", "3"], "--penalty-weight weighs what --penalty chooses"),
        ([*EIGENGAN, "--scale", "nuclear"], "--scale is of --nog"),
        ([*EIGENGAN, "--olr", "--scale", "nuclear"], "--scale is of --nog"),
        ([*EIGENGAN, "--nog", "--olr-form", "exact"], "--olr-form is of --olr"),
        ([*EIGENGAN, "--mode", "update"], "--mode update is of --nog"),
        ([*EIGENGAN, "--mode", "spel", "--nog"], "mode is 'spel': it takes the polar factor of the direction itself"),
        ([*EIGENGAN, "--treat", "ow", "--nog", "--retraction", "polar"], "--retraction is for free weights"),
        ([*EIGENGAN, "--download"], "Sprites is not among what can be downloaded"),
        (["train", "classifier", "--data", "cifar10", "--download", "--out", "r"], "CIFAR-10 is not among what can be"),
        ([*VAE, "--gamma", "3"], "--gamma is of --objective factor-vae, not beta-tcvae"),
        ([*VAE, "--objective", "beta-vae", "--gamma", "3"], "--gamma is of --objective factor-vae, not beta-vae"),
        ([*VAE, "--capacity", "3"], "--capacity: There is no field 'objective.capacity'"),
        ([*VAE, "--set", "steps=3", "--set", "steps=4"], "--set gives a field twice"),
        # the rest
        (["--seed", "3", "sample", "vae-rooms", "--out", "s.png"], "--seed is not for `disentangle sample`"),
        (["--seed", "3", "traverse", "vae-rooms", "--out", "s.png"], "--seed is not for `disentangle traverse`"),
        (["--seed", "3", "data", "list"], "--seed is not for `disentangle data list`, which draws nothing at random"),
        (["sample", "vae-rooms", "--columns", "17", "--out", "s.png"], "--columns is 17, but --seeds are 16"),
        ([*WALK, "--fps", "3"], "--fps is not for a still picture: it is for an animation"),
        ([*WALK, "--active", "99"], "'--active': 99 is more than the 10 directions there are"),
        ([*WALK, "--dims", "99"], "There is no direction 99"),
        ([*WALK, "--truncation", "-1"], "-1.0 is not in the range 0<=x<=100"),
        ([*WALK, "--label", "1"], "this generator has no classes"),
        ([*FIND, "--samples", "50"], "--samples is not for --method sefa: it is for --method ganspace"),
        ([*FIND, "--method", "random", "--torgb"], "--torgb is not for --method random: it is for --method sefa"),
        ([*FIND, "--method", "ganspace", "--no-normalize"], "--no-normalize is not for --method ganspace"),
        ([*FIND, "--method", "basis", "--seed", "3"], "--seed is not for --method basis"),
        (["--seed", "3", *FIND, "--method", "basis"], "--seed is not for --method basis"),
        ([*FIND, "--method", "basis", "--top", "1000"], "top is 1000, but this generator has"),
        (["convert", "z.npy", "--list", "--rank", "3"], "--rank is not for --list"),
        (["invert", "vae-rooms", "a.png", "--pixels-only", "--weights", ".", "--out", "i.safetensors"],
         "--weights is of LPIPS, which --pixels-only leaves out"),
        # values that are none
        (["--device", "foo", "doctor"], "'foo' is no device; expected auto, cpu, cuda or cuda:N"),
        (["sample", "vae-rooms", "--device", "cuda:x", "--out", "s.png"], "'cuda:x' is no device"),
        (["sample", "nothing", "--out", "s.png"], "Unknown model 'nothing'"),
        ([*ARRAYS[:5], "--metrics", "foo"], "Unknown metric 'foo'"),
        ([*ARRAYS, "--protocol", "foo"], "Unknown protocol 'foo'"),
        ([*ARRAYS, "--set", "foo"], "--set is 'foo'; expected METRIC.OPTION=VALUE"),
        ([*ARRAYS, "--set", "mig.foo=1"], "Unknown option of mig 'foo'"),
        ([*ARRAYS, "--set", "sap.foo=1"], "options name 'sap', which is not among the metrics mig"),
        ([*ARRAYS, "--set", "mig.bins=3", "--set", "mig.bins=4"], "--set gives 'mig.bins' twice"),
        (
            ["evaluate", "--encoder", "my_model.py:encode", "--data", "rooms"],
            "there is no file my_model.py; give the path of one, or my_model:encode",
        ),
        ([*VAE, "--steps", "0"], "--steps: Input should be greater than or equal to 1, got 0"),
        ([*VAE, "--set", "steps=abc"], "--set steps: Input should be a valid integer"),
        ([*VAE, "--set", "foo=3"], "--set foo: There is no field 'foo'; fields here: batch, "),
        ([*VAE, "--set", "data.name.x=3"], "There is no field 'data.name.x'"),
        ([*VAE, "--preset", "foo"], "Unknown preset for vae 'foo'"),
        (["train", "vae", "--data", "nothing", "--dry-run"], "Unknown data set 'nothing'"),
        ([*WALK, "--steps", "1000000"], "would take 123 GB of memory"),
    ],
)  # fmt: skip
def test_wrong_usage_is_a_sentence_and_status_2(ends: Any, files: Path, arguments: list[str], sentence: str):
    before = sorted(files.rglob("*"))
    status, said = ends(*arguments)
    assert sentence in said
    assert status == 2
    assert sorted(files.rglob("*")) == before


def test_a_run_that_fails_has_status_1(ends: Any):
    assert ends("convert", "nothing.pt", "--list")[0] == 1
    assert ends("convert", "pictures", "--list") == (
        1,
        "Error: pictures holds no network of a known format; `disentangle convert --help` and docs/checkpoints.md list "
        "what is known.",
    )
    status, said = ends("data", "preview", "pictures", "--resolution", "16", "--out", "p.png")
    assert status == 1
    assert "torn.png cannot be read as a picture" in said
    assert "leave such pictures out by --on-bad-image skip" in said
    assert "BytesIO" not in said


def test_a_tracker_that_is_not_installed_is_told_before_the_run(
    ends: Any, files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    command = ["train", "vae", "--data", "sprites", "--resolution", "32", "--tracker", "tensorboard", "--out", "run"]
    status, said = ends(*command)
    assert status == 1
    assert "pip install 'disentangle-toolkit[tensorboard]'" in said
    assert not (files / "run").exists()


def test_a_classifier_and_what_it_does_not_read(ends: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluate_command, "_kind", lambda model: "classifier")
    for options in (["--metrics", "mig"], ["--metrics", "fid"], ["--num", "3"], ["--bootstrap", "3"], ["--seed", "3"],
                    ["--set", "mig.bins=3"], ["--protocol", "dlib-2018"], ["--reference", "rooms"]):  # fmt: skip
        status, said = ends("evaluate", "r", "--data", "sprites", *options)
        assert status == 2
        assert f"{options[0]} is not for a classifier: it" in said


def test_unreadable_pictures_are_left_out_where_asked(ends: Any, files: Path, tmp_path: Path):
    status, _ = ends(
        "data", "preview", "pictures", "--resolution", "16", "--on-bad-image", "skip", "--out", tmp_path / "p.png"
    )
    assert status == 0


def test_what_a_mode_of_its_own_reads_is_no_idle_option(ends: Any):
    assert ends(*EIGENGAN, "--mode", "spel", "--scale", "nuclear")[0] == 0
    assert ends(*EIGENGAN, "--nog", "--olr", "--olr-form", "exact", "--scale", "grad_norm", "--ol", "0.1")[0] == 0


def test_options_of_a_data_set_are_set_one_by_one(ends: Any, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([
            "train", "vae", "--data", "pictures", "--resolution", "32", "--on-bad-image", "skip", "--dry-run",
            "--set", "data.options.max_pixels=1000",
        ])  # fmt: skip
    assert not ended.value.code
    assert '"max_pixels": 1000' in capsys.readouterr().out


def test_every_option_of_evaluate_belongs_to_a_way_of_measuring():
    named = set().union(*evaluate_command.READ.values())
    assert {param.name for param in evaluate_command.command.params} == named
    assert set(evaluate_command.IMAGE_METRICS) == {*OF_SETS, *OF_GENERATORS}
    assert set().union(*read_by(["fid", "ppl", "factor-predictor"]).values()) <= named


@pytest.mark.parametrize("command", [["doctor"], ["data", "list"], ["sample", "vae-rooms", "--out", "s.png"]])
def test_control_c_ends_every_command_with_130(command: list[str], ends: Any, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for name in ("disentangle.data.list_data", "disentangle.io.load"):
        monkeypatch.setattr(name, interrupted)
    assert ends(*command)[0] == 130


def test_a_librarys_warning_is_a_message(ends: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def warns(**_: Any) -> list[Any]:
        warnings.warn("divide by zero", RuntimeWarning, stacklevel=1)
        return []

    monkeypatch.setattr("disentangle.data.list_data", warns)
    assert ends("data", "list") == (0, "")
    assert [record.getMessage() for record in caplog.records] == ["divide by zero"]
