"""Two gloo processes train the model that one process trains on the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import disentangle
from disentangle.training import preset_config, train_gan, train_vae
from tests.training.families import family

GAN = {
    "batch": 8, "steps": 4, "log_every": 2, "sample_every": 4, "checkpoint_every": 4, "treatment.nog": True,
    "treatment.olr": True, "model.channels": (8, 6, 4, 4), "model.noise_dim": 5, "model.basis": 2,
    "discriminator.channels": (4, 6, 8), "augment": ("color", "translation", "cutout"), "flip": True,
}  # fmt: skip
VAE = {
    "batch": 8, "steps": 4, "log_every": 2, "sample_every": 4, "checkpoint_every": 4, "treatment.nog": True,
    "model.channels": (4, 4, 8), "model.hidden": 8, "model.latent_dim": 3, "objective": {"kind": "beta-vae"},
}  # fmt: skip


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


CONFIGS = {
    "eigengan": lambda _: preset_config("eigengan", data={"name": "rooms", "resolution": 32}, **GAN),
    "vae": lambda _: preset_config("vae", data={"name": "rooms", "resolution": 32}, **VAE),
    # mixing, noise, path lengths, groups of four pictures, adaptive augmentation, and orthogonal projections under NOG
    "stylegan2": lambda _: family(
        "stylegan2", batch=8, steps=3, **{"discriminator.group": 4, "treatment.nog": True},
        **{"model.projection": {"kind": "householder", "rank": 2}, "augment": ("color",), "augment_target": 0.6},
    ),
    "progan": lambda _: family("progan", batch=8, steps=3, **{"treatment.olr": True}),
    "stylegan2 with classes": lambda stripes: family("stylegan2", stripes, classes=True, batch=8, steps=3),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [kind if kind in ("vae", "stylegan2") else pytest.param(kind, marks=pytest.mark.slow) for kind in CONFIGS]
)
def test_two_processes_equal_one(kind, stripes, tmp_path: Path):
    config = CONFIGS[kind](stripes)
    (train_vae if kind == "vae" else train_gan)(config, tmp_path / "one", device="cpu")
    (tmp_path / "config.json").write_text(config.model_dump_json())
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "disentangle", "--device", "cpu", "train", kind.split()[0],
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
    one, two = (disentangle.load(tmp_path / name) for name in ("one", "two"))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), f"{name}: {float((a - b).abs().max())}"
    for a, b in zip(one.projections().values(), two.projections().values(), strict=True):
        assert float((a.parameter - b.parameter).abs().max()) <= 1e-6
