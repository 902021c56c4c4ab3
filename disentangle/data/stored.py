"""Factor data sets whose pictures are all stored, in the order of the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle.data.arrays import ArrayHeader, RowStore, read_small
from disentangle.data.factors import FactorDataset
from disentangle.errors import DataError

__all__ = ["StoredFactors", "check_grid", "check_labels", "find_pictures"]


class StoredFactors(FactorDataset):
    """A factor data set over a row store: row ``i`` is the picture of the grid's point ``i``.

    Args:
        rows: uint8 of shape (pictures, height, width) or (pictures, height, width, channels).
        factor_sizes: sizes of the grid.
        white: the stored value of white: 255, or 1 for pictures of zeros and ones.
        source: what the pictures come from, for messages.
    """

    def __init__(self, rows: RowStore, factor_sizes: Sequence[int], *, white: int = 255, source: object = "") -> None:
        self.factor_sizes = tuple(factor_sizes)
        _, height, width, *channels = rows.shape
        self.image_shape = (channels[0] if channels else 1, height, width)
        self._rows = rows
        self._white = white
        self._source = source

    def render(self, factors: Tensor) -> Tensor:
        """Stored pictures of the given factors: (n, k) integers to (n, *image_shape) float32 in [0, 1]."""
        pictures = self._rows.read(self.factors_to_index(factors))
        if self._white < 255 and pictures.numel() and int(pictures.max()) > self._white:
            raise DataError(f"{self._source} holds the value {int(pictures.max())}; expected 0 to {self._white}.")
        # Channels are stored last.
        pictures = pictures.unsqueeze(1) if pictures.ndim == 3 else pictures.permute(0, 3, 1, 2)
        return pictures.contiguous().to(torch.float32) / self._white


def find_pictures(
    headers: dict[str, ArrayHeader], name: str, path: Path, sizes: Sequence[int], picture_dims: int
) -> tuple[str, ArrayHeader]:
    """The array of the pictures, one picture a point of the grid.

    Args:
        headers: of the file; a .npy file has one array, whose name is empty.
        name: of the array.
        path: of the file, for messages.
        sizes: of the grid.
        picture_dims: 2 for (height, width), 3 for (height, width, channels).

    Returns:
        The name of the array in this file, and its header with the leading axes (one, or one a factor) merged.

    Raises:
        DataError: no such array, another number of axes or another number of pictures.
    """
    expected = f"{math.prod(sizes)} pictures ({' x '.join(map(str, sizes))})"
    name = "" if list(headers) == [""] else name
    if name not in headers:
        held = ", ".join(repr(key) for key in sorted(headers)) or "none"
        raise DataError(f"{path} has no array {name!r} (its arrays: {held}); expected {name!r} with {expected}.")
    header = headers[name]
    leading, picture = header.shape[:-picture_dims], header.shape[-picture_dims:]
    if len(header.shape) <= picture_dims or math.prod(leading) != math.prod(sizes) or 0 in picture:
        raise DataError(
            f"{path}: {name or 'the array'} has the shape {header.shape}; expected {expected}, each "
            f"{'height x width' if picture_dims == 2 else 'height x width x channels'}."
        )
    if picture_dims == 3 and picture[-1] not in (1, 3):
        raise DataError(
            f"{path}: {name or 'the array'} has {picture[-1]} channels on the last axis; expected 3 (or 1)."
        )
    return name, ArrayHeader((math.prod(leading), *picture), header.dtype, header.offset)


def check_labels(headers: dict[str, ArrayHeader], name: str, path: Path, sizes: Sequence[int]) -> None:
    """Checks that a file's own labels, where it has them, describe the grid in row-major order.

    Column ``j`` must depend on factor ``j`` alone and differ between its values; which value has which number is the
    file's affair.

    Args:
        headers: of the file.
        name: of the array of labels: (pictures, factors), in the order of the pictures, or with one leading axis a
            factor.
        path: of the file.
        sizes: of the grid.

    Raises:
        DataError: another shape, or another order of the pictures.
    """
    if name not in headers:
        return
    shape = headers[name].shape
    # Checked before the array is read, so that no damaged or hostile file decides how much memory it takes.
    if headers[name].dtype.kind not in "iuf" or math.prod(shape) != math.prod(sizes) * len(sizes):
        raise DataError(
            f"{path}: {name} is {headers[name].dtype} of the shape {shape}; expected numbers of the shape "
            f"({math.prod(sizes)}, {len(sizes)}), a row of factor values for each picture."
        )
    check_grid(read_small(path, name), path, name, sizes)


def check_grid(labels: NDArray[Any], path: Path, name: str, sizes: Sequence[int]) -> None:
    """The same of labels that have been read, a row of numbers for each picture.

    Raises:
        DataError: another shape, or another order of the pictures.
    """
    if labels.size != math.prod(sizes) * len(sizes):
        raise DataError(
            f"{path}: {name} has the shape {labels.shape}; expected ({math.prod(sizes)}, {len(sizes)}), a row of "
            "factor values for each picture."
        )
    grid = labels.reshape(*sizes, len(sizes)).astype(np.float64)
    for factor, size in enumerate(sizes):
        column = np.moveaxis(grid[..., factor], factor, 0).reshape(size, -1)
        values = np.sort(column[:, 0])
        if not np.allclose(column, column[:, :1], rtol=0, atol=1e-6) or (np.diff(values) <= 1e-6).any():
            raise DataError(
                f"{path}: column {factor} of {name} does not follow the grid {' x '.join(map(str, sizes))} (the last "
                "factor fastest); the pictures are in another order than the published file's."
            )
