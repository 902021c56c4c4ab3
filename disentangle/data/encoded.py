"""A source of pictures that are stored as encoded files: decoded by a few threads, kept once decoded."""

from __future__ import annotations

import errno
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle.archives import ArchiveError
from disentangle.data.decoding import PictureDecoder
from disentangle.data.indices import check_indices
from disentangle.errors import DataError, InputError, reason, unknown_name
from disentangle.images import PictureError
from disentangle.images.per_process import PerProcess

__all__ = ["CACHE_BYTES", "EncodedImages", "PictureCache", "Shelf"]

CACHE_BYTES = 2 << 30
ON_BAD_IMAGE = ("raise", "skip")

_NOT_ITS_FAULT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE)
_BLOCK = 256  # pictures checked at a time
_log = logging.getLogger(__name__)


class Shelf(Protocol):
    """Encoded pictures by position: a folder, an archive, a database."""

    def __len__(self) -> int: ...

    def name(self, position: int) -> str:
        """What to call the picture in a message."""

    def read(self, position: int) -> bytes:
        """The bytes of the file; called from several threads at once.

        Raises:
            OSError, PictureError, ArchiveError: if they cannot be had.
        """


class EncodedImages:
    """Pictures from a shelf, as an image source.

    Args:
        shelf: where the bytes come from.
        decoder: turns them into a picture.
        labels: (len(shelf),) int64, or None.
        class_names: the names of the labels.
        flip: append the mirror image of every picture: position ``n + i`` mirrors position ``i``.
        cache_bytes: decoded pictures are kept in memory up to this size; 0 keeps none.
        on_bad_image: ``"raise"`` a DataError when an unreadable picture is asked for, or ``"skip"``: read every picture
            once at the start, leave the unreadable ones out and log their names.

    Attributes:
        image_shape: (channels, resolution, resolution).
        labels: (len(self),) int64, or None without classes.
        class_names: empty without classes.
        skipped: the names of the pictures that were left out.
    """

    def __init__(
        self,
        shelf: Shelf,
        decoder: PictureDecoder,
        *,
        labels: Tensor | None = None,
        class_names: tuple[str, ...] = (),
        flip: bool = False,
        cache_bytes: int = CACHE_BYTES,
        on_bad_image: str = "raise",
    ) -> None:
        if on_bad_image not in ON_BAD_IMAGE:
            raise unknown_name("value of on_bad_image", on_bad_image, ON_BAD_IMAGE)
        if cache_bytes < 0:
            raise InputError(f"cache_bytes is {cache_bytes}; expected a number of bytes, 0 or more.")
        self.image_shape = (decoder.channels, decoder.resolution, decoder.resolution)
        self.skipped: tuple[str, ...] = ()
        self._shelf = shelf
        self._decoder = decoder
        self._flip = flip
        self._pool = PerProcess(partial(ThreadPoolExecutor, min(8, os.cpu_count() or 1), "decode"))
        self._cache = PictureCache(len(shelf), self.image_shape, cache_bytes)
        self._kept = np.arange(len(shelf))
        if on_bad_image == "skip":
            self._leave_out_unreadable()
        if labels is not None:
            labels = labels[torch.from_numpy(self._kept)]
            labels = torch.cat((labels, labels)) if flip else labels
        self.labels = labels
        self.class_names = class_names

    def __len__(self) -> int:
        return len(self._kept) * (2 if self._flip else 1)

    def images(self, indices: Tensor) -> Tensor:
        """Pictures by position.

        Args:
            indices: (n,) integers in ``range(len(self))``.

        Returns:
            (n, *image_shape) float32 in [0, 1].

        Raises:
            InputError: another shape or dtype, or a position out of range.
            DataError: a picture that cannot be read; the message names it.
        """
        indices = check_indices(indices, len(self))
        if not len(indices):
            return torch.zeros((0, *self.image_shape))
        unique, inverse = torch.unique(indices % len(self._kept), return_inverse=True)
        pictures = torch.from_numpy(self._load(self._kept[unique.numpy()]))[inverse]
        mirrored = indices >= len(self._kept)
        if mirrored.any():
            pictures[mirrored] = pictures[mirrored].flip(-1)
        return pictures.to(torch.float32) / 255

    def name(self, index: int) -> str:
        """What the picture at a position is called in its folder, archive or database."""
        return self._shelf.name(int(self._kept[index % len(self._kept)]))

    def _load(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decoded pictures at distinct positions of the shelf."""
        pictures = np.empty((len(positions), *self.image_shape), np.uint8)
        missing = self._cache.fetch(positions, pictures)
        wanted = [int(position) for position in positions[missing]]
        decoded = self._pool().map(self._decode, wanted) if len(wanted) > 1 else map(self._decode, wanted)
        for row, picture in zip(missing, decoded, strict=True):
            pictures[row] = picture
        self._cache.store(positions[missing], pictures[missing])
        return pictures

    def _decode(self, position: int) -> NDArray[np.uint8]:
        try:
            return self._decoder(self._shelf.read(position))
        except MemoryError as error:
            raise DataError(f"There is not the memory to decode {self._shelf.name(position)}; free some.") from error
        except (PictureError, ArchiveError, OSError) as error:
            name, why = self._shelf.name(position), reason(error)
            if getattr(error, "errno", None) in _NOT_ITS_FAULT:
                raise DataError(f"{name} cannot be read now ({why}); see to that and try again.") from error
            raise _UnreadableError(name, why) from error

    def _leave_out_unreadable(self) -> None:
        good: list[int] = []
        bad: list[int] = []
        for start in range(0, len(self._kept), _BLOCK):
            block = self._kept[start : start + _BLOCK]
            for position, error in zip(block, self._pool().map(self._try, block), strict=True):
                (good if error is None else bad).append(int(position))
                if error is not None:
                    _log.warning("left out: %s cannot be read as a picture (%s)", self._shelf.name(position), error.why)
        if not good:
            raise DataError(f"None of the {len(bad)} pictures can be read; the first is {self._shelf.name(bad[0])}.")
        self._kept = np.array(good, np.int64)
        self.skipped = tuple(self._shelf.name(position) for position in bad)

    def _try(self, position: int) -> _UnreadableError | None:
        try:
            self._load(np.array([position]))
        except _UnreadableError as error:
            return error
        return None


class _UnreadableError(DataError):
    """A picture that cannot be read today nor tomorrow, which alone may be left out."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"{name} cannot be read as a picture ({why}); repair or remove it, or leave such pictures out by "
            "--on-bad-image skip (in Python on_bad_image='skip')."
        )
        self.why = why


class PictureCache:
    """Decoded pictures in one array, first come, first kept.

    Nothing is thrown out: training visits every picture once an epoch, and there the first ones in are worth as much
    as the last ones, while a cache of the latest would miss every time once the set is larger than the cache.
    """

    def __init__(self, count: int, shape: tuple[int, ...], limit: int) -> None:
        self._count, self._shape, self._limit = count, shape, limit
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._used = 0
        self._slots = np.full(self._count, -1, np.int64)
        capacity = min(self._count, self._limit // max(1, int(np.prod(self._shape))))
        # The system hands memory out when a page is first written, so a large empty array costs nothing.
        self._pictures = np.empty((capacity, *self._shape), np.uint8)

    def fetch(self, positions: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Copies what is here into the rows of ``out``; returns the rows that are missing."""
        slots = self._slots[positions]
        here = slots >= 0
        out[here] = self._pictures[slots[here]]
        return np.flatnonzero(~here)

    def store(self, positions: NDArray[np.int64], pictures: NDArray[np.uint8]) -> None:
        """Keeps as many of the pictures as there is room for."""
        with self._lock:
            new = np.flatnonzero(self._slots[positions] < 0)[: len(self._pictures) - self._used]
            slots = np.arange(self._used, self._used + len(new))
            self._pictures[slots] = pictures[new]
            self._slots[positions[new]] = slots  # last, so that another thread never sees a slot without its picture
            self._used += len(new)

    def __getstate__(self) -> dict[str, Any]:
        return {"_count": self._count, "_shape": self._shape, "_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clear()
