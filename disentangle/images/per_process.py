"""Open files and thread pools that belong to one process.

A handle that was opened before a fork shares its file position with the parent, and a handle cannot be pickled for a
spawned worker. Both cases come up with the worker processes of a data loader.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["PerProcess"]

Resource = TypeVar("Resource")


class PerProcess(Generic[Resource]):
    """Opens a resource on first use, again in every process, and never travels with a pickle.

    Args:
        open: opens the resource; must itself be picklable (a module's function or a ``functools.partial`` of one).

    >>> pool = PerProcess(list)
    >>> pool() is pool()
    True
    """

    def __init__(self, open: Callable[[], Resource]) -> None:
        self._open = open
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._process: int | None = None
        self._resource: Resource | None = None

    def __call__(self) -> Resource:
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._resource = self._open()
                    self._process = os.getpid()
        return self._resource  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": self._open}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open = state["_open"]
        self._forget()
