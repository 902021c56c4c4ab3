"""Data sets by name or by path.

>>> open_data("sprites", resolution=32).image_shape
(1, 32, 32)
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from disentangle.data import cars3d, celeba, cifar, fashion_mnist, known, lsun, nvidia3d, rooms, smallnorb, sprites
from disentangle.data.arrays import ArrayHeader, array_headers, is_hdf5
from disentangle.data.factors import FactorDataset
from disentangle.data.folder import SPLITS, ImageFolder, split_folders
from disentangle.data.images import ImageSource
from disentangle.data.own_factors import PICTURES, FactorArrays, FactorFolder, ListedFactors, has_factors
from disentangle.data.places import PathLike, expanded, listed, reads_files, search_places
from disentangle.data.source import DataInfo, DataSource, Request, build, needed_resolution
from disentangle.errors import ArgumentError, DataError, unknown_name
from disentangle.plugins import Registry
from disentangle.signatures import checks_arguments
from disentangle.text import shown

__all__ = ["SOURCES", "list_data", "open_data", "open_factors", "register", "splits"]

ARRAY_SUFFIXES = (".npz", ".npy", ".h5", ".hdf5")


def _builtin() -> Iterator[DataSource]:
    yield from (sprites.SOURCE, rooms.SOURCE, fashion_mnist.SOURCE, *known.SOURCES)
    yield from (cars3d.SOURCE, smallnorb.SOURCE, *nvidia3d.SOURCES, celeba.SOURCE, lsun.SOURCE, *cifar.SOURCES)


SOURCES = Registry("data set", DataSource, _builtin)


def register(source: DataSource) -> DataSource:
    """Add a data set of your own to what :func:`open_data`, the command line and the configurations know.

    Raises:
        InputError: its name is taken, or a part is missing.
    """
    return SOURCES.register(source)


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
    the part that ``split`` names is opened. An .npz file of pictures and factors of your own is read as pictures; with
    the factors it is opened by :func:`open_factors`.

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
    known_as = _named(name)
    if download and (known_as is None or not known_as[0].downloads):
        what = shown(os.fspath(name)) if known_as is None else known_as[0].title
        fetched = listed((one.title for one in SOURCES.values() if one.downloads), "and")
        raise ArgumentError(
            f"{what} is not among what can be downloaded, which is {fetched}; leave download (--download) out"
            + ("." if known_as is None else f", `disentangle data show {known_as[0].name}` says where it comes from.")
        )
    if known_as is None:
        return _open_path(os.fspath(name), resolution, split, options)
    source, stands_for = known_as
    if not source.divided:
        _only_train(source.title, split)
    return source.open(Request(source, None, resolution, split, data_dir, download, {**stands_for, **options}))


@checks_arguments
@reads_files
def open_factors(
    name: PathLike,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    data_dir: PathLike | None = None,
    factors_file: PathLike | None = None,
    **options: Any,
) -> FactorDataset | ListedFactors:
    """Pictures with known factors: one of the data sets that have a grid of them, or your own.

    Your own are a folder or .zip archive with ``factors.csv`` or ``factors.tsv`` in it (or another ``factors_file``),
    see :class:`~disentangle.data.own_factors.FactorFolder`; or an .npz file, see
    :class:`~disentangle.data.own_factors.FactorArrays`.

    Args:
        name: a name or a path, as of :func:`open_data`.
        resolution: height and width in pixels.
        channels: 3 or 1, of a folder's pictures; others have what they have.
        data_dir: see :func:`open_data`.
        factors_file: a table of factors, for the pictures of a folder or archive.
        **options: further arguments of the class that reads it.

    Raises:
        InputError: an unknown name or option, or a data set without known factors.
        DataError: files that are not found or damaged, or a table that does not fit the pictures.
    """
    known_as, path = _named(name), expanded(name)
    if factors_file is not None and (known_as is not None or not (path.is_dir() or path.suffix.lower() == ".zip")):
        raise ArgumentError(
            f"A table of factors is for a folder or .zip archive of pictures; {name} has no use for one."
        )
    if known_as is None and (factors_file is not None or has_factors(path)):
        fixed = {"table": factors_file, **({} if channels is None else {"channels": channels})}
        return build(  # type: ignore[return-value]
            "FactorFolder", FactorFolder, path, needed_resolution(str(path), resolution), options=options, fixed=fixed
        )
    source = open_data(name, resolution=resolution, data_dir=data_dir, **options)
    if isinstance(source, FactorDataset) or (isinstance(source, ListedFactors) and source.columns):
        return source
    raise ArgumentError(
        f"{name} has no known factors; expected a data set such as rooms, sprites or dsprites, a folder of pictures "
        "with factors.csv in it (or --factors-file), or an .npz file of images and factors."
    )


@checks_arguments
@reads_files
def splits(name: PathLike) -> tuple[str, ...]:
    """The parts that :func:`open_data` offers under a name or path: ``("train",)`` where there is one only.

    The files need not be there, so an unknown name has one part too.
    """
    known_as = _named(name)
    if known_as is not None:
        return known_as[0].splits
    path = expanded(name)
    if not path.is_dir():
        return ("train",)
    source = _recognised(path)
    return source.splits if source is not None else tuple(split_folders(path)) or ("train",)


@checks_arguments
@reads_files
def list_data(data_dir: PathLike | None = None) -> list[DataInfo]:
    """Every data set that has a name, with whether it is here. No file is opened.

    Args:
        data_dir: a folder to search before the others.

    Raises:
        DataError: ``data_dir`` is given and is not a folder.
    """
    if data_dir is not None and not search_places(data_dir)[0].is_dir():
        raise DataError(f"{data_dir} is not a folder; expected data_dir= (--data-dir) to name one.")
    return [source.info(data_dir) for source in SOURCES.values()]


def _named(name: PathLike) -> tuple[DataSource, dict[str, Any]] | None:
    """The data set of a name, with the options that the name stands for."""
    key = os.fspath(name).lower().replace("_", "-")
    if key in SOURCES:
        return SOURCES[key], {}
    return next(((source, dict(source.aliases[key])) for source in SOURCES.values() if key in source.aliases), None)


def _recognised(folder: Path) -> DataSource | None:
    """The data set that a folder holds; None for pictures."""
    return next((one for one in SOURCES.values() if one.recognise is not None and one.recognise(folder)), None)


def _open_path(given: str, resolution: int | None, split: str, options: dict[str, Any]) -> ImageSource:
    path = expanded(given)
    if path.is_dir():
        source = _recognised(path)
        if source is not None:
            if len(source.splits) == 1:
                _only_train(str(path), split)
            return source.open(Request(source, path, resolution, split, options=options))
        parts = split_folders(path)
        if not parts:
            _only_train(str(path), split)
        folder = _part(path, parts, split) if parts else path
        return build("ImageFolder", ImageFolder, folder, needed_resolution(str(path), resolution), options=options)
    if path.is_file():
        _only_train(str(path), split)
        if path.suffix.lower() in ARRAY_SUFFIXES or is_hdf5(path):
            source = _held(path)
            if source is None:
                return build("FactorArrays", FactorArrays, path, options=options, fixed={"resolution": resolution})
            return source.open(Request(source, path, resolution, split, options=options))
        if path.suffix.lower() == ".zip":
            return build("ImageFolder", ImageFolder, path, needed_resolution(str(path), resolution), options=options)
        raise DataError(
            f"{path} is not a data set; expected a folder or .zip archive of pictures, or a file of the kind "
            f"{listed(ARRAY_SUFFIXES)}."
        )
    if os.sep in given or path.suffix.lower() in (*ARRAY_SUFFIXES, ".zip"):
        raise DataError(
            f"There is no file or folder {path}; expected one of pictures, or the name of a data set "
            f"({', '.join(SOURCES)})."
        )
    hint = "The path of a folder, a .zip archive or an .npz or .h5 file works too."
    raise unknown_name("data set", given, SOURCES, hint=hint)


def _part(path: Path, parts: dict[str, Path], split: str) -> Path:
    """The sub-folder of a split; ``val`` and the like mean ``validation``."""
    split = next((part for part, names in SPLITS.items() if split in names), split)
    if split not in parts:
        raise ArgumentError(
            f"{path} has no split {split!r}; its parts are {listed((repr(part) for part in parts), 'and')}."
        )
    return parts[split]


def _held(path: Path) -> DataSource | None:
    """Which data set an array file holds, by the names and shapes of its arrays; None for pictures of the user's."""
    headers = array_headers(path)
    if "images" not in headers and _is_own(headers, "imgs"):
        return None
    for source in SOURCES.values():
        if source.holds is not None and source.holds(headers):
            return source
    if any(_is_own(headers, name) for name in PICTURES):
        return None
    held = ", ".join(f"{name or 'one array'} {header.shape}" for name, header in sorted(headers.items())) or "none"
    arrays = [source.arrays() for source in SOURCES.values() if source.arrays is not None]
    expected = listed([*arrays, "'images' of your own with their factors in other arrays"])
    raise DataError(
        f"{path} is none of the data sets that are read from such a file (its arrays: {held}); expected {expected}."
    )


def _is_own(headers: Mapping[str, ArrayHeader], name: str) -> bool:
    """Whether an array is that of a user's pictures: with a factor for each beside it."""
    if name not in headers or len(headers[name].shape) not in (3, 4):
        return False
    count = headers[name].shape[0]
    if name == "imgs" and (count == math.prod(known.DSprites.grid) or "latents_classes" in headers):
        return False
    return any(len(head.shape) in (1, 2) and head.shape[0] == count for key, head in headers.items() if key != name)


def _only_train(what: str, split: str) -> None:
    if split != "train":
        raise ArgumentError(
            f"{what} has no split {split!r}: it is one set, opened with split='train'; divide its positions instead, "
            "for factor sets with .split(fraction)."
        )
