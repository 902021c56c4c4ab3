"""What a file of points may take: a fixed amount, and some for each of its own bytes."""

from __future__ import annotations

from pathlib import Path

from disentangle.errors import DataError
from disentangle.text import shown

__all__ = ["NUMBER", "Allowance"]

NUMBER = 16  # bytes of memory a number takes: as it is stored, at most 8, and as a float64 or joined to other columns
TEXT = 192  # bytes that one of the texts that differ takes beside its letters, while they are numbered

_FIXED = 448 << 20  # bytes; with what lies between, the 512 MiB of SECURITY.md
_FOR_EACH_BYTE = 4


class Allowance:
    """Bytes of memory that the columns of one file may take together, so that many small ones are bounded as one large.

    Args:
        path: of the file, whose size counts.

    Attributes:
        most: bytes, in all.
        left: bytes, of these.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.most = self.left = _FIXED + _FOR_EACH_BYTE * path.stat().st_size

    def check(self, size: int, name: str) -> None:
        """That there are so many bytes left for what is only held for a while.

        Raises:
            DataError: there are not.
        """
        if size > self.left:
            raise DataError(
                f"{self._path}: {shown(name, most=80)!r} would take {size:,} bytes of memory, and {self.left:,} are "
                f"left of the {self.most:,} that a file of its size may take; name fewer columns, or split the file."
            )

    def take(self, size: int, name: str) -> None:
        """So many bytes for what is named; call it before they are there.

        Raises:
            DataError: there are not so many left.
        """
        self.check(size, name)
        self.left -= size
