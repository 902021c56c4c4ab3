"""Every command: what it writes, what it says to wrong input, and that it leaves nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from disentangle.cli import _COMMANDS
from tests.cli.conftest import SMALL_GAN, SMALL_VAE, invoke

TRAINED = ("vae", "autoencoder", "eigengan", "gan", "progan", "stylegan2", "projection", "classifier")


@pytest.mark.parametrize("name", [*_COMMANDS, *(f"train {kind}" for kind in TRAINED), "data preview"])
def test_help_ends_with_two_examples(name):
    result = invoke(*name.split(), "--help")
    assert result.exit_code == 0
    examples = result.output.split("Examples:")[1]
    assert examples.count("disentangle ") >= 2 if "train" not in name else True
    assert "Usage:" in result.output


def test_unknown_command_suggests():
    result = invoke("traverze")
    assert result.exit_code == 2
    assert "Did you mean 'traverse'?" in result.output


def test_version(run):
    assert run("--version").startswith("disentangle, version ")


# ------------------------------------------------------------------------------------------------------- train


def test_dry_run_prints_the_resolved_configuration(run, tmp_path):
    config = json.loads(run(*SMALL_GAN, "--dry-run", "--seed", 5))
    assert config["seed"] == 5
    assert config["treatment"]["nog"] is True
    assert config["treatment"]["olr"] is True
    assert config["model"]["basis"] == 2
    assert not list(tmp_path.iterdir())


def test_config_file_round_trip(run, gan_run):
    again = json.loads(run("train", "eigengan", "--config", gan_run / "config.json", "--dry-run"))
    assert again == json.loads((gan_run / "config.json").read_text())
    changed = json.loads(run("train", "eigengan", "--config", gan_run / "config.json", "--steps", 9, "--dry-run"))
    assert changed["steps"] == 9


def test_every_treatment_option_reaches_the_configuration(run):
    options = ["--nog", "--olr", "--olr-form", "exact", "--ol", "0.5", "--mode", "update", "--scale", "nuclear"]
    config = json.loads(run("train", "gan", "--data", "rooms", "--resolution", "32", *options, "--dry-run"))
    assert config["treatment"] == {
        "nog": True, "olr": True, "olr_form": "exact", "ol": 0.5, "mode": "update", "scale": "nuclear",
        "retraction": "none", "attraction": None, "radius": 1.0, "options": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "vae", "--data", "room", "--resolution", "32", "--out", "OUT"], "did you mean 'rooms'"),
        (["train", "vae", "--out", "OUT"], "--data NAME_OR_PATH"),
        (["train", "autoencoder", "--data", "rooms", "--values", "999", "--out", "OUT"], "no more"),
        (["train", "autoencoder", "--data", "rooms", "--preset", "qlae-46", "--out", "OUT"], "did you mean 'qlae-64'"),
        (["train", "vae", "--data", "rooms", "--resolution", "32", "--pairs", "known", "--out", "OUT"], "'beta-vae'"),
        (["train", "vae", "--data", "rooms"], "--out FOLDER"),
        (["train", "vae", "--data", "rooms", "--resolution", "48", "--out", "OUT"], "no vae preset for 48 pixels"),
        (["train", "vae", "--data", "rooms", "--preset", "vae-65", "--out", "OUT"], "did you mean 'vae-64'"),
        (["train", "vae", "--data", "EMPTY", "--resolution", "32", "--out", "OUT"], "holds no images"),
        (["train", "vae", "--data", "rooms", "--set", "model.hiden=3", "--out", "OUT"], "no field 'model.hiden'"),
        (["train", "vae", "--data", "rooms", "--set", "steps", "--out", "OUT"], "expected field=value"),
        (["train", "vae", "--data", "rooms", "--set", "steps=-1", "--out", "OUT"], "steps: Input should be greater"),
        (["train", "vae", "--data", "rooms", "--device", "tpu", "--out", "OUT"], "'tpu' is no device"),
        (["sample", "vae-roms", "--out", "OUT/x.png"], "did you mean"),
        (["sample", "BROKEN", "--out", "OUT/x.png"], "not a readable safetensors file"),
        (["sample", "VAE", "--out", "OUT/x.xyz"], "no known picture ending"),
        (["sample", "VAE", "--seeds", "5-2", "--out", "OUT/x.png"], "runs backwards"),
        (["traverse", "VAE", "--dims", "7", "--out", "OUT/x.png"], "no direction 7; expected 0 to 2"),
        (["traverse", "VAE", "--dims", "a", "--out", "OUT/x.png"], "neither a number nor a range"),
        (["traverse", "VAE", "--dims", "0", "--active", "1", "--out", "OUT/x.png"], "not both"),
        (["traverse", "VAE", "--steps", "1", "--out", "OUT/x.png"], "1 is not in the range x>=2"),
        (["evaluate", "VAE"], "--data NAME"),
        (["evaluate"], "one of MODEL, --encoder with --data, --codes with --factors"),
        (["evaluate", "VAE", "--data", "rooms"], "this VAE takes"),
        (["evaluate", "VAE", "--data", "sprites", "--metrics", "mgi"], "did you mean 'mig'"),
        (["evaluate", "GAN", "--data", "rooms"], "is a generator (eigengan) without an encoder"),
        (["evaluate", "--codes", "none.npy", "--factors", "none.npy"], "does not exist"),
        (["evaluate", "--codes", "BROKEN", "--factors", "BROKEN"], "not a readable .npy"),
        (["data", "preview", "room", "--out", "OUT/x.png"], "did you mean 'rooms'"),
        (["data", "show", "room"], "did you mean 'rooms'"),
        (["models", "show", "nothing"], "Unknown model 'nothing'"),
        (["report", "EMPTY"], "is no run folder"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(fails, arguments, message, tmp_path, vae_run, gan_run):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.npy").write_bytes(b"not a model, not an array")
    places = {
        "OUT": tmp_path / "out", "EMPTY": tmp_path / "empty", "BROKEN": tmp_path / "broken.npy", "VAE": vae_run,
        "GAN": gan_run,
    }  # fmt: skip
    resolved = []
    for argument in arguments:
        for name, path in places.items():
            if argument == name or argument.startswith(f"{name}/"):
                argument = str(path) + argument[len(name) :]
        resolved.append(argument)
    error = fails(*resolved)
    assert message in " ".join(error.split()), error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_resume_with_another_configuration_lists_the_differences(fails, vae_run):
    before = sorted(path.name for path in vae_run.rglob("*"))
    error = fails(*SMALL_VAE, "--beta", "2", "--out", vae_run)
    assert "objective.beta: 6.0 != 2.0" in error
    assert sorted(path.name for path in vae_run.rglob("*")) == before


def test_errors_leave_the_process_with_a_sentence_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "disentangle", "sample", "nothing", "--out", str(tmp_path / "x.png")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: Unknown model 'nothing'")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


# ------------------------------------------------------------------------------------------ pictures and scores


def test_sample(run, gan_run, tmp_path):
    run("sample", gan_run, "--seeds", "0-4", "--columns", "3", "--out", tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.size == (3 * 66 - 2, 2 * 66 - 2)


@pytest.mark.parametrize("ending", ["png", "gif", "webp"])
def test_traverse(run, gan_run, tmp_path, ending):
    out = tmp_path / f"walk.{ending}"
    run("traverse", gan_run, "--active", 3, "--seeds", "1,2", "--steps", 5, "--truncation", 0.7, "--out", out)
    with Image.open(out) as picture:
        assert picture.width > 100
        assert getattr(picture, "n_frames", 1) == (1 if ending == "png" else 8)


def test_traverse_along_a_file_of_directions(run, vae_run, tmp_path):
    import disentangle

    directions = disentangle.latents.basis(disentangle.load(vae_run)).select([2]).label(0, "size")
    directions.save(tmp_path / "d.safetensors")
    run("traverse", vae_run, "--directions", tmp_path / "d.safetensors", "--out", tmp_path / "walk.png")
    assert (tmp_path / "walk.png").exists()


def test_evaluate_a_run_prints_a_table_and_keeps_the_scores(run, vae_run):
    output = run("evaluate", vae_run, "--data", "sprites", "--metrics", "mig,sap", "--num", 300)
    assert "mig" in output
    assert "pos_x" in output
    record = json.loads((vae_run / "scores.json").read_text())
    assert record["format"] == "disentangle-scores"
    assert record["subject"]["data"] == "sprites"
    assert set(record["scores"]) == {"mig", "sap"}
    assert record["scores"]["mig"]["settings"]["protocol"] == "dlib-2018"


def test_evaluate_arrays(run, tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (600, 2))
    np.save(tmp_path / "y.npy", factors)
    np.save(tmp_path / "z.npy", np.concatenate([factors, rng.normal(size=(600, 1))], axis=1))
    arguments = ["evaluate", "--codes", tmp_path / "z.npy", "--factors", tmp_path / "y.npy", "--jobs", 1]
    scores = json.loads(run(*arguments, "--metrics", "mig", "--json", "--out", tmp_path / "s.json"))
    assert scores["mig"]["value"] > 0.9
    assert json.loads((tmp_path / "s.json").read_text())["scores"]["mig"]["value"] == scores["mig"]["value"]


# --------------------------------------------------------------------------------------------------- the others


def test_data_commands(run, tmp_path):
    listed = {info["name"]: info for info in json.loads(run("data", "list", "--json"))}
    assert listed["rooms"]["available"]
    assert "sprites" in run("data", "list")
    assert "Apache" in run("data", "show", "rooms")
    run("data", "preview", "sprites", "--resolution", 32, "--out", tmp_path / "p.png")
    assert (tmp_path / "p.png").exists()


def test_preview_of_a_folder(run, tmp_path):
    for index in range(3):
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (20, 30), (index * 90, 0, 0)).save(folder / f"{index}.png")
    run("data", "preview", tmp_path / "pictures", "--resolution", 16, "--out", tmp_path / "p.png")
    assert (tmp_path / "p.png").exists()


def test_report(run, vae_run, gan_run, tmp_path):
    run("report", vae_run)
    page = (vae_run / "report.html").read_text()
    assert "data:image/png;base64," in page
    run("report", vae_run, gan_run, "--out", tmp_path / "both.html")
    assert "gan" in (tmp_path / "both.html").read_text()


def test_doctor(run):
    report = json.loads(run("doctor", "--json"))
    assert report["devices"][0] == "cpu"
    assert report["data"]["rooms"]
    assert "torch" in run("doctor")
