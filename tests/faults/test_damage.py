"""Damaged runs: the damage is named, the checkpoint before it is taken, and the end is that of an unbroken run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.faults.trainings import FAMILIES, contents, end, same, train


@pytest.fixture(scope="module")
def half(data, tmp_path_factory) -> Path:
    """A run with checkpoints 2 and 4, to be copied, damaged and continued."""
    out = tmp_path_factory.mktemp("half") / "run"
    end("vae", data, out, steps=4)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["000002", "000004"]
    return out


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """With 1 to 20 of its bits turned."""
    changed = bytearray(content)
    for bit in rng.choice(8 * len(content), size=min(8 * len(content), int(rng.integers(1, 21))), replace=False):
        changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


NEW = "checkpoints/000004/"
DAMAGE: dict[str, Callable[[bytes, np.random.Generator], bytes | None]] = {
    "bits": flipped,
    "cut": lambda content, rng: content[: len(content) // 2],
    "empty": lambda content, rng: b"",
    "lost": lambda content, rng: None,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_every_file_of_a_run_damaged(how, half, data, unbroken, place: Path, caplog):
    """It is said, and the end is the same: never silently another result, never a refusal."""
    expected, config = unbroken("vae"), FAMILIES["vae"](data)
    rng = np.random.default_rng(0)
    damaged = set()
    for name in sorted(str(path.relative_to(half)) for path in half.rglob("*") if path.is_file()):
        out = place / name.replace("/", "-")
        shutil.copytree(half, out)
        content = DAMAGE[how]((out / name).read_bytes(), rng)
        (out / name).unlink()
        if content is not None:
            (out / name).write_bytes(content)
        caplog.clear()
        train(config, out)
        found, said = contents(out), caplog.text
        if name == "stats.jsonl":  # the log is not made again; what of it could be read stays
            assert same(found["state"], expected["state"])
            assert found["lines"][-1] == 5
        else:
            assert same(found, expected), (name, said)
        if name in (f"{NEW}model.safetensors", f"{NEW}state.pt"):
            damaged.add(name)
            for part in ("is damaged", "000004: ", Path(name).name, "000002 is taken instead"):
                assert part in said, (name, part, said)
        if name == "config.json":
            assert said.count("config.json") >= 1
            assert said.count("the run goes on") == 1
        if name == "latest" and how in ("empty", "lost"):
            assert "latest" in said
    assert len(damaged) == 2
