"""Training loops: they learn, log, resume bit for bit, stop cleanly, and share work among processes."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from accelerate.utils import LoggerType
from PIL import Image

import disentangle
from disentangle.config import with_fields
from disentangle.errors import CheckpointError, ConfigError, InputError
from disentangle.linalg import orthogonality_error
from disentangle.nn import project
from disentangle.training import (
    PRESETS,
    GANTraining,
    Interrupted,
    TrainingFailed,
    VAETraining,
    finetune_config,
    preset_config,
    preset_names,
    resolve_device,
    train_gan,
    train_vae,
)

SMALL_GAN = {
    "batch": 4, "steps": 6, "log_every": 2, "sample_every": 3, "checkpoint_every": 3,
    "model.channels": (8, 6, 4, 4), "model.noise_dim": 5, "model.basis": 2, "discriminator.channels": (4, 6, 8),
}  # fmt: skip
SMALL_VAE = {
    "batch": 8, "steps": 6, "log_every": 2, "sample_every": 3, "checkpoint_every": 3,
    "model.channels": (4, 4, 8), "model.hidden": 8, "model.latent_dim": 3,
}  # fmt: skip


def gan(**fields: object) -> GANTraining:
    made = preset_config("eigengan", data={"name": "rooms", "resolution": 32}, **{**SMALL_GAN, **fields})
    assert isinstance(made, GANTraining)
    return made


def vae(**fields: object) -> VAETraining:
    made = preset_config("vae", data={"name": "sprites", "resolution": 32}, **{**SMALL_VAE, **fields})
    assert isinstance(made, VAETraining)
    return made


def train(config: GANTraining | VAETraining, out: Path) -> torch.nn.Module:
    run = train_vae if isinstance(config, VAETraining) else train_gan
    return run(config, out, device="cpu").model


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.state_dict().values()])


@pytest.mark.parametrize("config", [gan(), vae()], ids=["gan", "vae"])
def test_run_folder(config, tmp_path):
    run = tmp_path / "run"
    model = train(config, run)
    assert json.loads((run / "config.json").read_text()) == config.model_dump(mode="json")
    assert "torch" in json.loads((run / "environment.json").read_text())
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 3, 4, 6]
    assert lines[-1]["kimg"] == pytest.approx(6 * config.batch / 1000)
    assert all(math.isfinite(loss) for line in lines[1:] for loss in line["losses"].values())
    assert set(lines[0]["projections"]) == set(model.projections())
    assert sorted(p.name for p in (run / "samples").iterdir()) == ["000003.png", "000006.png"]
    assert (run / "latest").read_text().strip() == "000006"
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["000003", "000006"]
    loaded = disentangle.load(run)
    assert torch.equal(weights(loaded), weights(model))
    assert not [p for p in run.rglob("*") if p.name.startswith(".")]


@pytest.mark.parametrize(
    "config",
    [
        gan(**{"treatment.nog": True, "treatment.olr": True}),
        gan(**{"loss": "wgan", "penalty.kind": "wgan-gp", "augment": ["color", "translation", "cutout"], "flip": True}),
        vae(**{"objective": {"kind": "factor-vae", "discriminator_width": 8}}),
        vae(**{"treatment.nog": True, "treatment.mode": "update", "treatment.retraction": "polar"}),
    ],
    ids=["gan-nog-olr", "gan-wgan-augment", "factor-vae", "vae-update"],
)
def test_killed_and_resumed_is_bit_equal(config, tmp_path):
    whole = train(config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(step: int, *_: object) -> None:
        if step == 5:
            raise Killed

    run = train_vae if isinstance(config, VAETraining) else train_gan
    with pytest.raises(Killed):
        run(config, tmp_path / "broken", device="cpu", progress=kill)
    assert (tmp_path / "broken" / "latest").read_text().strip() == "000003"
    resumed = train(config, tmp_path / "broken")
    assert torch.equal(weights(whole), weights(resumed))
    states, logged = [], []
    for name in ("whole", "broken"):
        state = disentangle.io.load_state(tmp_path / name / "checkpoints" / "000006" / "state.pt")
        states.append(torch.cat([t.reshape(-1) for t in tensors(state)]))
        logged.append([json.loads(line)["step"] for line in (tmp_path / name / "stats.jsonl").read_text().splitlines()])
    assert torch.equal(*states)
    assert logged[0] == logged[1]


def tensors(node: object) -> list[torch.Tensor]:
    if isinstance(node, torch.Tensor):
        return [node.double()]
    if isinstance(node, dict):
        return [t for key in sorted(node, key=str) for t in tensors(node[key])]
    if isinstance(node, (list, tuple)):
        return [t for item in node for t in tensors(item)]
    return []


def test_steps_may_grow_and_nothing_else(tmp_path):
    config = gan()
    train(config, tmp_path)
    longer = train(with_fields(config, {"steps": 8}), tmp_path)
    assert (tmp_path / "latest").read_text().strip() == "000008"
    fresh = train(with_fields(config, {"steps": 8}), tmp_path / "fresh")
    assert torch.equal(weights(longer), weights(fresh))
    with pytest.raises(ConfigError, match=r"batch: 4 != 8; model.basis: 2 != 1"):
        train(with_fields(config, {"batch": 8, "model.basis": 1}), tmp_path)


def test_a_finished_run_is_left_alone(tmp_path):
    config = vae()
    model = train(config, tmp_path)
    before = (tmp_path / "stats.jsonl").read_text()
    again = train(config, tmp_path)
    assert torch.equal(weights(model), weights(again))
    assert (tmp_path / "stats.jsonl").read_text() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(number, tmp_path):
    config = gan(checkpoint_every=100)

    def send(step: int, *_: object) -> None:
        if step == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=rf"Stopped by {signal.Signals(number).name} at step 3 of 6"):
        train_gan(config, tmp_path / "stopped", device="cpu", progress=send)
    assert signal.getsignal(number) is before
    assert (tmp_path / "stopped" / "latest").read_text().strip() == "000003"
    assert torch.equal(weights(train(config, tmp_path / "stopped")), weights(train(config, tmp_path / "whole")))


def test_nan_stops_and_names_the_term(tmp_path):
    config = gan(**{"optimizer.lr": 1e30, "steps": 40})
    with pytest.raises(TrainingFailed, match=r"became NaN or infinite within the (\d+) steps before step \1;.*checkpoint"):
        train(config, tmp_path)
    if (tmp_path / "latest").exists():
        assert torch.isfinite(weights(disentangle.load(tmp_path))).all()


def test_retraction_keeps_projections_orthogonal_and_the_log_shows_it(tmp_path):
    treatment = {"treatment.nog": True, "treatment.mode": "update", "treatment.retraction": "polar", "steps": 12}
    model = train_gan(gan(**treatment, ema=0.0), tmp_path, device="cpu").model
    for projection in model.projections().values():
        assert float(orthogonality_error(projection.parameter)) < 1e-4
    last = json.loads((tmp_path / "stats.jsonl").read_text().splitlines()[-1])
    for row in last["projections"].values():
        assert row["orthogonality_error"] < 1e-4
        assert row["condition_number"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", ["beta-vae", "beta-tcvae", "factor-vae", "dip-vae"])
def test_every_objective_reduces_the_reconstruction_error(kind, tmp_path):
    config = vae(**{"objective": {"kind": kind}, "steps": 60, "log_every": 20, "batch": 32, "optimizer.lr": 3e-3})
    train(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    errors = [line["losses"]["reconstruction"] for line in lines if line["losses"]]
    assert errors[-1] < 0.6 * errors[0]


@pytest.mark.parametrize("preset", sorted(name for name, row in PRESETS.items() if row["kind"] != "classifier"))
def test_presets_resolve_and_their_networks_fit(preset, tmp_path):
    row = PRESETS[preset]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = {"name": str(tmp_path), "resolution": row["size"]}
    config = preset_config(row["kind"], data=data, preset=preset)
    assert config.model.resolution == row["size"]
    assert config.data.resolution == row["size"]
    assert preset in preset_names(row["kind"])


def test_preset_errors():
    with pytest.raises(InputError, match=r"no eigengan preset for 48 pixels; give --resolution as one of \[32, 64"):
        preset_config("eigengan", data={"name": "rooms", "resolution": 48})
    with pytest.raises(InputError, match="did you mean 'eigengan-32'"):
        preset_config("eigengan", data={"name": "rooms", "resolution": 32}, preset="eigengan-3")
    with pytest.raises(InputError, match="is for 64 pixels, but the pictures have 32"):
        preset_config("eigengan", data={"name": "rooms", "resolution": 32}, preset="eigengan-64")
    config = preset_config("eigengan", data={"name": "rooms"}, preset="eigengan-32")
    assert config.data.resolution == 32


def test_a_vae_is_trained_further_with_an_orthogonal_projection(tmp_path):
    first = vae(**{"objective": {"kind": "beta-vae", "beta": 3.0}})
    train(first, tmp_path / "first")
    one = {"kind": "householder", "rank": 2}
    config = finetune_config(tmp_path / "first", data={"name": "sprites"}, projection=one, steps=4, checkpoint_every=2)
    assert (config.objective, config.batch) == (first.objective, 8)
    start = project(disentangle.load(tmp_path / "first"), rank=2)
    model = train(with_fields(config, {"steps": 2}), tmp_path / "further")
    values = torch.linalg.svdvals(next(iter(model.projections().values())).weight())
    assert torch.allclose(values, torch.tensor([1.0, 1.0, 0.0]), atol=1e-5)
    assert 0 < float((weights(model) - weights(start)).norm()) < 0.1 * float(weights(start).norm())
    shutil.rmtree(tmp_path / "first")  # not read any more once there is a checkpoint
    again = train(config, tmp_path / "further")
    assert not torch.equal(weights(again), weights(model))
    assert finetune_config("vae-rooms", data={"name": "rooms"}).model == disentangle.load("vae-rooms").config


def test_tracker_writes_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(gan(tracker="tensorboard"), tmp_path)
    (file,) = (path for path in tmp_path.rglob("events.out.tfevents*"))
    events = EventAccumulator(str(file.parent))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert "loss/generator" in tags
    assert "block0/orthogonality_error" in tags
    assert [event.step for event in events.Scalars("loss/generator")] == [2, 3, 4, 6]


_WANDB = """
import json, pathlib
class Run:
    def __init__(self, options):
        self.file = pathlib.Path(options["dir"]) / "seen.jsonl"
        self.log({"options": options})
    def log(self, values, step=None):
        with self.file.open("a") as file:
            file.write(json.dumps([step, values]) + chr(10))
    def finish(self):
        self.log("finished")
def init(**options):
    if options["config"]["seed"] == 13:
        raise RuntimeError("no account")
    return Run(options)
"""


@pytest.fixture
def no_wandb(tmp_path, monkeypatch):
    """A package of that name which notes what it is told; neither the real one nor a network is needed."""
    package = tmp_path / "packages" / "wandb"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_WANDB)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.WANDB])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield
    sys.modules.pop("wandb", None)


def test_tracker_writes_for_wandb(tmp_path, no_wandb):
    config = gan(tracker="wandb")
    train(config.model_copy(update={"steps": 4}), tmp_path / "run")
    train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "seen.jsonl").read_text().splitlines()]
    first, second = (values["options"] for step, values in lines if step is None and "options" in values)
    assert first["project"] == "disentangle"
    assert (first["name"], first["dir"]) == ("run", str(tmp_path / "run"))
    assert first["config"]["model"]["kind"] == "eigengan"
    assert first["id"] == second["id"]
    assert [step for step, _ in lines if step is not None] == [2, 3, 4, 6]
    assert {"loss/generator", "kimg", "block0/orthogonality_error"} < set(lines[1][1])
    assert lines[-1][1] == "finished"


def test_a_tracker_that_is_not_there_or_does_not_start(tmp_path, no_wandb, monkeypatch):
    with pytest.raises(ConfigError, match=r"tracker wandb could not be started \(no account\). `wandb login`"):
        train(gan(tracker="wandb", seed=13), tmp_path / "run")
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    for name in ("wandb", "tensorboard"):
        with pytest.raises(ConfigError, match=f"pip install 'disentangle-toolkit.{name}.'"):
            train(gan(tracker=name), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_wandb_itself_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    train(gan(tracker="wandb"), tmp_path / "run")
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_folders_that_are_no_runs(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="exists and is no run"):
        train(gan(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        train(gan(), run)


def test_the_checkpoint_before_a_damaged_one_is_taken(tmp_path, caplog):
    config = gan()
    whole = train(with_fields(config, {"steps": 8}), tmp_path / "whole")
    run = tmp_path / "run"
    train(config, run)
    (run / "checkpoints" / "000006" / "state.pt").write_bytes(b"half")
    assert torch.equal(weights(train(with_fields(config, {"steps": 8}), run)), weights(whole))
    assert "000006: state.pt does not have the digest" in caplog.text
    assert "000003 is taken instead" in caplog.text
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="names the checkpoint 000008, which does not exist, and there is no"):
        train(with_fields(config, {"steps": 9}), run)


@pytest.mark.parametrize(
    ("device", "message"),
    [("gpu", "expected 'auto', 'cpu', 'cuda'"), ("cuda:x", "expected 'auto'"), ("cuda:99", "CUDA device")],
)
def test_bad_devices(device, message):
    with pytest.raises(InputError, match=message):
        resolve_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_one(tmp_path):
    with pytest.raises(InputError, match="sees no CUDA device; use --device cpu or auto"):
        train_gan(gan(), tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()
    assert resolve_device("auto") == torch.device("cpu")


def test_every_picture_is_seen_once_an_epoch(tmp_path):
    from disentangle.training.session import Session

    session = Session(vae(batch=4, steps=10), str(tmp_path / "x"), device="cpu")
    seen = [session._indices(step, 10).tolist() for step in range(1, 6)]
    flat = [index for batch in seen for index in batch]
    assert sorted(flat[:10]) == list(range(10))
    assert sorted(flat[10:20]) == list(range(10))
    assert flat[:10] != flat[10:20]
    assert session._indices(2, 10).tolist() == seen[1]
