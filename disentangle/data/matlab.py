"""One array of a MATLAB file, whose compressed parts are counted while they are unpacked.

Source: MathWorks, "MAT-File Format" (level 5): a header of 128 bytes, then elements, each with its type and length; an
element of the type 15 holds another one, packed by zlib.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disentangle.errors import reason
from disentangle.files import open_regular

__all__ = ["MatlabError", "load_matlab"]

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_NUMBERS = range(6, 16)  # classes of arrays: double, single, and integers of each size
_MOST = 64 << 20  # bytes of a file, and of all that it unpacks to; a car has 5


class MatlabError(ValueError):
    """The file is damaged, of another version or too large; half a sentence."""


def load_matlab(path: Path, name: str) -> NDArray[np.generic] | None:
    """The array of a name in a MATLAB file (versions 5 to 7); None where there is none.

    Raises:
        OSError: the file cannot be read.
        MatlabError: it is damaged, of another version, or unpacks to more than 64 MiB.
    """
    from scipy.io import loadmat

    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST:
            raise MatlabError(f"it has more than {_MOST:,} bytes")
        plain = _unpacked(file.read(_MOST))
    try:
        found = loadmat(io.BytesIO(plain), variable_names=[name]).get(name)
    except Exception as error:  # scipy's reader raises many kinds on damaged files
        raise MatlabError(reason(error)) from None
    return found if found is None or isinstance(found, np.ndarray) else None


def _unpacked(data: bytes) -> bytes:
    """The same file without compression."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or struct.unpack(order + "H", data[124:126])[0] != 0x0100:
        raise MatlabError("it is of another version than 5 to 7")
    plain, place = bytearray(data[:_HEADER]), _HEADER
    while place + 8 <= len(data):
        kind, length = struct.unpack_from(order + "2L", data, place)
        if place + 8 + length > len(data):
            raise MatlabError("it is cut off")
        element = data[place : place + 8 + length]
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            try:
                element = unpacker.decompress(element[8:], max(1, _MOST - len(plain)))
            except zlib.error as error:
                raise MatlabError(reason(error)) from None
            if not unpacker.eof or len(element) < 8:
                raise MatlabError(f"it is cut off, or unpacks to more than {_MOST:,} bytes")
        if _holds_numbers(element, order):
            plain += element
        place += 8 + length
    return bytes(plain)


def _holds_numbers(element: bytes, order: str) -> bool:
    """Whether it is an array of numbers; cells and structures of any size are made of a few bytes."""
    if len(element) < 24 or struct.unpack_from(order + "L", element)[0] != _MATRIX:
        return False
    return struct.unpack_from(order + "L", element, 16)[0] & 0xFF in _NUMBERS
