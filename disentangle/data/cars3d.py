"""Cars3D: 183 car models seen from 24 sides and 4 heights, 17,568 pictures (Reed, Zhang, Zhang and Lee 2015)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from disentangle.data.arrays import TensorRows
from disentangle.data.images import ImageSource
from disentangle.data.matlab import MatlabError, load_matlab
from disentangle.data.places import PathLike, expanded, reads_files
from disentangle.data.source import DataSource, Request
from disentangle.data.stored import StoredFactors
from disentangle.errors import DataError, reason

__all__ = ["SOURCE", "Cars3D", "mesh_files"]

SIDE = 64

_log = logging.getLogger(__name__)


class Cars3D(StoredFactors):
    """Cars3D, resized to 64x64 with Lanczos' filter and kept in memory (216 MB).

    Each MATLAB file is one car: ``im``, uint8 of 128 x 128 x 3 x 24 azimuths x 4 elevations. The files are numbered in
    the order of their names; other programs number them in the order the disk lists them, so the values of
    ``object`` differ between programs. Opening reads and resizes every file, which takes some ten seconds.

    Args:
        path: the folder with the files ``*_mesh.mat`` (or ``*.mat``), ``data/cars`` of the published archive.

    Raises:
        DataError: no such folder, another number of files, or a file that holds something else.
    """

    factor_names: tuple[str, ...] = ("elevation", "azimuth", "object")
    factor_kinds: tuple[str, ...] = ("continuous", "periodic:24", "discrete")
    grid: tuple[int, ...] = (4, 24, 183)

    def __init__(self, path: PathLike) -> None:
        folder = expanded(path)
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; expected the unpacked folder data/cars of Cars3D.")
        files = mesh_files(folder)
        if len(files) != self.grid[2]:
            raise DataError(
                f"{folder} holds {len(files)} .mat files; expected {self.grid[2]}, one for each car of Cars3D."
            )
        _log.info("reading the %d cars in %s", len(files), folder)
        pictures = np.empty((*self.grid, SIDE, SIDE, 3), np.uint8)
        for car, file in enumerate(files):
            pictures[:, :, car] = _read_car(file, self.grid[:2])
        rows = TensorRows(torch.from_numpy(pictures.reshape(-1, SIDE, SIDE, 3)))
        super().__init__(rows, self.grid, source=folder)


@reads_files
def mesh_files(folder: Path) -> list[Path]:
    """The files of the cars, sorted by name."""
    return sorted(folder.glob("*_mesh.mat")) or sorted(folder.glob("*.mat"))


def _read_car(file: Path, grid: tuple[int, ...]) -> NDArray[np.uint8]:
    """(elevations, azimuths, 64, 64, 3) uint8 pictures of one car."""
    elevations, azimuths = grid
    expected = f"expected the array 'im', uint8 of height x width x 3 x {azimuths} x {elevations}"
    try:
        loaded = load_matlab(file, "im")
    except (OSError, MatlabError) as error:
        raise DataError(
            f"{file} cannot be read as a MATLAB file ({reason(error)}); {expected}: fetch it again."
        ) from error
    if loaded is None:
        raise DataError(f"{file} has no array 'im'; {expected}.")
    views = loaded
    if 0 in views.shape or views.dtype != np.uint8 or views.ndim != 5 or views.shape[2:] != (3, azimuths, elevations):
        raise DataError(f"{file}: 'im' is {views.dtype} of the shape {views.shape}; {expected}.")
    pictures = np.empty((elevations, azimuths, SIDE, SIDE, 3), np.uint8)
    for elevation in range(elevations):
        for azimuth in range(azimuths):
            picture = Image.fromarray(np.ascontiguousarray(views[..., azimuth, elevation]))
            pictures[elevation, azimuth] = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return pictures


def _open(asked: Request) -> ImageSource:
    path = asked.first()
    asked.check_side(SIDE)
    return asked.build(Cars3D, path)


SOURCE = DataSource(
    name="cars3d",
    title="Cars3D",
    kind="factors",
    factors="elevation 4, azimuth 24, object 183",
    image_shape="3 x 64 x 64",
    source="Reed et al. 2015, http://www.scottreed.info/files/nips2015-analogy-data.tar.gz (its folder data/cars)",
    licence="not stated",
    open=_open,
    files=("a folder of *_mesh.mat",),
    folders=("", "cars3d", "cars", "data/cars"),
    matches=lambda folder: any(folder.glob("*.mat" if folder.name in ("cars3d", "cars") else "*_mesh.mat")),
    recognise=lambda folder: any(folder.glob("*_mesh.mat")),
)
