"""Damaged runs: the damage is named, the checkpoint before it is taken, and the end is that of an unbroken run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import disentangle
from tests.faults.trainings import FAMILIES, end, same, train

STEPS = 5  # of FAMILIES' rows; checkpoints at 2, 4 and 5, of which two are kept


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


def damages(half: Path) -> list[tuple[str, str]]:
    files = [str(path.relative_to(half)) for path in sorted(half.rglob("*")) if path.is_file()]
    return [(file, how) for file in files for how in ("bits", "cut", "empty", "lost")]


NEW = "checkpoints/000004/"


def test_every_file_damaged_in_every_way(half, data, unbroken, place, caplog):
    """Flipped bits, cut short, empty, lost: nothing but a sentence, and never silently another result."""
    expected = unbroken("vae")
    config = FAMILIES["vae"](data)
    rng = np.random.default_rng(0)
    taken: dict[str, int] = {}
    for number, (name, how) in enumerate(damages(half)):
        out = place / str(number)
        shutil.copytree(half, out)
        file = out / name
        content = file.read_bytes()
        if how == "lost":
            file.unlink()
        else:
            file.write_bytes({"bits": flipped(content, rng), "cut": content[: len(content) // 2], "empty": b""}[how])
        caplog.clear()
        train(config, out)
        said = caplog.text
        found = contents_or_none(out)
        if name == "stats.jsonl":  # the log alone: what could be read stays
            assert same(found["state"], expected["state"])
            assert set(found["lines"]) <= set(range(STEPS + 1))
        elif found is not None:
            assert same(found, expected), (name, how, said)
        if name.startswith(NEW) and not name.endswith(("SHA256SUMS", "run_config.json")):
            for part in ("is damaged", "000004: ", Path(name).name, "000002 is taken instead"):
                assert part in said, (name, how, said)
            taken[name] = taken.get(name, 0) + 1
        if name == "config.json":
            assert "config.json" in said, (how, said)
        if name == "latest":
            assert "latest" in said or how == "cut", (how, said)
        shutil.rmtree(out)
    assert taken == {f"{NEW}model.safetensors": 4, f"{NEW}state.pt": 4}


def contents_or_none(out: Path) -> dict:
    import json

    lines = []
    for line in (out / "stats.jsonl").read_bytes().split(b"\n"):
        try:
            lines.append(json.loads(line)["step"])
        except (ValueError, TypeError, KeyError):
            continue
    newest = (out / "latest").read_text().strip()
    state = disentangle.io.load_state(out / "checkpoints" / newest / "state.pt")
    return {"state": state, "lines": lines, "step": newest}
