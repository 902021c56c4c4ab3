"""Training of classifiers: it learns, logs conditioning, resumes bit for bit, keeps parts apart, names what broke."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import disentangle
from disentangle.config import with_fields
from disentangle.data import open_data
from disentangle.data.fashion_mnist import find_fashion_mnist
from disentangle.errors import CheckpointError, ConfigError, DataError, InputError
from disentangle.io.runs import read_stats
from disentangle.linalg import orthogonality_error
from disentangle.training import (
    PRESETS,
    ClassifierTraining,
    TrainingFailed,
    preset_config,
    preset_names,
    train_classifier,
)
from disentangle.training import classifier as loop
from disentangle.training.classifier import open_parts
from disentangle.training.crops import random_crop, random_flip
from tests.training.conftest import write_stripes
from tests.training.test_processes import port
from tests.training.test_training import tensors, weights

SMALL = {
    "batch": 12, "steps": 6, "log_every": 2, "sample_every": 3, "checkpoint_every": 3, "validation": 6,
    "model.channels": (8, 8, 12), "model.cov.reduction": 6,
}  # fmt: skip


def config(folder: Path, **fields: object) -> ClassifierTraining:
    made = preset_config("classifier", data={"name": str(folder), "resolution": 16}, **{**SMALL, **fields})
    assert isinstance(made, ClassifierTraining)
    return made


DBN_NOG_OLR = {
    "model.norm": "dbn", "treatment.nog": True, "treatment.olr": True, "flip": True, "crop_padding": 2,
    "label_smoothing": 0.1, "schedule": {"kind": "step", "milestones": (0.5,)},
}  # fmt: skip
DBN_SN = {"model.norm": "dbn", "model.weight": "sn", "model.dbn.running": "matrix", "clip_norm": 1.0, "head_lr": 5.0}
COV_SOC = {"model.pool": "cov", "model.weight": "soc", "precision": "bf16", "schedule": {"kind": "cosine"}}
BOTH_OW_LANDING = {"model.norm": "dbn", "model.pool": "cov", "model.weight": "ow", "treatment.ol": 0.01}
RECIPES = {"dbn-nog-olr": DBN_NOG_OLR, "dbn-sn": DBN_SN, "cov-soc-bf16": COV_SOC, "both-ow-ol": BOTH_OW_LANDING}


def test_it_learns_and_the_log_says_how(stripes: Path, tmp_path: Path):
    made = config(
        stripes, **{"model.norm": "dbn", "model.pool": "cov", "treatment.nog": True, "treatment.olr": True},
        steps=60, log_every=10, sample_every=20, checkpoint_every=30,
    )  # fmt: skip
    model = train_classifier(made, tmp_path / "run", device="cpu").model
    lines = read_stats(tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 10, 20, 30, 40, 50, 60]
    assert lines[0]["spectral"] == {}  # no batch has been seen
    assert lines[-1]["losses"]["loss"] < 0.5 * lines[1]["losses"]["loss"]
    assert lines[-1]["losses"]["accuracy"] > 0.9
    assert [line["validation"]["step"] for line in lines if "validation" in line] == [20, 40, 60]
    assert lines[-1]["learning_rate"] == pytest.approx(0.1 * 4e-6)  # one-cycle ends there
    spectral = lines[-1]["spectral"]
    assert list(spectral) == ["bn1", "avgpool"] or len(spectral) == 2
    for row in spectral.values():
        assert 0 < row["rank"] <= row["size"]
        assert len(row["spectrum"]) == row["size"]
        assert row["spectrum"] == sorted(row["spectrum"], reverse=True)
        assert row["effective_condition_number"] >= 1
        assert row["condition_number"] is None or row["condition_number"] >= row["effective_condition_number"]
        assert row["ridged_condition_number"] < 1e12
    assert list(lines[-1]["projections"]) == list(model.pre_svd())
    for row in lines[-1]["projections"].values():
        assert {"orthogonality_error", "olr_proposed", "olr_acceptance", "last_lr", "cosine"} <= set(row)
        assert row["orthogonality_error"] > 0

    # the last validation is what the finished model scores on exactly these pictures
    _, held = open_parts(made)
    assert held is not None
    loaded = disentangle.load(tmp_path / "run")
    logits = loaded(held.images(torch.arange(6)))
    assert float((logits.argmax(1) == held.labels).float().mean()) == lines[-1]["validation"]["accuracy"]
    assert float(F.cross_entropy(logits, held.labels)) == pytest.approx(lines[-1]["validation"]["loss"], rel=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_and_resumed_is_bit_equal(recipe: str, stripes: Path, tmp_path: Path):
    made = config(stripes, **RECIPES[recipe])
    whole = train_classifier(made, tmp_path / "whole", device="cpu").model

    class Killed(Exception):
        pass

    def kill(step: int, *_: object) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        train_classifier(made, tmp_path / "broken", device="cpu", progress=kill)
    assert (tmp_path / "broken" / "latest").read_text().strip() == "000003"
    resumed = train_classifier(made, tmp_path / "broken", device="cpu").model
    assert torch.equal(weights(whole), weights(resumed))
    states = []
    logs = []
    for name in ("whole", "broken"):
        state = disentangle.io.load_state(tmp_path / name / "checkpoints" / "000006" / "state.pt")
        states.append(torch.cat([t.reshape(-1) for t in tensors(state)]))
        lines = read_stats(tmp_path / name)
        logs.append([{k: v for k, v in line.items() if k != "images_per_second"} for line in lines])
    assert torch.equal(*states)
    assert logs[0] == logs[1]  # losses, validation, spectra and treatment records alike


def test_a_step_is_plain_sgd_on_the_batch_it_should_see(stripes: Path, tmp_path: Path):
    """Two steps by hand, with the pictures, crops and rates the configuration asks for."""
    made = config(stripes, steps=2, validation=0, crop_padding=1, flip=True, head_lr=3.0, clip_norm=0.5)
    trained = train_classifier(made, tmp_path, device="cpu").model
    model = loop.initial_model(made, fresh=True).train()
    source = open_data(stripes, resolution=16)
    session = loop.Session(made, str(tmp_path), device="cpu")
    momentum = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    head = {id(p) for p in model.head.parameters()}
    for step, rate in ((1, 0.04 * 0.1), (2, 4e-6 * 0.1)):
        session.step = step
        chosen = torch.randperm(72, generator=session.random("epoch", 0))[12 * (step - 1) : 12 * step]
        images = source.images(chosen)
        images = random_flip(images, torch.rand(12, generator=session.random("flip")))
        images = random_crop(images, 1, torch.rand(12, 2, generator=session.random("crop")))
        model.zero_grad()
        F.cross_entropy(model(images), source.labels[chosen]).backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        with torch.no_grad():
            for name, p in model.named_parameters():
                momentum[name] = 0.9 * momentum[name] + p.grad * min(1, 0.5 / float(norm)) + 5e-4 * p
                p -= (3 if id(p) in head else 1) * rate * momentum[name]
    for (name, a), b in zip(trained.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


def test_growing_a_run(stripes: Path, tmp_path: Path):
    constant = config(stripes, schedule={"kind": "constant"})
    train_classifier(constant, tmp_path / "run", device="cpu")
    longer = train_classifier(with_fields(constant, {"steps": 8}), tmp_path / "run", device="cpu").model
    fresh = train_classifier(with_fields(constant, {"steps": 8}), tmp_path / "fresh", device="cpu").model
    assert torch.equal(weights(longer), weights(fresh))
    cycle = config(stripes)
    train_classifier(cycle, tmp_path / "cycle", device="cpu")
    with pytest.raises(ConfigError, match="steps: 6 != 8"):  # its rates were those of six steps
        train_classifier(with_fields(cycle, {"steps": 8}), tmp_path / "cycle", device="cpu")


# --------------------------------------------------------------------------------------------------------- parts


def test_validation_pictures_are_never_learnt_from(stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[torch.Tensor] = []
    original = loop.Session.batch

    def batch(session: loop.Session, source: object) -> torch.Tensor:
        images = original(session, source)
        seen.append(images)
        return images

    monkeypatch.setattr(loop.Session, "batch", batch)
    made = config(stripes, steps=12, validation=9)
    train_classifier(made, tmp_path, device="cpu")
    train, held = open_parts(made)
    assert held is not None
    assert (len(train), len(held)) == (63, 9)
    assert torch.bincount(held.labels).tolist() == [3, 3, 3]
    batches = torch.cat(seen)
    for picture in held.images(torch.arange(9)):
        assert not (batches == picture).all(dim=(1, 2, 3)).any()
    for picture in train.images(torch.arange(0, 63, 9)):
        assert (batches == picture).all(dim=(1, 2, 3)).any()
    other = open_parts(with_fields(made, {"seed": 7}))[1]
    assert other is not None
    assert torch.equal(other.labels, held.labels)
    assert torch.equal(other.images(torch.arange(9)), held.images(torch.arange(9)))


def test_a_folder_with_its_own_validation_part(tmp_path: Path):
    write_stripes(tmp_path / "set" / "train", {"lying": 6, "slanting": 6, "standing": 6})
    write_stripes(tmp_path / "set" / "val", {"slanting": 2, "standing": 3}, seed=1)
    made = config(tmp_path / "set", validation=0)
    train, held = open_parts(made)
    assert held is not None
    assert (len(train), len(held)) == (18, 5)
    assert held.labels.tolist() == [1, 1, 2, 2, 2]  # by the names of the training part
    train_classifier(made, tmp_path / "run", device="cpu")
    assert "validation" in read_stats(tmp_path / "run")[-1]
    write_stripes(tmp_path / "set" / "val" / "x", {"strange": 1})
    (tmp_path / "set" / "val" / "x").rename(tmp_path / "set" / "val" / "curved")
    with pytest.raises(DataError, match="val has classes that the model does not know: 'curved'"):
        open_parts(made)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"treatment.nog": True}, ConfigError, "the treatment is for the layer in front of an SVD meta-layer"),
        ({"validation": 70}, InputError, "validation is 70; expected 1 to 69"),
        ({"model.class_names": ("a", "b", "c")}, ConfigError, "has the classes lying, slanting, standing, but"),
        ({"data.options": {"flip": True}}, ConfigError, "adds the mirror image of every picture, those kept apart"),
        ({"init": "/no/where.pth"}, CheckpointError, "/no/where.pth does not exist"),
        ({"schedule": {"kind": "step", "milestones": (0.5, 0.2)}}, ConfigError, "expected rising shares of the run"),
        ({"schedule": {"kind": "linear"}}, ConfigError, "schedule"),
        ({"label_smoothing": 1.0}, ConfigError, "label_smoothing: Input should be less than 1"),
    ],
)
def test_bad_configurations(stripes: Path, tmp_path: Path, fields, error, message: str):
    with pytest.raises(error, match=message):
        train_classifier(config(stripes, **fields), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_data_that_cannot_be_learnt(tmp_path: Path):
    write_stripes(tmp_path / "rare", {"a": 4, "b": 1})
    write_stripes(tmp_path / "single", {"a": 4})
    (tmp_path / "flat").mkdir()
    for path in (tmp_path / "rare" / "a").iterdir():
        path.with_name(path.name).rename(tmp_path / "flat" / path.name)
    write_stripes(tmp_path / "again", {"a": 2, "b": 1})
    for name, message in (
        ("again", r"classes with fewer than two pictures: 'b' \(1\)"),
        ("single", "a single class, 'a'"),
        ("flat", "has no classes to learn; expected a folder with one sub-folder"),
    ):
        with pytest.raises(DataError, match=message):
            config(tmp_path / name)
    with pytest.raises(DataError, match="rooms has no classes to learn"):
        preset_config("classifier", data={"name": "rooms", "resolution": 32})


# ----------------------------------------------------------------------------------------------------- failures


class NaNGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * float("nan")


def spoil(monkeypatch: pytest.MonkeyPatch, layer: str, change) -> None:
    """From the fourth batch on, ``change`` is made to a layer's output in training."""
    original = loop.initial_model

    def make(*args, **kwargs):
        model = original(*args, **kwargs)
        calls = [0]

        def hook(module, inputs, output):
            if module.training:
                calls[0] += 1
            return change(output) if calls[0] > 3 else None

        model.get_submodule(layer).register_forward_hook(hook)
        return model

    monkeypatch.setattr(loop, "initial_model", make)


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        ("network.bn1", lambda x: x * float("nan"), "the output of layer 'network.bn1' holds"),
        ("network.blocks.0.conv2", lambda x: x / 0, "the output of layer 'network.blocks.0.conv2' holds"),
        ("network.blocks.1.bn1", NaNGradient.apply, "the gradient of 'network.blocks.1.bn1.bias' holds"),
    ],
)
def test_nan_stops_at_the_last_good_checkpoint_and_names_the_layer(
    layer, change, message, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = config(stripes, **{"model.norm": "dbn", "treatment.nog": True}, validation=0)
    clean = train_classifier(with_fields(made, {}), tmp_path / "clean", device="cpu")
    assert clean.steps == 6
    spoil(monkeypatch, layer, change)
    with pytest.raises(
        TrainingFailed, match=rf"In step 4 {message} NaN or infinity, .*last good checkpoint is .*000003"
    ):
        train_classifier(made, tmp_path / "run", device="cpu")
    good = disentangle.load(tmp_path / "run")
    assert torch.isfinite(weights(good)).all()
    same = disentangle.load(tmp_path / "clean" / "checkpoints" / "000003")
    assert torch.equal(weights(good), weights(same))
    monkeypatch.undo()
    resumed = train_classifier(made, tmp_path / "run", device="cpu").model
    assert torch.equal(weights(resumed), weights(clean.model))


def test_a_diverging_run_stops(stripes: Path, tmp_path: Path):
    with pytest.raises(TrainingFailed, match="In step [0-9]+ .* holds NaN or infinity, and the step was not taken"):
        train_classifier(config(stripes, **{"optimizer.lr": 1e18, "steps": 40}), tmp_path, device="cpu")


# ---------------------------------------------------------------------------------------------------- treatments


@pytest.mark.parametrize("mode", ["landing", "pogo", "spel"])
def test_newer_treatments_hold_the_weight_orthogonal(mode: str, stripes: Path, tmp_path: Path):
    made = config(stripes, **{"model.norm": "dbn", "treatment.mode": mode, "steps": 12})
    model = train_classifier(made, tmp_path, device="cpu").model
    (weight,) = model.pre_svd().values()
    assert float(orthogonality_error(weight.flatten(1))) < 0.1
    assert read_stats(tmp_path)[-1]["projections"]["conv1"]["orthogonality_error"] < 0.1


@pytest.mark.parametrize("weight", ["ow", "soc"])
def test_the_log_shows_the_map_that_is_applied(weight: str, stripes: Path, tmp_path: Path):
    made = config(stripes, **{"model.norm": "dbn", "model.weight": weight, "treatment.nog": True})
    model = train_classifier(made, tmp_path, device="cpu").model
    (free,) = model.pre_svd().values()
    assert float(orthogonality_error(free.flatten(1))) > 0.1  # what is trained is not orthogonal, what is applied is
    assert read_stats(tmp_path)[-1]["projections"]["conv1"]["orthogonality_error"] < 1e-4


def test_starting_from_weights(stripes: Path, tmp_path: Path):
    import torchvision

    torch.manual_seed(0)
    plain = torchvision.models.resnet18(weights=None)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    made = config(
        stripes, **{"model.arch": "resnet18", "model.stem": "imagenet", "init": str(tmp_path / "plain.pth"),
                    "model.norm": "dbn", "optimizer.lr": 1e-12, "optimizer.weight_decay": 0.0},
        steps=2, checkpoint_every=1, batch=4,
    )  # fmt: skip
    model = train_classifier(made, tmp_path / "run", device="cpu").model
    assert torch.allclose(model.network.layer3[0].conv1.weight, plain.layer3[0].conv1.weight, atol=1e-8)
    (tmp_path / "plain.pth").unlink()
    train_classifier(made, tmp_path / "run", device="cpu")  # a run that has begun does not need them any more


# ------------------------------------------------------------------------------------------------------- presets


@pytest.mark.parametrize("preset", preset_names("classifier"))
def test_presets_resolve(preset: str, stripes: Path):
    row = PRESETS[preset]
    made = preset_config("classifier", data={"name": str(stripes)}, preset=preset)
    assert made.model.resolution == made.data.resolution == row["size"]
    assert made.model.class_names == ("lying", "slanting", "standing")
    assert made.validation == 6
    assert made.steps == max(1, round(row["epochs"] * 66 / row["batch"]))


def test_the_papers_schedules(stripes: Path):
    whitening = preset_config(
        "classifier", data={"name": str(stripes), "resolution": 32}, preset="classifier-resnet18-cifar10"
    )
    assert (whitening.optimizer.lr, whitening.optimizer.momentum, whitening.optimizer.weight_decay) == (0.1, 0.9, 5e-4)
    assert (whitening.model.norm, whitening.model.dbn.eps, whitening.model.dbn.running) == ("dbn", 1e-2, "matrix")
    steps = 350 * 391
    rates = [
        loop.learning_rate_factor(whitening.schedule, 391 * epoch + offset, steps)
        for epoch in (100, 200, 300)
        for offset in (0, 1)  # the last step of an epoch, the first of the next
    ]
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01, 0.01, 0.001])
    pooling = preset_config("classifier", data={"name": str(stripes)}, preset="classifier-resnet50-birds")
    assert (pooling.model.pool, pooling.model.cov.reduction, pooling.head_lr, pooling.clip_norm) == ("cov", 256, 20, 5)
    assert (pooling.batch, pooling.optimizer.lr, pooling.schedule.milestones) == (10, 3e-3, (0.25, 0.5))


def test_which_preset_is_taken(stripes: Path):
    def chosen(resolution: int, **fields: object) -> ClassifierTraining:
        return preset_config("classifier", data={"name": str(stripes), "resolution": resolution}, **fields)

    assert chosen(28).schedule.kind == "one-cycle"
    assert chosen(48).model.arch == "small"  # no row is tied to its size
    assert chosen(32, **{"model.arch": "resnet18"}).model.norm == "dbn"
    assert chosen(224, **{"model.arch": "resnet50"}).optimizer.lr == 0.0794
    assert chosen(224, **{"model.arch": "resnet101"}).model.arch == "resnet101"
    assert chosen(28, epochs=2, batch=11).steps == 12
    with pytest.raises(InputError, match="without steps beside it"):
        chosen(28, epochs=2, steps=3)
    with pytest.raises(InputError, match="did you mean 'classifier-small-32'"):
        chosen(28, preset="classifier-small-33")


# ----------------------------------------------------------------------------------------------------- processes


@pytest.mark.slow
def test_two_processes_are_two_halves_of_a_batch(stripes: Path, tmp_path: Path):
    """Each process normalises its own half; the gradient is the mean of the halves'."""
    made = config(stripes, steps=3, flip=True, crop_padding=1, log_every=1)
    (tmp_path / "config.json").write_text(made.model_dump_json())
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "disentangle", "--device", "cpu", "train", "classifier",
        "--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "two"),
    ]  # fmt: skip
    workers = [
        subprocess.Popen(
            command,
            env={**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=240)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors

    model = loop.initial_model(made, fresh=True).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    train, _ = open_parts(made)
    session = loop.Session(made, str(tmp_path / "one"), device="cpu")
    losses = []
    for step in range(1, 4):
        session.step = step
        optimizer.param_groups[0]["lr"] = 0.1 * loop.learning_rate_factor(made.schedule, step, 3)
        chosen = torch.randperm(66, generator=session.random("epoch", 0))[12 * (step - 1) : 12 * step]
        images = random_flip(train.images(chosen), torch.rand(12, generator=session.random("flip")))
        images = random_crop(images, 1, torch.rand(12, 2, generator=session.random("crop")))
        optimizer.zero_grad()
        halves = [F.cross_entropy(model(images[h]), train.labels[chosen[h]]) for h in (slice(0, 6), slice(6, 12))]
        (sum(halves) / 2).backward()
        optimizer.step()
        losses.append(float(sum(halves) / 2))
    two = disentangle.load(tmp_path / "two")
    for (name, a), b in zip(two.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-6), f"{name}: {float((a - b).abs().max())}"
    assert [line["losses"]["loss"] for line in read_stats(tmp_path / "two")[1:]] == pytest.approx(losses, abs=1e-5)


# ------------------------------------------------------------------------------------------------- real pictures


@pytest.mark.slow
@pytest.mark.skipif(find_fashion_mnist() is None, reason="Fashion-MNIST is not installed")
def test_nog_conditions_the_covariance_of_real_pictures(tmp_path: Path):
    """After 120 steps NOG's condition number is at most half of the untreated one's, over the last fifth.

    Measured 0.20 to 0.35 of it on three seeds with one and two threads; after 60 steps still 0.33 to 0.57.
    """
    late = {}
    for nog in (False, True):
        made = preset_config(
            "classifier", data={"name": "fashion-mnist"}, steps=120, log_every=1, validation=0,
            **{"model.norm": "dbn", "treatment.nog": nog},
        )  # fmt: skip
        train_classifier(made, tmp_path / str(nog), device="cpu")
        rows = [line["spectral"]["bn1"] for line in read_stats(tmp_path / str(nog))[-24:]]
        assert all(row["rank"] == 16 for row in rows)
        late[nog] = math.exp(sum(math.log(row["effective_condition_number"]) for row in rows) / 24)
    assert late[True] < 0.5 * late[False]


def test_stats_are_json(stripes: Path, tmp_path: Path):
    """Four pictures of 64 positions: pooled covariances of rank below their size; infinities are null."""
    made = config(stripes, **{"model.pool": "cov", "model.channels": (8, 8, 12, 32), "model.cov.reduction": 20})
    train_classifier(made, tmp_path, device="cpu")
    for line in (tmp_path / "stats.jsonl").read_text().splitlines():
        record = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    (row,) = record["spectral"].values()
    assert row["rank"] < row["size"] == 20
    assert row["condition_number"] is None or row["condition_number"] > 1e9
    assert row["effective_condition_number"] < 1e11
