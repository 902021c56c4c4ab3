"""Who holds a lock file, and whether that process still lives."""

from __future__ import annotations

import math
import os
import re
import secrets
import socket
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from disentangle.text import shown

__all__ = ["HEARTBEAT", "STALE", "Owner", "owner_from", "this_process"]

HEARTBEAT, STALE = 5.0, 60.0  # seconds between renewals, and after which an owner elsewhere counts as dead
_PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock.

    Attributes:
        token: 16 hex digits, of this one lock and no other.
        host: name of the machine.
        boot: of the machine's last start; None where the system does not tell.
        space: that the process's number belongs to, of a container for example; None where the system does not tell.
        pid: the process's number.
        started: when the process was started, in the kernel's ticks; None where the system does not tell.
        since: when it took the lock, in seconds since 1970.
    """

    token: str
    host: str
    boot: str | None
    space: str | None
    pid: int
    started: int | None
    since: float

    def is_here(self) -> bool:
        """Whether its process can be looked up: on this machine, since its last start, in this space of numbers."""
        boot, space = _boot(), _space()
        return boot is not None and (boot, space) == (self.boot, self.space)

    def is_dead(self, silent: float) -> bool:
        """Whether its process is known to have ended.

        Args:
            silent: seconds since the last sign of life, by the file system's clock.
        """
        if self.is_here():
            return not _alive(self.pid, self.started)
        uptime = _uptime()
        if self.host == socket.gethostname() and None not in (uptime, self.boot) and self.boot != _boot():
            assert uptime is not None
            if silent > max(uptime, 3 * HEARTBEAT):  # this machine was started anew since
                return True
        if self.boot is None and _boot() is None and self.host == socket.gethostname() and not _exists(self.pid):
            return True
        return silent > STALE

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        here = " (this one)" if self.is_here() and self.pid == os.getpid() else ""
        return f"process {self.pid}{here} on {shown(self.host, most=60)} since {since}"


def this_process() -> Owner:
    """This process as the owner of a new lock."""
    pid = os.getpid()
    found = _stat(pid)
    started = None if found is None else found[1]
    return Owner(secrets.token_hex(8), socket.gethostname(), _boot(), _space(), pid, started, time.time())


def owner_from(record: Any) -> Owner | None:
    """The owner in a lock file's record; None if it is none that this version writes."""
    if not isinstance(record, dict) or set(record) != {field.name for field in fields(Owner)}:
        return None
    texts = [record["host"], *(record[name] for name in ("boot", "space") if record[name] is not None)]
    numbers = [record["pid"], *(record[name] for name in ("started",) if record[name] is not None)]
    since = record["since"]
    if not (isinstance(record["token"], str) and re.fullmatch("[0-9a-f]{16}", record["token"])):
        return None
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        return None
    if not 0 < record["pid"] < 2**31 or type(since) is not float or not (math.isfinite(since) and 0 <= since < 2**35):
        return None
    return Owner(**record)


def _alive(pid: int, started: int | None) -> bool:
    found = _stat(pid)
    if found is None:
        return _exists(pid)  # the system may hide other users' processes
    state, begun = found
    return state not in "ZX" and started in (None, begun)  # ended and not yet asked for its status; another process


def _exists(pid: int) -> bool:
    if os.name == "nt":  # there a signal of 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return True


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process, from ``/proc/PID/stat``; the name in it may hold spaces and brackets."""
    try:
        columns = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return columns[0].decode(), int(columns[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str | None:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def _space() -> str | None:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return None


def _uptime() -> float | None:
    try:
        return float((_PROC / "uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
