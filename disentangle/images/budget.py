"""Memory that several threads share: each asks for what it is about to take, and waits until it is free."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Budget"]

_WORTH_IT = 8 << 20  # bytes from which the system gets them back


class Budget:
    """A number of bytes that is handed out and given back.

    Args:
        size: of all that is handed out at once. A request for more than that waits until it is alone.

    >>> budget = Budget(100)
    >>> with budget.reserve(60):
    ...     budget.taken
    60
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._renew()
        if hasattr(os, "register_at_fork"):  # a child has none of the threads that would give something back
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._free = threading.Condition()
        self.taken = 0

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Holds ``amount`` bytes while the block runs."""
        amount = min(amount, self.size)
        with self._free:
            self._free.wait_for(lambda: self.taken + amount <= self.size)
            self.taken += amount
        try:
            yield
        finally:
            if amount > _WORTH_IT:
                _give_back()
            with self._free:
                self.taken -= amount
                self._free.notify_all()


def _find_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return lambda keep: 0


_trim = _find_trim()


def _give_back() -> None:
    """Free memory back to the system: glibc keeps what each thread has freed for that thread alone."""
    _trim(0)
