"""Pictures in a folder or in a .zip archive."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from disentangle.archives import ArchiveError
from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages
from disentangle.data.places import PathLike, reading
from disentangle.errors import DataError, reason
from disentangle.images import FolderShelf, ZipShelf, open_shelf
from disentangle.json_files import parse_json
from disentangle.text import shown

__all__ = ["SPLITS", "ImageFolder", "split_folders"]

# The parts of a data set, and the names of the sub-folders that hold them.
SPLITS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}

_NOTE = "dataset.json"  # in which the tool of NVIDIA's StyleGANs keeps the classes
_MOST_CLASSES = 1 << 16


class ImageFolder(EncodedImages):
    """Every picture in a folder and its sub-folders, or in a .zip archive, in the order of their paths.

    Pictures are decoded when asked for: EXIF orientation applied, animations by their first picture, any colour mode
    converted (16-bit greys divided by 257, transparent pixels laid over the background), brought to a square and
    resized with Lanczos' filter. Smaller pictures are enlarged. Hidden files and ``__MACOSX`` folders are passed over.

    Where every picture lies in a sub-folder, the sub-folders of the first level are the classes, in the order of their
    names. (A single folder around everything in an archive is entered first.) Where a file ``dataset.json`` with
    ``labels`` lies beside them, as NVIDIA's ``dataset_tool`` writes it, the classes are those, and the sub-folders, its
    chunks of a thousand pictures, are none; its ``null`` means that there are no classes.

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
        max_pixels: up to how many pixels a file is decoded, whatever memory that takes; None for as many as
            :func:`~disentangle.images.decode_picture` takes by default.

    Attributes:
        image_shape: (channels, resolution, resolution).
        labels: (n,) int64 class of each picture, or None where there are no classes.
        class_names: names of the classes; empty where there are none.
        skipped: names of the pictures left out.

    Raises:
        InputError: an unknown option.
        DataError: no such folder or archive, no pictures in it, or a part of it that may not be read; labels of
            ``dataset.json`` that are no classes; by :meth:`images`, an unreadable picture.
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
        max_pixels: int | None = None,
    ) -> None:
        decoder = PictureDecoder(resolution, channels, resize, background, max_pixels=max_pixels)
        shelf = open_shelf(path)
        noted = _noted_classes(shelf, path)
        labels, class_names = _folder_classes(shelf.paths) if noted is None else noted
        super().__init__(
            shelf,
            decoder,
            labels=labels,
            class_names=class_names,
            flip=flip,
            cache_bytes=cache_bytes,
            on_bad_image=on_bad_image,
        )


def split_folders(root: Path) -> dict[str, Path]:
    """The parts of a folder that is divided into ``train/`` and ``val/`` or ``test/``; empty where it is not.

    A folder with ``train/`` alone, or without it, is one set whose sub-folders are classes.
    """
    with reading(root):
        found = {part: root / name for part, names in SPLITS.items() for name in names if (root / name).is_dir()}
    return found if "train" in found and len(found) > 1 else {}


Classes = tuple[Tensor | None, tuple[str, ...]]


def _folder_classes(paths: list[str]) -> Classes:
    if not all("/" in path for path in paths):
        return None, ()
    folders = [path.split("/", 1)[0] for path in paths]
    names = tuple(sorted(set(folders)))
    number = {name: label for label, name in enumerate(names)}
    return torch.tensor([number[folder] for folder in folders], dtype=torch.int64), names


def _noted_classes(shelf: FolderShelf | ZipShelf, source: PathLike) -> Classes | None:
    """The classes that ``dataset.json`` gives; None where there is no such file, or it says nothing of labels."""
    try:
        found = shelf.beside(_NOTE)
    except (OSError, ArchiveError) as error:
        raise DataError(f"{_NOTE} in {source} cannot be read ({reason(error)}); repair or remove it.") from None
    if found is None:
        return None
    content, paths = found
    record = parse_json(content, source=f"{_NOTE} in {source}", error=DataError, most=len(content))
    if not isinstance(record, dict) or "labels" not in record:
        return None
    rows = record["labels"]
    if rows is None:
        return None, ()
    labels: dict[str, int] = {}
    for row in rows if isinstance(rows, list) else [rows]:
        name, label = row if isinstance(row, list) and len(row) == 2 else (None, row)
        if not isinstance(name, str) or type(label) is not int or not 0 <= label < _MOST_CLASSES:
            raise DataError(
                f"{_NOTE} in {source} has the label {shown(label)}; expected the name of a picture and the number of "
                'its class, 0 or more, in each row: write the numbers, or "labels": null for pictures without classes.'
            )
        labels[name.replace("\\", "/")] = label
    missing = [path for path in paths if path not in labels]
    if missing:
        raise DataError(
            f"{_NOTE} in {source} has no label for {len(missing)} of {len(paths)} pictures, {missing[0]} for one; add "
            "them, or remove the file to have the sub-folders as classes."
        )
    numbers = torch.tensor([labels[path] for path in paths], dtype=torch.int64)
    return numbers, tuple(str(number) for number in range(int(numbers.max()) + 1))
