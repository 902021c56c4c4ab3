"""The published factor sets on small grids: subclasses with a smaller ``grid`` read small files of the same layout."""

from __future__ import annotations

import builtins
import gzip
import io
import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import MPI3D, Cars3D, DSprites, Shapes3D, SmallNORB
from disentangle.data.arrays import array_headers
from disentangle.data.images import ImageSource
from disentangle.errors import DataError, InputError


class SmallSprites(DSprites):
    grid = (3, 2, 4, 3, 2)


class SmallShapes(Shapes3D):
    grid = (2, 3, 2, 2, 3, 2)


class SmallMPI3D(MPI3D):
    grids = ((3, 2, 2, 1, 1, 2, 3), (2, 2, 2, 1, 1, 2, 2))


class FewCars(Cars3D):
    grid = (4, 3, 5)


class FewToys(SmallNORB):
    grid = (2, 4, 2, 3, 2)


def pictures(grid: tuple[int, ...], shape: tuple[int, ...], white: int = 255, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, white + 1, (math.prod(grid), *shape), np.uint8)


def every_point(grid: tuple[int, ...]) -> np.ndarray:
    """(n, k) points of the grid, the last factor fastest: NumPy's own count, not the package's."""
    return np.stack(np.unravel_index(np.arange(math.prod(grid)), grid), 1)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


# --- published sizes


@pytest.mark.parametrize(
    ("reader", "sizes", "length"),
    [
        (DSprites, DSprites.grid, 737_280),
        (Shapes3D, Shapes3D.grid, 480_000),
        (MPI3D, MPI3D.grids[0], 1_036_800),
        (MPI3D, MPI3D.grids[1], 460_800),
        (Cars3D, Cars3D.grid, 17_568),
        (SmallNORB, SmallNORB.grid, 48_600),
    ],
)
def test_published_sizes(reader: Any, sizes: tuple[int, ...], length: int) -> None:
    assert math.prod(sizes) == length
    assert len(reader.factor_names) == len(sizes)


# --- dSprites


def write_sprites(path: Path, *, compress: bool = True, **replaced: Any) -> np.ndarray:
    grid = SmallSprites.grid
    imgs = pictures(grid, (6, 5), white=1)
    points = every_point(grid)
    arrays: dict[str, Any] = {
        "imgs": imgs,
        "latents_classes": np.concatenate((np.zeros((len(points), 1), np.int64), points), 1),
        "latents_values": np.zeros((len(points), 6)),
        "metadata": np.array({"latents_sizes": [1, *grid]}, dtype=object),
        **replaced,
    }
    save = np.savez_compressed if compress else np.savez
    save(path, allow_pickle=True, **{name: array for name, array in arrays.items() if array is not None})
    return imgs


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("in_memory", [True, False])
def test_dsprites(tmp_path: Path, compress: bool, in_memory: bool) -> None:
    path = tmp_path / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    imgs = write_sprites(path, compress=compress)
    data = SmallSprites(path, in_memory=in_memory)
    assert isinstance(data, ImageSource)
    assert data.factor_sizes == SmallSprites.grid
    assert data.factor_names == ("shape", "scale", "orientation", "pos_x", "pos_y")
    assert data.image_shape == (1, 6, 5)
    assert len(data) == len(imgs)
    points = every_point(SmallSprites.grid)
    order = np.random.default_rng(1).permutation(len(points))
    found = data.render(torch.from_numpy(points[order]))
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(imgs[order]).float().unsqueeze(1))
    assert torch.equal(data.images(torch.from_numpy(order)), found)
    assert data.images(torch.tensor([], dtype=torch.int64)).shape == (0, 1, 6, 5)
    assert torch.equal(SmallSprites(tmp_path).images(torch.arange(3)), data.images(torch.arange(3)))  # by its folder


def test_a_turned_bit_of_pictures_that_are_mapped_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_sprites(path, compress=False)
    SmallSprites(path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("imgs.npy")
    content[info.header_offset + info.file_size] ^= 1  # within its last pictures
    path.write_bytes(content)
    with pytest.raises(DataError, match="a.npz cannot be read .*checksum"):
        SmallSprites(path)


def test_dsprites_as_hdf5_and_as_npy(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    imgs = write_sprites(tmp_path / "a.npz")
    points = every_point(SmallSprites.grid)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["imgs"] = imgs
        file["latents/classes"] = np.concatenate((np.zeros((len(points), 1), np.int64), points), 1)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        archive.extract("imgs.npy", tmp_path)
    expected = SmallSprites(tmp_path / "a.npz").images(torch.arange(len(points)))
    for name in ("a.hdf5", "imgs.npy"):
        for in_memory in (False, True):
            found = SmallSprites(tmp_path / name, in_memory=in_memory).images(torch.arange(len(points)))
            assert torch.equal(found, expected)


@pytest.mark.parametrize("entry", ["metadata", "imgs", "latents_classes"])
def test_no_pickle_is_ever_run(tmp_path: Path, entry: str) -> None:
    path, marker = tmp_path / "a.npz", tmp_path / "marker"
    trap: Any = np.empty((), object)
    trap[()] = Trap(marker)
    write_sprites(path, **{entry: trap})
    if entry == "metadata":
        assert len(SmallSprites(path)) == math.prod(SmallSprites.grid)
    else:
        with pytest.raises(DataError, match=entry):
            SmallSprites(path)
    assert not marker.exists()
    np.load(path, allow_pickle=True)[entry]  # the trap would have worked
    assert marker.exists()


def test_no_pickle_of_the_right_shape_is_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "a.npz", tmp_path / "marker"
    traps = np.empty((math.prod(SmallSprites.grid), 6, 5), object)
    traps.fill(Trap(marker))
    write_sprites(path, imgs=traps)
    with pytest.raises(DataError, match="'imgs' has the type object; expected uint8"):
        SmallSprites(path)
    labels = np.empty((math.prod(SmallSprites.grid), 6), object)
    labels.fill(Trap(marker))
    write_sprites(path, latents_classes=labels)
    with pytest.raises(DataError, match="latents_classes is object"):
        SmallSprites(path)
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(DataError, match=r"b\.npz cannot be read as an \.npz"):
        SmallSprites(tmp_path / "b.npz")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"imgs": None}, "has no array 'imgs' .*'latents_classes'.*144 pictures"),
        ({"imgs": np.zeros((143, 6, 5), np.uint8)}, r"imgs has the shape \(143, 6, 5\); expected 144 pictures \(3 x 2"),
        ({"imgs": np.zeros((144, 6, 5, 1, 1), np.uint8)}, "imgs has the shape"),
        ({"imgs": np.zeros((144, 6), np.uint8)}, r"\(144, 6\); expected 144"),
        ({"imgs": np.zeros((144, 6, 0), np.uint8)}, r"\(144, 6, 0\)"),
        ({"imgs": np.zeros((144, 6, 5), np.float32)}, "'imgs' has the type float32; expected uint8"),
        ({"latents_classes": np.zeros((144, 5))}, r"latents_classes is float64 of the shape \(144, 5\)"),
        ({"latents_classes": np.zeros((144, 6))}, "column 1 of latents_classes does not follow the grid 1 x 3 x 2"),
        ({"latents_classes": np.array(["a"] * 864).reshape(144, 6)}, "latents_classes is <U1"),
    ],
)
@pytest.mark.parametrize("compress", [True, False])
def test_dsprites_wrong_arrays(tmp_path: Path, replaced: dict[str, Any], message: str, compress: bool) -> None:
    write_sprites(tmp_path / "a.npz", compress=compress, **replaced)
    with pytest.raises(DataError, match=message) as caught:
        SmallSprites(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value)


def test_dsprites_in_another_order(tmp_path: Path) -> None:
    points = every_point(SmallSprites.grid)
    classes = np.concatenate((np.zeros((len(points), 1), np.int64), points), 1)
    classes[[3, 100]] = classes[[100, 3]]
    write_sprites(tmp_path / "a.npz", latents_classes=classes)
    with pytest.raises(DataError, match="another order than the published"):
        SmallSprites(tmp_path / "a.npz")


def test_dsprites_other_greys(tmp_path: Path) -> None:
    write_sprites(tmp_path / "a.npz", imgs=np.full((144, 6, 5), 255, np.uint8))
    with pytest.raises(DataError, match=r"a\.npz holds the value 255; expected 0 to 1"):
        SmallSprites(tmp_path / "a.npz").images(torch.tensor([0]))


def test_wrong_factors(tmp_path: Path) -> None:
    write_sprites(tmp_path / "a.npz")
    with pytest.raises(InputError, match="'scale' has values from 2 to 2; expected 0 to 1"):
        SmallSprites(tmp_path / "a.npz").render(torch.tensor([[0, 2, 0, 0, 0]]))


@pytest.mark.parametrize("compress", [True, False])
def test_damaged_files(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "a.npz"
    write_sprites(path, compress=compress)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.npz cannot be read as an \.npz, \.npy or HDF5 file"):
        SmallSprites(path)
    if compress:
        with zipfile.ZipFile(path.with_name("b.npz"), "w") as archive:
            archive.writestr("imgs.npy", b"no array")
        with pytest.raises(DataError, match=r"b\.npz cannot be read as an \.npz"):
            SmallSprites(path.with_name("b.npz"))
        spoilt = bytearray(whole)
        start = whole.index(b"imgs.npy") + 300
        spoilt[start : start + 40] = bytes(40)
        path.write_bytes(bytes(spoilt))
        with pytest.raises(DataError, match=r"a\.npz"):
            SmallSprites(path)


def test_an_array_that_announces_more_than_it_holds(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (144, 100_000, 100_000)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("imgs.npy", buffer.getvalue() + b"x")
    with pytest.raises(DataError, match=r"imgs\.npy is shorter than it announces"):
        SmallSprites(tmp_path / "a.npz")
    (tmp_path / "imgs.npy").write_bytes(buffer.getvalue() + b"x")
    with pytest.raises(DataError, match=r"imgs\.npy is cut off"):
        SmallSprites(tmp_path / "imgs.npy")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dSprites file .*typo\.npz; expected the path of dsprites_ndarray"):
        DSprites(tmp_path / "typo.npz")
    with pytest.raises(DataError, match=r"holds no 3D Shapes file \(looked for 3dshapes\.h5"):
        Shapes3D(tmp_path)


@pytest.mark.parametrize("kind", ["compressed", "stored", "npy", "fortran"])
def test_headers_tell_where_the_bytes_are(tmp_path: Path, kind: str) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    if kind == "npy":
        np.save(path, array)
    elif kind == "compressed":
        np.savez_compressed(path, x=array)
    else:
        np.savez(path, first=np.zeros(3), x=np.asfortranarray(array) if kind == "fortran" else array)
    header = array_headers(path)["" if kind == "npy" else "x"]
    assert header.shape == (2, 3, 4)
    assert header.dtype == np.uint8
    if kind in ("compressed", "fortran"):
        assert header.offset is None
    else:
        assert header.offset is not None
        assert path.read_bytes()[header.offset : header.offset + 24] == array.tobytes()


# --- 3D Shapes


def shape_labels(grid: tuple[int, ...]) -> np.ndarray:
    """Values like the published ones: hues, scales, numbers, angles."""
    axes = [
        np.linspace(low, high, size)
        for size, (low, high) in zip(grid, [(0, 0.9)] * 3 + [(0.75, 1.25), (0, 3), (-30, 30)], strict=True)
    ]
    return np.stack([axis[column] for axis, column in zip(axes, every_point(grid).T, strict=True)], 1)


def write_shapes(path: Path, kind: str, labels: np.ndarray | None = None) -> np.ndarray:
    grid = SmallShapes.grid
    images = pictures(grid, (4, 5, 3))
    labels = shape_labels(grid) if labels is None else labels
    if kind == "npz":
        np.savez_compressed(path, images=images, labels=labels)
    elif kind == "npz grid":
        np.savez(path, images=images.reshape(*grid, 4, 5, 3), labels=labels.reshape(*grid, 6))
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            if kind == "h5 grid":
                file.create_dataset("images", data=images.reshape(*grid, 4, 5, 3))
            else:
                chunks = {"h5": None, "h5 chunks": (7, 2, 2, 1), "h5 rows": (1, 4, 5, 3)}[kind]
                file.create_dataset("images", data=images, chunks=chunks, compression="gzip" if chunks else None)
            file["labels"] = labels
    return images


KINDS = ["npz", "npz grid", "h5", "h5 chunks", "h5 rows", "h5 grid"]


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_shapes3d(tmp_path: Path, kind: str, in_memory: bool) -> None:
    path = tmp_path / f"3dshapes.{kind.split(' ')[0]}"
    images = write_shapes(path, kind)
    data = SmallShapes(tmp_path, in_memory=in_memory)
    assert data.image_shape == (3, 4, 5)
    assert data.factor_names == ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    rng = np.random.default_rng(2)
    for rows in (np.arange(len(images)), rng.integers(0, len(images), 300), np.array([7, 6, 8, 8, 0])):
        found = data.render(torch.from_numpy(every_point(SmallShapes.grid)[rows]))
        assert torch.equal((found * 255).round().to(torch.uint8), torch.from_numpy(images[rows]).permute(0, 3, 1, 2))
    assert data.images(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 4, 5)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.images(torch.arange(5)), data.images(torch.arange(5)))


def test_shapes3d_labels_that_run_downwards_are_in_order_too(tmp_path: Path) -> None:
    write_shapes(tmp_path / "3dshapes.npz", "npz", -shape_labels(SmallShapes.grid))
    assert len(SmallShapes(tmp_path)) == math.prod(SmallShapes.grid)


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_shapes3d_in_another_order(tmp_path: Path, kind: str) -> None:
    labels = shape_labels(SmallShapes.grid)
    labels[[0, 1]] = labels[[1, 0]]
    write_shapes(tmp_path / f"3dshapes.{kind}", kind, labels)
    with pytest.raises(DataError, match="column 5 of labels does not follow the grid 2 x 3"):
        SmallShapes(tmp_path)


def test_shapes3d_wrong_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "3dshapes.npz", images=np.zeros((144, 4, 4, 4), np.uint8))
    with pytest.raises(DataError, match="images has 4 channels on the last axis; expected 3"):
        SmallShapes(tmp_path)
    h5py = pytest.importorskip("h5py")
    (tmp_path / "3dshapes.npz").unlink()
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file["pictures"] = np.zeros(3)
    with pytest.raises(DataError, match=r"has no array 'images' \(its arrays: 'pictures'\)"):
        SmallShapes(tmp_path)
    (tmp_path / "3dshapes.h5").write_bytes((tmp_path / "3dshapes.h5").read_bytes()[:200])
    with pytest.raises(DataError, match=r"3dshapes\.h5 cannot be read as an \.npz, \.npy or HDF5 file"):
        SmallShapes(tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shapes(tmp_path / "3dshapes.h5", "h5")
    original = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"3dshapes\.h5 needs the package h5py.*'disentangle-toolkit\[data\]'"):
        SmallShapes(tmp_path)


# --- MPI3D


@pytest.mark.parametrize("grid", SmallMPI3D.grids)
@pytest.mark.parametrize("kind", ["compressed", "stored", "npy", "grid"])
def test_mpi3d_by_its_length(tmp_path: Path, grid: tuple[int, ...], kind: str) -> None:
    images = pictures(grid, (4, 4, 3))
    path = tmp_path / ("images.npy" if kind == "npy" else "mpi3d_toy.npz")
    if kind == "npy":
        np.save(path, images)
    elif kind == "compressed":
        np.savez_compressed(path, images=images)
    else:
        np.savez(path, images=images.reshape(*grid, 4, 4, 3) if kind == "grid" else images)
    data = SmallMPI3D(path)
    assert data.factor_sizes == grid
    assert len(data.factor_names) == 7
    rows = np.random.default_rng(3).permutation(len(images))
    found = data.render(torch.from_numpy(every_point(grid)[rows]))
    assert torch.equal((found * 255).round().to(torch.uint8), torch.from_numpy(images[rows]).permute(0, 3, 1, 2))


def test_mpi3d_bad_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "mpi3d_toy.npz", images=np.zeros((10, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"shape \(10, 4, 4, 3\); expected 72 or 32 pictures of MPI3D"):
        SmallMPI3D(tmp_path)
    with pytest.raises(DataError, match="expected 1036800 or 460800 pictures"):
        MPI3D(tmp_path)
    np.savez(tmp_path / "mpi3d_real.npz", images=np.zeros((32, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"holds mpi3d_toy\.npz and mpi3d_real\.npz; give the path"):
        SmallMPI3D(tmp_path)
    np.savez(tmp_path / "a.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match=r"a\.npz has no array 'images'"):
        SmallMPI3D(tmp_path / "a.npz")


# --- Cars3D


def write_cars(folder: Path, *, suffix: str = "_mesh.mat", **replaced: Any) -> np.ndarray:
    """One file a car; returns (elevations, azimuths, cars) grey levels."""
    from scipy.io import savemat

    elevations, azimuths, cars = FewCars.grid
    level = np.random.default_rng(0).permutation(elevations * azimuths * cars).astype(np.uint8)
    level = level.reshape(elevations, azimuths, cars)
    folder.mkdir(exist_ok=True)
    for car in range(cars):
        views = np.empty((128, 128, 3, azimuths, elevations), np.uint8)
        views[...] = level[:, :, car].T
        savemat(folder / f"car_{car:03}{suffix}", {"im": views, **replaced}, do_compression=True)
    return level


@pytest.mark.parametrize("suffix", ["_mesh.mat", ".mat"])
def test_cars3d(tmp_path: Path, suffix: str) -> None:
    level = write_cars(tmp_path, suffix=suffix)
    data = FewCars(tmp_path)
    assert data.factor_names == ("elevation", "azimuth", "object")
    assert data.image_shape == (3, 64, 64)
    assert len(data) == level.size
    found = data.images(torch.arange(len(data))) * 255
    assert torch.equal(found.round().to(torch.uint8).amax((1, 2, 3)), torch.from_numpy(level.reshape(-1)))
    assert torch.equal(found.amax((1, 2, 3)), found.amin((1, 2, 3)))


def test_cars3d_pictures_are_upright_and_resized(tmp_path: Path) -> None:
    view = np.zeros((128, 128, 3), np.uint8)
    view[:40, :, 0] = 255  # red at the top
    write_cars(tmp_path, im=np.broadcast_to(view[..., None, None], (128, 128, 3, 3, 4)))
    found = FewCars(tmp_path).images(torch.tensor([0]))[0]
    expected = np.asarray(Image.fromarray(view).resize((64, 64), Image.Resampling.LANCZOS))
    assert torch.equal((found * 255).round().to(torch.uint8), torch.from_numpy(expected.copy()).permute(2, 0, 1))
    assert found[0, :18].min() > 0.99
    assert found[1:].max() == 0


def test_cars3d_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="typo is not a folder; expected the unpacked folder data/cars"):
        Cars3D(tmp_path / "typo")
    with pytest.raises(DataError, match=r"holds 0 \.mat files; expected 183"):
        Cars3D(tmp_path)
    write_cars(tmp_path)
    with pytest.raises(DataError, match=r"holds 5 \.mat files; expected 183"):
        Cars3D(tmp_path)
    (tmp_path / "car_002_mesh.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(DataError, match=r"car_002_mesh\.mat cannot be read as a MATLAB file .*'im'"):
        FewCars(tmp_path)
    write_cars(tmp_path, im=np.zeros((128, 128, 3, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"'im' is uint8 of the shape \(128, 128, 3, 4, 3\); expected .* x 3 x 3 x 4"):
        FewCars(tmp_path)
    write_cars(tmp_path, im=np.zeros((8, 8, 3, 3, 4)))
    with pytest.raises(DataError, match="'im' is float64"):
        FewCars(tmp_path)
    from scipy.io import savemat

    savemat(tmp_path / "car_000_mesh.mat", {"image": np.zeros(3)})
    with pytest.raises(DataError, match=r"car_000_mesh\.mat has no array 'im'"):
        FewCars(tmp_path)


# --- SmallNORB


def matrix(array: np.ndarray) -> bytes:
    """The binary matrix format, as its makers describe it."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}[array.dtype.name]
    sizes = list(array.shape) + [1] * (3 - array.ndim)
    return struct.pack(f"<{2 + len(sizes)}i", magic, array.ndim, *sizes) + array.tobytes()


TOYS = {"training": (1, 3), "testing": (0, 2)}
NORB_NAMES = {
    "training": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "testing": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}


def write_norb(folder: Path, *, compress: bool = False) -> dict[str, np.ndarray]:
    """Both halves in a shuffled order; returns the points and the left pictures, one after the other."""
    points, left = [], []
    folder.mkdir(exist_ok=True)
    for seed, (half, toys) in enumerate(TOYS.items()):
        rng = np.random.default_rng(seed)
        here = every_point(FewToys.grid)
        here = rng.permutation(here[np.isin(here[:, 1], toys)])
        pairs = rng.integers(0, 256, (len(here), 2, 96, 96), np.uint8)
        info = np.stack((here[:, 1], here[:, 2], 2 * here[:, 3], here[:, 4]), 1)
        for kind, array in (("dat", pairs), ("cat", here[:, 0].astype(np.int32)), ("info", info.astype(np.int32))):
            data = matrix(array)
            path = folder / f"{NORB_NAMES[half]}-{kind}.mat"
            if compress:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data, 1))
            else:
                path.write_bytes(data)
        points.append(here)
        left.append(pairs[:, 0])
    return {"points": np.concatenate(points), "left": np.concatenate(left)}


@pytest.mark.parametrize("compress", [False, True])
def test_smallnorb(tmp_path: Path, compress: bool) -> None:
    written = write_norb(tmp_path, compress=compress)
    data = FewToys(tmp_path)
    assert data.factor_names == ("category", "instance", "elevation", "azimuth", "lighting")
    assert data.image_shape == (1, 64, 64)
    assert len(data) == math.prod(FewToys.grid)
    found = (data.render(torch.from_numpy(written["points"])) * 255).round().to(torch.uint8)
    for row, picture in zip(found, written["left"], strict=True):
        expected = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.LANCZOS))
        assert torch.equal(row[0], torch.from_numpy(expected.copy()))


@pytest.mark.parametrize("half", ["training", "testing"])
@pytest.mark.parametrize("kind", ["dat", "cat", "info"])
def test_smallnorb_needs_every_file(tmp_path: Path, half: str, kind: str) -> None:
    write_norb(tmp_path)
    (tmp_path / f"{NORB_NAMES[half]}-{kind}.mat").unlink()
    with pytest.raises(DataError, match=rf"holds no smallnorb-\*-{half}-{kind}\.mat \(or \.mat\.gz\)"):
        FewToys(tmp_path)


COUNT = math.prod(FewToys.grid) // 2


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("cat", b"", "starts with the bytes ''; expected SmallNORB's matrix of 48 32-bit integers"),
        ("cat", matrix(np.zeros(COUNT, np.uint8)), "starts with the bytes '55 4c 3d 1e"),
        ("cat", matrix(np.zeros((COUNT, 1), np.int32)), "starts with the bytes '54 4c 3d 1e 02"),
        ("cat", matrix(np.zeros(COUNT + 1, np.int32)), "announces a matrix of 49; expected .* of 48 32-bit"),
        ("cat", matrix(np.zeros(COUNT, np.int32))[:-1], "cut off"),
        ("cat", gzip.compress(matrix(np.zeros(COUNT, np.int32)))[:-9], "cannot be read"),
        ("cat", matrix(np.zeros(COUNT, np.int32)) + b"!", "longer than its header announces"),
        ("cat", matrix(np.full(COUNT, 5, np.int32)), "outside the grid 2 x 4 x 2 x 3 x 2"),
        ("cat", matrix(np.full(COUNT, -1, np.int32)), "outside the grid"),
        ("info", matrix(np.ones((COUNT, 4), np.int32)), "outside the grid"),  # an odd azimuth
        ("info", matrix(np.zeros((COUNT, 3), np.int32)), "announces a matrix of 48 x 3; expected .* 48 x 4"),
        ("info", matrix(np.zeros((COUNT, 4), np.int32)), "cover 48 of the 96 points"),
        (
            "dat",
            matrix(np.zeros((COUNT, 2, 32, 32), np.uint8)),
            "announces a matrix of 48 x 2 x 32 x 32; .* 96 x 96 bytes",
        ),
        ("dat", matrix(np.zeros((COUNT, 2, 96, 96), np.uint8))[:-1], "cut off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_smallnorb_wrong_files(tmp_path: Path, kind: str, data: bytes, message: str) -> None:
    write_norb(tmp_path)
    path = tmp_path / f"{NORB_NAMES['training']}-{kind}.mat"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        FewToys(tmp_path)
    assert (str(tmp_path) if "cover" in message else "training-") in str(caught.value)


def test_smallnorb_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="typo is not a folder"):
        SmallNORB(tmp_path / "typo")
