"""Disks that are full or may only be read: a sentence, the last checkpoint kept, and the end is that of a whole run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.trainings import Training, contents, end, same


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, free: int) -> Path:
    """Leave so many bytes."""
    filler = disk / "filler"
    size = shutil.disk_usage(disk).free - free
    if size > 0:
        filler.write_bytes(b"x" * size)
    return filler


def test_a_full_disk_at_any_moment(data, unbroken, disk: Path):
    """With so little room that another file is the first that does not fit, down to none at all."""
    expected, out = unbroken("vae"), disk / "run"
    sentences = set()
    for free in (0, 4096, 12288, 16384, 24576, 40960, 65536, 98304, 131072):
        shutil.rmtree(out, ignore_errors=True)
        end("vae", data, out, steps=2)
        filler = fill(disk, free)
        training = Training("vae", data, out)
        status = training.status()
        assert status in (0, 3), training.said
        if status == 3:
            assert "No space left on device" in training.said or "0 bytes are free" in training.said, training.said
            assert "ake room" in training.said
            sentences.add(training.said.split(" could")[0].split(" cannot")[0].replace(str(out), "RUN"))
        filler.unlink()
        end("vae", data, out)
        assert same(contents(out), expected), free
        assert not list(out.rglob(".*")), free
    assert len(sentences) >= 3, sentences  # it met several files


def test_a_disk_that_is_read_only(data, unbroken, disk: Path):
    out = disk / "run"
    end("vae", data, out, steps=2)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for folder in (out, disk / "new"):
        training = Training("vae", data, folder)
        assert training.status() == 3, training.said
        assert "Read-only file system" in training.said
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    end("vae", data, out)
    assert same(contents(out), unbroken("vae"))
