"""Several processes on one folder: exactly one writes to it, the others end in the sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from disentangle.io import find_model
from disentangle.io.run_lock import LOCK, RunInUse, RunLock
from tests.faults.trainings import FAMILIES, Training, contents, end, same
from tests.training.test_processes import port


@pytest.mark.parametrize("begun", [False, True], ids=["new", "continued"])
def test_trainings_started_at_once(begun, data, unbroken, place: Path):
    """All but one are refused, unless one comes when another has ended; then it finds a finished run."""
    expected, out = unbroken("vae"), place / "run"
    if begun:
        end("vae", data, out, steps=2)
    trainings = [Training("vae", data, out) for _ in range(4)]
    for training in trainings:
        assert training.status() == 0 or f"{out} is in use: process " in training.said, training.said
    assert [training.process.exitcode for training in trainings].count(0) >= 1
    assert same(contents(out), expected)


def test_a_second_training_is_refused_while_the_first_goes_on(data, place: Path):
    out = place / "run"
    first = Training("vae", data, out, steps=100_000)
    wait_for(out / "latest")
    for _ in range(3):
        second = Training("vae", data, out, steps=100_000)
        assert second.status() == 3
        assert f"{out} is in use: process {first.process.pid} on" in second.said
        find_model(out)  # a reader is not locked out
    assert first.process.is_alive()
    assert first.kill(0)
    third = Training("vae", data, out, steps=100_000)
    latest = (out / "latest").read_text()
    end_at = time.monotonic() + 60
    while (out / "latest").read_text() == latest:
        assert time.monotonic() < end_at
        assert third.process.is_alive(), third.said
        time.sleep(0.01)
    assert third.kill(0)


def wait_for(path: Path) -> None:
    end_at = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end_at, f"{path} did not come"
        time.sleep(0.01)


def contend(folder: Path, start: int) -> None:
    """A process of its own: take the lock, be the only one inside, or end with 1."""
    os.read(start, 1)
    try:
        with RunLock(folder) as lock:
            lock.check()
            (folder / "inside").touch(exist_ok=False)
            time.sleep(0.03)
            lock.check()
            (folder / "inside").unlink()
    except RunInUse:
        os._exit(1)
    except BaseException:
        os._exit(2)
    os._exit(0)


def test_the_lock_of_a_dead_owner_is_taken_over_by_one(tmp_path: Path):
    """Killed owners, waited for or not; six processes at once find the lock that they left."""
    for number in range(12):
        owner = os.fork()
        if not owner:
            RunLock(tmp_path).__enter__()
            os.kill(os.getpid(), 9)
        if number % 2:
            os.waitpid(owner, 0)
        else:
            os.waitid(os.P_PID, owner, os.WEXITED | os.WNOWAIT)
        assert (tmp_path / LOCK).exists()
        read, write = os.pipe()
        children = []
        for _ in range(6):
            child = os.fork()
            if not child:
                contend(tmp_path, read)
            children.append(child)
        os.write(write, b"x" * len(children))
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        os.close(read)
        os.close(write)
        if not number % 2:
            os.waitpid(owner, 0)
        assert set(ends) <= {0, 1}, ends
        assert 0 in ends
        assert list(tmp_path.iterdir()) == []


def test_every_process_of_a_training_says_why_it_does_not_begin(data, place: Path):
    """The first one finds the folder in use, and the others, which never look, end with the same sentence."""
    out = place / "run"
    out.mkdir()
    config = place / "config.json"
    config.write_text(FAMILIES["vae"](data).model_dump_json())
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "disentangle", "--device", "cpu", "train", "vae"]
    command += ["--config", str(config), "--out", str(out)]
    with RunLock(out):
        workers = [
            subprocess.Popen(
                command,
                env={**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"},
                stderr=subprocess.PIPE,
            )
            for rank in range(2)
        ]
        errors = [worker.communicate(timeout=240)[1].decode() for worker in workers]
    for worker, error in zip(workers, errors, strict=True):
        assert worker.returncode == 1, error
        assert f"Error: {out} is in use: process {os.getpid()} on" in error
        assert "Traceback" not in error
    assert list(out.iterdir()) == []
