"""Arrays in .npy and .npz files, read without unpickling anything and without believing what a header announces.

The header's shape and type are compared with the bytes that are there before memory is taken; a compressed part of an
.npz is counted while it is unpacked and its checksum compared. Arrays hold plain numbers, or, where they are asked
for, texts of a fixed width: objects, records, dates and complex numbers are refused.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from disentangle.archives import ArchiveError, Member, open_zip
from disentangle.errors import DisentangleError, InputError, reason
from disentangle.files import open_regular
from disentangle.text import shown

__all__ = ["ArrayFile", "ArrayHeader"]

_LONGEST_HEADER = 10_000  # bytes, numpy's own limit: a plain array's has 128, and parsing takes the square
_MOST_AXES = 32
_PLAIN = "biuf"
_TEXTS = "US"
_FREE = 32 << 20  # bytes that an array may unpack to, and four for each of the file's
_EACH = 4
_PIECE = 1 << 24


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says about one of its arrays.

    Attributes:
        shape: sizes of the array.
        dtype: NumPy's type of its elements; object arrays are recognised, never loaded.
        offset: where its bytes start in the file; None where they are compressed or not in row-major order.
        fortran: whether it is stored column by column.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None = None
    fortran: bool = False

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ArrayFile:
    """The arrays of a .npy or .npz file, by name; the only array of a .npy file has the name "".

    Which of the two it is, is told by the first bytes. To be used in a ``with`` block.

    Args:
        path: of the file.
        what: it should be, as in "codes"; for messages.
        fault: what is said of a damaged file.
        error: the class of what is raised.

    Attributes:
        names: of the arrays.

    Raises:
        DisentangleError: of the class ``error``, here and by every method, whatever is wrong with the file.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, what: str = "arrays", fault: str = "is no readable .npz or .npy file",
        error: type[DisentangleError] = InputError,
    ) -> None:  # fmt: skip
        self._path, self._what, self._fault, self._error = Path(path), what, fault, error
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._headers: dict[str, ArrayHeader] = {}
        self._archive: zipfile.ZipFile | None = None
        try:
            self._file = open_regular(path)
        except FileNotFoundError:
            raise error(f"{path} does not exist; expected {what}.") from None
        except (OSError, ValueError) as problem:  # ValueError: a name that no file can have
            raise self._failed(problem) from None
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            is_array = self._file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX
            if not is_array:
                self._archive = open_zip(path)
                for info in self._archive.infolist():
                    if info.filename.endswith(".npy"):
                        self._members[info.filename.removesuffix(".npy")] = info
            self.names: tuple[str, ...] = ("",) if is_array else tuple(self._members)
        except (OSError, ArchiveError) as problem:
            self.close()
            raise self._failed(problem) from None

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        if self._archive is not None:
            self._archive.close()

    def header(self, name: str) -> ArrayHeader:
        """What the file says about an array; nothing of it is read."""
        if name not in self._headers:
            try:
                self._headers[name] = self._read_header(name)
            except (OSError, ArchiveError, _DamagedError) as problem:
                raise self._failed(problem, name) from None
        return self._headers[name]

    def read(self, name: str, *, most: int | None = None, texts: bool = False) -> NDArray[Any]:
        """A whole array of numbers, in this machine's byte order.

        Args:
            name: one of ``names``.
            most: bytes that it may have; by default the file's length where it is stored as it is, and 128 MiB and
                four times the file's length where it is compressed.
            texts: whether it may hold texts too.
        """
        if name not in self.names:
            held = ", ".join(shown(key, most=40) for key in self.names[:20]) or "none"
            raise self._error(f"{self._path} has no array {name!r} (its arrays: {held}); expected {self._what}.")
        header = self.header(name)
        try:
            return self._read(name, header, most, _PLAIN + _TEXTS if texts else _PLAIN)
        except MemoryError:
            raise self._error(
                f"There is not the memory for {self._called(name)}, {header.nbytes:,} bytes; free some."
            ) from None
        except (OSError, ArchiveError, _DamagedError) as problem:
            raise self._failed(problem, name) from None

    def verify(self, name: str) -> None:
        """Read an array of an .npz once, in pieces, and compare its checksum, for those who map it; .npy has none."""
        if self._archive is None:
            return
        try:
            with Member(self._archive, self._members[name]) as member:
                while member.read(_PIECE):
                    pass
        except (OSError, ArchiveError) as problem:
            raise self._failed(problem, name) from None

    # ------------------------------------------------------------------------------------------------ internals

    def _called(self, name: str) -> str:
        return f"the array {name!r} of {self._path}" if name else str(self._path)

    def _failed(self, problem: Exception, name: str = "") -> DisentangleError:
        why = reason(problem)
        if name:
            why = f"{shown(name, most=40)} {why.removeprefix('it ')}" if why.startswith("it ") else f"{name}: {why}"
        return self._error(f"{self._path} {self._fault} ({why}); expected {self._what}.")

    def _read_header(self, name: str) -> ArrayHeader:
        if self._archive is None:
            self._file.seek(0)
            header, start = _header_of(self._file)
            if not header.dtype.hasobject and start + header.nbytes > self._size:
                raise _DamagedError(
                    f"{self._path.name} is cut off: it announces {header.nbytes:,} bytes and has {self._size - start:,}"
                )
            return replace(header, offset=None if header.fortran else start)
        info = self._members[name]
        with Member(self._archive, info) as member:
            header, start = _header_of(member)
        if not header.dtype.hasobject and start + header.nbytes > info.file_size:
            raise _DamagedError(
                f"{shown(info.filename)} is shorter than it announces: {header.nbytes:,} bytes in {info.file_size:,}"
            )
        place = self._stored_at(info)
        return replace(header, offset=None if place is None or header.fortran else place + start)

    def _stored_at(self, info: zipfile.ZipInfo) -> int | None:
        """Where the bytes of an uncompressed part begin in the file."""
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        self._file.seek(info.header_offset)
        local = self._file.read(30)  # the part's own header, before its name and extra field
        if len(local) < 30:
            raise _DamagedError("it is cut off")
        place = info.header_offset + 30 + sum(struct.unpack_from("<2H", local, 26))
        if place + info.file_size > self._size:
            raise _DamagedError("it is cut off")
        return place

    def _read(self, name: str, header: ArrayHeader, most: int | None, kinds: str) -> NDArray[Any]:
        if header.dtype.kind not in kinds:
            raise _DamagedError(f"it is of {shown(str(header.dtype), most=60)}, not of plain numbers")
        packed = self._archive is not None and self._members[name].compress_type != zipfile.ZIP_STORED
        if most is None and packed:
            most = _FREE + _EACH * self._size
        if most is not None and header.nbytes > most:
            raise _DamagedError(
                f"it has the shape {header.shape} and would take {header.nbytes:,} bytes; the limit is {most:,}"
            )
        if self._archive is None:
            self._file.seek(0)
            _header_of(self._file)
            array = _filled(self._file, header)
        else:
            with Member(self._archive, self._members[name]) as member:
                _header_of(member)
                array = _filled(member, header)
                while member.read(_PIECE):  # to the end, where the checksum is compared
                    pass
        return array.astype(array.dtype.newbyteorder("="), copy=False)


class _DamagedError(ValueError):
    """Half a sentence."""


def _filled(file: IO[bytes] | io.RawIOBase, header: ArrayHeader) -> NDArray[Any]:
    """The array, read in pieces: the system hands memory out when it is written, so that one cut off takes little."""
    flat = np.empty(math.prod(header.shape), header.dtype)
    view, done = flat.view(np.uint8).data if flat.size else memoryview(b""), 0
    while done < len(view):
        count = file.readinto(view[done : done + _PIECE])  # type: ignore[union-attr]
        if not count:
            raise _DamagedError(f"it is cut off: it announces {header.nbytes:,} bytes and has {done:,}")
        done += count
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _header_of(file: IO[bytes] | io.RawIOBase) -> tuple[ArrayHeader, int]:
    """The header at the beginning of a stream and its length; the stream stands at the array's first byte afterwards.

    Source: NEP 1, "A simple file format for NumPy arrays".
    """
    head = _exactly(file, len(npy.MAGIC_PREFIX) + 2)
    version = head[-2], head[-1]
    if head[:-2] != npy.MAGIC_PREFIX or version not in ((1, 0), (2, 0), (3, 0)):
        raise _DamagedError("it does not start as an array of a known version does")
    width = 2 if version == (1, 0) else 4
    stated = _exactly(file, width)
    length = int.from_bytes(stated, "little")
    if length > _LONGEST_HEADER:
        raise _DamagedError(f"its header is said to have {length:,} bytes; the limit is {_LONGEST_HEADER:,}")
    text = _exactly(file, length)
    try:
        # the versions differ in the width of the length alone
        shape, fortran, dtype = npy.read_array_header_1_0(
            io.BytesIO(struct.pack("<H", length) + text), max_header_size=_LONGEST_HEADER
        )
        sizes = tuple(int(size) for size in shape)
    except Exception as error:  # its parser is Python's: tokenize's errors, RecursionError, MemoryError, ...
        raise _DamagedError(f"its header is damaged ({reason(error)})") from None
    if len(sizes) > _MOST_AXES or any(size < 0 for size in sizes) or math.prod(sizes) >= 1 << 62:
        raise _DamagedError(f"it states the shape {shown(sizes)}")
    header = ArrayHeader(sizes, dtype, fortran=bool(fortran) and len(sizes) > 1)
    return header, len(head) + width + length


def _exactly(file: IO[bytes] | io.RawIOBase, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        piece = file.read(count - len(found))
        if not piece:
            raise _DamagedError("it is cut off within its header")
        found += piece
    return bytes(found)
