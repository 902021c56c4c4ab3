"""What commands leave as it is in a run folder: its record, other runs' files, and what somebody else put there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL_VAE


@pytest.fixture
def copied(vae_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(vae_run, tmp_path / "run"))


def test_fewer_steps_than_were_taken_change_nothing(fails, copied: Path):
    taken, before = int((copied / "latest").read_text()), (copied / "config.json").read_bytes()
    assert f"is at step {taken} already" in fails(*SMALL_VAE, "--out", copied, "--steps", taken - 1)
    assert (copied / "config.json").read_bytes() == before


@pytest.mark.parametrize("name", ["report.html", "scores.json"])
def test_names_that_nobody_gave_replace_our_own_files_only(run, fails, copied: Path, name: str):
    command = ("report", copied) if name == "report.html" else ("evaluate", copied, "--data", "rooms", "--num", 200)
    (copied / name).write_text("mine")
    assert "nothing of this toolkit's" in fails(*command)
    assert (copied / name).read_text() == "mine"
    (copied / name).unlink()
    if name == "report.html":
        run(*command)
        run(*command)  # its own is replaced


def test_the_files_of_a_run_that_was_not_given(fails, copied: Path):
    before = (copied / "config.json").read_bytes()
    assert "a training's own file" in fails(
        "evaluate", "vae-rooms", "--data", "rooms", "--num", 200, "--out", copied / "config.json"
    )
    assert (copied / "config.json").read_bytes() == before
