"""Arrays in .npy and .npz files: read right, and refused in a sentence before they take memory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from disentangle import array_files
from disentangle.array_files import ArrayFile
from disentangle.errors import DataError, DisentangleError, InputError
from disentangle.evaluations.features import PROTOCOLS, array_images, extract_features, file_images
from disentangle.evaluations.features.extractors import Extractor
from disentangle.evaluations.generation import FeatureStatistics

RNG = np.random.default_rng(0)


def header(descr: Any, shape: str, *, fortran: bool = False) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text


def read(path: Path, name: str = "", **options: Any) -> np.ndarray:
    with ArrayFile(path, **options) as file:
        return file.read(name)


# --- what is right


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2", "|u1", "<i8", ">i4", "|b1"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (2, 3, 4), (0, 7)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_plain_array_comes_back(tmp_path: Path, dtype: str, shape: tuple[int, ...], order: Any) -> None:
    array = np.asarray((RNG.random(shape) * 100).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "s.npz", x=array, y=1)
    np.savez_compressed(tmp_path / "c.npz", x=array)
    for path, name in ((tmp_path / "a.npy", ""), (tmp_path / "s.npz", "x"), (tmp_path / "c.npz", "x")):
        found = read(path, name)
        np.testing.assert_array_equal(found, array)
        assert found.shape == shape
        assert found.dtype == array.dtype.newbyteorder("=")
        torch.from_numpy(found)  # in this machine's byte order, and to be written to


def test_places_of_stored_arrays(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (3, 4), np.uint8)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "s.npz", x=array, f=np.asfortranarray(array))
    for path, name in ((tmp_path / "a.npy", ""), (tmp_path / "s.npz", "x")):
        with ArrayFile(path) as file:
            offset = file.header(name).offset
        assert offset is not None
        assert path.read_bytes()[offset : offset + 12] == array.tobytes()
    with ArrayFile(tmp_path / "s.npz") as file:
        assert file.header("f").offset is None
        assert file.names == ("x", "f")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_the_format(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.arange(4.0), version=version)
    assert read(tmp_path / "a.npy").tolist() == [0, 1, 2, 3]


# --- what is wrong


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "File is not a zip file"),
        (b"\x93NUM", "File is not a zip file"),
        (b"\x93NUMPY\x01", "cut off within its header"),
        (b"\x93NUMPY\x09\0\0\0", "known version"),
        (b"\x93NUMPY\x02\0\xf0\xff\xff\xff", r"said to have 4,294,967,280 bytes"),
        (b"\x93NUMPY\x01\0\x05\0{[(", "cut off within its header"),
        (b"\x93NUMPY\x01\0\x10\x27" + b"(" * 10_000, "its header is damaged"),
        (b"\x93NUMPY\x01\0\x10\x27" + b"-" * 10_000, "its header is damaged"),
        (b"\x93NUMPY\x01\0\x04\0'''\n", "its header is damaged"),
        (b"\x93NUMPY\x01\0\x10\0  {'a':1}\n {'b'\n", "its header is damaged"),
        (header("<f8", "(1000000000000,)"), r"cut off: it announces 8,000,000,000,000 bytes and has 0"),
        (header("<f8", "(10**9,)"), "its header is damaged"),
        (header("<f8", "(-1,)") + bytes(99), "states the shape"),
        (header("<f8", f"({'9' * 4000},)"), "states the shape|its header is damaged"),
        (header("<f8", f"({'1,' * 60})") + bytes(8), "states the shape|its header is damaged"),
        (header("|V0", "(1000000000000000000,)"), "not of plain numbers"),
        (header("|S0", "(1000000000000000000,)"), "not of plain numbers"),
        (header("|O", "(1,)") + b"\x80\x04N.", "of object, not of plain numbers"),
        (header("<c16", "(1,)") + bytes(16), "of complex128, not of plain numbers"),
        (header("<M8[s]", "(1,)") + bytes(8), "not of plain numbers"),
        (header("<U1", "(1,)") + bytes(4), "not of plain numbers"),
        (header([("a", "<f8")], "(1,)") + bytes(8), "not of plain numbers"),
        (header("<f8", "(2, 2)") + bytes(31), "cut off: it announces 32 bytes and has 31"),
        (header("q;q", "(2, 2)"), "its header is damaged"),
    ],
)
def test_files_that_are_no_array(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.npy is no readable \.npz or \.npy file .*({message})"):
        read(tmp_path / "a.npy")
    if len(content) > 10:
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with zipfile.ZipFile(tmp_path / "b.npz", "w", method) as archive:
                archive.writestr("x.npy", content)
            with pytest.raises(DataError, match=r"b\.npz"):
                read(tmp_path / "b.npz", "x", error=DataError)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    for name, message in (("absent.npy", "does not exist; expected codes"), ("folder.npy", "it is a folder"),
                          ("zero.npy", "device, FIFO or socket"), ("a\0b", "null")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            read(tmp_path / name, what="codes")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.npy")
        with pytest.raises(InputError, match="device, FIFO or socket"):
            read(tmp_path / "fifo.npy")
    np.savez(tmp_path / "a.npz", **{"\x1b[2J": np.zeros(2)})
    with pytest.raises(InputError, match=r"no array 'x' \(its arrays: \\x1b\[2J\)") as caught:
        read(tmp_path / "a.npz", "x")
    assert str(caught.value).isprintable()


def test_damage_is_found_by_the_checksum(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(100.0))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "a.npz").write_bytes(bytes(content))
    with pytest.raises(InputError, match="checksum"):
        read(tmp_path / "a.npz", "x")


def test_what_unpacks_to_more_than_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_files, "_FREE", 1 << 20)
    large = header("|u1", "(20000000,)") + bytes(20_000_000)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("mu.npy", large)
    with pytest.raises(InputError, match=r"mu has the shape \(20000000,\) and would take 20,000,000 bytes; the limit"):
        read(tmp_path / "a.npz", "mu")
    content = (tmp_path / "a.npz").read_bytes()
    lied = content.replace(struct.pack("<L", len(large)), struct.pack("<L", 1000))
    (tmp_path / "b.npz").write_bytes(lied)
    with pytest.raises(InputError, match=r"shorter than it announces: 20,000,000 bytes in 1,000"):
        read(tmp_path / "b.npz", "mu")
    with ArrayFile(tmp_path / "a.npz") as file:
        assert file.read("mu", most=1 << 25).nbytes == 20_000_000  # where the caller knows what it is


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of memory")
def test_a_header_alone_takes_no_memory(tmp_path: Path) -> None:
    """The bytes that a compressed part announces are not there, and an address space of a third more than torch's."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header("|u1", "(100000000,)") + bytes(10))
    content = (tmp_path / "a.npz").read_bytes()
    stated = struct.pack("<L", len(header("|u1", "(100000000,)")) + 10)
    (tmp_path / "a.npz").write_bytes(content.replace(stated, struct.pack("<L", 100_000_200)))
    program = (
        "import sys; from disentangle.array_files import ArrayFile; from disentangle.errors import InputError\n"
        "def peak(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "before = peak()\n"
        "try:\n    ArrayFile(sys.argv[1]).read('x')\n"
        "except InputError as error:\n    print(error)\n"
        "assert peak() - before < 20_000, peak() - before"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.npz"], capture_output=True, text=True, check=True
    )
    assert any(why in found.stdout for why in ("cut off", "unpacks to", "the limit is"))


# --- what others make of it


def test_masked_images_are_refused() -> None:
    with pytest.raises(InputError, match="masked"):
        array_images(np.ma.masked_array(np.zeros((2, 8, 8, 3), np.uint8), mask=True))


def test_pictures_from_zero_to_one_are_noticed() -> None:
    whole = RNG.integers(0, 256, (8, 6, 6, 3), np.uint8)
    for given in (whole / 255, torch.from_numpy(whole / 255).float(), whole.astype(np.float16) / 256):
        with pytest.raises(InputError, match=r"nothing below 0; expected floats in \[-1, 1\]"):
            array_images(given)
    right = torch.stack(array_images(whole).read(0, 8))
    assert torch.equal(torch.stack(array_images(whole / 127.5 - 1).read(0, 8)), right)
    assert array_images(np.ones((1, 4, 4, 3), np.float32)).count == 1  # an even picture tells nothing
    big_endian = array_images((whole / 127.5 - 1).astype(">f4"))
    assert torch.equal(torch.stack(big_endian.read(0, 8)), right)


@pytest.mark.parametrize("n", [float("nan"), -1.0, float("inf"), [1, 2]])
def test_numbers_of_statistics(tmp_path: Path, n: Any) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(2), sigma=np.eye(2), n=n)
    with pytest.raises(InputError, match="expected the number of features"):
        FeatureStatistics.load(tmp_path / "a.npz")


def test_a_damaged_cache_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.save(tmp_path / "a.npy", RNG.integers(0, 256, (5, 8, 8, 3), np.uint8))
    extractor = Extractor("mean", 8, lambda images: images.mean((2, 3)), sha256="00")

    def extract() -> np.ndarray:
        return extract_features(file_images(tmp_path / "a.npy"), extractor, PROTOCOLS["clean"])["features"]

    first = extract()
    (kept,) = (tmp_path / "cache").rglob("*.npz")
    whole = kept.read_bytes()
    rows = io.BytesIO()
    np.savez(rows, features=first[:2])
    for content in (b"", whole[:-40], whole[:300] + bytes([whole[300] ^ 1]) + whole[301:], rows.getvalue()):
        kept.write_bytes(content)
        np.testing.assert_array_equal(extract(), first)
        assert kept.read_bytes() == whole
    assert "Computing the features again" in caplog.text


def test_a_cache_that_cannot_be_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file in the folder's place")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    extractor = Extractor("mean", 8, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), sha256="00")
    images = array_images(RNG.integers(0, 256, (5, 8, 8, 3), np.uint8))
    assert extract_features(images, extractor, PROTOCOLS["clean"])["features"].shape == (5, 3)
    assert "not kept for the next time" in caplog.text


def test_every_error_is_one_of_the_toolkits(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04" + bytes(200))
    for opened in (file_images, FeatureStatistics.load, lambda path: ArrayFile(path, error=DataError)):
        with pytest.raises(DisentangleError):
            opened(tmp_path / "a.npz")
