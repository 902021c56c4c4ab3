"""train classifier, evaluate, predict and report, as a user types them."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import disentangle
from disentangle.data import ImageFolder
from tests.cli.conftest import invoke
from tests.training.conftest import write_stripes

SMALL = [
    "--resolution", "16", "--steps", "40", "--batch", "24", "--set", "model.channels=[8,8,12]", "--set", "log_every=10",
    "--set", "model.cov.reduction=6",
]  # fmt: skip


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder with train/, val/ and test/."""
    folder = tmp_path_factory.mktemp("data") / "set"
    for part, count, seed in (("train", 16, 0), ("val", 4, 1), ("test", 6, 2)):
        write_stripes(folder / part, {"lying": count, "slanting": count, "standing": count}, seed=seed)
    return folder


@pytest.fixture(scope="session")
def trained(pictures: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "dbn"
    result = invoke(
        "train", "classifier", "--data", pictures, *SMALL, "--norm", "dbn", "--pool", "cov", "--treat", "nog,olr",
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    return out


def copied(trained: Path, tmp_path: Path) -> Path:
    """A run that a test may write into."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


# ------------------------------------------------------------------------------------------------------- train


def test_options_reach_the_configuration(run, pictures: Path):
    options = [
        "--arch", "resnet18", "--stem", "imagenet", "--norm", "dbn", "--pool", "cov", "--treat", "nog, olr,ol,ow",
        "--olr-form", "released", "--epochs", "3", "--lr", "0.2", "--validation", "5", "--batch", "10",
        "--init", "w.pth",
    ]  # fmt: skip
    config = json.loads(run("train", "classifier", "--data", pictures, "--resolution", 32, *options, "--dry-run"))
    model, treatment = config["model"], config["treatment"]
    assert (model["arch"], model["stem"], model["norm"], model["pool"], model["weight"]) == (
        "resnet18", "imagenet", "dbn", "cov", "ow",
    )  # fmt: skip
    assert (treatment["nog"], treatment["olr"], treatment["olr_form"]) == (True, True, "released")
    assert treatment["ol"] == pytest.approx(0.1 / 16)
    assert config["steps"] == round(3 * (48 - 5) / 10)
    assert (config["optimizer"]["lr"], config["validation"], config["init"]) == (0.2, 5, "w.pth")
    newer = json.loads(
        run("train", "classifier", "--data", pictures, "--resolution", 32, "--norm", "dbn", "--treat", "sn",
            "--mode", "pogo", "--dry-run")
    )  # fmt: skip
    assert (newer["model"]["weight"], newer["treatment"]["mode"]) == ("sn", "pogo")


def test_config_file_round_trip(run, trained: Path):
    again = json.loads(run("train", "classifier", "--config", trained / "config.json", "--dry-run"))
    assert again == json.loads((trained / "config.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--treat", "nog"], "the treatment is for the layer in front of an SVD meta-layer, but there is none"),
        (["--norm", "dbn", "--treat", "nig"], "Unknown treatment 'nig'; did you mean 'nog'?"),
        (["--norm", "dbn", "--treat", "landing"], "Newer treatments: --mode landing"),
        (["--norm", "dbn", "--treat", "ow,sn"], "constrains one weight in 2 ways; choose one"),
        (["--treat", "ow"], "weight is 'ow', which is for the layer in front of an SVD meta-layer"),
        (["--arch", "resnet17"], "model.arch: Input should be 'small'"),
        (["--epochs", "2"], "as --epochs or as --steps, not both"),
        (["--preset", "classifier-small-33"], "did you mean 'classifier-small-32'"),
        (["--init", "none.pth"], "none.pth does not exist"),
        (["--validation", "90"], "validation is 90; expected 1 to 45"),
        (["--data", "rooms"], "rooms has no classes to learn"),
        (["--data", "PICTURES/train/lying"], "has no classes to learn; expected a folder with one sub-folder"),
        (["--data", "cifar10", "--resolution", "32"], "CIFAR-10 was not found"),
    ],
)
def test_wrong_options(fails, pictures: Path, tmp_path: Path, monkeypatch, arguments, message):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DISENTANGLE_DATA", raising=False)
    given = [a.replace("PICTURES", str(pictures)) for a in arguments]
    error = fails("train", "classifier", "--data", pictures, *SMALL, *given, "--out", tmp_path / "out")
    assert message in " ".join(error.split()), error
    assert not (tmp_path / "out").exists()


def test_a_class_with_one_picture(fails, tmp_path: Path):
    write_stripes(tmp_path / "few", {"a": 5, "b": 1})
    error = fails("train", "classifier", "--data", tmp_path / "few", *SMALL, "--out", tmp_path / "out")
    assert "classes with fewer than two pictures: 'b' (1); add pictures to them or remove them." in error


# ---------------------------------------------------------------------------------------------------- evaluate


def test_evaluate_reads_the_kind_and_scores_the_test_part(run, trained: Path, pictures: Path, tmp_path: Path):
    folder = copied(trained, tmp_path)
    output = run("evaluate", folder)
    assert "accuracy/top-1" in output
    assert "slanting" in output
    record = json.loads((folder / "scores.json").read_text())
    assert record["subject"]["split"] == "test"
    assert record["subject"]["in_training_set"] == 0
    source = ImageFolder(pictures / "test", 16)
    predicted = disentangle.load(folder)(source.images(torch.arange(18))).argmax(1)
    top = record["scores"]["accuracy/top-1"]
    assert top["value"] == float((predicted == source.labels).float().mean()) > 0.6
    assert top["settings"]["n"] == 18
    assert "accuracy/top-5" not in record["scores"]  # three classes
    matrix = np.array(record["scores"]["confusion"]["parts"]["matrix"])
    assert matrix.sum(1).tolist() == [6, 6, 6]
    with Image.open(folder / "confusion.png") as figure:
        assert figure.width > 200
    before = (folder / "scores.json").read_bytes()
    run("evaluate", folder, "--split", "val")
    assert (folder / "scores.json").read_bytes() == before, "each part has a file of its own"
    assert json.loads((folder / "scores-validation.json").read_text())["subject"]["split"] == "validation"
    assert (folder / "confusion-validation.png").exists()


def test_evaluate_another_part_elsewhere(run, trained: Path, pictures: Path, tmp_path: Path):
    scores = json.loads(run("evaluate", trained, "--split", "val", "--json", "--out", tmp_path / "v.json"))
    assert scores["accuracy/top-1"]["settings"]["n"] == 12
    assert {path.name for path in tmp_path.iterdir()} == {"v.json", "v-confusion.png"}
    assert not (trained / "scores.json").exists()
    result = invoke("evaluate", trained, "--split", "train", "--out", tmp_path / "t.json")
    assert "pictures the model learnt from" in result.stderr


def test_a_model_file_and_a_folder_without_parts(run, trained: Path, pictures: Path, tmp_path: Path):
    file = next((trained / "checkpoints").glob("*/model.safetensors"))
    scores = json.loads(run("evaluate", file, "--data", pictures / "test", "--json"))
    assert scores["accuracy/top-1"]["settings"]["n"] == 18
    # a folder with some of the classes only is matched by their names
    shutil.copytree(pictures / "test" / "standing", tmp_path / "some" / "standing")
    some = json.loads(run("evaluate", file, "--data", tmp_path / "some", "--json"))
    assert some["accuracy/per-class"]["parts"]["points"] == [0, 0, 6]


def test_a_shared_picture_is_warned_of(trained: Path, pictures: Path, tmp_path: Path):
    other = Path(shutil.copytree(pictures / "test", tmp_path / "other"))
    shutil.copy(pictures / "train" / "lying" / "003.png", other / "lying" / "copy.png")
    with Image.open(pictures / "train" / "standing" / "001.png") as picture:
        picture.save(other / "standing" / "other.bmp")  # the same pixels in another file
    folder = copied(trained, tmp_path)
    result = invoke("evaluate", folder, "--data", other)
    assert result.exit_code == 0, result.exception
    assert "Warning: 2 of the 20 pictures" in " ".join(result.stderr.split())
    assert json.loads((folder / "scores.json").read_text())["subject"]["in_training_set"] == 2
    quiet = invoke("evaluate", folder, "--data", other, "--no-overlap")
    assert "Warning" not in quiet.stderr


def test_evaluate_errors(fails, trained: Path, vae_run: Path, pictures: Path, tmp_path: Path):
    file = next((trained / "checkpoints").glob("*/model.safetensors"))
    assert "Say what to classify: --data" in fails("evaluate", file)
    write_stripes(tmp_path / "strange", {"curved": 2, "lying": 2})
    message = fails("evaluate", trained, "--data", tmp_path / "strange")
    assert "has classes that the model does not know: 'curved'" in message
    assert "no classes to learn" in fails("evaluate", trained, "--data", pictures / "test" / "lying")
    assert "no classes to learn" in fails("evaluate", trained, "--data", "rooms")
    assert "--split is not for an encoder" in fails("evaluate", vae_run, "--data", "sprites", "--split", "test")
    assert "has no split 'test'" in fails("evaluate", trained, "--data", pictures / "test", "--split", "test")


def test_commands_for_generators_refuse_a_classifier(fails, trained: Path, tmp_path: Path):
    for command in ("sample", "traverse"):
        assert "Classifier" in fails(command, trained, "--out", tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------- predict


def test_predict_names_the_classes(run, trained: Path, pictures: Path, tmp_path: Path):
    one, two = pictures / "test" / "lying" / "000.png", pictures / "test" / "standing" / "000.png"
    found = json.loads(run("predict", trained, one, two, "--top", 2, "--json"))
    assert [record["image"] for record in found] == [str(one), str(two)]
    source = ImageFolder(pictures / "test", 16)
    model = disentangle.load(trained)
    likely = model(source.images(torch.tensor([0, 12]))).softmax(1)
    for record, expected in zip(found, likely, strict=True):
        values, classes = expected.topk(2)
        assert [row["class"] for row in record["classes"]] == [source.class_names[i] for i in classes]
        assert [row["probability"] for row in record["classes"]] == pytest.approx(values.tolist(), abs=1e-5)
    line = run("predict", trained, one).splitlines()
    assert line[0].startswith(f"{one}: lying ")
    assert line[0].count("%") == 3  # no more classes than there are
    with Image.open(one) as picture:  # any size, any colour mode
        picture.convert("RGBA").resize((50, 40)).save(tmp_path / "large.webp", lossless=True)
    assert "%" in run("predict", trained, tmp_path / "large.webp")


def test_predict_errors(fails, trained: Path, vae_run: Path, tmp_path: Path):
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png cannot be read as a picture" in fails("predict", trained, tmp_path / "text.png")
    assert "There is no picture" in fails("predict", trained, tmp_path / "none.png")
    assert "is a VAE, which names no classes" in fails("predict", vae_run, tmp_path / "text.png")
    assert "Missing argument" in fails("predict", trained)


def test_predict_writes_a_table_of_a_folder(run, fails, trained: Path, pictures: Path, tmp_path: Path):
    photos = Path(shutil.copytree(pictures / "test", tmp_path / "photos, all"))
    archive = Path(shutil.make_archive(str(tmp_path / "more"), "zip", pictures / "val" / "lying"))
    table = tmp_path / "predictions.csv"
    assert run("predict", trained, photos, archive, "--top", 2, "--out", table) == ""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "class", "probability", "class_2", "probability_2"]
    paths = sorted(photos.rglob("*.png")) + [
        f"{archive}:{name}" for name in ("000.png", "001.png", "002.png", "003.png")
    ]
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    printed = json.loads(run("predict", trained, photos, archive, "--top", 1, "--json"))
    assert [row["class"] for row in rows] == [record["classes"][0]["class"] for record in printed]
    assert all(1 >= float(row["probability"]) >= float(row["probability_2"]) > 0 for row in rows)
    run("predict", trained, photos, "--out", table)
    assert table.read_text().splitlines()[0] == "path,class,probability"
    assert "one of them" in fails("predict", trained, photos, "--out", table, "--json")


def test_predict_names_pictures_that_cannot_be_read_and_goes_on(trained: Path, pictures: Path, tmp_path: Path):
    photos = Path(shutil.copytree(pictures / "test" / "lying", tmp_path / "photos"))
    (photos / "001.png").write_text("no picture")
    (photos / "note.txt").write_text("passed over")
    result = invoke("predict", trained, photos, "--out", tmp_path / "p.csv")
    assert str(result.exception) == (
        f"1 of 6 pictures could not be read and were left out; the first is {photos / '001.png'}."
    )
    assert f"{photos / '001.png'} cannot be read as a picture" in result.stderr
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 1 + 5
    printed = invoke("predict", trained, photos, tmp_path / "none.png")
    assert len(printed.stdout.splitlines()) == 5
    assert "2 of 7 pictures" in str(printed.exception)
    (tmp_path / "empty").mkdir()
    assert "holds no images" in str(invoke("predict", trained, tmp_path / "empty").exception)


# ------------------------------------------------------------------------------------------------------- bake


def test_a_baked_classifier_predicts_the_same(run, fails, trained: Path, pictures: Path, tmp_path: Path):
    baked = tmp_path / "baked.safetensors"
    assert run("bake", trained, "--out", baked).split() == [str(baked)]
    plain, treated = (json.loads(run("predict", model, pictures / "test", "--json")) for model in (baked, trained))
    for ours, expected in zip(plain, treated, strict=True):
        assert ours["image"] == expected["image"]
        for row, other in zip(ours["classes"], expected["classes"], strict=True):
            assert row["probability"] == pytest.approx(other["probability"], abs=1e-4)
    assert disentangle.load(baked).config.baked
    assert "nothing to bake" in fails("bake", baked, "--out", tmp_path / "again.safetensors")
    assert "nothing to bake" in fails("bake", "vae-rooms", "--out", tmp_path / "again.safetensors")


def test_onnx_needs_its_packages(fails, trained: Path, tmp_path: Path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "onnxscript" else found(name))
    error = fails("bake", trained, "--out", tmp_path / "a.onnx")
    assert (
        error == ("Writing ONNX needs onnxscript, which is not installed: pip install 'disentangle-toolkit[onnx]'.")
        or "onnx and onnxscript" in error
    )
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["trained", "vae-rooms"])
def test_onnx_files_are_run_by_others(trained: Path, pictures: Path, tmp_path: Path, model):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path, source = tmp_path / "a.onnx", trained if model == "trained" else model
    result = invoke("bake", source, "--out", path)
    assert result.exception is None, result.exception
    assert "Run by onnxruntime it differs" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    network = disentangle.load(source)
    if model == "trained":
        assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == [
            "lying",
            "slanting",
            "standing",
        ]
        x = ImageFolder(pictures / "test", 16).images(torch.arange(5))
    else:
        x = network.sample_latents(5)
    (ours,) = session.run(None, {given.name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(ours), network(x), rtol=0, atol=1e-4)


# ------------------------------------------------------------------------------------------------------ report


def test_report_shows_conditioning_and_scores(run, trained: Path, tmp_path: Path):
    folder = copied(trained, tmp_path)
    run("evaluate", folder)
    run("report", folder)
    page = (folder / "report.html").read_text()
    assert "<h2>Conditioning</h2>" in page
    assert "the dashed curve only measures rounding and the dotted one only eps" in page
    assert "effective, last fifth" in page
    assert "Confusion matrix" in page
    assert "<td>slanting</td>" in page
    assert page.count("data:image/png;base64,") == 12  # eight curves, three of the conditioning, the confusion matrix


def test_report_of_a_generator_has_no_conditioning(run, vae_run: Path, tmp_path: Path):
    run("report", vae_run, "--out", tmp_path / "r.html")
    assert "Conditioning" not in (tmp_path / "r.html").read_text()
