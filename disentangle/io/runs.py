"""A run folder: everything one training leaves on the disk.

config.json       the resolved configuration, written before the first step
environment.json  versions, device, command line, and when it was begun and continued
stats.jsonl       one JSON object per logged step
samples/          pictures of fixed latents
checkpoints/N/    model.safetensors (complete), state.pt (to continue), run_config.json, SHA256SUMS
latest            name of the newest finished checkpoint folder
.lock             while a training writes to the folder: which process
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from disentangle._version import __version__
from disentangle.config import Config
from disentangle.devices import device_name
from disentangle.errors import CheckpointError, InputError
from disentangle.files import failure_of, is_leftover, sync_folder, write_json, write_text, writing
from disentangle.io.checkpoint import load_state, save, save_state
from disentangle.io.run_checkpoints import (
    MODEL,
    STATE,
    Checkpoint,
    checkpoint_folder,
    checkpoints,
    newest_checkpoint,
    part_of,
    prune,
    remove_checkpoint,
    seal,
)
from disentangle.io.run_identity import CONFIG, COPY, ENVIRONMENT, check_same_run
from disentangle.io.run_lock import LOCK, RunLock
from disentangle.io.run_stats import append_stats, forget_after, read_stats
from disentangle.json_files import read_json

__all__ = ["RunFolder", "read_stats"]

logger = logging.getLogger(__name__)

_MOST_SESSIONS = 100  # starts that the environment tells of: a queue may stop and continue a run many times
_FORGOTTEN = 3600.0  # seconds after which a file that another command was writing counts as left behind


class RunFolder:
    """A run on the disk, opened to write to it, new or to be continued.

    Args:
        path: the folder; made if missing.
        config: the run's resolved configuration.
        may_differ: dotted fields that may change when a run is continued.
        keep: how many of the newest checkpoints are kept; 0 for all.

    Attributes:
        latest: folder of the newest finished checkpoint, None before the first; known once the folder is open.
    """

    def __init__(
        self, path: str | os.PathLike[str], config: Config, *, may_differ: tuple[str, ...] = (), keep: int = 0
    ) -> None:
        self.path = Path(path)
        self.config = config
        self.may_differ, self.keep = may_differ, keep
        self.latest: Path | None = None
        self._lock: RunLock | None = None
        self._made: list[Path] = []
        self._state: dict[str, Any] | None = None
        self._superseded: set[int] = set()
        self._known = False

    def open(self) -> None:
        """Lock the folder, sweep what a killed process left, and read the checkpoint that is to be continued.

        On one process only; the others :meth:`follow`.

        Raises:
            RunInUse: if another process writes to it.
            ConfigError: if it holds a run with another configuration (the differences are listed), or files that are no
                run.
            CheckpointError: if it has had checkpoints, but none is whole.
            OutputError: if it cannot be written to.
        """
        check_same_run(self.path, self.config, self.may_differ)  # before anything is made in another one's folder
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(self.path).__enter__()
            remark = check_same_run(self.path, self.config, self.may_differ)  # a run may have begun meanwhile
            if remark is not None:
                logger.warning("%s", remark)
            found = newest_checkpoint(self.path, accept=self._read_state)
            self._sweep()
            if found is not None:
                self.latest = found.folder
                prune(self.path, current=found.step, keep=self.keep)
                self._superseded = {other.step for other in checkpoints(self.path) if other.step > found.step}
            self._known = True
        except BaseException:
            self.close()
            raise

    def follow(self, step: int | None) -> None:
        """Read the checkpoint of ``step`` that another process has opened the folder at."""
        if step is not None:
            self.latest = checkpoint_folder(self.path, step)
            problem = self._read_state(Checkpoint(step, self.latest))
            if problem is not None:
                raise CheckpointError(f"{self.latest} cannot be continued: {problem}.")
        self._known = True

    def close(self) -> None:
        """Release the folder; one that was made for a run that never began is removed again."""
        if self._lock is not None:
            self._lock.__exit__()
            self._lock = None
        try:
            for folder in self._made:
                folder.rmdir()
        except OSError:  # it is not empty
            pass
        self._made = []

    # ------------------------------------------------------------------------------------------------ writing

    def start(self, device: str, *, step: int = 0, finished: bool = False) -> None:
        """Write the configuration and the environment; call once, on one process, before any step is taken.

        Args:
            device: where it is trained.
            step: that it goes on from, 0 for a new run, in whose folder samples of one before it are removed.
            finished: there is nothing left to train, so that the environment stays that of the training.
        """
        write_json(self.path / CONFIG, self.config.model_dump(mode="json"))
        if finished:
            return
        now = environment(device)
        earlier = [] if step == 0 else self._sessions()
        sessions = [*earlier, {"step": step, **{key: now[key] for key in ("started", "device", "command")}}]
        write_json(self.path / ENVIRONMENT, {**now, "sessions": sessions[-_MOST_SESSIONS:]})
        if step == 0:
            for path in (self.path / "samples").glob("[0-9]*.png"):
                if path.stem.isdecimal():
                    path.unlink(missing_ok=True)

    def _sessions(self) -> list[Any]:
        """When and with which command the run was begun and continued so far, as far as that is known."""
        try:
            record = read_json(self.path / ENVIRONMENT, what="a run's environment")
        except InputError:
            return []
        sessions = record.get("sessions") if isinstance(record, dict) else None
        return sessions if isinstance(sessions, list) else []

    def log(self, record: Mapping[str, Any], *, sync: bool = False) -> None:
        """Append one line to ``stats.jsonl``; NaN and infinity become null, which JSON has."""
        self._check_lock()
        append_stats(self.path, record, sync=sync)

    def stats(self) -> list[dict[str, Any]]:
        """All logged lines; damaged ones are left out."""
        return read_stats(self.path)

    def forget_after(self, step: int) -> None:
        """Drop logged lines beyond ``step``: a run that continues from a checkpoint logs those steps again."""
        forget_after(self.path, step)

    def save_checkpoint(
        self, step: int, model: nn.Module, state: Mapping[str, Any], *, provenance: Mapping[str, Any]
    ) -> None:
        """Write checkpoint ``step`` and make it the latest; then remove all but the newest ones.

        Raises:
            CheckpointError: if it cannot be written, for want of space for example; the one before stays the latest.
            RunInUse: if another process has taken the folder over.
        """
        self._check_lock()
        folder = checkpoint_folder(self.path, step)
        part = part_of(folder)
        try:
            save(model, part / MODEL, provenance=provenance)
            save_state(part / STATE, state)
            write_json(part / COPY, self.config.model_dump(mode="json"))
            seal(part)
            if folder.exists():
                remove_checkpoint(folder)
            os.replace(part, folder)
            sync_folder(folder.parent)
            write_text(self.path / "latest", folder.name + "\n")
        except OSError as error:
            good, (why, remedy) = self.latest, failure_of(error)
            raise CheckpointError(
                f"The checkpoint of step {step} could not be written to {folder} ({why}); "
                f"{'there is no other yet' if good is None else f'the last good one is {good}'}. {remedy}; the same "
                "command then continues."
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self.latest = folder
        self._superseded.discard(step)
        prune(self.path, current=step, keep=self.keep, superseded=self._superseded)

    # ------------------------------------------------------------------------------------------------ reading

    def load_state(self) -> dict[str, Any] | None:
        """The training state to continue from, once; None if there is no checkpoint yet.

        Raises:
            RuntimeError: if the folder has been neither opened nor followed, so that this is not known.
        """
        if not self._known:
            raise RuntimeError(f"The run folder {self.path} is not open: use the session in a `with` block.")
        state, self._state = self._state, None
        return state

    def _read_state(self, checkpoint: Checkpoint) -> str | None:
        """Keep a checkpoint's state for :meth:`load_state`; half a sentence if it is none."""
        self._state = None
        try:
            state: Any = load_state(checkpoint.folder / STATE)
        except CheckpointError as error:
            if checkpoint.sealed:  # its bytes are those that were written: no earlier checkpoint will do better
                raise
            return str(error).split(";")[0]
        if not isinstance(state, dict) or not isinstance(state.get("parts"), dict):
            return f"{STATE} holds no training state with 'step' and 'parts'"
        if type(state.get("step")) is not int or state["step"] != checkpoint.step:
            return f"{STATE} is not of step {checkpoint.step}"
        self._state = state
        return None

    # ----------------------------------------------------------------------------------------------- internals

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _sweep(self) -> None:
        """Remove what killed processes left of files that they were writing."""
        if self._lock is not None:
            self._lock.sweep()
        for folder in (self.path, self.path / "samples", self.path / "checkpoints"):
            if not folder.is_dir():
                continue
            for entry in list(os.scandir(folder)):
                if not is_leftover(entry.name) or entry.name.startswith(f"{LOCK}."):
                    continue
                own = folder != self.path or entry.name.startswith(_OWN)
                try:  # a report or scores may be on their way into the folder just now
                    if not own and time.time() - entry.stat(follow_symlinks=False).st_mtime < _FORGOTTEN:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)
                except OSError as error:
                    logger.warning("%s was left by a killed process and cannot be removed (%s).", entry.path, error)


_OWN = (".config.json.", ".environment.json.", ".stats.jsonl.", ".latest.")


def environment(device: str) -> dict[str, Any]:
    """What a result may depend on besides the configuration."""
    import numpy

    return {
        "disentangle": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
    }
