"""A user's own pictures with known factors: a folder or archive with a table, or an .npz file of arrays."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle.archives import ArchiveError
from disentangle.array_files import ArrayFile
from disentangle.data.arrays import ArrayHeader, RowStore, TensorRows, array_headers, is_hdf5, open_rows, read_small
from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages, Shelf
from disentangle.data.factor_table import FactorColumn, factor_values, read_table
from disentangle.data.factors import FactorDataset
from disentangle.data.indices import check_indices
from disentangle.data.places import PathLike, expanded, listed, reading
from disentangle.data.text_rows import LARGEST_TABLE
from disentangle.errors import DataError, InputError, reason
from disentangle.files import open_regular
from disentangle.images import open_shelf
from disentangle.text import shown

__all__ = ["PICTURES", "TABLES", "FactorArrays", "FactorFolder", "ListedFactors", "has_factors"]

TABLES = ("factors.csv", "factors.tsv")
PICTURES = ("images", "imgs")  # names of the array of pictures in an .npz file
_MATRIX = ("factors", "labels")  # of one of a row of factors for each

_UNPACKED = 256 << 20  # bytes of arrays

_log = logging.getLogger(__name__)


class ListedFactors:
    """Pictures with their factors in a list: any of them, in any number, whole numbers, others or names.

    Attributes:
        columns: the factors; their values are those of the pictures, in order.
        source: where they come from, for messages.
    """

    columns: tuple[FactorColumn, ...]
    source: str
    image_shape: tuple[int, int, int]

    @property
    def factor_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def factor_kinds(self) -> tuple[str, ...]:
        """``"discrete"`` or ``"continuous"`` of each, as :attr:`FactorColumn.kind` tells it."""
        return tuple(column.kind for column in self.columns)

    @property
    def description(self) -> str:
        """What was found, in a line."""
        told = "; ".join(map(str, self.columns[:20])) + ("; ..." if len(self.columns) > 20 else "")
        return f"{len(self.columns[0].values):,} pictures with factors in {self.source}: {told}."

    def images(self, indices: Tensor) -> Tensor:
        raise NotImplementedError

    def draw(self, n: int, *, seed: int, factor_kinds: Any = None) -> tuple[Tensor, NDArray[Any], list[str]]:
        """Different pictures, ``n`` or all there are.

        Args:
            n: how many at most.
            seed: of the draw.
            factor_kinds: other kinds than :attr:`factor_kinds`: one for all, or one for each factor.

        Returns:
            (m,) positions; (m, k) factors, of discrete ones the position among their values, int64 where all are; and
            the kinds.

        Raises:
            InputError: if kinds do not fit.
        """
        count = len(self.columns[0].values)
        every, kinds = factor_values(self.columns, factor_kinds)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[: min(n, count)].sort().values
        return order, every[order.numpy()], kinds

    def grid(self) -> FactorDataset:
        """The same pictures by their factors, where all are discrete and there is one picture for each combination.

        Raises:
            DataError: if not.
        """
        grouped = [np.unique(column.values, return_inverse=True) for column in self.columns]
        sizes = tuple(len(distinct) for distinct, _ in grouped)
        free = [column.name for column in self.columns if column.kind != "discrete"]
        count, needed = len(self.columns[0].values), math.prod(sizes)
        if not free and needed == count:
            places = np.ravel_multi_index([labels for _, labels in grouped], sizes)
            if len(np.unique(places)) == count:
                return _Grid(self, sizes, torch.from_numpy(np.argsort(places)))
        why = f"{listed(map(repr, free), 'and')} is continuous" if free else f"it has {count:,}"
        raise DataError(
            f"{self.source} has no grid: pictures of chosen factors need one for each of the combinations "
            f"{' x '.join(map(str, sizes))}, {needed:,} in all, and {why}; leave out metrics that draw such pictures."
        )


class _Grid(FactorDataset):
    def __init__(self, pictures: ListedFactors, sizes: tuple[int, ...], order: Tensor) -> None:
        self.factor_names, self.factor_sizes = pictures.factor_names, sizes
        self.image_shape = pictures.image_shape
        self._pictures, self._order = pictures, order

    def render(self, factors: Tensor) -> Tensor:
        return self._pictures.images(self._order[self.factors_to_index(factors)])


class FactorFolder(EncodedImages, ListedFactors):
    """The pictures of a folder or .zip archive that a table has factors of.

    The table is ``factors.csv`` or ``factors.tsv`` beside the pictures, or any file. It has a header; one of its
    columns names the files, by their path or their last part, and every other is a factor: numbers, or texts, which are
    numbered in the order of the alphabet. Pictures that it does not name are left out, and their number is logged.

    Args:
        path: the folder or archive.
        resolution: height and width in pixels.
        table: the table; that beside the pictures by default.
        resize, channels, background, cache_bytes, on_bad_image, max_pixels: as of
            :class:`~disentangle.data.folder.ImageFolder`.

    Raises:
        DataError: no table, or one with empty cells, texts among numbers, or rows about pictures that are not there.
    """

    def __init__(
        self, path: PathLike, resolution: int, *, table: PathLike | None = None, resize: str = "center-crop",
        channels: int = 3, background: str = "white", cache_bytes: int = CACHE_BYTES, on_bad_image: str = "raise",
        max_pixels: int | None = None,
    ) -> None:  # fmt: skip
        shelf = open_shelf(path)
        name, content, paths = _table(shelf, path, table)
        tabs = name.lower().endswith(".tsv")
        found = read_table(content, paths, source=name, place=os.fspath(path), tabs=tabs)
        order = np.argsort(found.positions)
        kept = found.positions[order]
        bare = len(paths) - len(kept)
        if bare:
            first = paths[int(np.setdiff1d(np.arange(len(paths)), kept)[0])]
            _log.warning(
                "%s says nothing of %d of the %d pictures in %s, which are left out; %s is the first.",
                name, bare, len(paths), path, first,
            )  # fmt: skip
        decoder = PictureDecoder(resolution, channels, resize, background, max_pixels=max_pixels)
        super().__init__(
            _Chosen(shelf, kept), decoder, labels=torch.arange(len(kept)), cache_bytes=cache_bytes,
            on_bad_image=on_bad_image,
        )  # fmt: skip
        assert self.labels is not None
        rows, self.labels = order[self.labels.numpy()], None
        self.columns, self.source = tuple(column.take(rows) for column in found.columns), os.fspath(path)


class _Chosen:
    """Some pictures of a shelf."""

    def __init__(self, shelf: Shelf, positions: NDArray[np.int64]) -> None:
        self._shelf, self._positions = shelf, positions

    def __len__(self) -> int:
        return len(self._positions)

    def name(self, position: int) -> str:
        return self._shelf.name(int(self._positions[position]))

    def read(self, position: int) -> bytes:
        return self._shelf.read(int(self._positions[position]))


class FactorArrays(ListedFactors):
    """Pictures and factors in the arrays of an .npz file (or HDF5).

    ``images`` (or ``imgs``) holds the pictures: (n, height, width), (n, height, width, channels) or (n, channels,
    height, width), unsigned bytes or floating point in [0, 1]. Factors are the columns of ``factors`` (or ``labels``),
    (n, k), or all arrays of n numbers, by their names.

    Args:
        path: the file.
        resolution: the pictures', which are not resized; None for what they have.

    Attributes:
        columns: empty where there are no factors, so that it is a set of pictures.

    Raises:
        DataError: no such arrays, or others than numbers.
    """

    def __init__(self, path: PathLike, *, resolution: int | None = None) -> None:
        file = expanded(path)
        headers = array_headers(file)
        name = next((key for key in PICTURES if key in headers), None)
        if name is None:
            held = listed(sorted(headers)) or "none"
            raise DataError(f"{file} has no array 'images' (its arrays: {shown(held)}); expected the pictures in one.")
        self.source = str(file)
        self._rows, self._axes, self.image_shape, self._white = _pictures(file, name, headers[name])
        height, width = self.image_shape[1:]
        if resolution is not None and (height, width) != (resolution, resolution):
            raise InputError(
                f"resolution is {resolution}, but the pictures in {file} are {height}x{width} and are not resized; "
                "leave it out, or write a folder of picture files."
            )
        self._count = headers[name].shape[0]
        self.columns = tuple(_factor_arrays(file, headers, name, self._count))

    def __len__(self) -> int:
        return self._count

    def images(self, indices: Tensor) -> Tensor:
        """(m,) positions to (m, C, H, W) float32 in [0, 1]."""
        pictures = self._rows.read(check_indices(indices, self._count))
        pictures = pictures.unsqueeze(1) if pictures.ndim == 3 else pictures.permute(self._axes)
        return pictures.contiguous().to(torch.float32) / self._white


def has_factors(path: PathLike) -> bool:
    """Whether a folder or archive has a table of factors beside its pictures."""
    place = expanded(path)
    with reading(place):
        if place.is_dir():
            return any((place / name).is_file() for name in TABLES)
        if not place.is_file() or place.suffix.lower() != ".zip":
            return False
    shelf = open_shelf(place)
    return any(shelf.beside(name) is not None for name in TABLES)


def _table(shelf: Any, path: PathLike, table: PathLike | None) -> tuple[str, bytes, list[str]]:
    """The table's name and content, and the pictures' paths as it sees them."""
    if table is not None:
        file = expanded(table)
        try:
            with open_regular(file) as opened:
                return str(file), opened.read(LARGEST_TABLE), shelf.paths
        except OSError as error:
            raise DataError(f"{file} cannot be read ({reason(error)}); expected a table of factors.") from None
    for name in TABLES:
        try:
            found = shelf.beside(name)
        except (OSError, ArchiveError) as error:
            raise DataError(f"{name} in {path} cannot be read ({reason(error)}); repair it.") from None
        if found is not None:
            return f"{name} in {path}", *found
    raise DataError(
        f"{path} has no table of factors: expected {listed(TABLES)} in it, or another file by --factors-file "
        "(factors_file=)."
    )


def _pictures(
    file: Path, name: str, header: ArrayHeader
) -> tuple[RowStore, tuple[int, ...], tuple[int, int, int], float]:
    """The rows, the order of their axes, (C, H, W), and the value of white."""
    shape = header.shape
    first = len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
    if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and not first and shape[3] not in (1, 3)):
        raise DataError(
            f"{file}: {name} has the shape {shape}; expected (n, height, width), (n, height, width, channels) or (n, "
            "channels, height, width) with 1 or 3 channels."
        )
    axes = (0, 1, 2, 3) if first else (0, 3, 1, 2)  # of pictures without channels none is asked for
    if len(shape) == 3:
        size = (1, shape[1], shape[2])
    else:
        size = (shape[1], shape[2], shape[3]) if first else (shape[3], shape[1], shape[2])
    if header.dtype == np.uint8:
        if header.offset is None and not is_hdf5(file):  # to be unpacked, into what a file of this size may take
            most = max(_UNPACKED, 8 * file.stat().st_size)
            with ArrayFile(file, what="pictures and factors", fault="cannot be read", error=DataError) as opened:
                return TensorRows(torch.from_numpy(opened.read(name, most=most))), axes, size, 255.0
        return open_rows(file, name, header), axes, size, 255.0
    if header.dtype.kind != "f":
        raise DataError(f"{file}: {name} is of {header.dtype}; expected unsigned bytes, or floating point in [0, 1].")
    numbers = read_small(file, name).astype(np.float32)
    low, high = float(numbers.min()), float(numbers.max())
    if not (low >= 0 and high <= 1):
        raise DataError(f"{file}: {name} has values from {low:g} to {high:g}; expected floating point in [0, 1].")
    return TensorRows(torch.from_numpy(numbers)), axes, size, 1.0


def _factor_arrays(file: Path, headers: dict[str, ArrayHeader], pictures: str, count: int) -> Sequence[FactorColumn]:
    matrix = next((key for key in _MATRIX if key in headers and len(headers[key].shape) == 2), None)
    chosen = (
        [matrix] if matrix else [key for key, head in headers.items() if key != pictures and head.shape == (count,)]
    )
    large = sum(math.prod(headers[key].shape) for key in chosen) * 8
    if large > _UNPACKED:
        raise DataError(f"{file}: its factors would take {large:,} bytes; the limit is {_UNPACKED:,}.")
    columns = []
    for key in chosen:
        header = headers[key]
        if header.dtype.kind not in "biuf":
            raise DataError(
                f"{file}: {shown(key)} is of {shown(str(header.dtype), most=40)}, and only numbers are read from such "
                "a file; number its values, or write a folder of pictures with factors.csv, which may hold texts."
            )
        if header.shape[0] != count:
            raise DataError(
                f"{file}: {shown(key)} has {header.shape[0]:,} rows and {pictures} {count:,}; expected one a picture."
            )
        values = read_small(file, key).astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"{file}: {shown(key)} holds NaN or infinity; expected finite numbers.")
        if values.ndim == 1:
            columns.append(FactorColumn(key, values))
        else:
            columns += [FactorColumn(f"factor {i}", values[:, i]) for i in range(values.shape[1])]
    return columns
