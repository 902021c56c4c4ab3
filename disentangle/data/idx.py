"""The idx format of MNIST and its relatives: a header of big-endian sizes, then unsigned bytes in row-major order.

Four bytes come first: two zeros, the element type (8 is the unsigned byte) and the number of dimensions. One four-byte
size for each dimension follows.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from disentangle.errors import DataError, reason
from disentangle.files import open_regular

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 8
_FREE = 128 << 20  # bytes that a file may unpack to, and sixteen for each of its own
_EACH = 16


def read_idx(path: Path, ndim: int, what: str) -> Tensor:
    """The array in an idx file, plain or compressed with gzip.

    Args:
        path: the file; gzip is recognised by its first bytes, not by the name.
        ndim: the number of dimensions it must have.
        what: what the file should hold, for messages: ``"pictures of 28x28 bytes"``.

    Returns:
        uint8 tensor of the sizes in the header.

    Raises:
        DataError: not an idx file of unsigned bytes, another number of dimensions, or a length that differs from the
            header's.
    """
    expected = f"expected an idx file of {ndim} dimension{'s' if ndim > 1 else ''} with {what}"
    try:
        with open_regular(path) as raw:
            packed = os.fstat(raw.fileno()).st_size
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file: Any = gzip.GzipFile(fileobj=raw) if compressed else raw
            header = file.read(4 + 4 * ndim)
            if len(header) < 4 + 4 * ndim or header[:4] != bytes((0, 0, _UNSIGNED_BYTE, ndim)):
                raise DataError(f"{path} starts with the bytes {header[:4].hex(' ')!r}; {expected}.")
            sizes = struct.unpack(f">{ndim}I", header[4:])
            length, most = math.prod(sizes), _FREE + _EACH * packed
            # Reads at most one byte more than announced, however much a hostile file unpacks to.
            data = _read_at_most(file, min(length, most) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({reason(error)}); {expected}: fetch the file again.") from error
    if len(data) > most:
        raise DataError(f"{path} has {packed:,} bytes and unpacks to more than {most:,}, the limit; {expected}.")
    if len(data) != length:
        held = f"{len(data)} bytes" if len(data) < length else "more"
        announced = " x ".join(map(str, sizes))
        raise DataError(
            f"{path} announces {announced} = {length} bytes and holds {held}; {expected}: fetch the file again."
        )
    return torch.frombuffer(data, dtype=torch.uint8).reshape(sizes) if length else torch.zeros(sizes, dtype=torch.uint8)


def _read_at_most(file: IO[bytes], count: int) -> bytearray:
    """Up to ``count`` bytes, in blocks: a header that announces far too much costs no memory."""
    data = bytearray()
    while len(data) < count:
        block = file.read(min(count - len(data), 1 << 24))
        if not block:
            break
        data += block
    return data
