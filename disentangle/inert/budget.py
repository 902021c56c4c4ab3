"""What is left of a file's limits while it is read and while something is made of it."""

from __future__ import annotations

from disentangle.inert.nodes import LimitError, Limits

__all__ = ["Budget"]

_UNUSUAL_KEYS = 4096


class Budget:
    """Counts what a file, all pickles nested in it and everything that is made of it afterwards cost.

    What a file *shares* is small in it and endless written out. Whoever walks, copies, prints or multiplies parts of a
    file says so here first, by how much the walk, the copy, the text or the product is.

    Args:
        limits: of the file.
        size: bytes of the file.
    """

    def __init__(self, limits: Limits, *, size: int) -> None:
        self.limits, self.size, self.nested = limits, size, 0
        self.objects_left = limits.objects
        self.memory_allowed = self.memory_left = limits.memory + limits.growth * size
        self.text_left = limits.text + 4 * size
        self._keys_left = _UNUSUAL_KEYS

    def instruction(self, memory: int) -> None:
        """One instruction of a pickle, and the bytes of the object it makes."""
        self.objects_left -= 1
        self.memory_left -= memory
        if self.objects_left < 0 or self.memory_left < 0:
            self._refuse()

    def steps(self, count: int = 1) -> None:
        """Entries that are walked."""
        self.objects_left -= count
        if self.objects_left < 0:
            self._refuse()

    def memory(self, count: int) -> None:
        """Bytes that are copied, unpacked or made."""
        self.memory_left -= count
        if self.memory_left < 0:
            self._refuse()

    def text(self, count: int) -> None:
        """Characters of a name or a printout that is made; they take memory too."""
        self.text_left -= count
        if self.text_left < 0:
            raise LimitError("what it shares would make texts without end, more than the limit of a file of its size")
        self.memory(64 + count)

    def key(self) -> None:
        """A key that is neither text nor an ordinary number: a file can choose such that all have one hash."""
        self._keys_left -= 1
        if self._keys_left < 0:
            raise LimitError(f"it has more than {_UNUSUAL_KEYS:,} keys that are neither texts nor ordinary numbers")

    def _refuse(self) -> None:
        if self.objects_left < 0:
            raise LimitError(f"it holds more than {self.limits.objects:,} objects, the limit of a file")
        raise LimitError(
            f"it would take more than {self.memory_allowed:,} bytes of memory, the limit of a file of its size"
        )
