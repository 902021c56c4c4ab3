"""Falcor3D and Isaac3D: rendered rooms with seven and nine factors (Nie et al. 2020), read from numbered picture files.

Picture ``i`` of the grid, the last factor fastest, is the file of the number ``i``, with zeros in front to six digits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from disentangle.array_files import ArrayFile
from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages
from disentangle.data.factors import FactorDataset
from disentangle.data.images import ImageSource
from disentangle.data.places import PathLike, expanded
from disentangle.data.source import DataSource, Request
from disentangle.data.stored import check_grid
from disentangle.errors import DataError
from disentangle.images import open_shelf

__all__ = ["SOURCES", "Falcor3D", "Isaac3D"]

SIDE = 128  # of the published small versions; larger ones are brought to the resolution asked for


class NumberedPictures(FactorDataset):
    """A grid of factors whose pictures are files, numbered in its order.

    Args:
        path: the folder or .zip archive; pictures lie in it or in ``images/``.
        resolution: height and width in pixels, by Lanczos' filter; 64 in most papers.
        cache_bytes: decoded pictures are kept in memory up to this size.

    Raises:
        DataError: another number of pictures, others than those of the grid, or labels that do not follow it.
    """

    title: str
    grid: tuple[int, ...]
    labels: str

    def __init__(self, path: PathLike, resolution: int = SIDE, *, cache_bytes: int = CACHE_BYTES) -> None:
        folder = expanded(path)
        shelf = open_shelf(folder)
        self.factor_sizes = self.grid
        count = len(self)
        if len(shelf) != count:
            raise DataError(
                f"{folder} holds {len(shelf):,} pictures; expected {count:,}, those of {self.title} "
                f"({' x '.join(map(str, self.grid))})."
            )
        numbers = np.array([_number(name) for name in shelf.paths], dtype=np.int64)
        order = np.argsort(numbers)
        odd = np.flatnonzero(numbers[order] != np.arange(count))
        if len(odd):
            raise DataError(
                f"{folder} has no picture {int(odd[0]):06}.png of its own; expected those of {self.title}, numbered "
                f"from 000000 to {count - 1:06}."
            )
        if folder.is_dir() and (folder / self.labels).is_file():
            with ArrayFile(folder / self.labels, what=f"the labels of {self.title}", error=DataError) as file:
                check_grid(file.read(file.names[0], most=1 << 28), folder / self.labels, self.labels, self.grid)
        self._order = torch.from_numpy(order)
        self._pictures = EncodedImages(shelf, PictureDecoder(resolution), cache_bytes=cache_bytes)
        self.image_shape = self._pictures.image_shape

    def render(self, factors: Tensor) -> Tensor:
        """Pictures of the given factors: (n, k) integers to (n, *image_shape) float32 in [0, 1]."""
        return self._pictures.images(self._order[self.factors_to_index(factors)])


class Falcor3D(NumberedPictures):
    """Falcor3D: a living room under one lamp from one camera, 233,280 colour pictures.

    All factors are continuous, their values evenly from 0 to 1. See :class:`NumberedPictures` for the arguments;
    the folder is ``Falcor3D_down128``, with ``images/000000.png`` and so on.
    """

    title = "Falcor3D"
    labels = "train-rec.labels"
    factor_names = (
        "lighting_intensity", "lighting_x_dir", "lighting_y_dir", "lighting_z_dir",
        "camera_x_pos", "camera_y_pos", "camera_z_pos",
    )  # fmt: skip
    factor_kinds = ("continuous",) * 7
    grid = (5, 6, 6, 6, 6, 6, 6)


class Isaac3D(NumberedPictures):
    """Isaac3D: a robot's arm with an object in a kitchen, 737,280 colour pictures.

    ``object_shape``, ``object_color`` and ``wall_color`` are discrete, the others continuous, their values evenly from
    0 to 1. The factors stand in the order of the labels and of the published program; the description published with
    them names the second to the fifth in another order, to which its own sizes do not fit. See
    :class:`NumberedPictures` for the arguments; the folder is ``Isaac3D_down128``, with ``images/000000.png`` and so
    on.
    """

    title = "Isaac3D"
    labels = "labels.npy"
    factor_names = (
        "object_shape", "robot_x_move", "robot_y_move", "camera_height", "object_scale", "lighting_intensity",
        "lighting_y_dir", "object_color", "wall_color",
    )  # fmt: skip
    factor_kinds = ("discrete", *("continuous",) * 6, "discrete", "discrete")
    grid = (3, 8, 5, 4, 4, 4, 6, 4, 4)


def _number(path: str) -> int:
    stem = PurePosixPath(path).stem
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) <= 9 else -1


def _holds(reader: type[NumberedPictures]) -> Callable[[Path], bool]:
    """Whether a folder has the last picture of a grid, and none after it."""

    def held(folder: Path) -> bool:
        count = int(np.prod(reader.grid))
        return any(
            (place / f"{count - 1:06}.png").is_file() and not (place / f"{count:06}.png").exists()
            for place in (folder / "images", folder)
        )

    return held


def _source(name: str, reader: type[NumberedPictures]) -> DataSource:
    def opened(asked: Request) -> ImageSource:
        return asked.build(reader, asked.first(), *(() if asked.resolution is None else (asked.resolution,)))

    named = zip(reader.factor_names, reader.grid, strict=True)
    return DataSource(
        name=name,
        title=reader.title,
        kind="factors",
        factors=", ".join(f"{factor} {size}" for factor, size in named),
        image_shape="3 x R x R, stored 128 x 128",
        source="Nie et al. 2020, https://github.com/NVlabs/High-res-disentanglement-datasets",
        licence="CC BY 4.0",
        open=opened,
        files=(f"{reader.title}_down128",),
        folders=("", f"{reader.title}_down128", name),
        matches=_holds(reader),
        recognise=_holds(reader),
    )


SOURCES = (_source("isaac3d", Isaac3D), _source("falcor3d", Falcor3D))
