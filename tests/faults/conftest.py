"""What the trainings of this folder start from, and their unbroken runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import write_stripes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "faults" in item.path.parts:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where there is such a place: every file is flushed to the disk, a hundred a run."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="disentangle-faults-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.faults.trainings import end

    folder = tmp_path_factory.mktemp("data")
    write_stripes(folder / "stripes", {"lying": 12, "slanting": 12, "standing": 12}, side=32)
    end("vae", folder, folder / "start", steps=2)
    return folder


@pytest.fixture(scope="session")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What the run of a family holds that nothing has disturbed."""
    from tests.faults.trainings import contents, end

    known: dict[str, Any] = {}

    def run(name: str) -> Any:
        if name not in known:
            out = tmp_path_factory.mktemp("unbroken") / "run"
            end(name, data, out)
            known[name] = contents(out)
        return known[name]

    return run
