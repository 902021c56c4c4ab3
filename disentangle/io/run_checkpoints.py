"""Which checkpoint of a run folder counts, whether it is whole, and which ones are removed.

A checkpoint is a folder ``checkpoints/N`` whose name is its step, ``000500`` or ``1000500``; they are ordered by that
number. Its ``SHA256SUMS`` lists the digests of its files, as ``sha256sum -c`` reads them, and is written before the
folder gets its name. Runs of older versions have none; their files are taken as they are.

The file ``latest`` says which checkpoint counts. If it is lost, or names what is not there, the newest whole one does,
and if that one is damaged, the one before it: both are said aloud. A folder that had checkpoints is never taken for a
new one.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from disentangle.errors import CheckpointError, reason
from disentangle.files import open_regular, sha256_of, sync_folder, write_text
from disentangle.text import shown

__all__ = [
    "MODEL",
    "STATE",
    "SUMS",
    "Checkpoint",
    "checkpoint_folder",
    "checkpoints",
    "damage",
    "newest_checkpoint",
    "part_of",
    "prune",
    "remove_checkpoint",
    "seal",
]

logger = logging.getLogger(__name__)

MODEL, STATE, SUMS = "model.safetensors", "state.pt", "SHA256SUMS"
_ATTEMPTS = 5
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, order=True)
class Checkpoint:
    """The model and the training state after so many steps, and the folder they lie in."""

    step: int
    folder: Path

    @property
    def sealed(self) -> bool:
        """Whether it has digests."""
        return (self.folder / SUMS).exists()


def checkpoint_folder(run: PathLike, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return Path(run) / "checkpoints" / f"{step:06d}"


def part_of(folder: Path) -> Path:
    """A name beside ``folder`` for what is not whole, which :func:`disentangle.files.is_leftover` knows."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.part")


def checkpoints(run: PathLike) -> list[Checkpoint]:
    """All checkpoints of a run folder, damaged ones included, by step.

    Raises:
        CheckpointError: if the folder of checkpoints cannot be read.
    """
    root = Path(run) / "checkpoints"
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{root} cannot be read ({reason(error)}); expected a folder of checkpoints.") from None
    steps = [step for name in names if (step := _step(name)) is not None]
    return [Checkpoint(step, folder) for step in sorted(steps) if (folder := checkpoint_folder(run, step)).is_dir()]


def newest_checkpoint(
    run: PathLike,
    *,
    files: Collection[str] = (MODEL, STATE),
    accept: Callable[[Checkpoint], str | None] = lambda checkpoint: None,
) -> Checkpoint | None:
    """The checkpoint of a run folder that counts; None if it has had none yet.

    It is the one that ``latest`` names. Whatever else is taken is logged as a warning.

    Args:
        run: the folder.
        files: that are needed of it; only they are compared with their digests.
        accept: a further look at a checkpoint: None, or half a sentence that says why it is of no use.

    Raises:
        CheckpointError: if there have been checkpoints, but none is whole.
    """
    run = Path(run)
    for _ in range(_ATTEMPTS):
        before = _named(run)
        checkpoint, remark = _look(run, before, files, accept)
        if remark is None or _named(run) == before:  # else a training that goes on has just removed what was named
            break
    if checkpoint is None and remark is not None:
        raise CheckpointError(remark)
    if remark is not None:
        logger.warning("%s", remark)
    return checkpoint


def _look(
    run: Path, marker: tuple[int | None, str | None], files: Collection[str], accept: Callable[[Checkpoint], str | None]
) -> tuple[Checkpoint | None, str | None]:
    """The checkpoint that counts if ``latest`` says what is in ``marker``, and what has to be said of it."""
    latest, (named, trouble) = run / "latest", marker
    found = {checkpoint.step: checkpoint for checkpoint in checkpoints(run)}
    if trouble is None and named not in found:
        trouble = f"names the checkpoint {named:06d}, which does not exist"
    if not found:
        if not os.path.lexists(latest):
            return None, None
        return None, (
            f"{latest} {trouble}, and there is no checkpoint in {run / 'checkpoints'}; put one back, or delete "
            f"{latest} to begin again from step 0."
        )
    order = sorted(found, reverse=True)
    if trouble is None:  # those before the named one come first
        order.sort(key=lambda step: named is not None and step > named)
    problems: dict[int, str] = {}
    for step in order:
        problem = damage(found[step].folder, files) or accept(found[step])
        if problem is None:
            break
        problems[step] = problem
    listed = "; ".join(f"{found[step].folder}: {why}" for step, why in list(problems.items())[:5])
    if len(problems) == len(found):
        return None, (
            f"No checkpoint of {run} is whole ({listed}); put back a copy of one, or delete {run / 'checkpoints'} and "
            f"{latest} to begin again from step 0."
        )
    remarks = [] if trouble is None else [f"{latest} {trouble}"]
    remarks += [f"a checkpoint is damaged ({listed})"] if problems else []
    return found[step], f"{'; '.join(remarks)}; {found[step].folder} is taken instead." if remarks else None


def damage(folder: Path, files: Collection[str] = (MODEL, STATE)) -> str | None:
    """What is wrong with these files of a checkpoint, as half a sentence; None if they are as they were written."""
    try:
        for name in files:
            if not (folder / name).is_file():
                return f"{name} is missing"
        digests = _digests(folder / SUMS)
        for name in files if digests is not None else ():
            assert digests is not None
            if name not in digests:
                return f"{SUMS} has no digest of {name}"
            if _digest(folder / name) != digests[name]:
                return f"{name} does not have the digest in {SUMS}"
    except OSError as error:
        return f"it cannot be read: {reason(error)}"
    return None


def seal(folder: Path) -> None:
    """Write the digests of all files in ``folder`` and flush both to the disk; its last file."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    write_text(folder / SUMS, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))
    sync_folder(folder)


def prune(run: PathLike, *, current: int, keep: int, superseded: Collection[int] = ()) -> None:
    """Remove all checkpoints up to ``current`` but the newest ``keep``, which may be 0 for all of them.

    Args:
        run: the folder.
        current: the checkpoint just written, or continued from: it is kept, and so is whatever lies beyond it, and what
            ``latest`` names.
        keep: how many.
        superseded: damaged ones and such that another course of the run has left: removed up to ``current``, whatever
            ``keep`` is.
    """
    named, _ = _named(Path(run))
    past = [checkpoint for checkpoint in checkpoints(run) if checkpoint.step <= current]
    counted = [checkpoint for checkpoint in past if checkpoint.step not in superseded]
    kept = {checkpoint.step for checkpoint in (counted[-keep:] if keep else counted)} | {current, named}
    for checkpoint in past:
        if checkpoint.step not in kept:
            remove_checkpoint(checkpoint.folder)


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint so that a crash on the way leaves none that looks whole; one that cannot be removed stays."""
    part = part_of(folder)
    try:
        os.rename(folder, part)
    except OSError:
        return
    shutil.rmtree(part, ignore_errors=True)


def _step(name: str) -> int | None:
    """The step in a folder's name, None if the toolkit gives no such name."""
    if not (name.isascii() and name.isdigit() and len(name) <= 18):
        return None
    return int(name) if f"{int(name):06d}" == name else None


def _named(run: Path) -> tuple[int | None, str | None]:
    """The step that ``latest`` names, or half a sentence on why it names none."""
    try:
        handle = os.open(run / "latest", os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # no FIFO is waited for
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None, "is no file"
            content = file.read(4096)
    except FileNotFoundError:
        return None, "is missing"
    except OSError as error:
        return None, f"cannot be read ({reason(error)})"
    text = content.decode("ascii", "replace").strip()
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text), None
    return None, f"names no checkpoint (it holds {shown(content[:24])})" if content.strip() else "is empty"


def _digest(path: Path) -> str:
    """The digest of a file, which is read once as long as it stays the same."""
    found = path.stat()
    return _digest_of(str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest_of(path: str, *_: int) -> str:
    return sha256_of(path)


def _digests(path: Path) -> dict[str, str] | None:
    """File name -> digest; None if there is no such file. Lines of another form are left out."""
    try:
        with open_regular(path) as file:
            content = file.read(1 << 20)
    except FileNotFoundError:
        return None
    lines = (line.split("  ", 1) for line in content.decode("utf-8", "replace").split("\n"))
    return {line[1]: line[0].lower() for line in lines if len(line) == 2}
