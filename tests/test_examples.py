"""Every example runs as it is, from an empty folder, and leaves what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    written = re.findall(r"written: (.*)", result.stdout)
    named = {name.split(",")[0] for line in written for name in re.findall(r"[\w./-]+\.(?:png|safetensors)", line)}
    assert all((tmp_path / name).stat().st_size > 0 for name in named)
    assert bool(named) == bool(written)


def test_examples_are_short_and_listed() -> None:
    listed = (EXAMPLES[0].parent / "README.md").read_text()
    assert len(EXAMPLES) >= 8
    for path in EXAMPLES:
        assert f"`{path.name}`" in listed
        assert 14 <= len(path.read_text().splitlines()) <= 60
