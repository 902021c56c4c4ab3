"""Trainings of a second in processes that can be killed, forked from one that has imported torch already."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from disentangle.errors import DisentangleError
from disentangle.io import load_state
from disentangle.training import (
    ClassifierTraining,
    TrainingResult,
    VAETraining,
    finetune_config,
    preset_config,
    train_classifier,
    train_gan,
    train_vae,
)
from tests.training.families import family

_RUN = {"batch": 4, "steps": 5, "log_every": 1, "sample_every": 3, "checkpoint_every": 2}
_VAE = {"model.channels": (4, 4, 8), "model.hidden": 8, "model.latent_dim": 3}


def _vae(data: Path, **fields: Any) -> Any:
    return preset_config("vae", data={"name": "sprites", "resolution": 32}, **_RUN, **_VAE, **fields)


def _gan(kind: str, data: Path, **fields: Any) -> Any:
    return family(kind, "sprites", **{**_RUN, **fields})


def _classifier(data: Path) -> Any:
    fields = {"model.channels": (8, 8, 12), "model.norm": "dbn", "treatment.nog": True, "validation": 6}
    data_fields = {"name": str(data / "stripes"), "resolution": 16}
    return preset_config("classifier", data=data_fields, **{**_RUN, "batch": 12}, **fields)


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "vae": partial(_vae, **{"treatment.nog": True, "treatment.mode": "update", "treatment.retraction": "polar"}),
    "factor-vae": partial(_vae, objective={"kind": "factor-vae", "discriminator_width": 8}),
    "eigengan": partial(
        _gan, "eigengan", **{"treatment.nog": True, "treatment.olr": True},
        augment=("color", "translation"), augment_target=0.6,
    ),
    "gan": partial(_gan, "gan", **{"treatment.nog": True}),
    "progan": partial(_gan, "progan"),
    "stylegan2": partial(_gan, "stylegan2"),
    "classifier": _classifier,
    "projection": lambda data: finetune_config(
        data / "start", data={"name": "sprites"}, projection={"kind": "householder", "rank": 2}, **_RUN
    ),
}  # fmt: skip


def train(config: Any, out: Path) -> TrainingResult:
    """In one thread, wherever it runs: with another number of threads sums have other roundings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        loops = {VAETraining: train_vae, ClassifierTraining: train_classifier}
        return loops.get(type(config), train_gan)(config, out, device="cpu")  # type: ignore[operator]
    finally:
        torch.set_num_threads(threads)


def _work(name: str, data: Path, out: Path, fields: dict[str, Any], said: Path, event: int | None) -> None:
    """Train, in a process of its own; it ends with 0, with 3 after a sentence, with 4 after any other exception."""
    from disentangle.config import with_fields

    try:
        config = with_fields(FAMILIES[name](data), fields)
        if event is not None:
            sys.addaudithook(partial(_die, str(out), [event]))
        train(config, out)
    except DisentangleError as error:
        said.write_text(str(error))
        os._exit(3)
    except BaseException:
        said.write_text(traceback.format_exc())
        os._exit(4)
    os._exit(0)


EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.utime", "os.chmod", "os.scandir")


def _die(out: str, left: list[int], event: str, args: tuple[Any, ...]) -> None:
    """Kill this process in the middle of a call that concerns the folder, after so many of them; 0 only counts."""
    if event in EVENTS and any(isinstance(a, (str, os.PathLike)) and os.fspath(a).startswith(out) for a in args):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["__main__", "tests.faults.preload"])


class Training:
    """One such process.

    Args:
        name: of a row of ``FAMILIES``.
        data: folder with what the rows need.
        out: the run folder.
        event: how many calls of the file system it lives for.
        fields: that differ from the row's.
    """

    def __init__(self, name: str, data: Path, out: Path, *, event: int | None = None, **fields: Any) -> None:
        handle, said = tempfile.mkstemp(prefix="disentangle-faults-")
        os.close(handle)
        self._said = Path(said)
        self.process = _processes.Process(target=_work, args=(name, data, out, fields, self._said, event))
        self.process.start()

    def kill(self, after: float) -> bool:
        """Kill it after so many seconds; False if it ended before."""
        self.process.join(after)
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL

    def status(self) -> int:
        self.process.join(120)
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode

    @property
    def said(self) -> str:
        """Its exception."""
        return self._said.read_text()

    def __del__(self) -> None:
        self._said.unlink(missing_ok=True)


def end(name: str, data: Path, out: Path, **fields: Any) -> None:
    """Train, or continue, to the end."""
    training = Training(name, data, out, **fields)
    assert training.status() == 0, training.said


def contents(run: Path) -> dict[str, Any]:
    """What a finished run holds: its last state, weights included, and the steps that it logged in whole lines."""
    newest = run / "checkpoints" / (run / "latest").read_text().strip()
    lines = []
    for line in (run / "stats.jsonl").read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            lines.append(json.loads(line)["step"])
    return {"state": load_state(newest / "state.pt"), "lines": lines, "step": newest.name}


def same(one: Any, other: Any) -> bool:
    """Whether two trees of containers, tensors and numbers are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.equal(other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)
