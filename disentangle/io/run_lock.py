"""One process at a time writes to a run folder.

The lock is a file that says who holds it. It is made by a hard link, which exactly one process can do, on network file
systems too, and its modification time is renewed while its owner lives. Kernel locks are not used: on network file
systems they hold on one machine only, or not at all.

The lock of a dead owner is taken over. On the same machine, since its last start, the owner's process is looked up, so
that this is known at once, also where its number belongs to another process by now. From elsewhere it is judged by the
last renewal, ``STALE`` seconds ago, measured by the file system's own clock.

Two processes that find the same dead owner must not both replace its lock, nor one of them the lock that the other has
just made. So whoever replaces or removes a lock first takes a second one, named after the first one's token, which no
other lock ever has, and then looks again whose lock it is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import stat
import threading
import time
from dataclasses import asdict
from pathlib import Path

from disentangle.errors import ConfigError, DisentangleError, InputError
from disentangle.files import is_leftover, writing
from disentangle.io.lock_owner import HEARTBEAT, STALE, Owner, owner_from, this_process
from disentangle.json_files import parse_json

__all__ = ["LOCK", "RunInUse", "RunLock"]

logger = logging.getLogger(__name__)

LOCK = ".lock"
_ATTEMPTS = 20
_held: set[str] = set()  # tokens of this process's locks


class RunInUse(ConfigError):
    """Another process writes to the run folder."""


class RunLock:
    """The lock of one run folder, from the beginning to the end of a ``with`` block.

    Args:
        folder: the run folder, which exists.

    Raises:
        RunInUse: on entering, if a living process holds it, or one of which nothing is known.
        OutputError: on entering, if the folder cannot be written to.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.path = self.folder / LOCK
        self.owner: Owner | None = None
        self._end = threading.Event()
        self._pulse: threading.Thread | None = None

    def __enter__(self) -> RunLock:
        self.owner = this_process()
        try:
            with writing(self.path):
                _acquire(self.path, self.owner)
            self._end.clear()
            self._pulse = threading.Thread(target=_renew, args=(self.path, self._end), name="run lock", daemon=True)
            self._pulse.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        owner, self.owner = self.owner, None
        if owner is None or owner.pid != os.getpid():  # a forked child is not the owner
            return
        self._end.set()
        if self._pulse is not None and self._pulse.is_alive():
            self._pulse.join()
        try:
            _replace(self.path, owner.token, None)
        except (OSError, DisentangleError):  # a disk that takes no more, not even what it takes to do this in order
            try:
                if (found := _read(self.path)) is not None and found[0] == owner.token:
                    self.path.unlink()
            except OSError:
                pass  # the next one finds a dead owner
        finally:
            _held.discard(owner.token)

    def check(self) -> None:
        """Whether the lock is still held.

        Raises:
            RunInUse: if another process took it over while this one gave no sign of life.
            OutputError: if it was removed and cannot be made again.
        """
        if self.owner is None:
            return
        try:
            found = _read(self.path)
        except OSError:  # nothing is known; what is written next will fail, or not
            return
        if found is None:
            logger.warning("%s was removed while this process writes to its folder; it is made again.", self.path)
            with writing(self.path):
                _acquire(self.path, self.owner)
        elif found[0] != self.owner.token:
            raise RunInUse(
                f"{self.folder} is no longer this process's: {found[1] or 'another process'} took it over while this "
                "one gave no sign of life. It stops without writing more, and the same command continues once the "
                "folder is free."
            )

    def sweep(self) -> None:
        """Remove what processes left that were killed while they were about to take this lock."""
        for path in self.folder.glob(f"{LOCK}.*.part"):
            if self.owner is None or self.owner.token in path.name or not is_leftover(path.name):
                continue
            with contextlib.suppress(OSError):
                found = _read(path)
                if found is not None and _dead(found[1], time.time() - found[2]):
                    path.unlink(missing_ok=True)


def _renew(path: Path, end: threading.Event) -> None:
    while not end.wait(HEARTBEAT):
        with contextlib.suppress(OSError):  # a network that is away for a while
            os.utime(path)


def _acquire(path: Path, owner: Owner, depth: int = 0) -> None:
    """Make the lock ``path``, or take it over from a dead owner; ``depth`` counts locks of the right to replace."""
    candidate = path.with_name(f"{LOCK}.{owner.token}.part")
    _held.add(owner.token)
    _write_new(candidate, owner)
    try:
        found = None
        for attempt in range(_ATTEMPTS):
            if _link(candidate, path, owner):
                return
            found = _read(path)
            if found is None:  # released just now
                continue
            token, holder, renewed = found
            os.utime(candidate)
            silent = candidate.stat().st_mtime - renewed
            if not _dead(holder, silent):
                if depth == 0:
                    raise RunInUse(_refusal(path, holder, silent))
                time.sleep(0.01 * (attempt + 1))  # another process is just replacing that lock
            elif _replace(path, token, candidate, depth):
                return
        raise RunInUse(_refusal(path, None if found is None else found[1], 0.0))
    except BaseException:
        _held.discard(owner.token)
        raise
    finally:
        candidate.unlink(missing_ok=True)


def _replace(path: Path, token: str, candidate: Path | None, depth: int = 0) -> bool:
    """Put ``candidate``, or nothing, in the place of the lock ``token``; False if it is not there any more."""
    right, owner = path.with_name(f"{LOCK}.replaced.{token}.part"), this_process()
    _acquire(right, owner, depth + 1)
    try:
        found = _read(path)
        if found is None or found[0] != token:
            return False
        if candidate is None:
            path.unlink()
        else:
            os.replace(candidate, path)
        return True
    finally:
        _held.discard(owner.token)
        held = _read(right)
        if held is not None and held[0] == owner.token:
            right.unlink(missing_ok=True)


def _dead(holder: Owner | None, silent: float) -> bool:
    if holder is None:
        return silent > STALE
    mine = holder.is_here() and holder.pid == os.getpid()  # an attempt of this process that was cut short
    return holder.is_dead(silent) or (mine and holder.token not in _held)


def _link(candidate: Path, path: Path, owner: Owner) -> bool:
    """Give the candidate the lock's name, unless there is one."""
    try:
        os.link(candidate, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        with contextlib.suppress(FileExistsError):  # a file system without hard links
            _write_new(path, owner)
    # On network file systems an answer can be lost, and the call that is repeated then finds its own link.
    found = _read(path)
    return found is not None and found[0] == owner.token


def _write_new(path: Path, owner: Owner) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with open(handle, "wb") as file:
            file.write(json.dumps(asdict(owner)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _read(path: Path) -> tuple[str, Owner | None, float] | None:
    """(token, owner, last renewal) of a lock, None if there is none; one that cannot be read has no owner."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags)  # opening it makes network file systems ask for its times anew
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(handle)
        content = os.read(handle, 4096) if stat.S_ISREG(found.st_mode) else b""
    finally:
        os.close(handle)
    try:
        owner = owner_from(parse_json(content, source=str(path)))
    except InputError:
        owner = None
    if owner is not None:
        return owner.token, owner, found.st_mtime
    token = hashlib.sha256(f"{found.st_ino} {found.st_mtime_ns}".encode()).hexdigest()[:16]
    return token, None, found.st_mtime


def _refusal(path: Path, holder: Owner | None, silent: float) -> str:
    if holder is None:
        return (
            f"{path.parent} is in use: {path} does not say by whom; it counts as left behind {STALE:.0f} s after its "
            "last change. Wait for that, or choose another --out."
        )
    elsewhere = (
        ""
        if holder.is_here()
        else f", at a time that is still to come; delete {path} if no training writes there"
        if silent < -1
        else f", last sign of life {max(0.0, silent):.0f} s ago; after {STALE:.0f} s without one it is taken over"
    )
    return (
        f"{path.parent} is in use: {holder} writes a training to it{elsewhere}. Wait for its end, stop it, or choose "
        "another --out."
    )
