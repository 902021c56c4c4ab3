"""Arrays in .npz, .npy and HDF5 files: what a file holds, and rows of one array, read without unpickling anything.

A row store has a ``shape`` and a ``read`` method. Where the bytes lie uncompressed in the file they are mapped, so that
only the rows that are asked for are read; a compressed .npz member has no random access and is loaded whole.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle.array_files import ArrayFile, ArrayHeader
from disentangle.data.hdf5 import Hdf5Rows, hdf5_headers, read_hdf5
from disentangle.data.places import reads_files
from disentangle.errors import DataError
from disentangle.files import open_regular
from disentangle.images.per_process import PerProcess

__all__ = ["ArrayHeader", "RowStore", "TensorRows", "array_headers", "is_hdf5", "open_rows", "read_small"]

_FAULT = "cannot be read as an .npz, .npy or HDF5 file"
_WHAT = "one of these: fetch it again"
_PICTURE = 64 * 64  # pixels of the published sets, which are unpacked to gigabytes
_SMALL = 256 << 20  # bytes of labels
_log = logging.getLogger(__name__)


class RowStore(Protocol):
    """Unsigned bytes, one picture a row."""

    shape: tuple[int, ...]

    def read(self, rows: Tensor) -> Tensor:
        """(n,) int64 positions to (n, *shape[1:]) uint8."""


@reads_files
def is_hdf5(path: Path) -> bool:
    """Whether the file starts with HDF5's signature."""
    with open_regular(path) as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def array_headers(path: Path) -> dict[str, ArrayHeader]:
    """Name to header of every array in a .npz, .npy (under the name "") or HDF5 file; no array is read.

    Raises:
        DataError: the file is none of these, or is damaged.
    """
    if is_hdf5(path):
        return hdf5_headers(path)
    with ArrayFile(path, what=_WHAT, fault=_FAULT, error=DataError) as file:
        return {name: file.header(name) for name in file.names}


def open_rows(path: Path, name: str, header: ArrayHeader, *, in_memory: bool = False) -> RowStore:
    """The rows of one array of unsigned bytes, in the shape of the header (which may merge the file's leading axes).

    An HDF5 dataset is read row by row and an uncompressed array is mapped, unless ``in_memory`` asks for all of it; a
    compressed .npz member is always loaded. The checksum of a part of an .npz is compared once, here.

    Raises:
        DataError: the array is not of unsigned bytes, or the file is damaged.
    """
    if header.dtype != np.uint8:
        raise DataError(f"{path}: the array {name!r} has the type {header.dtype}; expected uint8.")
    if is_hdf5(path):
        rows = Hdf5Rows(path, name, header.shape)
        return rows if rows.in_order() and not in_memory else TensorRows(rows.read_all())
    if header.offset is not None and not in_memory:
        with ArrayFile(path, what=_WHAT, fault=_FAULT, error=DataError) as file:
            file.verify(name)
        return MappedRows(path, header)
    _log.info("reading %s of %s: %.1f GB of memory", name, path, header.nbytes / 1e9)
    count, *picture = header.shape
    # What is here to be unpacked was made with the size of the published pictures, or is small.
    most = max(_SMALL, count * _PICTURE * (picture[2] if len(picture) > 2 else 1))
    with ArrayFile(path, what=_WHAT, fault=_FAULT, error=DataError) as file:
        loaded = np.ascontiguousarray(file.read(name, most=most)).reshape(header.shape)
    return TensorRows(torch.from_numpy(loaded))


def read_small(path: Path, name: str) -> NDArray[Any]:
    """A whole array, such as the labels; never an array of objects.

    Raises:
        DataError: the array holds Python objects, or the file is damaged.
    """
    if is_hdf5(path):
        return read_hdf5(path, name, most=_SMALL)
    with ArrayFile(path, what=_WHAT, fault=_FAULT, error=DataError) as file:
        return file.read(name, most=_SMALL)


# --- row stores


class TensorRows:
    """Rows in memory."""

    def __init__(self, rows: Tensor) -> None:
        # A tensor rather than an array: it travels to a worker process in shared memory instead of a copy.
        self._rows = rows
        self.shape = tuple(rows.shape)

    def read(self, rows: Tensor) -> Tensor:
        return self._rows[rows]


class MappedRows:
    """Rows that lie uncompressed, in row-major order, in a file."""

    def __init__(self, path: Path, header: ArrayHeader) -> None:
        self.shape = header.shape
        self._map = PerProcess(
            partial(np.memmap, path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape)
        )

    def read(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(np.array(self._map()[rows.numpy()]))
