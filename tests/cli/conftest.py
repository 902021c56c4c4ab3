"""A runner for the command line, and a small trained run to use commands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from disentangle.cli import cli
from disentangle.errors import DisentangleError

SMALL_VAE = [
    "train", "vae", "--data", "sprites", "--resolution", "32", "--steps", "4", "--batch", "8", "--latent-dim", "3",
    "--set", "model.channels=[4,4,8]", "--set", "model.hidden=8", "--set", "log_every=2", "--set", "sample_every=4",
]  # fmt: skip
SMALL_GAN = [
    "train", "eigengan", "--data", "rooms", "--resolution", "32", "--steps", "4", "--batch", "4", "--basis", "2",
    "--set", "model.channels=[8,6,4,4]", "--set", "model.noise_dim=5", "--set", "discriminator.channels=[4,6,8]",
    "--nog", "--olr",
]  # fmt: skip


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["--device", "cpu", *map(str, arguments)])


@pytest.fixture
def run():
    """Runs a command that must succeed; returns its output."""

    def call(*arguments: Any) -> str:
        result = invoke(*arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


@pytest.fixture
def fails():
    """Runs a command that must fail: with one sentence (exit status 1), or as wrong usage (2)."""

    def call(*arguments: Any) -> str:
        result = invoke(*arguments)
        if isinstance(result.exception, DisentangleError):
            return str(result.exception)
        assert result.exit_code == 2, (result.output, result.exception)
        return result.output

    return call


@pytest.fixture(scope="session")
def vae_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "vae"
    assert invoke(*SMALL_VAE, "--out", folder).exit_code == 0
    return folder


@pytest.fixture(scope="session")
def gan_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "gan"
    assert invoke(*SMALL_GAN, "--out", folder).exit_code == 0
    return folder
