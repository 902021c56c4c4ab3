"""Signals that ask a training to stop: it finishes its step, saves and says so."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from disentangle.errors import DisentangleError

__all__ = ["Interrupted", "StopSignals"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(DisentangleError):
    """The run was stopped by a signal after saving a checkpoint.

    Attributes:
        exit_status: what a shell expects of a command that a signal ended: 128 and the signal's number.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_status = 128 + int(number)


class StopSignals:
    """Notes the first SIGINT, SIGTERM or SIGHUP in a ``with`` block; from then on they act at once, as before it.

    A signal that is ignored, as under ``nohup``, stays ignored. Outside the main thread signals are the caller's.

    Attributes:
        received: the signal's number, None before one came.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.received = None
        try:
            for number in _SIGNALS:
                previous = signal.getsignal(number)
                if previous is not signal.SIG_IGN and previous is not None:  # None: set by something other than Python
                    signal.signal(number, self._note)
                    self._previous[number] = previous
        except ValueError:  # not the main thread
            self._restore()
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
