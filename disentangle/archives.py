"""Zip archives whose sizes are counted while they are unpacked, never believed.

A zip states the unpacked size of each part, and zipfile's reader asks bzip2 and lzma for everything a piece of input
gives, which is a gigabyte for a kilobyte. Here every method is asked for bounded pieces, the sum is compared with a
limit and with the stated size, and the stored checksum (CRC-32) is always compared.
"""

from __future__ import annotations

import bz2
import copy
import errno
import io
import lzma
import os
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

from disentangle.errors import reason
from disentangle.files import open_regular
from disentangle.text import shown

__all__ = ["ArchiveError", "Member", "open_zip", "unpack", "unpack_into"]

_PIECE = 1 << 20


class ArchiveError(ValueError):
    """A part of an archive is damaged, of an unknown method, or unpacks to more than allowed; half a sentence."""


class _Archive(zipfile.ZipFile):
    """An archive whose table of contents is read no further than allowed: an entry takes twenty times its bytes."""

    def __init__(self, file: BinaryIO, contents: int | None) -> None:
        self._held = _Bounded(file.detach())  # type: ignore[attr-defined]
        self._held.most = os.fstat(self._held.fileno()).st_size if contents is None else contents
        try:
            super().__init__(self._held)
        except BaseException:
            self._held.close()
            raise
        self._held.most = None

    def close(self) -> None:
        super().close()
        self._held.close()


class _Bounded(io.BufferedReader):
    most: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is not None:
            size = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
            if size > self.most:
                raise ArchiveError(f"its table of contents has more than {self.most:,} bytes, the limit")
        return super().read(size)


def open_zip(path: str | os.PathLike[str], *, contents: int | None = None) -> zipfile.ZipFile:
    """The archive's table of contents, whole.

    Args:
        path: the file.
        contents: bytes that the table may have, some 100 for each part; None for as many as the file.

    Raises:
        ArchiveError: if it cannot be read, whatever zipfile makes of it, is larger, or lists fewer parts than it
            states.
        OSError: if the file is none, or a device or FIFO.
    """
    file = open_regular(path)
    try:
        stated = _stated_parts(file)
        archive = _Archive(file, contents)
    except (MemoryError, ArchiveError):
        raise
    except Exception as error:  # zipfile raises BadZipFile, but also struct.error, UnicodeDecodeError, ...
        if _of_the_disk(error):
            raise
        raise ArchiveError(reason(error)) from None
    found = len(archive.infolist())
    if stated is not None and stated != found & 0xFFFF:
        archive.close()
        raise ArchiveError(f"it lists {found:,} parts where another number is stated; it is damaged")
    return archive


def _stated_parts(file: BinaryIO) -> int | None:
    """How many parts the record at the end counts, modulo 65,536; None where they are counted elsewhere."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or place + 22 > len(tail):
        return None
    count = int(struct.unpack_from("<H", tail, place + 10)[0])
    return None if count == 0xFFFF else count


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, most: int) -> bytearray:
    """One part of an archive, whole, compared with its checksum.

    Args:
        archive: of :func:`open_zip`; several threads may read from one.
        info: which part.
        most: bytes that it may unpack to.

    Raises:
        ArchiveError: if it unpacks to more, to another size than stated, is damaged or cannot be read.
    """
    if info.file_size > most:
        raise ArchiveError(
            f"its part {shown(info.filename)} would unpack to {info.file_size:,} bytes; the limit is {most:,}"
        )
    found = bytearray()
    with Member(archive, info) as member:
        while piece := member.read(_PIECE):
            found += piece
    return found


def unpack_into(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: memoryview) -> None:
    """One part of an archive into memory that is there, compared with its checksum.

    Args:
        archive, info: see :func:`unpack`.
        target: bytes, as many as the part has.

    Raises:
        ArchiveError: if it unpacks to another size, is damaged or cannot be read.
    """
    done = 0
    with Member(archive, info, most=len(target)) as member:
        while count := member.readinto(target[done:] if done < len(target) else bytearray(1)):
            done += count
    if done != len(target):
        raise ArchiveError(f"its part {shown(info.filename)} unpacks to {done:,} bytes; expected {len(target):,}")


class Member(io.RawIOBase):
    """A part of an archive as a stream that is read once, forwards.

    Args:
        archive: of :func:`open_zip`.
        info: which part.
        most: bytes that it may unpack to; None allows the stated size.

    Raises:
        ArchiveError: by the constructor, if its method is unknown or it is encrypted; by reading, as :func:`unpack`.
    """

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, most: int | None = None) -> None:
        self._name, self._crc = info.filename, info.CRC
        self._stated, self._most = info.file_size, info.file_size if most is None else most
        self._count, self._sum, self._ended = 0, 0, False
        if info.flag_bits & 0x1:
            raise ArchiveError(f"its part {shown(self._name)} is encrypted; expected plain parts")
        raw = copy.copy(info)  # the same place in the file, as if stored: zipfile then gives the packed bytes
        raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
        del raw.CRC
        try:
            self._packed: Any = archive.open(raw)
        except MemoryError:
            raise
        except Exception as error:
            if _of_the_disk(error):
                raise
            raise ArchiveError(f"its part {shown(self._name)} cannot be read ({reason(error)})") from None
        self._method = info.compress_type
        self._decompressor = self._decompressor_of(info.compress_type)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # 0 at the end
        view = memoryview(buffer).cast("B")
        piece = self._piece(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
        super().close()

    # ------------------------------------------------------------------------------------------------ internals

    def _piece(self, size: int) -> bytes:
        """The next bytes, at most ``size``, none at the end."""
        if self._ended or size <= 0:
            return b""
        size = min(size, _PIECE)
        try:
            piece = self._unpacked(size)
        except MemoryError:
            raise
        except Exception as error:  # zlib.error, LZMAError, EOFError, BadZipFile, whatever a damaged stream makes of it
            if _of_the_disk(error):
                raise
            raise ArchiveError(f"its part {shown(self._name)} is damaged ({reason(error)})") from None
        self._count += len(piece)
        self._sum = zlib.crc32(piece, self._sum)
        if self._count > self._most:
            why = "which are stated" if self._most == self._stated else "the limit"
            raise ArchiveError(f"its part {shown(self._name)} unpacks to more than {self._most:,} bytes, {why}")
        if not piece:
            self._ended = True
            if self._count != self._stated:
                raise ArchiveError(
                    f"its part {shown(self._name)} unpacks to {self._count:,} bytes where {self._stated:,} are stated"
                )
            if self._sum != self._crc:
                raise ArchiveError(f"the checksum of its part {shown(self._name)} is wrong; it is damaged")
        return piece

    def _unpacked(self, size: int) -> bytes:
        if self._decompressor is None:
            return bytes(self._packed.read(size))
        while not self._decompressor.eof:
            packed = self._packed.read(64 * 1024) if self._decompressor.needs_input else b""
            piece = self._decompressor.decompress(packed, size)
            if piece:
                return bytes(piece)
            if not packed and self._decompressor.needs_input:
                if self._method == zipfile.ZIP_LZMA:  # its end is marked by a flag only
                    return b""
                raise EOFError("it ends in the middle")
        return b""

    def _decompressor_of(self, method: int) -> Any:
        if method == zipfile.ZIP_STORED:
            return None
        if method == zipfile.ZIP_DEFLATED:
            return _Inflate()
        if method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor()
        if method == zipfile.ZIP_LZMA:
            return self._lzma()
        raise ArchiveError(f"its part {shown(self._name)} is packed by method {method}, which is not read")

    def _lzma(self) -> lzma.LZMADecompressor:
        """A zip keeps two bytes of version, the length of the properties, and the properties in front of the stream."""
        head = self._packed.read(4)
        properties = self._packed.read(struct.unpack("<H", head[2:])[0]) if len(head) == 4 else b""
        if len(properties) != 5 or properties[0] >= 225:
            raise ArchiveError(f"its part {shown(self._name)} has no properties of LZMA; it is damaged")
        rest, lc = divmod(properties[0], 9)
        pb, lp = divmod(rest, 5)
        if lc + lp > 4:
            raise ArchiveError(f"its part {shown(self._name)} has properties that LZMA does not allow; it is damaged")
        # The memory asked for is a claim too: no more of it is of use than there are bytes to unpack.
        memory = min(int.from_bytes(properties[1:], "little"), self._stated, self._most)
        filters = [{"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": max(memory, 4096)}]
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


def _of_the_disk(error: Exception) -> bool:
    """Whether the file could not be read; bz2's own errors have no number, and a place that is no place is a claim."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


class _Inflate:
    """zlib's raw streams with the interface of bz2's and lzma's decompressors."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
