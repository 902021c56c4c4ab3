"""LSUN: photographs of scenes and objects, one lmdb database a category (Yu et al. 2015)."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages
from disentangle.data.places import PathLike
from disentangle.errors import DataError

__all__ = ["LSUN", "LmdbShelf"]


class LSUN(EncodedImages):
    """The pictures of one LSUN category, from its lmdb folder.

    The database is opened for reading only, without a lock file, so that a read-only disk will do. The keys are listed
    once, when it is opened (which takes a while for a category of millions), and give the order of the pictures.

    Args:
        path: the folder with ``data.mdb``, for example ``bedroom_val_lmdb``; the values are encoded pictures.
        resolution: height and width in pixels.
        resize: ``"center-crop"`` (the largest central square), ``"squash"`` or ``"pad"``.
        flip: append the mirror image of every picture, which doubles the length.
        cache_bytes: decoded pictures are kept in memory up to this size.
        on_bad_image: ``"raise"`` or ``"skip"``, as for :class:`~disentangle.data.folder.ImageFolder`.

    Attributes:
        image_shape: (3, resolution, resolution).

    Raises:
        InputError: an unknown option.
        DataError: the ``lmdb`` package is missing, or the folder holds no readable, filled database; by
            :meth:`images`, an unreadable picture.
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
    ) -> None:
        decoder = PictureDecoder(resolution, resize=resize)
        shelf = LmdbShelf(Path(path).expanduser())
        super().__init__(shelf, decoder, flip=flip, cache_bytes=cache_bytes, on_bad_image=on_bad_image)


class LmdbShelf:
    """The values of an lmdb database, in the order of their keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "data.mdb").is_file():
            raise DataError(
                f"{folder} holds no data.mdb; expected an LSUN folder such as bedroom_val_lmdb (unpack the .zip first)."
            )
        self._environment = _environment(folder)
        lengths, keys = [], bytearray()
        with self._environment.begin() as transaction:
            for key in transaction.cursor().iternext(keys=True, values=False):
                lengths.append(len(key))
                keys += key
        if not lengths:
            raise DataError(f"{folder} holds no pictures: its database is empty; fetch it again.")
        # Millions of keys are smaller as one string with their ends than as a list.
        self._keys, self._ends = bytes(keys), np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, position: int) -> str:
        return f"{self.folder}:{self._key(position).decode('latin-1')}"

    def read(self, position: int) -> bytes:
        with self._environment.begin() as transaction:
            value: bytes = transaction.get(self._key(position))
            return value

    def _key(self, position: int) -> bytes:
        start = int(self._ends[position - 1]) if position else 0
        return self._keys[start : int(self._ends[position])]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_keys": self._keys, "_ends": self._ends}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._environment = _environment(self.folder)


# lmdb refuses to open one database twice in a process, so two sources of the same folder share the environment. A
# forked child goes on with its parent's, which is safe for reading without locks.
_environments: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_environments_lock = threading.Lock()


def _environment(folder: Path) -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise DataError(
            f"Reading {folder} needs the package lmdb, which is not installed; run pip install "
            "'disentangle-toolkit[data]'."
        ) from error
    real = os.path.realpath(folder)
    with _environments_lock:
        environment = _environments.get(real)
        if environment is None:
            try:
                environment = lmdb.open(
                    real, readonly=True, lock=False, readahead=False, meminit=False, create=False, subdir=True
                )
            except lmdb.Error as error:
                raise DataError(f"{folder} cannot be read as an lmdb database ({error}); fetch it again.") from error
            _environments[real] = environment
    return environment
