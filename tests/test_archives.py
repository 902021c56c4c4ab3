"""Zips whose sizes lie, whose parts are damaged, and whose checksums differ."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from disentangle.archives import ArchiveError, Member, open_zip, unpack

METHODS = {"stored": 0, "deflate": 8, "bzip2": 12, "lzma": 14}
CONTENT = random.Random(0).randbytes(300_000) + bytes(500_000)  # what packs badly, then what packs well


def made(path, content: bytes, method: int, name: str = "part"):
    with zipfile.ZipFile(path, "w", compression=method) as archive:
        archive.writestr(name, content)
    return path


def patched(path, *, size: int | None = None, crc: int | None = None, method: int | None = None, flags=None):
    """The only part's record in the table of contents with other claims."""
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    for value, form, offset in ((flags, "<H", 8), (method, "<H", 10), (crc, "<I", 16), (size, "<I", 24)):
        if value is not None:
            struct.pack_into(form, raw, at + offset, value)
            if offset in (8, 10):
                struct.pack_into(form, raw, offset - 2, value)
    path.write_bytes(raw)
    return path


def only(path):
    archive = open_zip(path)
    return archive, archive.infolist()[0]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "byte", "long"])
def test_what_was_packed_is_unpacked(tmp_path, method, content):
    archive, info = only(made(tmp_path / "a.zip", content, method))
    assert unpack(archive, info, most=len(content)) == content
    with Member(archive, info) as stream:
        assert stream.read() == content
    with Member(archive, info) as stream:
        assert b"".join(iter(lambda: stream.read(777), b"")) == content


@pytest.mark.parametrize("method", [8, 12, 14], ids=["deflate", "bzip2", "lzma"])
def test_a_bomb_stops_at_the_stated_size(tmp_path, method):
    path = patched(made(tmp_path / "a.zip", bytes(60_000_000), method), size=1000)
    archive, info = only(path)
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="unpacks to more than 1,000 bytes, which are stated"):
            unpack(archive, info, most=1_000_000)
        with pytest.raises(ArchiveError, match="unpacks to more than 1,000 bytes"):
            Member(archive, info).readall()
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_stated_size_above_the_limit_is_refused_unread(tmp_path):
    archive, info = only(made(tmp_path / "a.zip", bytes(1001), 8))
    with pytest.raises(ArchiveError, match="would unpack to 1,001 bytes; the limit is 1,000"):
        unpack(archive, info, most=1000)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_fewer_bytes_than_stated(tmp_path, method):
    archive, info = only(patched(made(tmp_path / "a.zip", b"abc" * 100, method), size=301))
    with pytest.raises(ArchiveError, match="unpacks to 300 bytes where 301 are stated"):
        unpack(archive, info, most=1000)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_checksum_is_compared(tmp_path, method):
    archive, info = only(patched(made(tmp_path / "a.zip", CONTENT, method), crc=zlib.crc32(CONTENT) ^ 1))
    with pytest.raises(ArchiveError, match="checksum of its part part is wrong"):
        unpack(archive, info, most=len(CONTENT))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_damage_is_noticed_or_harmless(tmp_path, method):
    """A flipped byte anywhere gives the right content or an ArchiveError, never another content or exception."""
    good = made(tmp_path / "a.zip", CONTENT[299_000:301_000], method).read_bytes()
    rng = random.Random(method)
    refused = 0
    for position in rng.sample(range(len(good)), 300):
        raw = bytearray(good)
        raw[position] ^= 1 << rng.randrange(8)
        (tmp_path / "b.zip").write_bytes(raw)
        try:
            with open_zip(tmp_path / "b.zip") as archive:
                for info in archive.infolist():
                    assert unpack(archive, info, most=10_000) == CONTENT[299_000:301_000]
        except ArchiveError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_shortened_part(tmp_path, method):
    good = made(tmp_path / "a.zip", CONTENT, method).read_bytes()
    directory = good.rindex(b"PK\x01\x02")
    packed = struct.unpack_from("<I", good, directory + 20)[0]
    raw = bytearray(good)
    struct.pack_into("<I", raw, directory + 20, packed // 2)
    (tmp_path / "b.zip").write_bytes(raw)
    archive, info = only(tmp_path / "b.zip")
    with pytest.raises(ArchiveError):
        unpack(archive, info, most=len(CONTENT))


def test_lzma_takes_no_more_memory_than_it_has_to_unpack(tmp_path):
    path = made(tmp_path / "a.zip", b"abc" * 100, 14)
    raw = bytearray(path.read_bytes())
    at = 30 + len("part") + 4  # the header, the name, the version and length of the properties
    struct.pack_into("<I", raw, at + 1, 2**32 - 1)
    path.write_bytes(raw)
    archive, info = only(path)
    assert unpack(archive, info, most=1000) == b"abc" * 100


def test_other_methods_and_encryption(tmp_path):
    archive, info = only(patched(made(tmp_path / "a.zip", b"abc", 0), method=9))
    with pytest.raises(ArchiveError, match="packed by method 9"):
        unpack(archive, info, most=10)
    archive, info = only(patched(made(tmp_path / "a.zip", b"abc", 0), flags=1))
    with pytest.raises(ArchiveError, match="is encrypted"):
        unpack(archive, info, most=10)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"PK" * 100, b"\x89PNG" * 100])
def test_what_is_no_zip(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError):
        open_zip(tmp_path / "a.zip")
    with pytest.raises(FileNotFoundError):
        open_zip(tmp_path / "none.zip")
    with pytest.raises(OSError, match="it is a folder"):
        open_zip(tmp_path)


def test_hostile_names_are_escaped(tmp_path):
    archive, info = only(patched(made(tmp_path / "a.zip", b"abc", 8, name="\x1b[2J"), size=4))
    with pytest.raises(ArchiveError) as raised:
        unpack(archive, info, most=10)
    assert r"\x1b[2J" in str(raised.value)


def test_threads_read_from_one_archive(tmp_path):
    contents = {f"{i}": random.Random(i).randbytes(50_000) for i in range(20)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in contents.items():
            writer.writestr(name, content)
    archive = open_zip(tmp_path / "a.zip")
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda info: (info.filename, unpack(archive, info, most=50_000)), archive.infolist() * 3)
        assert all(content == contents[name] for name, content in found)
