"""Damaged and hostile files of every data format: a sentence, never a traceback, a dead process or a smaller set."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import CIFAR10, LSUN, FashionMNIST, ImageFolder, Shapes3D, open_data
from disentangle.data.idx import read_idx
from disentangle.data.lmdb_pages import list_entries
from disentangle.data.matlab import MatlabError, load_matlab
from disentangle.errors import DataError, DisentangleError, InputError

RNG = np.random.default_rng(0)


def png(seed: int = 0, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


# --- lmdb


def write_lmdb(folder: Path, values: dict[bytes, bytes], **options: Any) -> Path:
    lmdb = pytest.importorskip("lmdb")
    environment = lmdb.open(str(folder), map_size=1 << 26, **options)
    with environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    environment.close()
    return folder / "data.mdb"


@pytest.mark.parametrize("count", [1, 3, 300, 6000])
def test_entries_are_those_of_lmdbs_own_library(tmp_path: Path, count: int) -> None:
    values = {os.urandom(1 + i % 200) + b"%d" % i: os.urandom(i * 37 % 20_000 if count < 1000 else i % 90)
              for i in range(count)}  # fmt: skip
    path = write_lmdb(tmp_path, values)
    entries, content = list_entries(path), path.read_bytes()
    assert [entries.key(i) for i in range(count)] == sorted(values)
    for i, key in enumerate(sorted(values)):
        start, size = int(entries.offsets[i]), int(entries.sizes[i])
        assert content[start : start + size] == values[key]


def test_entries_after_deletions_and_several_transactions(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    environment = lmdb.open(str(tmp_path), map_size=1 << 24)
    kept: dict[bytes, bytes] = {}
    choice = random.Random(0)
    for _ in range(30):
        with environment.begin(write=True) as transaction:
            for _ in range(60):
                key, value = b"%04d" % choice.randrange(500), os.urandom(choice.choice((3, 700, 9000)))
                transaction.put(key, value)
                kept[key] = value
            for key in choice.sample(sorted(kept), 20):
                transaction.delete(key)
                del kept[key]
    environment.close()
    entries = list_entries(tmp_path / "data.mdb")
    assert [entries.key(i) for i in range(len(entries.ends))] == sorted(kept)


def test_a_database_that_is_cut_off_is_a_sentence(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path, {b"%04d" % i: png(i) for i in range(300)})
    whole = path.read_bytes()
    for length in (0, 10, 4096, 5000, 8192, 9000, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cannot be read as an lmdb database"):
            LSUN(tmp_path, 8)


def test_pages_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path, {b"%04d" % i: b"v" * 60 for i in range(3000)})
    whole = path.read_bytes()
    newer = max((0, 4096), key=lambda offset: struct.unpack_from("<Q", whole, offset + 144)[0])
    root = struct.unpack_from("<Q", whole, newer + 128)[0]

    def changed(*patches: tuple[int, bytes]) -> None:
        content = bytearray(whole)
        for offset, data in patches:
            content[offset : offset + len(data)] = data
        path.write_bytes(bytes(content))
        with pytest.raises(DataError, match="cannot be read as an lmdb database"):
            list_entries(path)

    first = root * 4096 + struct.unpack_from("<H", whole, root * 4096 + 16)[0]
    second = root * 4096 + struct.unpack_from("<H", whole, root * 4096 + 18)[0]
    changed((newer + 120, struct.pack("<Q", 2999)))  # entries
    changed((newer + 128, struct.pack("<Q", 1 << 40)))  # root
    changed((newer + 128, struct.pack("<Q", 0)))  # a meta page as root
    changed((newer + 94, struct.pack("<H", 60_000)))  # depth
    changed((newer + 94, struct.pack("<H", 1)))
    changed((first, struct.pack("<3H", root, 0, 0)))  # a branch that leads to itself
    changed((first, whole[second : second + 6]))  # two branches to one leaf
    changed((first, struct.pack("<3H", 0xFFFF, 0xFFFF, 0xFFFF)))
    changed((root * 4096 + 12, struct.pack("<2H", 4096, 16)))
    changed((root * 4096 + 16, struct.pack("<H", 4095)))
    leaf = struct.unpack_from("<H", whole, first)[0] * 4096
    node = leaf + struct.unpack_from("<H", whole, leaf + 16)[0]
    changed((node, struct.pack("<2H", 0xFFFF, 0xFFFF)))  # the size of a value
    changed((node + 4, struct.pack("<H", 1)))  # in overflow pages, whose number is the value's first bytes
    changed((node + 4, struct.pack("<H", 2)))  # a database within
    changed((node + 6, struct.pack("<H", 5000)))  # the length of a key
    changed((leaf, struct.pack("<Q", 1)))
    changed((leaf + 10, struct.pack("<H", 0x22)))


# --- HDF5


class SmallShapes(Shapes3D):
    grid = (2, 1, 1, 1, 1, 3)


def pictures() -> np.ndarray:
    return RNG.integers(0, 256, (6, 4, 4, 3), np.uint8)


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 4, 4, 3)}, {"chunks": (4, 2, 4, 3), "compression": "gzip"},
                                     {"chunks": (1, 4, 4, 3), "compression": "lzf"},
                                     {"compression": "gzip", "shuffle": True, "fletcher32": True}])  # fmt: skip
@pytest.mark.parametrize("in_memory", [False, True])
def test_plain_arrays_of_an_hdf5_file_are_read(tmp_path: Path, options: dict[str, Any], in_memory: bool) -> None:
    h5py = pytest.importorskip("h5py")
    stored = pictures()
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=stored, **options)
    data = SmallShapes(tmp_path / "3dshapes.h5", in_memory=in_memory)
    found = (data.images(torch.tensor([5, 0, 3])) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(found, stored[[5, 0, 3]])


def test_hdf5_files_that_lead_elsewhere_show_nothing(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"the text of another file, which is nobody's business" * 10)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["images"] = pictures()

    def external(file: Any) -> None:
        file.create_dataset("images", (6, 4, 4, 3), np.uint8, external=[(str(secret), 0, 288)])

    def linked(file: Any) -> None:
        file["images"] = h5py.ExternalLink(str(other), "images")

    def through_a_group(file: Any) -> None:
        file["group"] = h5py.ExternalLink(str(other), "/")
        file["images"] = h5py.SoftLink("/group/images")

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((6, 4, 4, 3), np.uint8)
        layout[:] = h5py.VirtualSource(str(other), "images", (6, 4, 4, 3))
        file.create_virtual_dataset("images", layout)

    for number, make in enumerate((external, linked, through_a_group, virtual)):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            make(file)
        with pytest.raises(DataError, match=r"lie in another file|no array 'images'"):
            SmallShapes(path)
        with pytest.raises(DataError):
            open_data(path)


def test_hdf5_pieces_of_any_size_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    bomb = zlib.compress(bytes(200_000), 9)
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        made = file.create_dataset("images", (6, 4, 4, 3), np.uint8, chunks=(6, 4, 4, 3), compression="gzip")
        made.id.write_direct_chunk((0, 0, 0, 0), bomb)
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("images", (6, 4, 4, 3), np.uint8, maxshape=(None,) * 4, chunks=(1 << 15, 1 << 7, 1 << 7, 3))
    with h5py.File(tmp_path / "missing.h5", "w") as file:
        file.create_dataset("images", (6, 4, 4, 3), np.uint8, chunks=(2, 4, 4, 3))[:2] = 1
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["images"] = pictures()
        file.create_dataset("labels", (6, 6), np.float64, chunks=(6, 6), compression="gzip", fillvalue=3)
    for name in ("bomb", "large", "missing", "labels"):
        for in_memory in (False, True):
            with pytest.raises(DataError):
                SmallShapes(tmp_path / f"{name}.h5", in_memory=in_memory).images(torch.arange(6))


# --- gzip and MATLAB


def test_idx_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from disentangle.data import idx

    monkeypatch.setattr(idx, "_FREE", 1 << 20)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, 1 << 20, 28, 28))
        file.write(bytes(28 * 28 * 1024 * 10))
    with pytest.raises(DataError, match=r"unpacks to more than .*the limit"):
        read_idx(path, 3, "pictures of 28x28 bytes")


def test_matlab_files_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    from disentangle.data import matlab

    monkeypatch.setattr(matlab, "_MOST", 1 << 20)

    path = tmp_path / "a.mat"
    stored = RNG.integers(0, 256, (4, 5), np.uint8)
    for packed in (False, True):
        savemat(path, {"x": "text", "im": stored, "cells": np.array([1, "b"], object)}, do_compression=packed)
        np.testing.assert_array_equal(load_matlab(path, "im"), stored)
        assert load_matlab(path, "absent") is None
        assert load_matlab(path, "cells") is None
    head = path.read_bytes()[:128]
    path.write_bytes(head + (lambda body: struct.pack("<2L", 15, len(body)) + body)(zlib.compress(bytes(2 << 20))))
    with pytest.raises(MatlabError, match="unpacks to more than"):
        load_matlab(path, "im")
    cells = struct.pack("<2L2L2L2L2l2L8s", 14, 48, 6, 8, 1, 0, 5, 8, 1 << 30, 1, 1, 2, b"im")
    path.write_bytes(head + cells)
    assert load_matlab(path, "im") is None


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "f4", "f8", "i8"])
def test_matlab_arrays_are_those_that_scipy_reads(tmp_path: Path, dtype: str, packed: bool) -> None:
    from scipy.io import loadmat, savemat

    arrays = {
        "a": RNG.integers(0, 100, (3, 4, 2)).astype(dtype),
        "scalar": np.array(7, dtype),
        "none": np.zeros((0, 3), dtype),
        "long_name_of_an_array": np.arange(5).astype(dtype),
        "half": (RNG.random((2, 2)) * 9).astype(dtype),
    }
    savemat(tmp_path / "a.mat", arrays, do_compression=packed)
    for name, expected in loadmat(tmp_path / "a.mat").items():
        if not name.startswith("__"):
            found = load_matlab(tmp_path / "a.mat", name)
            assert found is not None
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


def test_a_type_that_is_none_is_refused(tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "a.mat", {"im": RNG.integers(0, 256, (8, 8), np.uint8)})
    content = bytearray((tmp_path / "a.mat").read_bytes())
    place = content.index(b"im\0\0") + 4
    content[place : place + 4] = b"\xff\xff\0\0"
    (tmp_path / "a.mat").write_bytes(bytes(content))
    with pytest.raises(MatlabError, match="announces 8 x 8 numbers"):
        load_matlab(tmp_path / "a.mat", "im")


# --- many damaged files


def formats(folder: Path) -> dict[str, tuple[list[Path], Callable[[], object]]]:
    """Small good files of every format, and what reads them to the end."""
    h5py, lmdb = pytest.importorskip("h5py"), pytest.importorskip("lmdb")
    del lmdb
    made: dict[str, tuple[list[Path], Callable[[], object]]] = {}

    def all_of(data: Any) -> None:
        data.images(torch.arange(len(data)))

    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif"),
                         ("TIFF", "tif"), ("PPM", "ppm"), ("MPO", "jpeg")):  # fmt: skip
        path = folder / f"pictures-{suffix}" / f"a.{suffix}"
        path.parent.mkdir()
        options: dict[str, Any] = {"exif": Image.Exif()} if kind in ("PNG", "JPEG", "WEBP") else {}
        if kind == "TIFF":
            options["compression"] = "tiff_lzw"
        for key in (0x0112, 0x011A):
            if "exif" in options:
                options["exif"][key] = 6
        Image.fromarray(RNG.integers(0, 256, (24, 20, 3), np.uint8)).save(path, kind, **options)
        made[suffix] = [path], lambda path=path: all_of(ImageFolder(path.parent, 8))
    for suffix, method in (("deflated", zipfile.ZIP_DEFLATED), ("stored", zipfile.ZIP_STORED)):
        path = folder / f"{suffix}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name in ("a/1.png", "b/2.png"):
                archive.writestr(name, png())
            archive.writestr("dataset.json", '{"labels": [["a/1.png", 0], ["b/2.png", 1]]}')
        made[suffix] = [path], lambda path=path: all_of(ImageFolder(path, 8))
    (folder / "lsun").mkdir()
    database = write_lmdb(folder / "lsun", {b"%03d" % i: png(i, 40) for i in range(60)})
    made["lmdb"] = [database], lambda: all_of(LSUN(folder / "lsun", 8))
    for name, options in (("plain", {}), ("gzip", {"compression": "gzip", "chunks": (2, 4, 4, 3)})):
        path = folder / f"{name}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=pictures(), **options)
        made[f"h5-{name}"] = [path], lambda path=path: all_of(SmallShapes(path))
    np.save(folder / "images.npy", pictures())
    np.savez(folder / "s.npz", images=pictures())
    np.savez_compressed(folder / "c.npz", images=pictures())
    for name in ("images.npy", "s.npz", "c.npz"):
        made[name] = [folder / name], lambda name=name: all_of(SmallShapes(folder / name))
    place = folder / "fashion"
    place.mkdir()
    for half in ("train", "t10k"):
        for kind, content in (
            ("images-idx3", struct.pack(">4B3I", 0, 0, 8, 3, 5, 28, 28) + RNG.bytes(5 * 784)),
            ("labels-idx1", struct.pack(">4BI", 0, 0, 8, 1, 5) + bytes(range(5))),
        ):
            (place / f"{half}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    files = sorted(place.glob("train*"))
    made["idx"] = files, lambda: all_of(FashionMNIST(data_dir=place))
    place = folder / "cifar"
    place.mkdir()
    for i in range(1, 6):
        (place / f"data_batch_{i}.bin").write_bytes(bytes([i]) + RNG.bytes(3072))
    (place / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    made["cifar"] = sorted(place.iterdir()), lambda: all_of(CIFAR10(data_dir=folder / "cifar"))
    from scipy.io import savemat

    for packed in (False, True):
        path = folder / f"{packed}.mat"
        savemat(path, {"im": RNG.integers(0, 256, (8, 8, 3, 2, 2), np.uint8)}, do_compression=packed)
        made[path.name] = [path], lambda path=path: load_matlab(path, "im")
    return made


def mutated(content: bytes, choice: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(choice.choice((1, 1, 2, 5, 30))):
        place = choice.randrange(len(data)) if len(data) > 1 else 0
        if choice.random() < 0.3:
            place = min(place, choice.randrange(1, 200))  # headers are hit more often
        kind = choice.randrange(6)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << choice.randrange(8)
        elif kind == 1:
            data[place : place + 4] = choice.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
        elif kind == 2:
            data[place : place + choice.randrange(1, 40)] = os.urandom(choice.randrange(1, 40))
        elif kind == 3:
            del data[place : place + choice.randrange(1, 300)]
        elif kind == 4:
            data[place:place] = data[: choice.randrange(1, 300)]
        else:
            del data[place:]
        if not data:
            break
    return bytes(data)


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore")
def test_five_hundred_damaged_files(tmp_path: Path) -> None:
    """In a process of its own with a limit on its memory: a crash of it is a failure too."""
    found = subprocess.run(
        [sys.executable, "-c", f"from tests.data.test_hostile_files import fuzz; fuzz({str(tmp_path)!r}, 500)"],
        capture_output=True, text=True, timeout=900, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert found.returncode == 0, (found.returncode, found.stdout[-1000:], found.stderr[-3000:])
    assert "500 files" in found.stdout


def fuzz(place: str, count: int, seed: int = 0) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    except ImportError:
        pass
    torch.set_num_threads(1)
    choice = random.Random(seed)
    made = formats(Path(place))
    for _, read in made.values():
        read()
    refused = 0
    for number in range(count):
        name = sorted(made)[number % len(made)]
        files, read = made[name]
        path = choice.choice(files)
        whole = path.read_bytes()
        path.write_bytes(mutated(whole, choice))
        print(number, name, flush=True)
        try:
            read()
        except (DisentangleError, MatlabError):
            refused += 1
        finally:
            path.write_bytes(whole)
    print(f"{count} files, {refused} refused")


def test_other_words_of_the_system_are_sentences(tmp_path: Path) -> None:
    for name in ("~nobody-of-this-name/x", "a\0b.npz", "x" * 5000, str(tmp_path / "\udcff")):
        with pytest.raises((DataError, InputError)) as caught:
            open_data(name, resolution=8)
        assert str(caught.value).isprintable()
