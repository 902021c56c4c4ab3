"""Killed at any moment and continued by the same command, a training ends where an unbroken one ends."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.trainings import FAMILIES, Training, contents, end, same

KILLS = 20


@pytest.mark.parametrize("name", FAMILIES)
def test_killed_at_random_moments(name, data, unbroken, place: Path):
    """Up to three kills a run, after anything between nothing and what a whole run takes."""
    expected = unbroken(name)
    begun = time.monotonic()
    end(name, data, place / "timed")
    whole = time.monotonic() - begun
    rng = np.random.default_rng(0)
    kills = 0
    for number in range(KILLS):
        out = place / str(number)
        for _ in range(3):
            kills += Training(name, data, out).kill(after=rng.uniform(0, 0.8 * whole))
        end(name, data, out)
        assert same(contents(out), expected)
        if kills >= KILLS:
            break
    assert kills >= KILLS


def test_killed_at_every_third_call_of_the_file_system(data, place: Path):
    """A checkpoint a step, of which one is kept: the run dies in the middle of call 1, 4, ... in its folder."""
    fields = {"steps": 2, "checkpoint_every": 1, "keep_checkpoints": 1, "sample_every": 1}
    end("vae", data, place / "whole", **fields)
    expected = contents(place / "whole")
    assert expected["lines"] == [0, 1, 2]
    event, killed = 0, True
    while killed:
        event += 6
        outs = {number: place / str(number) for number in (event - 5, event - 2)}  # two at a time
        broken = [Training("vae", data, out, event=number, **fields) for number, out in outs.items()]
        killed = [training.status() for training in broken] == [-signal.SIGKILL] * 2
        again = [Training("vae", data, out, **fields) for out in outs.values()]
        for (number, out), training in zip(outs.items(), again, strict=True):
            assert training.status() == 0, (number, training.said)
            assert same(contents(out), expected), number
            assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["000002"], number
            assert not list(out.rglob(".*")), number
            shutil.rmtree(out)
    assert event >= 80
