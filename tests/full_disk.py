"""A disk of its own for tests, small enough to fill."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["full_disk"]


@contextmanager
def full_disk(folder: Path, *, size: str) -> Iterator[Path]:
    """A file system in memory of ``size``; skips the test where it cannot be mounted."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size},nosuid,nodev", "disentangle-test", str(folder)]
    if subprocess.run(options, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        # lazily, for what failed to write may still hold its file open
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
