"""LSUN: photographs of scenes and objects, one lmdb database a category (Yu et al. 2015)."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages
from disentangle.data.images import ImageSource
from disentangle.data.lmdb_pages import list_entries
from disentangle.data.places import PathLike, expanded, listed, reading, search_places
from disentangle.data.source import DataSource, Request
from disentangle.errors import DataError, InputError
from disentangle.files import open_regular
from disentangle.images import LARGEST, PictureError
from disentangle.images.per_process import PerProcess

__all__ = ["LSUN", "SOURCE", "LmdbShelf"]


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


def _open(asked: Request) -> ImageSource:
    options = dict(asked.options)
    category = options.pop("category", None) if asked.path is None else None
    path = asked.path or _one(asked.data_dir, category, asked.split)
    return replace(asked, options=options).build(LSUN, path, asked.needed_resolution())


def _one(data_dir: PathLike | None, category: str | None, split: str) -> Path:
    seen: list[Path] = []
    for place in search_places(data_dir):
        found = SOURCE.find_in(place)
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
        raise SOURCE.not_found(data_dir)
    raise InputError(
        f"LSUN has no folder {category or '<category>'}_{split}_lmdb here (found {listed(seen, 'and')}); give a "
        "category and a split that is there."
    )


def _found(place: Path) -> list[Path]:
    folders = [place, *(path for name in SOURCE.folders for path in sorted((place / name).glob("*_lmdb")))]
    return [folder for folder in folders if _holds(folder)]


def _holds(folder: Path) -> bool:
    return (folder / "data.mdb").is_file()


SOURCE = DataSource(
    name="lsun",
    title="LSUN",
    kind="images",
    factors="none; one category a folder",
    image_shape="3 x R x R",
    source="Yu et al. 2015, https://github.com/fyu/lsun",
    licence="not stated",
    open=_open,
    divided=True,
    files=("<category>_<split>_lmdb/data.mdb",),
    folders=("", "lsun"),
    find=_found,
    recognise=_holds,
)
