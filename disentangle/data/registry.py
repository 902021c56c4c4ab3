"""Data sets by name or by path.

>>> open_data("sprites", resolution=32).image_shape
(1, 32, 32)
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from disentangle.data.arrays import array_headers, is_hdf5
from disentangle.data.cars3d import SIDE as CARS3D_SIDE
from disentangle.data.cars3d import Cars3D
from disentangle.data.catalogue import CATALOGUE, DataInfo, find_all, find_in, list_data, not_found
from disentangle.data.celeba import CelebA
from disentangle.data.cifar import CIFAR10, CIFAR100, holds_cifar
from disentangle.data.cifar import SIDE as CIFAR_SIDE
from disentangle.data.fashion_mnist import SIDE as FASHION_SIDE
from disentangle.data.fashion_mnist import FashionMNIST
from disentangle.data.folder import SPLITS, ImageFolder, split_folders
from disentangle.data.images import ImageSource
from disentangle.data.known import MPI3D, MPI3D_FILES, DSprites, Shapes3D
from disentangle.data.lsun import LSUN
from disentangle.data.places import PathLike, expanded, listed, reads_files, search_places
from disentangle.data.smallnorb import SIDE as SMALLNORB_SIDE
from disentangle.data.smallnorb import SmallNORB, find_matrix
from disentangle.errors import ArgumentError, DataError, InputError, unknown_name
from disentangle.signatures import checks_arguments
from disentangle.text import shown

__all__ = ["DataInfo", "list_data", "open_data", "splits"]

ALIASES = {
    "3dshapes": "shapes3d",
    "3d-shapes": "shapes3d",
    "fashionmnist": "fashion-mnist",
    "small-norb": "smallnorb",
    "cifar-10": "cifar10",
    "cifar-100": "cifar100",
}
ARRAY_SUFFIXES = (".npz", ".npy", ".h5", ".hdf5")

_STORED = {"dsprites": DSprites, "shapes3d": Shapes3D, "mpi3d": MPI3D}
_CIFAR = {"cifar10": CIFAR10, "cifar100": CIFAR100}
_RESIZED = {"cars3d": (Cars3D, CARS3D_SIDE), "smallnorb": (SmallNORB, SMALLNORB_SIDE)}


@checks_arguments
@reads_files
def open_data(
    name: PathLike,
    *,
    resolution: int | None = None,
    split: str = "train",
    data_dir: PathLike | None = None,
    download: bool = False,
    **options: Any,
) -> ImageSource:
    """A data set by its name, or pictures by their path.

    Names are those of :func:`list_data` (``3dshapes`` is ``shapes3d``, and ``mpi3d-toy``, ``mpi3d-realistic``,
    ``mpi3d-real``, ``mpi3d-complex`` say which MPI3D). A name wins over a folder of the same name: write ``./rooms``
    for the folder.

    A path is read by what is there: a folder with ``data.mdb`` as LSUN, with the files of Fashion-MNIST, CIFAR, Cars3D
    or SmallNORB as these, any other folder or .zip archive as pictures; an .npz, .npy or HDF5 file by its arrays, as
    dSprites, 3D Shapes or MPI3D. Of a folder of pictures that is divided into ``train/`` and ``val/`` or ``test/``,
    the part that ``split`` names is opened.

    Args:
        name: a name or a path.
        resolution: height and width in pixels. By default what the data set has: 64, 28 for Fashion-MNIST, or 32 for
            CIFAR. Folders, archives, CelebA and LSUN need one; the published factor sets have one only.
        split: ``"train"`` is all there is where a data set has no parts; ``"test"`` is had from Fashion-MNIST and
            CIFAR, from a folder with such a part, and from LSUN where the folder's name says so; ``"validation"`` from
            a folder with ``val/``.
        data_dir: where to look first, before ``DISENTANGLE_DATA`` and ``~/.cache/disentangle/data``.
        download: allow a download (Fashion-MNIST only) where the files are not found.
        **options: further arguments of the class that reads it, such as ``in_memory=True``, ``resize="pad"``,
            ``crop="none"``; ``variant="toy"`` for MPI3D, ``category="bedroom"`` for LSUN.

    Returns:
        An image source; the factor sets are :class:`~disentangle.data.factors.FactorDataset` too.

    Raises:
        InputError: an unknown name or option, or a resolution or split that the data set does not have.
        DataError: the files are not found, damaged, or hold something else.
    """
    key = os.fspath(name).lower().replace("_", "-")
    key = ALIASES.get(key, key)
    if key.startswith("mpi3d-") and key.removeprefix("mpi3d-") in MPI3D_FILES:
        key, options = "mpi3d", {"variant": key.removeprefix("mpi3d-"), **options}
    if download and key != "fashion-mnist":
        what = CATALOGUE[key].title if key in CATALOGUE else shown(os.fspath(name))
        raise ArgumentError(
            f"{what} is not among what can be downloaded, which is Fashion-MNIST; leave download (--download) out"
            + (f", `disentangle data show {key}` says where it comes from." if key in CATALOGUE else ".")
        )
    if key not in CATALOGUE:
        return _open_path(os.fspath(name), resolution, split, options)
    title = CATALOGUE[key].title
    if key not in ("fashion-mnist", "lsun", *_CIFAR):
        _only_train(title, split)
    if key in ("sprites", "rooms"):
        return _build(title, _procedural(key), *(() if resolution is None else (resolution,)), options=options)
    if key == "fashion-mnist":
        size = FASHION_SIDE if resolution is None else resolution
        fixed = {"resolution": size, "data_dir": data_dir, "download": download}
        return _build(title, FashionMNIST, split, options=options, fixed=fixed)
    if key in _CIFAR:
        fixed = {"resolution": CIFAR_SIDE if resolution is None else resolution, "data_dir": data_dir}
        return _build(title, _CIFAR[key], split, options=options, fixed=fixed)
    if key in ("celeba", "lsun"):
        category = options.pop("category", None) if key == "lsun" else None
        path = _one_lsun(data_dir, category, split) if key == "lsun" else _first("celeba", data_dir)
        reader: Callable[..., ImageSource] = LSUN if key == "lsun" else CelebA
        return _build(title, reader, path, _needed(title, resolution), options=options)
    if key == "mpi3d":
        return _open_stored(key, _one_mpi3d(data_dir, options.pop("variant", None)), resolution, options)
    path = _first(key, data_dir)
    if key in _RESIZED:
        return _open_resized(key, path, resolution, options)
    return _open_stored(key, path, resolution, options)


@checks_arguments
@reads_files
def splits(name: PathLike) -> tuple[str, ...]:
    """The parts that :func:`open_data` offers under a name or path: ``("train",)`` where there is one only.

    The files need not be there, so an unknown name has one part too.
    """
    key = os.fspath(name).lower().replace("_", "-")
    if ALIASES.get(key, key) in ("fashion-mnist", *_CIFAR):
        return ("train", "test")
    path = expanded(name)
    if ALIASES.get(key, key) in CATALOGUE or not path.is_dir():
        return ("train",)
    if _holds_fashion_mnist(path) or holds_cifar(path):
        return ("train", "test")
    return tuple(split_folders(path)) or ("train",)


def _open_path(given: str, resolution: int | None, split: str, options: dict[str, Any]) -> ImageSource:
    path = expanded(given)
    if path.is_dir():
        if _holds_fashion_mnist(path):
            return open_data("fashion-mnist", resolution=resolution, split=split, data_dir=path, **options)
        if holds_cifar(path):
            return open_data(f"cifar{holds_cifar(path)}", resolution=resolution, split=split, data_dir=path, **options)
        parts = split_folders(path)
        if parts:
            return _build(
                "ImageFolder", ImageFolder, _part(path, parts, split), _needed(str(path), resolution), options=options
            )
        _only_train(str(path), split)
        if (path / "data.mdb").is_file():
            return _build("LSUN", LSUN, path, _needed(str(path), resolution), options=options)
        if find_matrix(path, "training", "dat"):
            return _open_resized("smallnorb", path, resolution, options)
        if any(path.glob("*_mesh.mat")):
            return _open_resized("cars3d", path, resolution, options)
        return _build("ImageFolder", ImageFolder, path, _needed(str(path), resolution), options=options)
    if path.is_file():
        _only_train(str(path), split)
        if path.suffix.lower() in ARRAY_SUFFIXES or is_hdf5(path):
            return _open_stored(_recognise(path), path, resolution, options)
        if path.suffix.lower() == ".zip":
            return _build("ImageFolder", ImageFolder, path, _needed(str(path), resolution), options=options)
        raise DataError(
            f"{path} is not a data set; expected a folder or .zip archive of pictures, or a file of the kind "
            f"{listed(ARRAY_SUFFIXES)}."
        )
    if os.sep in given or path.suffix.lower() in (*ARRAY_SUFFIXES, ".zip"):
        raise DataError(
            f"There is no file or folder {path}; expected one of pictures, or the name of a data set "
            f"({', '.join(CATALOGUE)})."
        )
    hint = "The path of a folder, a .zip archive or an .npz or .h5 file works too."
    raise unknown_name("data set", given, CATALOGUE, hint=hint)


def _holds_fashion_mnist(path: Path) -> bool:
    return any((path / f"train-images-idx3-ubyte{suffix}").is_file() for suffix in ("", ".gz"))


def _part(path: Path, parts: dict[str, Path], split: str) -> Path:
    """The sub-folder of a split; ``val`` and the like mean ``validation``."""
    split = next((part for part, names in SPLITS.items() if split in names), split)
    if split not in parts:
        raise ArgumentError(
            f"{path} has no split {split!r}; its parts are {listed((repr(part) for part in parts), 'and')}."
        )
    return parts[split]


def _recognise(path: Path) -> str:
    """Which stored data set a file holds, by the names and shapes of its arrays."""
    headers = array_headers(path)
    if "imgs" in headers:
        return "dsprites"
    lengths = {math.prod(Shapes3D.grid): "shapes3d"} | {math.prod(grid): "mpi3d" for grid in MPI3D.grids}
    stored = headers.get("images") or headers.get("")
    if stored is not None:
        if len(stored.shape) == 3 and stored.shape[0] == math.prod(DSprites.grid):
            return "dsprites"
        if math.prod(stored.shape[:-3]) in lengths:
            return lengths[math.prod(stored.shape[:-3])]
    held = ", ".join(f"{name or 'one array'} {header.shape}" for name, header in sorted(headers.items())) or "none"
    expected = listed(f"{length} ({CATALOGUE[name].title})" for length, name in lengths.items())
    raise DataError(
        f"{path} is none of the data sets that are read from such a file (its arrays: {held}); expected 'imgs' "
        f"(dSprites), or 'images' with {expected} pictures."
    )


def _open_stored(key: str, path: Path, resolution: int | None, options: dict[str, Any]) -> ImageSource:
    if resolution is not None and path.is_file():
        headers = array_headers(path)  # no picture is loaded before the resolution is known to fit
        stored = headers.get("imgs" if key == "dsprites" else "images") or headers.get("")
        if stored is not None and len(stored.shape) >= 3:
            _fits(key, resolution, stored.shape[-2])
    return _build(CATALOGUE[key].title, _STORED[key], path, options=options)


def _open_resized(key: str, path: Path, resolution: int | None, options: dict[str, Any]) -> ImageSource:
    reader, side = _RESIZED[key]
    _fits(key, resolution, side)
    return _build(CATALOGUE[key].title, reader, path, options=options)


def _fits(key: str, resolution: int | None, side: int) -> None:
    if resolution is not None and resolution != side:
        raise ArgumentError(
            f"resolution is {resolution}, but {CATALOGUE[key].title} has pictures of {side}x{side} only; leave the "
            f"resolution out or give {side}."
        )


def _needed(what: str, resolution: int | None) -> int:
    if resolution is None:
        raise ArgumentError(
            f"{what} has no resolution of its own; give one in pixels, such as resolution=64 (--resolution 64)."
        )
    return resolution


def _only_train(what: str, split: str) -> None:
    if split != "train":
        raise ArgumentError(
            f"{what} has no split {split!r}: it is one set, opened with split='train'; divide its positions instead, "
            "for factor sets with .split(fraction)."
        )


def _procedural(key: str) -> Callable[..., ImageSource]:
    if key == "sprites":
        from disentangle.data.sprites import Sprites

        return Sprites
    from disentangle.data.rooms import Rooms

    return Rooms


def _first(key: str, data_dir: PathLike | None) -> Path:
    found = find_all(key, data_dir)
    if not found:
        raise not_found(key, data_dir)
    return found[0]


def _one_mpi3d(data_dir: PathLike | None, variant: str | None) -> Path:
    if variant is not None and variant not in MPI3D_FILES:
        raise unknown_name("variant of MPI3D", variant, MPI3D_FILES)
    files = MPI3D_FILES[variant] if variant is not None else None
    for place in search_places(data_dir):
        found = find_in(place, "mpi3d", files)
        held = {name for name, usual in MPI3D_FILES.items() for path in found if path.name in usual}
        if len(held) > 1:
            raise InputError(
                f"MPI3D is here in several variants ({listed(found, 'and')}); say which with variant= or by the name, "
                f"such as 'mpi3d-{sorted(held)[0]}'."
            )
        if found:
            return found[0]
    raise not_found("mpi3d", data_dir, files)


def _one_lsun(data_dir: PathLike | None, category: str | None, split: str) -> Path:
    seen: list[Path] = []
    for place in search_places(data_dir):
        found = find_in(place, "lsun")
        seen += found
        if category is not None:
            wanted = [path for path in found if path.name == f"{category}_{split}_lmdb"]
        else:
            # A folder that is not named like bedroom_val_lmdb is taken whatever the split.
            wanted = [path for path in found if path.name.endswith(f"_{split}_lmdb") or not path.name.endswith("_lmdb")]
        if len(wanted) > 1:
            raise InputError(f"LSUN is here in several categories ({listed(wanted, 'and')}); say which with category=.")
        if wanted:
            return wanted[0]
    if not seen:
        raise not_found("lsun", data_dir)
    raise InputError(
        f"LSUN has no folder {category or '<category>'}_{split}_lmdb here (found {listed(seen, 'and')}); give a "
        "category and a split that is there."
    )


def _build(
    title: str,
    reader: Callable[..., ImageSource],
    *arguments: Any,
    options: dict[str, Any],
    fixed: dict[str, Any] | None = None,
) -> ImageSource:
    """Calls a reader, after checking that it has the options."""
    keywords = [p.name for p in inspect.signature(reader).parameters.values() if p.kind is p.KEYWORD_ONLY]
    allowed = sorted(set(keywords) - set(fixed or {}))
    for option in options:
        if option not in allowed and allowed:
            raise unknown_name(f"option of {title}", option, allowed)
        if option not in allowed:
            raise ArgumentError(f"{title} has no option {option!r}; it has none at all.")
    return reader(*arguments, **(fixed or {}), **options)
