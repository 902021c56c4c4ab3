"""Pictures in a folder or in a .zip archive."""

from __future__ import annotations

import os
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages
from disentangle.data.per_process import PerProcess
from disentangle.data.places import PathLike, listed
from disentangle.errors import DataError

__all__ = ["SPLITS", "SUFFIXES", "FolderShelf", "ImageFolder", "ZipShelf", "open_shelf", "split_folders"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

# The parts of a data set, and the names of the sub-folders that hold them.
SPLITS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}

_LARGEST_MEMBER = 1 << 30  # a picture file of more than this in an archive is taken for a bomb


class ImageFolder(EncodedImages):
    """Every picture in a folder and its sub-folders, or in a .zip archive, in the order of their paths.

    Pictures are decoded when asked for: EXIF orientation applied, animations by their first picture, any colour mode
    converted (16-bit greys divided by 257, transparent pixels laid over the background), brought to a square and
    resized with Lanczos' filter. Smaller pictures are enlarged. Hidden files and ``__MACOSX`` folders are passed over.

    Where every picture lies in a sub-folder, the sub-folders of the first level are the classes, in the order of their
    names. (A single folder around everything in an archive is entered first.)

    Args:
        path: a folder or a .zip file; an archive is read in place, never unpacked.
        resolution: height and width in pixels.
        resize: ``"center-crop"`` (the largest central square), ``"squash"`` or ``"pad"``.
        channels: 3 for RGB, 1 for grey.
        background: ``"white"`` or ``"black"``, behind transparent pixels and beside padded pictures.
        flip: append the mirror image of every picture, which doubles the length.
        cache_bytes: decoded pictures are kept in memory up to this size.
        on_bad_image: ``"raise"`` a DataError when an unreadable picture is asked for, or ``"skip"``: read every picture
            once at the start and leave the unreadable ones out (their names are in ``skipped`` and logged).

    Attributes:
        image_shape: (channels, resolution, resolution).
        labels: (n,) int64 class of each picture, or None where there are no classes.
        class_names: names of the classes; empty where there are none.
        skipped: names of the pictures left out.

    Raises:
        InputError: an unknown option.
        DataError: no such folder or archive, or no pictures in it; by :meth:`images`, an unreadable picture.
    """

    def __init__(
        self,
        path: PathLike,
        resolution: int,
        *,
        resize: str = "center-crop",
        channels: int = 3,
        background: str = "white",
        flip: bool = False,
        cache_bytes: int = CACHE_BYTES,
        on_bad_image: str = "raise",
    ) -> None:
        decoder = PictureDecoder(resolution, channels, resize, background)
        shelf = open_shelf(path)
        labels, class_names = _classes(shelf.paths)
        super().__init__(
            shelf,
            decoder,
            labels=labels,
            class_names=class_names,
            flip=flip,
            cache_bytes=cache_bytes,
            on_bad_image=on_bad_image,
        )


class FolderShelf:
    """The picture files under a folder, sorted by path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = sorted(_walk(root))

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, position: int) -> str:
        return str(self.root / self.paths[position])

    def read(self, position: int) -> bytes:
        return (self.root / self.paths[position]).read_bytes()


class ZipShelf:
    """The picture files in an archive, sorted by path; ``paths`` leaves out a folder around everything."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self._zip = PerProcess(partial(zipfile.ZipFile, archive))
        try:
            members = self._zip().namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{archive} cannot be read as a .zip archive ({error}); make or fetch it again.") from error
        self._members = sorted(name for name in members if _is_picture(PurePosixPath(name)))
        self.paths = list(self._members)
        while self.paths and all("/" in path for path in self.paths):
            if len({path.split("/", 1)[0] for path in self.paths}) > 1:
                break
            self.paths = [path.split("/", 1)[1] for path in self.paths]

    def __len__(self) -> int:
        return len(self._members)

    def name(self, position: int) -> str:
        return f"{self.archive}:{self._members[position]}"

    def read(self, position: int) -> bytes:
        member = self._zip().getinfo(self._members[position])
        if member.file_size > _LARGEST_MEMBER:
            raise ValueError(f"it unpacks to {member.file_size} bytes; the limit is {_LARGEST_MEMBER}")
        return self._zip().read(member)


def open_shelf(path: PathLike) -> FolderShelf | ZipShelf:
    """The pictures of a folder or a .zip archive, or a DataError where there are none."""
    path = Path(path).expanduser()
    if path.is_dir():
        shelf: FolderShelf | ZipShelf = FolderShelf(path)
    elif path.is_file() and zipfile.is_zipfile(path):
        shelf = ZipShelf(path)
    elif path.exists():
        raise DataError(
            f"{path} is neither a folder nor a readable .zip archive; expected one of the two, with pictures."
        )
    else:
        raise DataError(f"There is no folder or .zip archive {path}; expected one with pictures.")
    if not len(shelf):
        raise DataError(
            f"{path} holds no images (looked for {listed(SUFFIXES, 'and')}); give a folder or .zip archive of pictures."
        )
    return shelf


def split_folders(root: Path) -> dict[str, Path]:
    """The parts of a folder that is divided into ``train/`` and ``val/`` or ``test/``; empty where it is not.

    A folder with ``train/`` alone, or without it, is one set whose sub-folders are classes.
    """
    found = {part: root / name for part, names in SPLITS.items() for name in names if (root / name).is_dir()}
    return found if "train" in found and len(found) > 1 else {}


def _walk(root: Path) -> list[str]:
    """Picture files under a folder, relative, with forward slashes; linked folders are followed, but not in circles."""
    found, seen = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        relative = PurePosixPath(Path(folder).relative_to(root).as_posix())
        found += [str(relative / name) for name in files if _is_picture(relative / name)]
    return found


def _is_picture(path: PurePosixPath) -> bool:
    hidden = any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _classes(paths: list[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    if not all("/" in path for path in paths):
        return None, ()
    folders = [path.split("/", 1)[0] for path in paths]
    names = tuple(sorted(set(folders)))
    number = {name: label for label, name in enumerate(names)}
    return torch.tensor([number[folder] for folder in folders], dtype=torch.int64), names
