"""LSUN: photographs of scenes and objects, one lmdb database a category (Yu et al. 2015)."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages
from disentangle.data.lmdb_pages import list_entries
from disentangle.data.places import PathLike, expanded, reading
from disentangle.errors import DataError
from disentangle.files import open_regular
from disentangle.images import LARGEST, PictureError
from disentangle.images.per_process import PerProcess

__all__ = ["LSUN", "LmdbShelf"]


class LSUN(EncodedImages):
    """The pictures of one LSUN category, from its lmdb folder.

    The database is read by hand (:mod:`~disentangle.data.lmdb_pages`), without the lmdb package and without a lock
    file, so that a read-only disk will do. The keys are listed once, when it is opened (which takes a while for a
    category of millions), and give the order of the pictures.

    Args:
        path: the folder with ``data.mdb``, for example ``bedroom_val_lmdb``; the values are encoded pictures.
        resolution: height and width in pixels.
        resize: ``"center-crop"`` (the largest central square), ``"squash"`` or ``"pad"``.
        flip: append the mirror image of every picture, which doubles the length.
        cache_bytes: decoded pictures are kept in memory up to this size.
        on_bad_image, max_pixels: as for :class:`~disentangle.data.folder.ImageFolder`.

    Attributes:
        image_shape: (3, resolution, resolution).

    Raises:
        InputError: an unknown option.
        DataError: the folder holds no readable, whole and filled database; by :meth:`images`, an unreadable picture.
    """

    def __init__(
        self,
        path: PathLike,
        resolution: int,
        *,
        resize: str = "center-crop",
        flip: bool = False,
        cache_bytes: int = CACHE_BYTES,
        on_bad_image: str = "raise",
        max_pixels: int | None = None,
    ) -> None:
        decoder = PictureDecoder(resolution, resize=resize, max_pixels=max_pixels)
        shelf = LmdbShelf(expanded(path))
        super().__init__(shelf, decoder, flip=flip, cache_bytes=cache_bytes, on_bad_image=on_bad_image)


class LmdbShelf:
    """The values of an lmdb database, in the order of their keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "data.mdb"
        with reading(folder):
            there = self._path.is_file()
        if not there:
            raise DataError(
                f"{folder} holds no data.mdb; expected an LSUN folder such as bedroom_val_lmdb (unpack the .zip first)."
            )
        self._entries = list_entries(self._path)
        if not len(self):
            raise DataError(f"{folder} holds no pictures: its database is empty; fetch it again.")
        self._file = PerProcess(partial(open_regular, self._path))

    def __len__(self) -> int:
        return len(self._entries.ends)

    def name(self, position: int) -> str:
        """What to call a picture in a message."""
        return f"{self.folder}:{self._entries.key(position).decode('latin-1')}"

    def read(self, position: int) -> bytes:
        """The bytes of a picture file; OSError or PictureError if they cannot be had."""
        size = int(self._entries.sizes[position])
        if size > LARGEST:
            raise PictureError(f"it has {size:,} bytes; the limit is {LARGEST:,}")
        value = os.pread(self._file().fileno(), size, int(self._entries.offsets[position]))
        if len(value) != size:
            raise PictureError("the database has been cut off since it was opened")
        return value
