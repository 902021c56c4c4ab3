"""The pages of an lmdb database, read by hand: where each value lies, found without lmdb's own library.

That library trusts a database: it maps the file and follows whatever the pages say, so that a download that was cut off
ends the process (SIGBUS), and a damaged page may. Here every number of a page is compared with the file before it is
followed, the file is read and never mapped, and the entries are counted, so that a listing is whole or refused.

A file is an array of pages of one size. The first two are meta pages, of which the one with the later transaction
counts; it names the root of a B+ tree. Branch pages point to further pages, leaf pages hold keys with their values, and
a value that is too long for a page lies in overflow pages, which follow each other. Numbers are little-endian, places
within a page 16 bits, page numbers and sizes 64 bits (a database made on a 64-bit machine).

Source: the format of LMDB 0.9 as its header ``mdb.c`` documents it (``MDB_page``, ``MDB_meta``, ``MDB_db``,
``MDB_node``; Symas, OpenLDAP Public Licence).
"""

from __future__ import annotations

import os
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from disentangle.errors import DataError, reason
from disentangle.files import open_regular

__all__ = ["Entries", "list_entries"]

_HEADER = 16  # bytes of a page before its list of places
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META, _LEAF2 = 0x01, 0x02, 0x04, 0x08, 0x20
_BIG_VALUE = 0x01  # of a node: its value lies in overflow pages
_OTHER_VALUES = 0x06  # a database within the database, or several values of one key
_NONE = (1 << 64) - 1
_DEEPEST = 32
_LONGEST_KEY = 1 << 12


@dataclass(frozen=True)
class Entries:
    """The keys of a database, in its order, and where their values lie in the file.

    Attributes:
        keys: all of them, one after the other.
        ends: (n,) where each key ends in ``keys``.
        offsets: (n,) bytes before the value.
        sizes: (n,) bytes of the value.
    """

    keys: bytes
    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def key(self, position: int) -> bytes:
        start = int(self.ends[position - 1]) if position else 0
        return self.keys[start : int(self.ends[position])]


def list_entries(path: Path) -> Entries:
    """Every key of the database in a file ``data.mdb``.

    Raises:
        DataError: if the file is no such database, cut off or damaged, or has entries of other kinds.
    """
    try:
        with open_regular(path) as file:
            return _Database(file).entries()
    except (OSError, _DamagedError) as error:
        raise DataError(
            f"{path.parent} cannot be read as an lmdb database ({reason(error)}); fetch it again."
        ) from None


class _DamagedError(ValueError):
    """Half a sentence."""


@dataclass(frozen=True)
class _Meta:
    page_size: int
    flags: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


class _Database:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._length = os.fstat(file.fileno()).st_size
        self._meta = self._newest_meta()
        size, pages = self._meta.page_size, self._meta.last_page + 1
        if pages * size > self._length:
            raise _DamagedError(
                f"data.mdb is cut off: it has {pages:,} pages of {size} bytes, and {self._length:,} bytes are there"
            )

    def entries(self) -> Entries:
        keys = bytearray()
        lengths, offsets, sizes = array("q"), array("q"), array("q")  # a list would take five times the file
        if self._meta.root != _NONE:
            for page_number in self._leaves():
                page = self._page(page_number)
                if not page[10] & _LEAF:
                    raise _DamagedError(f"page {page_number:,} is no leaf, and its tree should end there")
                for place in _places(page):
                    low, high, flags, key_size = struct.unpack_from("<4H", page, place)
                    start = place + 8 + key_size
                    size = low | high << 16
                    if flags & _OTHER_VALUES:
                        raise _DamagedError("it holds databases within the database, or several values of a key")
                    if start + (8 if flags & _BIG_VALUE else size) > len(page) or key_size > _LONGEST_KEY:
                        raise _DamagedError(f"page {page_number:,} has an entry that leaves it")
                    if len(keys) + 8 * len(lengths) > self._length:
                        raise _DamagedError("its entries share their bytes")
                    keys += page[place + 8 : start]
                    lengths.append(key_size)
                    sizes.append(size)
                    offsets.append(
                        self._overflow(page, start, size)
                        if flags & _BIG_VALUE
                        else page_number * self._meta.page_size + start
                    )
                if len(lengths) > self._meta.entries:
                    break
        if len(lengths) != self._meta.entries:
            raise _DamagedError(f"it states {self._meta.entries:,} entries and lists others; it is damaged")
        ends = np.cumsum(np.frombuffer(lengths, np.int64)) if lengths else np.zeros(0, np.int64)
        return Entries(bytes(keys), ends, np.array(offsets, np.int64), np.array(sizes, np.int64))

    def _newest_meta(self) -> _Meta:
        first = self._meta_at(0)
        sizes = [first.page_size] if first else [1 << power for power in range(8, 17)]
        found = [first, *(self._meta_at(size) for size in sizes)]
        metas = [meta for meta in found if meta is not None]
        if not metas:
            raise _DamagedError("data.mdb does not begin as a database of lmdb 0.9, made on a 64-bit machine, does")
        return max(metas, key=lambda meta: meta.transaction)

    def _meta_at(self, offset: int) -> _Meta | None:
        head = self._read(offset, _HEADER + 136)
        if len(head) < _HEADER + 136:
            return None
        flags = struct.unpack_from("<H", head, 10)[0]
        magic, version = struct.unpack_from("<2L", head, _HEADER)
        if not flags & _META or magic != _MAGIC or version != _VERSION:
            return None
        page_size = struct.unpack_from("<L", head, _HEADER + 24)[0]
        tree_flags, depth, _, _, _, entries, root = struct.unpack_from("<2H5Q", head, _HEADER + 24 + 48 + 4)
        last_page, transaction = struct.unpack_from("<2Q", head, _HEADER + 24 + 96)
        if page_size & (page_size - 1) or not 256 <= page_size <= 1 << 16 or last_page >= 1 << 44:
            return None
        if offset not in (0, page_size):
            return None
        return _Meta(page_size, tree_flags, depth, entries, root, last_page, transaction)

    def _leaves(self) -> list[int]:
        """The leaf pages in the order of the keys; each page is visited once."""
        level, seen = [self._meta.root], {self._meta.root}
        if self._meta.depth > _DEEPEST:
            raise _DamagedError(f"its tree is said to have {self._meta.depth} levels")
        for depth in range(1, self._meta.depth):
            below: list[int] = []
            for number in level:
                page = self._page(number)
                if not page[10] & _BRANCH:
                    raise _DamagedError(f"page {number:,} is none of the branches that level {depth} of the tree holds")
                for place in _places(page):
                    low, high, upper = struct.unpack_from("<3H", page, place)
                    child = low | high << 16 | upper << 32
                    if child in seen:
                        raise _DamagedError(f"page {child:,} hangs in its tree twice")
                    seen.add(child)
                    below.append(child)
            level = below
        return level

    def _page(self, number: int) -> bytes:
        if not 2 <= number <= self._meta.last_page:
            raise _DamagedError(f"it names page {number:,}, and the last is {self._meta.last_page:,}")
        page = self._read(number * self._meta.page_size, self._meta.page_size)
        stated, _, flags = struct.unpack_from("<Q2H", page, 0) if len(page) >= _HEADER else (None, 0, 0)
        if len(page) < self._meta.page_size or stated != number:
            raise _DamagedError(f"page {number:,} is not where it should be")
        if flags & (_OVERFLOW | _META | _LEAF2) or bool(flags & _LEAF) == bool(flags & _BRANCH):
            raise _DamagedError(f"page {number:,} is of another kind than its tree holds")
        return page

    def _overflow(self, page: bytes, start: int, size: int) -> int:
        """Where a long value begins in the file."""
        number = int(struct.unpack_from("<Q", page, start)[0])
        page_size = self._meta.page_size
        count = (_HEADER + size + page_size - 1) // page_size
        if not 2 <= number <= self._meta.last_page or number + count - 1 > self._meta.last_page:
            raise _DamagedError(f"a value of {size:,} bytes on page {number:,} leaves the file")
        return number * page_size + _HEADER

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset) if offset < self._length else b""


def _places(page: bytes) -> tuple[int, ...]:
    """Where the entries of a page begin."""
    lower, upper = struct.unpack_from("<2H", page, 12)
    count = (lower - _HEADER) // 2
    if lower < _HEADER or lower > len(page) or upper < lower or upper > len(page):
        raise _DamagedError("a page has no room for the entries that it states")
    places: tuple[int, ...] = struct.unpack_from(f"<{count}H", page, _HEADER)
    if any(place < upper or place + 8 > len(page) for place in places):
        raise _DamagedError("a page has an entry outside of it")
    return places
