"""The data sets that have a name: what they are, who made them, where their files are found on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from disentangle.data.celeba import find_celeba
from disentangle.data.cifar import find_cifar
from disentangle.data.fashion_mnist import find_fashion_mnist
from disentangle.data.known import DSPRITES_FILES, MPI3D_FILES, SHAPES3D_FILES
from disentangle.data.places import ENVIRONMENT_VARIABLE, PathLike, listed, reads_files, search_places
from disentangle.data.smallnorb import find_matrix
from disentangle.errors import DataError

__all__ = ["CATALOGUE", "DataInfo", "Entry", "find_all", "find_in", "list_data", "not_found"]

MPI3D_ALL = tuple(name for names in MPI3D_FILES.values() for name in names)


@dataclass(frozen=True)
class DataInfo:
    """One line of the list of data sets.

    Attributes:
        name: for :func:`~disentangle.data.registry.open_data`.
        kind: ``"factors"`` (a grid of known factors) or ``"images"``.
        factors: the factors with their sizes, or the classes; text.
        image_shape: channels x height x width; text.
        source: who made it and where it is had.
        licence: as its makers state it.
        available: whether it can be opened on this machine now.
        note: where it was found, or what to do to have it.
    """

    name: str
    kind: str
    factors: str
    image_shape: str
    source: str
    licence: str
    available: bool
    note: str


@dataclass(frozen=True)
class Entry:
    """What is known of a data set before anything is looked up.

    Attributes:
        files: the names of the files looked for, or of the folders, for messages.
        folders: sub-folders they may lie in; "" is the place itself.
        matches: whether a folder holds the data set, for sets of several files.
    """

    title: str
    kind: str
    factors: str
    image_shape: str
    source: str
    licence: str
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ("",)
    matches: Callable[[Path], bool] | None = None


CATALOGUE: dict[str, Entry] = {
    "sprites": Entry(
        title="Sprites",
        kind="factors",
        factors="shape 3, scale 6, orientation 40, pos_x 32, pos_y 32 (positions: at most half the resolution)",
        image_shape="1 x R x R, R = 16 to 256",
        source="drawn by this package",
        licence="Apache-2.0",
    ),
    "rooms": Entry(
        title="Rooms",
        kind="factors",
        factors="floor_hue 10, wall_hue 10, object_hue 10, scale 8, shape 4, orientation 15",
        image_shape="3 x R x R, R = 16 to 256",
        source="drawn by this package",
        licence="Apache-2.0",
    ),
    "fashion-mnist": Entry(
        title="Fashion-MNIST",
        kind="images",
        factors="10 classes; 60,000 train, 10,000 test",
        image_shape="1 x R x R, R = 28, or 32 and more",
        source="Xiao, Rasul and Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
    ),
    "dsprites": Entry(
        title="dSprites",
        kind="factors",
        factors="shape 3, scale 6, orientation 40, pos_x 32, pos_y 32",
        image_shape="1 x 64 x 64",
        source="Matthey et al. 2017, https://github.com/google-deepmind/dsprites-dataset",
        licence="Apache-2.0",
        files=DSPRITES_FILES,
        folders=("", "dsprites"),
    ),
    "shapes3d": Entry(
        title="3D Shapes",
        kind="factors",
        factors="floor_hue 10, wall_hue 10, object_hue 10, scale 8, shape 4, orientation 15",
        image_shape="3 x 64 x 64",
        source="Burgess and Kim 2018, https://github.com/google-deepmind/3d-shapes",
        licence="Apache-2.0",
        files=SHAPES3D_FILES,
        folders=("", "shapes3d", "3dshapes"),
    ),
    "mpi3d": Entry(
        title="MPI3D",
        kind="factors",
        factors=(
            "object_color 6 or 4, object_shape 6 or 4, object_size 2, camera_height 3, background_color 3, "
            "horizontal_axis 40, vertical_axis 40"
        ),
        image_shape="3 x 64 x 64",
        source="Gondal et al. 2019, https://github.com/rr-learning/disentanglement_dataset",
        licence="CC BY 4.0",
        files=MPI3D_ALL,
        folders=("", "mpi3d", "mpi3d_toy", "mpi3d_realistic", "mpi3d_real"),
    ),
    "cars3d": Entry(
        title="Cars3D",
        kind="factors",
        factors="elevation 4, azimuth 24, object 183",
        image_shape="3 x 64 x 64",
        source="Reed et al. 2015, http://www.scottreed.info/files/nips2015-analogy-data.tar.gz (its folder data/cars)",
        licence="not stated",
        files=("a folder of *_mesh.mat",),
        folders=("", "cars3d", "cars", "data/cars"),
        matches=lambda folder: any(folder.glob("*.mat" if folder.name in ("cars3d", "cars") else "*_mesh.mat")),
    ),
    "smallnorb": Entry(
        title="SmallNORB",
        kind="factors",
        factors="category 5, instance 10, elevation 9, azimuth 18, lighting 6",
        image_shape="1 x 64 x 64",
        source="LeCun, Huang and Bottou 2004, https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
        licence="for research; may not be sold",
        files=("smallnorb-*-training-dat.mat", "smallnorb-*-training-dat.mat.gz"),
        folders=("", "smallnorb", "small_norb"),
        matches=lambda folder: find_matrix(folder, "training", "dat") is not None,
    ),
    "celeba": Entry(
        title="CelebA",
        kind="images",
        factors="none; 202,599 aligned faces",
        image_shape="3 x R x R",
        source="Liu et al. 2015, http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        licence="for non-commercial research",
        files=("img_align_celeba", "img_align_celeba.zip"),
        folders=("", "celeba", "CelebA"),
    ),
    "lsun": Entry(
        title="LSUN",
        kind="images",
        factors="none; one category a folder",
        image_shape="3 x R x R",
        source="Yu et al. 2015, https://github.com/fyu/lsun",
        licence="not stated",
        files=("<category>_<split>_lmdb/data.mdb",),
        folders=("", "lsun"),
        matches=lambda folder: (folder / "data.mdb").is_file(),
    ),
    "cifar10": Entry(
        title="CIFAR-10",
        kind="images",
        factors="10 classes; 50,000 train, 10,000 test",
        image_shape="3 x R x R, R = 32 and more",
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)",
        licence="not stated",
        files=("cifar-10-batches-bin/data_batch_1.bin",),
    ),
    "cifar100": Entry(
        title="CIFAR-100",
        kind="images",
        factors="100 classes in 20 groups; 50,000 train, 10,000 test",
        image_shape="3 x R x R, R = 32 and more",
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)",
        licence="not stated",
        files=("cifar-100-binary/train.bin",),
    ),
}


@reads_files
def find_in(place: Path, name: str, files: tuple[str, ...] | None = None) -> list[Path]:
    """Every file or folder of a data set in one place and its usual sub-folders.

    Args:
        place: a folder, which need not exist; a file is taken as it is.
        name: a key of :data:`CATALOGUE`.
        files: the file names to look for instead of the entry's.
    """
    entry = CATALOGUE[name]
    if place.is_file():
        return [place]
    if name == "celeba":
        celeba = find_celeba(place)
        return [celeba] if celeba else []
    folders = [place / folder for folder in entry.folders]
    if name == "lsun":
        folders = [place, *(path for folder in folders for path in sorted(folder.glob("*_lmdb")))]
    if entry.matches is not None:
        return [folder for folder in folders if entry.matches(folder)]
    return [folder / file for folder in folders for file in files or entry.files if (folder / file).is_file()]


def find_all(name: str, data_dir: PathLike | None = None) -> list[Path]:
    """The same for all the places that are searched, the first place first.

    Raises:
        DataError: ``data_dir`` is given and does not exist.
    """
    return [path for place in search_places(data_dir) for path in find_in(place, name)]


def not_found(name: str, data_dir: PathLike | None = None, files: tuple[str, ...] | None = None) -> DataError:
    """The error for a data set that lies in none of the places searched."""
    entry = CATALOGUE[name]
    folders = [folder for folder in entry.folders if folder]
    below = f" (also in the sub-folders {listed(folders, 'and')})" if folders else ""
    return DataError(
        f"{entry.title} was not found: looked for {listed(files or entry.files)} in "
        f"{listed(search_places(data_dir), 'and')}{below}; get it from its source ({entry.source}) and name its folder "
        f"with data_dir= (--data-dir) or the environment variable {ENVIRONMENT_VARIABLE}."
    )


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
    return [_info(name, entry, data_dir) for name, entry in CATALOGUE.items()]


def _info(name: str, entry: Entry, data_dir: PathLike | None) -> DataInfo:
    if name in ("sprites", "rooms"):
        available, note = True, "needs no file"
    elif name == "fashion-mnist":
        folder = find_fashion_mnist("train", data_dir)
        available = folder is not None
        note = (
            f"found in {folder}" if folder else "'apt-get install dataset-fashion-mnist', or download=True (--download)"
        )
    elif name in ("cifar10", "cifar100"):
        folder = find_cifar(int(name.removeprefix("cifar")), "train", data_dir)
        available = folder is not None
        note = f"found in {folder}" if folder else f"put {entry.files[0]} into {search_places(data_dir)[0]}"
    else:
        found = list(dict.fromkeys(find_all(name, data_dir)))
        available = bool(found)
        note = f"found: {listed(found, 'and')}" if found else f"put {entry.files[0]} into {search_places(data_dir)[0]}"
    return DataInfo(name, entry.kind, entry.factors, entry.image_shape, entry.source, entry.licence, available, note)
