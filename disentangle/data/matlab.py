"""One array of a MATLAB file, read by hand: its parts are counted while they are unpacked, and no number is believed.

(scipy's reader follows a type's number into memory that is not its own; a damaged file can end the process.)

Source: MathWorks, "MAT-File Format" (level 5): a header of 128 bytes, then elements, each with its type, its length and
its data, padded to eight bytes; one of up to four bytes is packed into eight with its tag. An element of the type 15
holds another one, packed by zlib. An array is an element of the type 14 that holds its class, its sizes, its name and
its numbers, columns first, in the smallest type that they fit.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.errors import reason
from disentangle.files import open_regular

__all__ = ["MatlabError", "load_matlab"]

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_UINT32, _INT32 = 6, 5
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # other types
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800
_MOST = 64 << 20  # bytes of a file, and of all that it unpacks to; a car has 5


class MatlabError(ValueError):
    """The file is damaged, of another version or too large; half a sentence."""


def load_matlab(path: Path, name: str) -> NDArray[Any] | None:
    """The array of numbers of a name in a MATLAB file (versions 5 to 7); None where there is none.

    Raises:
        OSError: the file cannot be read.
        MatlabError: it is damaged, of another version, or unpacks to more than 64 MiB.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST:
            raise MatlabError(f"it has more than {_MOST:,} bytes")
        data = file.read(_MOST)
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or struct.unpack(order + "H", data[124:126])[0] != 0x0100:
        raise MatlabError("it is of another version than 5 to 7")
    unpacked = 0
    for kind, element in _elements(memoryview(data)[_HEADER:], order, padded=False):
        if kind == _COMPRESSED:
            inner = _inflated(element, _MOST - unpacked)
            unpacked += len(inner)
            kind, element = next(_elements(memoryview(inner), order), (0, memoryview(b"")))
        if kind == _MATRIX:
            found = _matrix(element, order, name)
            if found is not None:
                return found
    return None


def _inflated(packed: memoryview, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        inner = unpacker.decompress(packed, max(1, most))
    except zlib.error as error:
        raise MatlabError(reason(error)) from None
    if not unpacker.eof:
        raise MatlabError(f"it is cut off, or unpacks to more than {_MOST:,} bytes")
    return inner


def _elements(data: memoryview, order: str, *, padded: bool = True) -> Iterator[tuple[int, memoryview]]:
    """(type, data) of the elements that follow each other."""
    place = 0
    while place + 8 <= len(data):
        kind, length = struct.unpack_from(order + "2L", data, place)
        if kind >> 16:  # a short one: its length, its type, and up to four bytes
            kind, length, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
            if length > 4:
                raise MatlabError("a short element of it is longer than four bytes")
        else:
            start, step = place + 8, 8 + (length + 7 & ~7 if padded else length)
        if start + length > len(data):
            raise MatlabError("it is cut off")
        yield kind, data[start : start + length]
        place += step


def _matrix(element: memoryview, order: str, name: str) -> NDArray[Any] | None:
    """The array, if it is of that name and of real numbers; cells and structures are passed over."""
    parts = _elements(element, order)
    nothing = (0, memoryview(b""))
    (flags_kind, flags), (sizes_kind, sizes), (_, label) = (next(parts, nothing) for _ in range(3))
    if flags_kind != _UINT32 or len(flags) != 8 or sizes_kind != _INT32 or len(sizes) % 4:
        raise MatlabError("an array of it begins with something else than its class and sizes")
    if bytes(label) != name.encode():
        return None
    word = struct.unpack_from(order + "L", flags)[0]
    if word & 0xFF not in _CLASSES or word & _COMPLEX:
        return None
    shape = struct.unpack(f"{order}{len(sizes) // 4}l", sizes)
    kind, numbers = next(parts, nothing)
    stored = np.dtype(order + _STORED[kind]) if kind in _STORED else None
    if stored is None or min(shape, default=-1) < 0 or math.prod(shape) * stored.itemsize != len(numbers):
        raise MatlabError(f"{name} announces {' x '.join(map(str, shape))} numbers and holds {len(numbers):,} bytes")
    values = np.frombuffer(numbers, stored).reshape(shape, order="F")
    return values.astype(_CLASSES[word & 0xFF])
