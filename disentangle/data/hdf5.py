"""HDF5 files of strangers: only arrays that lie in the file itself, in pieces of a bounded size, are read.

An HDF5 file can send its reader elsewhere: by external links, by datasets whose bytes lie in another file (any file of
the machine), by virtual datasets. It can state chunks of any size, packed by any filter, and HDF5's own gzip unpacks a
chunk to whatever comes out. All of this is looked at before anything is read.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle.array_files import ArrayHeader
from disentangle.data.places import decoding
from disentangle.errors import DataError
from disentangle.images.per_process import PerProcess
from disentangle.text import shown

__all__ = ["Hdf5Rows", "all_numbers", "all_texts", "hdf5_headers", "item_in", "opened_hdf5", "read_hdf5"]

_MOST_NAMES = 1000  # arrays and groups that are looked at; the published files have fewer than ten
_DEEPEST = 4
_LARGEST_CHUNK = 256 << 20  # bytes, unpacked
_GZIP, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_LZF_RATIO = 88  # a byte of lzf stands for at most so many
_TEXT = 64  # bytes of memory that a text takes beside its letters
_REFERENCE = 16  # bytes of a text of any length in its array: its length, and where it lies


def hdf5_headers(path: Path) -> dict[str, ArrayHeader]:
    """Name to header of the arrays in an HDF5 file; no array is read.

    Raises:
        DataError: the file is damaged, or one of its arrays lies elsewhere.
    """
    headers: dict[str, ArrayHeader] = {}
    with _reading(path), _open(path) as file:
        for name, item in _datasets(path, file):
            if item.shape is not None:
                headers[name] = ArrayHeader(tuple(map(int, item.shape)), item.dtype)
    return headers


def read_hdf5(path: Path, name: str, *, most: int) -> NDArray[Any]:
    """A whole array of plain numbers of at most so many bytes.

    Raises:
        DataError: it is larger, of another kind, or damaged.
    """
    with opened_hdf5(path) as file:
        return all_numbers(path, _checked(path, file, name), most=most)


@contextmanager
def opened_hdf5(path: Path) -> Iterator[Any]:
    """The file; what goes wrong in the block, also what HDF5's library says of a damaged file, is a DataError."""
    with _reading(path), _open(path) as file:
        yield file


def all_numbers(path: Path, dataset: Any, *, most: int) -> NDArray[Any]:
    """A whole dataset of plain numbers of at most so many bytes.

    Raises:
        DataError: it is larger, of another kind, or damaged.
    """
    if dataset.dtype.kind not in "biuf" or dataset.size * dataset.dtype.itemsize > most:
        raise DataError(
            f"{path}: the array {dataset.name.lstrip('/')!r} is {shown(str(dataset.dtype))} of the shape "
            f"{dataset.shape}; expected numbers, at most {most:,} bytes."
        )
    _Chunks(path, dataset).check_all()
    return np.asarray(dataset[...])


def all_texts(path: Path, dataset: Any, *, most: int) -> list[str]:
    """A whole dataset of texts in UTF-8, one axis, of at most so many bytes in all.

    A text lies elsewhere in the file and its array refers to it, any number of times: the lengths are added up first.

    Raises:
        DataError: they are more, of another kind, or damaged.
    """
    import h5py

    kind = h5py.check_string_dtype(dataset.dtype)
    if kind is None or dataset.ndim != 1:
        raise DataError(f"{path}: {dataset.name.lstrip('/')!r} holds {shown(str(dataset.dtype))}; expected texts.")
    chunks = _Chunks(path, dataset)
    total = dataset.size * (_TEXT + (kind.length or 0))
    if total <= most:
        chunks.check_all()
        total += chunks.text_bytes() if kind.length is None else 0
    if total > most:
        raise DataError(
            f"{path}: the texts of {dataset.name.lstrip('/')!r} would take {total:,} bytes; the limit is {most:,}."
        )
    return [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in dataset[...].tolist()]


class Hdf5Rows:
    """Rows of an HDF5 dataset of unsigned bytes."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._path, self._name = path, name
        self._opened = PerProcess(partial(_open_dataset, path, name))

    def read(self, rows: Tensor) -> Tensor:
        if not len(rows):
            return torch.zeros((0, *self.shape[1:]), dtype=torch.uint8)
        unique, inverse = torch.unique(rows, return_inverse=True)
        with _reading(self._path):
            dataset, chunks = self._opened()
            chunks.check_rows(unique.tolist())
            if dataset.chunks is not None and dataset.chunks[0] > 1:
                # A compressed chunk spans many rows: one selection opens each chunk once.
                found = dataset[unique.numpy()]
            else:
                found = np.concatenate([dataset[start:stop] for start, stop in _runs(unique.tolist())])
        return torch.from_numpy(found)[inverse]

    def in_order(self) -> bool:
        """Whether the dataset's first axis counts the rows; where the file has a grid of axes, it does not."""
        with _reading(self._path):
            return tuple(self._opened()[0].shape) == self.shape

    def read_all(self) -> Tensor:
        with _reading(self._path):
            dataset, chunks = self._opened()
            chunks.check_all()
            return torch.from_numpy(dataset[...]).reshape(self.shape)


def _runs(rows: list[int]) -> list[tuple[int, int]]:
    """Ascending rows as stretches [start, stop): a slice is many times faster than a list of rows."""
    runs: list[tuple[int, int]] = []
    for row in rows:
        if runs and runs[-1][1] == row:
            runs[-1] = (runs[-1][0], row + 1)
        else:
            runs.append((row, row + 1))
    return runs


# --- opening


def _reading(path: Path) -> AbstractContextManager[None]:
    return decoding(path, "an .npz, .npy or HDF5 file", "expected one of these: fetch it again")


def _open(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"Reading {path} needs the package h5py, which is not installed; run pip install "
            "'disentangle-toolkit[data]'."
        ) from error
    return h5py.File(path, "r")


def _open_dataset(path: Path, name: str) -> tuple[Any, _Chunks]:
    dataset = _checked(path, _open(path), name)
    return dataset, _Chunks(path, dataset)


def _datasets(
    path: Path, group: Any, prefix: str = "", depth: int = 1, looked_at: Iterator[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """(name, dataset) of what hangs in a file by plain links; links of other kinds are passed over, as if absent.

    Names are counted over all groups, since a group may hang in itself, or in many places.
    """
    import h5py

    looked_at = itertools.count() if looked_at is None else looked_at
    for key in group:
        if next(looked_at) >= _MOST_NAMES:
            raise DataError(f"{path} holds more than {_MOST_NAMES:,} arrays; expected the few of a data set.")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield prefix + key, _in_the_file(path, prefix + key, item)
        elif isinstance(item, h5py.Group) and depth < _DEEPEST:
            yield from _datasets(path, item, f"{prefix}{key}/", depth + 1, looked_at)


def _checked(path: Path, file: Any, name: str) -> Any:
    """The dataset of a name, every part of which is a plain link."""
    import h5py

    item = item_in(path, file, name)
    if item is None:
        raise DataError(f"{path} has no array {name!r} of its own; fetch the file again.")
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{path}: {name!r} is no array; fetch the file again.")
    return item


def item_in(path: Path, group: Any, name: str) -> Any | None:
    """The group or dataset of a name, every part of which is a plain link; None where there is none.

    Raises:
        DataError: it is a dataset whose bytes lie in another file.
    """
    import h5py

    item = group
    for part in name.split("/"):
        if not isinstance(item, h5py.Group) or not isinstance(item.get(part, getlink=True), h5py.HardLink):
            return None
        item = item[part]
    return _in_the_file(path, name, item) if isinstance(item, h5py.Dataset) else item


def _in_the_file(path: Path, name: str, dataset: Any) -> Any:
    if dataset.external or dataset.is_virtual:
        raise DataError(
            f"{path}: the bytes of the array {name!r} lie in another file, which is not read; expected arrays that lie "
            "in the file itself."
        )
    return dataset


# --- chunks


class _Chunks:
    """The pieces in which a dataset is stored, each looked at before HDF5's library unpacks it.

    Raises:
        DataError: if they are too large, packed by an unknown filter, or hold more than they should.
    """

    def __init__(self, path: Path, dataset: Any) -> None:
        self._path, self._dataset = path, dataset
        self._sides: tuple[int, ...] = dataset.chunks or ()
        self._good: set[tuple[int, ...]] = set()
        self._width = _REFERENCE if dataset.dtype.kind == "O" else dataset.dtype.itemsize
        if not self._sides:
            stored = dataset.size * self._width
            if stored > path.stat().st_size:
                raise self._wrong(f"would have {stored:,} bytes, more than the file")
            return
        self._bytes = math.prod(self._sides) * self._width
        plist = dataset.id.get_create_plist()
        self._filters = [int(plist.get_filter(i)[0]) for i in range(plist.get_nfilters())]
        unknown = set(self._filters) - {_GZIP, _SHUFFLE, _FLETCHER32, _LZF}
        if unknown or self._filters.count(_GZIP) + self._filters.count(_LZF) > 1:
            raise self._wrong(f"is packed by the filters {self._filters}, of which gzip or lzf alone is read")
        if self._bytes > _LARGEST_CHUNK:
            raise self._wrong(f"is stored in pieces of {self._bytes:,} bytes; the limit is {_LARGEST_CHUNK:,}")

    def check_all(self) -> None:
        """All of them; a dataset of which pieces are missing is filled up by the library, and so refused."""
        if self._sides:
            grid = [range(0, size, side) for size, side in zip(self._dataset.shape, self._sides, strict=True)]
            if math.prod(map(len, grid)) != self._dataset.id.get_num_chunks():
                raise self._wrong("lacks some of its pieces")
            for place in product(*grid):
                self._check(place)

    def text_bytes(self) -> int:
        """How long all texts are, by what refers to them; after :meth:`check_all`, of one axis."""
        if self._dataset.file.id.get_create_plist().get_sizes() != (8, 8):
            raise self._wrong("holds texts in an old form, which is not read")
        count = self._dataset.size
        if self._sides:
            raw = b"".join(self._unpacked((start,)) for start in range(0, count, self._sides[0]))
        else:
            place = self._dataset.id.get_offset()
            with self._path.open("rb") as file:
                file.seek(place or 0)
                raw = file.read(count * _REFERENCE) if place is not None else b""
        if len(raw) < count * _REFERENCE:
            raise self._wrong("is cut off")
        references = np.frombuffer(raw, "<u4").reshape(-1, _REFERENCE // 4)
        return int(references[:count, 0].sum(dtype=np.uint64))

    def _unpacked(self, place: tuple[int, ...]) -> bytes:
        """The bytes of a piece, which has been looked at."""
        mask, found = self._dataset.id.read_direct_chunk(place)
        for number, kind in reversed(list(enumerate(self._filters))):
            if mask & 1 << number:
                continue
            if kind == _FLETCHER32:
                found = found[:-4]
            elif kind == _GZIP:
                found = zlib.decompressobj().decompress(found, self._bytes + 16)
            elif kind == _SHUFFLE:
                found = np.frombuffer(found, np.uint8).reshape(self._width, -1).T.tobytes()
            else:
                found = _from_lzf(found, self._bytes)
        return found[: self._bytes]

    def check_rows(self, rows: list[int]) -> None:
        """Those that hold some rows."""
        if self._sides:
            firsts = sorted({row - row % self._sides[0] for row in rows})
            rest = [
                range(0, size, side) for size, side in zip(self._dataset.shape[1:], self._sides[1:], strict=True)
            ]  # fmt: skip
            for place in product(firsts, *rest):
                self._check(place)

    def _check(self, place: tuple[int, ...]) -> None:
        if place in self._good:
            return
        info = self._dataset.id.get_chunk_info_by_coord(place)
        if info.byte_offset is None:
            raise self._wrong("lacks some of its pieces")
        if info.size > self._bytes + (self._bytes >> 3) + 4096:
            raise self._wrong(f"has a piece of {info.size:,} bytes for {self._bytes:,}")
        if _LZF in self._filters and info.size * _LZF_RATIO > max(2 * _LARGEST_CHUNK, self._bytes):
            raise self._wrong("has a piece that may unpack to more than it should")
        if _GZIP in self._filters and not info.filter_mask:
            _, packed = self._dataset.id.read_direct_chunk(place)
            if _FLETCHER32 in self._filters and self._filters.index(_FLETCHER32) > self._filters.index(_GZIP):
                packed = packed[:-4]
            found = len(zlib.decompressobj().decompress(packed, self._bytes + 16))
            if found > self._bytes + 8:
                raise self._wrong(f"has a piece that unpacks to more than its {self._bytes:,} bytes")
        elif info.filter_mask and info.filter_mask & (1 << len(self._filters)) - 1 != info.filter_mask:
            raise self._wrong("has a piece of another kind")
        self._good.add(place)

    def _wrong(self, why: str) -> DataError:
        return DataError(f"{self._path}: the array {self._dataset.name!r} {why}; fetch the file again.")


def _from_lzf(packed: bytes, most: int) -> bytes:
    """What LibLZF (Marc Lehmann) has packed, up to so many bytes: runs of letters, and copies of what came before."""
    made, at = bytearray(), 0
    while at < len(packed) and len(made) < most:
        control, at = packed[at], at + 1
        if control < 32:
            made += packed[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length, at = length + packed[at], at + 1
        start = len(made) - ((control & 31) << 8) - packed[at] - 1
        at += 1
        if start < 0:
            raise ValueError("it refers to what is before its beginning")
        for place in range(start, start + length + 2):  # one by one: a copy may reach into itself
            made.append(made[place])
    return bytes(made)
