"""Data sets by name and by path: what is found where, and what is said when it is not."""

from __future__ import annotations

import gzip
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import Cars3D, DataInfo, DataSource, SmallNORB, fashion_mnist, known, registry
from disentangle.data.celeba import CelebA
from disentangle.data.factors import FactorDataset
from disentangle.data.fashion_mnist import FashionMNIST
from disentangle.data.folder import ImageFolder
from disentangle.data.images import ImageSource
from disentangle.data.lsun import LSUN
from disentangle.data.registry import list_data, open_data, register
from disentangle.errors import DataError, InputError

NAMES = (
    "sprites", "rooms", "fashion-mnist", "dsprites", "shapes3d", "mpi3d", "cars3d", "smallnorb", "isaac3d", "falcor3d",
    "celeba", "lsun", "cifar10", "cifar100",
)  # fmt: skip


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any data: an empty home, no environment variable, no Debian package."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DISENTANGLE_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published sets with small grids."""
    monkeypatch.setattr(known.DSprites, "grid", (3, 2, 2, 1, 2))
    monkeypatch.setattr(known.Shapes3D, "grid", (2, 2, 2, 1, 2, 2))
    monkeypatch.setattr(known.MPI3D, "grids", ((3, 3, 2, 1, 1, 1, 1), (2, 2, 2, 1, 1, 1, 1)))


def write_pictures(folder: Path, names: tuple[str, ...] = ("a.png",), size: tuple[int, int] = (8, 8)) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (1, 2, 3)).save(folder / name)
    return folder


def write_fashion(folder: Path, prefix: str, n: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, shape in (("images-idx3-ubyte", (n, 28, 28)), ("labels-idx1-ubyte", (n,))):
        header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
        data = gzip.compress(header + np.zeros(shape, np.uint8).tobytes())
        (folder / f"{prefix}-{kind}.gz").write_bytes(data)
    return folder


def write_lmdb(folder: Path) -> Path:
    lmdb = pytest.importorskip("lmdb")
    folder.mkdir(parents=True)
    environment = lmdb.open(str(folder), map_size=1 << 20)
    with environment.begin(write=True) as transaction:
        transaction.put(b"key", (write_pictures(folder.parent / "made") / "a.png").read_bytes())
    environment.close()
    return folder


def zeros(n: int, *shape: int) -> np.ndarray:
    return np.zeros((n, *shape), np.uint8)


# --- names


@pytest.mark.parametrize("name", ["sprites", "rooms"])
def test_the_drawn_sets_are_always_there(name: str) -> None:
    data = open_data(name, resolution=32)
    assert isinstance(data, FactorDataset)
    assert isinstance(data, ImageSource)
    assert data.image_shape[1:] == (32, 32)
    assert open_data(name).image_shape[1:] == (64, 64)
    assert data.images(torch.tensor([0, 1])).shape == (2, *data.image_shape)


def test_options_reach_the_class() -> None:
    data = open_data("sprites", resolution=32, orientation="none")
    assert isinstance(data, FactorDataset)
    assert "orientation" not in data.factor_names


@pytest.mark.parametrize("name", ["fashion-mnist", "Fashion_MNIST", "fashionmnist"])
def test_fashion_mnist(tmp_path: Path, name: str) -> None:
    write_fashion(tmp_path / "here", "train", 3)
    write_fashion(tmp_path / "here", "t10k", 2)
    data = open_data(name, resolution=32, data_dir=tmp_path / "here")
    assert isinstance(data, FashionMNIST)
    assert data.image_shape == (1, 32, 32)
    assert len(data) == 3
    assert open_data(name, data_dir=tmp_path / "here").image_shape == (1, 28, 28)
    assert len(open_data(name, split="test", data_dir=tmp_path / "here")) == 2
    assert isinstance(open_data(tmp_path / "here", split="test"), FashionMNIST)


@pytest.mark.parametrize("name", ["shapes3d", "3dshapes", "3d-shapes", "Shapes3D"])
def test_aliases(tmp_path: Path, small: None, name: str) -> None:
    np.savez(tmp_path / "3dshapes.npz", images=zeros(32, 8, 8, 3))
    assert isinstance(open_data(name, data_dir=tmp_path), known.Shapes3D)


def test_the_places_are_searched_in_order(nowhere: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    given, environment, cache = nowhere / "given", nowhere / "environment", nowhere / "home/.cache/disentangle/data"
    given.mkdir()
    monkeypatch.setenv("DISENTANGLE_DATA", str(environment))
    for side, folder in enumerate((cache, environment / "dsprites", given), 5):  # each new one must win
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", imgs=zeros(24, side, side))
        assert open_data("dsprites", data_dir=given).image_shape == (1, side, side)


def test_data_dir_may_be_the_file(tmp_path: Path, small: None) -> None:
    np.savez(tmp_path / "mine.npz", imgs=zeros(24, 8, 8))
    assert len(open_data("dsprites", data_dir=tmp_path / "mine.npz")) == 24


def test_variants_of_mpi3d(tmp_path: Path, small: None) -> None:
    np.savez(tmp_path / "mpi3d_toy.npz", images=zeros(18, 8, 8, 3))
    assert len(open_data("mpi3d", data_dir=tmp_path)) == 18
    np.savez(tmp_path / "real3d_complicated_shapes_ordered.npz", images=zeros(8, 8, 8, 3))
    with pytest.raises(InputError, match=r"several variants .*mpi3d_toy\.npz and .*'mpi3d-complex'"):
        open_data("mpi3d", data_dir=tmp_path)
    assert len(open_data("mpi3d", data_dir=tmp_path, variant="complex")) == 8
    assert len(open_data("mpi3d-toy", data_dir=tmp_path)) == 18
    with pytest.raises(DataError, match=r"MPI3D was not found: looked for mpi3d_real\.npz in"):
        open_data("mpi3d-real", data_dir=tmp_path)
    with pytest.raises(InputError, match="variant of MPI3D 'toys'; did you mean 'toy'"):
        open_data("mpi3d", data_dir=tmp_path, variant="toys")


def test_celeba(tmp_path: Path) -> None:
    write_pictures(tmp_path / "celeba/img_align_celeba", ("000001.png",), (178, 218))
    data = open_data("celeba", resolution=32, data_dir=tmp_path, crop="none")
    assert isinstance(data, CelebA)
    assert data.images(torch.tensor([0])).shape == (1, 3, 32, 32)


def test_lsun(tmp_path: Path) -> None:
    for category in ("bedroom_train", "bedroom_val", "tower_val"):
        write_lmdb(tmp_path / "lsun" / f"{category}_lmdb")
    assert isinstance(open_data("lsun", resolution=8, data_dir=tmp_path), LSUN)  # one category has a train part
    assert len(open_data("lsun", resolution=8, data_dir=tmp_path, split="val", category="tower")) == 1
    with pytest.raises(InputError, match=r"several categories .*bedroom_val_lmdb and .*tower_val_lmdb.*category="):
        open_data("lsun", resolution=8, data_dir=tmp_path, split="val")
    with pytest.raises(InputError, match=r"no folder tower_train_lmdb here \(found .*bedroom_train_lmdb"):
        open_data("lsun", resolution=8, data_dir=tmp_path, category="tower")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("dsprites", ("dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", "github.com/google-deepmind/dsprites-dataset")),
        ("3dshapes", ("3dshapes.h5", "github.com/google-deepmind/3d-shapes")),
        ("mpi3d", ("mpi3d_toy.npz", "github.com/rr-learning/disentanglement_dataset")),
        ("cars3d", ("*_mesh.mat", "scottreed.info")),
        ("smallnorb", ("smallnorb-*-training-dat.mat", "cs.nyu.edu")),
        ("celeba", ("img_align_celeba.zip", "mmlab.ie.cuhk.edu.hk")),
        ("lsun", ("data.mdb", "github.com/fyu/lsun")),
    ],
)
def test_not_found_names_file_places_and_source(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, name: str, parts: tuple[str, ...]
) -> None:
    (nowhere / "given").mkdir()
    monkeypatch.setenv("DISENTANGLE_DATA", str(nowhere / "environment"))
    with pytest.raises(DataError) as caught:
        open_data(name, resolution=64, data_dir=nowhere / "given")
    places = [str(nowhere / place) for place in ("given", "environment", "home/.cache/disentangle/data")]
    for part in (*parts, *places, "--data-dir", "DISENTANGLE_DATA"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashon-mnist", "did you mean 'fashion-mnist'"),
        ("dsprite", r"did you mean 'dsprites' or 'sprites'\?.*folder, a \.zip archive or an \.npz or \.h5 file"),
        ("mpi3d-toys", "did you mean 'mpi3d'"),
        ("", "Unknown data set ''"),
    ],
)
def test_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    if name:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=message):
            open_data(name)


def test_a_missing_data_dir() -> None:
    for name in NAMES[2:]:
        with pytest.raises(DataError, match="no folder /no/where"):
            open_data(name, resolution=32, data_dir="/no/where")


# --- paths


def test_folders_and_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pictures(tmp_path / "rooms", ("x/a.png", "y/b.png"))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(folder / "x/a.png", "a.png")
    data = open_data(folder, resolution=8, resize="pad", channels=1)
    assert isinstance(data, ImageFolder)
    assert data.image_shape == (1, 8, 8)
    assert data.class_names == ("x", "y")
    assert len(open_data(str(tmp_path / "set.zip"), resolution=8)) == 1
    monkeypatch.chdir(tmp_path)
    assert not isinstance(open_data("rooms", resolution=16), ImageFolder)  # the name wins
    assert isinstance(open_data("./rooms", resolution=16), ImageFolder)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert isinstance(open_data("~/rooms", resolution=16), ImageFolder)


def test_a_folder_with_a_database(tmp_path: Path) -> None:
    assert isinstance(open_data(write_lmdb(tmp_path / "bedrooms"), resolution=8), LSUN)


@pytest.mark.parametrize(
    ("name", "arrays", "reader"),
    [
        ("a.npz", {"imgs": zeros(24, 8, 8)}, known.DSprites),
        ("b.npz", {"images": zeros(32, 8, 8, 3)}, known.Shapes3D),
        ("c.npz", {"images": zeros(18, 8, 8, 3)}, known.MPI3D),
        ("d.npz", {"images": zeros(8, 8, 8, 3)}, known.MPI3D),
        ("e.npz", {"images": zeros(32, 8, 8, 3).reshape(2, 2, 2, 1, 2, 2, 8, 8, 3)}, known.Shapes3D),
        ("f.h5", {"images": zeros(32, 8, 8, 3)}, known.Shapes3D),
        ("g.hdf5", {"imgs": zeros(24, 8, 8)}, known.DSprites),
        ("h.data", {"images": zeros(32, 8, 8, 3)}, known.Shapes3D),
        ("i.npy", {"": zeros(24, 8, 8)}, known.DSprites),
        ("j.npy", {"": zeros(18, 8, 8, 3)}, known.MPI3D),
    ],
)
def test_array_files_are_recognised_by_content(
    tmp_path: Path, small: None, name: str, arrays: dict[str, Any], reader: type
) -> None:
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays[""])
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    data = open_data(path, resolution=8)
    assert type(data) is reader
    assert data.image_shape[1:] == (8, 8)


def test_paths_that_lead_nowhere(tmp_path: Path, small: None) -> None:
    for path in (tmp_path / "typo", "typo.npz", "typo.zip"):
        with pytest.raises(DataError, match=r"no file or folder .*typo.*or the name of a data set \(sprites, rooms"):
            open_data(path, resolution=8)
    np.savez(tmp_path / "a.npz", images=zeros(9, 8, 8, 3), x=zeros(1))
    with pytest.raises(
        DataError, match=r"its arrays: images \(9, 8, 8, 3\), x \(1,\)\); expected 'imgs'.*32 pictures \(3D Shapes"
    ):
        open_data(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", imgs=zeros(9, 8, 8))
    with pytest.raises(DataError, match=r"b\.npz: imgs has the shape \(9, 8, 8\); expected 24 pictures"):
        open_data(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"c\.npz cannot be read"):
        open_data(tmp_path / "c.npz")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"notes\.txt is not a data set; expected a folder"):
        open_data(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images"):
        open_data(tmp_path / "empty", resolution=8)


# --- resolutions, splits, options


def test_a_resolution_that_the_set_does_not_have(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "dsprites.npz", imgs=zeros(24, 64, 64))
    assert open_data("dsprites", resolution=64, data_dir=tmp_path).image_shape == (1, 64, 64)

    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("pictures were loaded before the resolution was checked")

    monkeypatch.setattr(known, "open_rows", loaded)
    with pytest.raises(InputError, match="resolution is 32, but dSprites has pictures of 64x64 only"):
        open_data("dsprites", resolution=32, data_dir=tmp_path)
    with pytest.raises(InputError, match="resolution is 32, but dSprites"):
        open_data(tmp_path / "dsprites.npz", resolution=32)
    for name, file in (("cars3d", "a_mesh.mat"), ("smallnorb", "smallnorb-training-dat.mat")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
        with pytest.raises(InputError, match=r"resolution is 32, but .* 64x64 only"):
            open_data(name, resolution=32, data_dir=tmp_path)
        with pytest.raises(InputError, match=r"resolution is 32, but .* 64x64 only"):
            open_data(tmp_path / name, resolution=32)
        with pytest.raises(DataError):  # found, and read
            open_data(name, data_dir=tmp_path)


def test_a_resolution_is_needed(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "img_align_celeba")
    with pytest.raises(InputError, match=r"img_align_celeba has no resolution of its own.*--resolution 64"):
        open_data(folder)
    with pytest.raises(InputError, match="CelebA has no resolution"):
        open_data("celeba", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["sprites", "rooms", "dsprites", "celeba"])
def test_a_split_that_the_set_does_not_have(name: str) -> None:
    with pytest.raises(InputError, match="has no split 'test'"):
        open_data(name, split="test")


def test_a_folder_has_no_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no split 'test'"):
        open_data(write_pictures(tmp_path / "a"), resolution=8, split="test")


def test_unknown_options(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a")
    with pytest.raises(InputError, match="option of ImageFolder 'resise'; did you mean 'resize'"):
        open_data(folder, resolution=8, resise="pad")
    with pytest.raises(InputError, match="option of Sprites 'postions'; did you mean 'positions'"):
        open_data("sprites", postions=8)
    with pytest.raises(InputError, match="Unknown option of Rooms .flip."):
        open_data("rooms", flip=True)


# --- the list


def test_list_data(nowhere: Path) -> None:
    listed = list_data()
    assert [info.name for info in listed] == list(NAMES)
    for info in listed:
        assert isinstance(info, DataInfo)
        assert info.kind in ("factors", "images")
        assert all((info.factors, info.image_shape, info.source, info.licence, info.note))
        assert info.available == (info.name in ("sprites", "rooms"))
    assert "apt-get" in listed[2].note
    assert str(nowhere / "home") in listed[3].note


def test_list_data_says_what_was_found(tmp_path: Path) -> None:
    write_fashion(tmp_path / "here", "train", 1)
    (tmp_path / "here/3dshapes").mkdir()
    (tmp_path / "here/3dshapes/3dshapes.h5").touch()
    write_pictures(tmp_path / "here/celeba/img_align_celeba")
    (tmp_path / "here/cars").mkdir()
    (tmp_path / "here/cars/a.mat").touch()
    found = {info.name: info for info in list_data(tmp_path / "here") if info.available}
    assert set(found) == {"sprites", "rooms", "fashion-mnist", "shapes3d", "celeba", "cars3d"}
    assert str(tmp_path / "here/3dshapes/3dshapes.h5") in found["shapes3d"].note
    with pytest.raises(DataError, match="is not a folder"):
        list_data(tmp_path / "here/3dshapes/3dshapes.h5")


@pytest.mark.parametrize("name", ["sprites", "rooms", "dsprites", "shapes3d", "cars3d", "smallnorb", "mpi3d"])
def test_the_list_tells_the_factors_right(name: str) -> None:
    text = {info.name: info for info in list_data()}[name].factors
    if name in ("sprites", "rooms"):
        data = open_data(name)
        assert isinstance(data, FactorDataset)
        names, sizes = data.factor_names, data.factor_sizes
    else:
        readers = {"dsprites": known.DSprites, "shapes3d": known.Shapes3D, "mpi3d": known.MPI3D}
        reader: Any = {**readers, "cars3d": Cars3D, "smallnorb": SmallNORB}[name]
        names, sizes = reader.factor_names, reader.grids[0] if name == "mpi3d" else reader.grid
    for factor, size in zip(names, sizes, strict=True):
        assert f"{factor} {size}" in text


# --- data sets of somebody else's


def test_a_data_set_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Grey:
        image_shape = (1, 4, 4)

        def __init__(self, path: Path, resolution: int, *, level: float = 0.5) -> None:
            self.path, self.resolution, self.level = path, resolution, level

        def __len__(self) -> int:
            return 3

        def images(self, indices: torch.Tensor) -> torch.Tensor:
            return torch.full((len(indices), 1, 4, 4), self.level)

    mine = DataSource(
        name="grey-cards", title="Grey Cards", kind="images", factors="none", image_shape="1 x 4 x 4", source="ours",
        licence="CC0", open=lambda asked: asked.build(Grey, asked.first(), asked.needed_resolution()),
        aliases={"dark-cards": {"level": 0.1}}, files=("cards.bin",), recognise=lambda f: (f / "cards.bin").is_file(),
    )  # fmt: skip
    monkeypatch.setattr(registry.SOURCES, "_records", dict(registry.SOURCES._records))
    assert register(mine) is mine
    assert list_data()[-1].note.startswith("put cards.bin into ")
    with pytest.raises(DataError, match="Grey Cards was not found: looked for cards.bin in"):
        open_data("grey-cards", resolution=4)
    (tmp_path / "cards.bin").touch()
    assert list_data(tmp_path)[-1].available
    by_name = open_data("Grey_Cards", resolution=4, data_dir=tmp_path, level=0.2)
    assert isinstance(by_name, Grey)
    assert (by_name.path, by_name.resolution, by_name.level) == (tmp_path / "cards.bin", 4, 0.2)
    assert float(open_data("dark-cards", resolution=4, data_dir=tmp_path).images(torch.tensor([0]))[0, 0, 0, 0]) == (
        pytest.approx(0.1)
    )
    assert isinstance(open_data(tmp_path, resolution=4), Grey)
    with pytest.raises(InputError, match="Grey Cards has no split 'test'"):
        open_data("grey-cards", split="test", data_dir=tmp_path)
    with pytest.raises(InputError, match="Unknown option of Grey Cards 'levl'; did you mean 'level'"):
        open_data("grey-cards", resolution=4, data_dir=tmp_path, levl=1)
    with pytest.raises(InputError, match="The data set 'rooms' exists already"):
        register(replace(mine, name="rooms"))


@pytest.mark.parametrize("name", NAMES)
def test_every_source_keeps_the_contract(name: str) -> None:
    source = registry.SOURCES[name]
    assert source.name == name == name.lower()
    assert source.kind in ("factors", "images")
    assert all((source.title, source.factors, source.image_shape, source.source, source.licence))
    assert not set(source.aliases) & set(NAMES)
    assert source.files or not source.needs_files or source.remedy
    assert (source.holds is None) == (source.arrays is None)
    assert "train" in source.splits
