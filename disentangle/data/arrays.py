"""Arrays in .npz, .npy and HDF5 files: what a file holds, and rows of one array, read without unpickling anything.

A row store has a ``shape`` and a ``read`` method. Where the bytes lie uncompressed in the file they are mapped, so that
only the rows that are asked for are read; a compressed .npz member has no random access and is loaded whole.
"""

from __future__ import annotations

import logging
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from disentangle.data.per_process import PerProcess
from disentangle.errors import DataError

__all__ = ["ArrayHeader", "RowStore", "array_headers", "is_hdf5", "open_rows", "read_small"]

_LOCAL_HEADER = 30  # bytes of a zip member's own header, before its name and extra field
_log = logging.getLogger(__name__)


class RowStore(Protocol):
    """Unsigned bytes, one picture a row."""

    shape: tuple[int, ...]

    def read(self, rows: Tensor) -> Tensor:
        """(n,) int64 positions to (n, *shape[1:]) uint8."""


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says about one of its arrays.

    Attributes:
        shape: sizes of the array.
        dtype: NumPy's type of its elements; object arrays are recognised, never loaded.
        offset: where its bytes start in the file; None where they are compressed or not in row-major order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def is_hdf5(path: Path) -> bool:
    """Whether the file starts with HDF5's signature."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def array_headers(path: Path) -> dict[str, ArrayHeader]:
    """Name to header of every array in a .npz, .npy (under the name "") or HDF5 file; no array is read.

    Raises:
        DataError: the file is none of these, or is damaged.
    """
    try:
        if is_hdf5(path):
            return _hdf5_headers(path)
        with path.open("rb") as file:
            if file.read(6) == npy.MAGIC_PREFIX:
                file.seek(0)
                return {"": _npy_header(file, compressed=False)}
        return _npz_headers(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read as an .npz, .npy or HDF5 file ({error}); expected one of these: fetch it again."
        ) from error


def open_rows(path: Path, name: str, header: ArrayHeader, *, in_memory: bool = False) -> RowStore:
    """The rows of one array of unsigned bytes, in the shape of the header (which may merge the file's leading axes).

    An HDF5 dataset is read row by row and an uncompressed array is mapped, unless ``in_memory`` asks for all of it; a
    compressed .npz member is always loaded.

    Raises:
        DataError: the array is not of unsigned bytes, or the file is damaged.
    """
    if header.dtype != np.uint8:
        raise DataError(f"{path}: the array {name!r} has the type {header.dtype}; expected uint8.")
    if is_hdf5(path):
        rows = Hdf5Rows(path, name, header.shape)
        return rows if rows.in_order() and not in_memory else TensorRows(rows.read_all())
    if header.offset is not None and not in_memory:
        if header.offset + header.nbytes > path.stat().st_size:
            raise DataError(f"{path} is cut off within the array {name!r}; fetch it again.")
        return MappedRows(path, header)
    _log.info("reading %s of %s: %.1f GB of memory", name, path, header.nbytes / 1e9)
    loaded = np.ascontiguousarray(_load(path, name)).reshape(header.shape)
    return TensorRows(torch.from_numpy(loaded))


def read_small(path: Path, name: str) -> NDArray[Any]:
    """A whole array, such as the labels; never an array of objects.

    Raises:
        DataError: the array holds Python objects, or the file is damaged.
    """
    if is_hdf5(path):
        try:
            with _open_hdf5(path) as file:
                return np.asarray(file[name][...])
        except OSError as error:
            raise _unreadable(path, name, error) from error
    return _load(path, name)


def _load(path: Path, name: str) -> NDArray[Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            array: NDArray[Any] = loaded[name]
            return array
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise _unreadable(path, name, error) from error


def _unreadable(path: Path, name: str, error: Exception) -> DataError:
    return DataError(f"{path}: the array {name!r} cannot be read ({error}); fetch the file again.")


# --- headers


def _npy_header(file: IO[bytes], *, compressed: bool) -> ArrayHeader:
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"array format {version[0]}.{version[1]} is not known")
    return ArrayHeader(shape, dtype, None if compressed or fortran else file.tell())


def _npz_headers(path: Path) -> dict[str, ArrayHeader]:
    headers = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as file:
                header = _npy_header(file, compressed=True)
                within = file.tell()
            if member.compress_type == zipfile.ZIP_STORED:
                raw.seek(member.header_offset)
                name_length, extra_length = struct.unpack("<26x2H", raw.read(_LOCAL_HEADER))
                raw.seek(member.header_offset + _LOCAL_HEADER + name_length + extra_length)
                header = _npy_header(raw, compressed=False)
                if header.offset is not None and within + header.nbytes > member.file_size:
                    raise ValueError(f"{member.filename} is shorter than it announces")
            headers[member.filename.removesuffix(".npy")] = header
    return headers


def _hdf5_headers(path: Path) -> dict[str, ArrayHeader]:
    headers: dict[str, ArrayHeader] = {}

    def note(name: str, item: Any) -> None:
        if hasattr(item, "shape") and item.shape is not None:
            headers[name] = ArrayHeader(item.shape, item.dtype)

    with _open_hdf5(path) as file:
        file.visititems(note)
    return headers


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


class Hdf5Rows:
    """Rows of an HDF5 dataset."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._path, self._name = path, name
        self._file = PerProcess(partial(_open_hdf5, path))

    def read(self, rows: Tensor) -> Tensor:
        if not len(rows):
            return torch.zeros((0, *self.shape[1:]), dtype=torch.uint8)
        unique, inverse = torch.unique(rows, return_inverse=True)
        dataset = self._file()[self._name]
        try:
            if dataset.chunks is not None and dataset.chunks[0] > 1:
                # A compressed chunk spans many rows: one selection opens each chunk once.
                found = dataset[unique.numpy()]
            else:
                found = np.concatenate([dataset[start:stop] for start, stop in _runs(unique.tolist())])
        except OSError as error:
            raise _unreadable(self._path, self._name, error) from error
        return torch.from_numpy(found)[inverse]

    def in_order(self) -> bool:
        """Whether the dataset's first axis counts the rows; where the file has a grid of axes, it does not."""
        return tuple(self._file()[self._name].shape) == self.shape

    def read_all(self) -> Tensor:
        try:
            return torch.from_numpy(self._file()[self._name][...]).reshape(self.shape)
        except OSError as error:
            raise _unreadable(self._path, self._name, error) from error


def _runs(rows: list[int]) -> list[tuple[int, int]]:
    """Ascending rows as stretches [start, stop): a slice is many times faster than a list of rows."""
    runs: list[tuple[int, int]] = []
    for row in rows:
        if runs and runs[-1][1] == row:
            runs[-1] = (runs[-1][0], row + 1)
        else:
            runs.append((row, row + 1))
    return runs


def _open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"Reading {path} needs the package h5py, which is not installed; run pip install "
            "'disentangle-toolkit[data]'."
        ) from error
    return h5py.File(path, "r")
