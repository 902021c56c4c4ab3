"""SmallNORB: 50 toys in five categories, by two cameras, 48,600 pairs (LeCun, Huang and Bottou 2004).

Its files are in a binary matrix format, little-endian: four bytes that tell the type, the number of dimensions, the
sizes (at least three are written, however few count), then the values in row-major order.
"""

from __future__ import annotations

import gzip
import logging
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from disentangle.data.arrays import TensorRows
from disentangle.data.images import ImageSource
from disentangle.data.places import PathLike, expanded, reads_files
from disentangle.data.source import DataSource, Request
from disentangle.data.stored import StoredFactors
from disentangle.errors import DataError, reason
from disentangle.files import open_regular

__all__ = ["HALVES", "SOURCE", "SmallNORB", "find_matrix"]

SIDE = 64
HALVES = ("training", "testing")

_UINT8, _INT32 = 0x1E3D4C55, 0x1E3D4C54
_CAMERAS, _STORED_SIDE = 2, 96
_BLOCK = 128  # pairs of pictures read at a time
_log = logging.getLogger(__name__)


class SmallNORB(StoredFactors):
    """SmallNORB, the left camera's pictures, resized to 64x64 with Lanczos' filter and kept in memory (199 MB).

    The published training and testing files hold five toys (instances) of each category each. Together they fill the
    grid category x instance x elevation x azimuth x lighting, so both are needed, and the toy is a factor of its own,
    ``instance``. It has a meaning only within a category: animal 3 and car 3 have nothing in common. Studies that hide
    the instance (drawing it at random) leave this column out of the factors.

    Elevation ``i`` is 30 + 5 i degrees from the horizontal, azimuth ``i`` is 20 i degrees. Opening reads and resizes
    every picture, which takes some ten seconds.

    Args:
        path: the folder with ``smallnorb-*-training-*.mat`` and ``smallnorb-*-testing-*.mat`` (dat, cat and info of
            each), plain or as ``.mat.gz``.

    Raises:
        DataError: no such folder, a missing or damaged file, or pictures that do not fill the grid.
    """

    factor_names: tuple[str, ...] = ("category", "instance", "elevation", "azimuth", "lighting")
    factor_kinds: tuple[str, ...] = ("discrete", "discrete", "continuous", "periodic:18", "discrete")
    category_names: tuple[str, ...] = ("animal", "human", "plane", "truck", "car")
    grid: tuple[int, ...] = (5, 10, 9, 18, 6)

    def __init__(self, path: PathLike) -> None:
        folder = expanded(path)
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; expected the folder with the .mat files of SmallNORB.")
        count = math.prod(self.grid) // len(HALVES)
        pictures = np.zeros((count * len(HALVES), SIDE, SIDE), np.uint8)
        filled = np.zeros(len(pictures), np.int64)
        for half in HALVES:
            paths = {kind: _required_matrix(folder, half, kind) for kind in ("dat", "cat", "info")}
            category = _read_integers(paths["cat"], (count,))
            instance, elevation, azimuth, lighting = _read_integers(paths["info"], (count, 4)).T
            # The file counts azimuths in steps of ten degrees and has every second one.
            factors = np.stack((category, instance, elevation, azimuth // 2, lighting), 1)
            if (factors < 0).any() or (factors >= np.array(self.grid)).any() or (azimuth % 2).any():
                raise DataError(
                    f"{paths['info']} or its cat file describes a picture outside the grid "
                    f"{' x '.join(map(str, self.grid))} of {', '.join(self.factor_names)}; fetch the files again."
                )
            points = np.ravel_multi_index(tuple(factors.T), self.grid)
            _log.info("reading %d pictures from %s", count, paths["dat"])
            _read_left(paths["dat"], points, pictures)
            np.add.at(filled, points, 1)
        if (filled != 1).any():
            raise DataError(
                f"{folder}: its pictures cover {int((filled > 0).sum())} of the {len(filled)} points of the grid "
                f"{' x '.join(map(str, self.grid))}; expected each once: the training and testing files of SmallNORB, "
                "unchanged."
            )
        super().__init__(TensorRows(torch.from_numpy(pictures)), self.grid, source=folder)


@reads_files
def find_matrix(folder: Path, half: str, kind: str) -> Path | None:
    """The file of one half (training, testing) and kind (dat, cat, info) in a folder, or None."""
    for pattern in (f"smallnorb*{half}-{kind}.mat", f"smallnorb*{half}-{kind}.mat.gz"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    return None


def _required_matrix(folder: Path, half: str, kind: str) -> Path:
    found = find_matrix(folder, half, kind)
    if found is None:
        raise DataError(
            f"{folder} holds no smallnorb-*-{half}-{kind}.mat (or .mat.gz); expected dat, cat and info of both "
            "training and testing: only together do they hold every toy."
        )
    return found


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, unpacked where it is gzip, with a DataError for what goes wrong in reading."""
    try:
        with open_regular(path) as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            opened: Any = gzip.GzipFile(fileobj=raw) if compressed else raw
            yield opened
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read ({reason(error)}); expected a file of SmallNORB: fetch it again."
        ) from error


def _read_header(file: IO[bytes], path: Path, magic: int, sizes: tuple[int, ...]) -> None:
    """Reads past the header, after checking the type and the sizes."""
    kind = {_UINT8: "bytes", _INT32: "32-bit integers"}[magic]
    expected = f"expected SmallNORB's matrix of {' x '.join(map(str, sizes))} {kind}"
    written = max(3, len(sizes))
    header = file.read(8 + 4 * written)
    if len(header) < 8 + 4 * written or struct.unpack("<2i", header[:8]) != (magic, len(sizes)):
        raise DataError(f"{path} starts with the bytes {header[:8].hex(' ')!r}; {expected}.")
    announced = struct.unpack(f"<{written}i", header[8:])[: len(sizes)]
    if announced != sizes:
        raise DataError(f"{path} announces a matrix of {' x '.join(map(str, announced))}; {expected}.")


def _read_exactly(file: IO[bytes], count: int, path: Path) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise DataError(f"{path} is cut off: it is shorter than its header announces; fetch it again.")
    return data


def _read_end(file: IO[bytes], path: Path) -> None:
    # Reaching the end also lets gzip compare its checksum.
    if file.read(1):
        raise DataError(f"{path} is longer than its header announces; fetch it again.")


def _read_integers(path: Path, sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """A small matrix of 32-bit integers, whole."""
    with _opened(path) as file:
        _read_header(file, path, _INT32, sizes)
        data = _read_exactly(file, 4 * math.prod(sizes), path)
        _read_end(file, path)
    return np.frombuffer(data, "<i4").reshape(sizes).astype(np.int64)


def _read_left(path: Path, points: NDArray[np.int64], pictures: NDArray[np.uint8]) -> None:
    """Puts the left camera's pictures, resized, at their points; read in blocks, for a file is 450 MB unpacked."""
    with _opened(path) as file:
        _read_header(file, path, _UINT8, (len(points), _CAMERAS, _STORED_SIDE, _STORED_SIDE))
        for start in range(0, len(points), _BLOCK):
            here = points[start : start + _BLOCK]
            shape = (len(here), _CAMERAS, _STORED_SIDE, _STORED_SIDE)
            left = np.frombuffer(_read_exactly(file, math.prod(shape), path), np.uint8).reshape(shape)[:, 0]
            for point, picture in zip(here, left, strict=True):
                resized = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                pictures[point] = np.asarray(resized)
        _read_end(file, path)


def _open(asked: Request) -> ImageSource:
    path = asked.first()
    asked.check_side(SIDE)
    return asked.build(SmallNORB, path)


SOURCE = DataSource(
    name="smallnorb",
    title="SmallNORB",
    kind="factors",
    factors="category 5, instance 10, elevation 9, azimuth 18, lighting 6",
    image_shape="1 x 64 x 64",
    source="LeCun, Huang and Bottou 2004, https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
    licence="for research; may not be sold",
    open=_open,
    aliases={"small-norb": {}},
    files=("smallnorb-*-training-dat.mat", "smallnorb-*-training-dat.mat.gz"),
    folders=("", "smallnorb", "small_norb"),
    matches=lambda folder: find_matrix(folder, "training", "dat") is not None,
    recognise=lambda folder: find_matrix(folder, "training", "dat") is not None,
)
