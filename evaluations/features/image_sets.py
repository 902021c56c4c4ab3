"""Sets of 8-bit colour images from where users have them: folders, zips, arrays, data sets, generators."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.archives import ArchiveError
from disentangle.array_files import ArrayFile
from disentangle.checks import check_name, read_array
from disentangle.colour import coloured, how_coloured
from disentangle.errors import ArgumentError, InputError, reason
from disentangle.evaluations.classes import Generator, plan_classes
from disentangle.evaluations.features.protocols import Rounding, to_uint8
from disentangle.images import (
    FITS,
    FolderShelf,
    PictureError,
    ZipShelf,
    decode_picture,
    fit_picture,
    inspect_picture,
    open_shelf,
)
from disentangle.looking import looking_at
from disentangle.signatures import checks_arguments

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageSet", "array_images", "data_images", "file_images", "generated_images", "unlike_compression"]

_log = logging.getLogger(__name__)
_READING = b"upright, 16 bits / 257, on white"  # part of the digest: a cache holds what was read in this way
_ROOM = 8  # bytes a pixel that a protocol takes to resize a picture in its own size
_JPEG = b"\xff\xd8\xff"  # how such a file begins
_PART = 1 << 24  # numbers of an array that are converted at a time


@dataclass(frozen=True)
class ImageSet:
    """Images one after another.

    Attributes:
        name: for messages and records.
        count: number of images.
        read: from (first, last) to that part as a list of uint8 (3, H, W), which may differ in size.
        digest: of the content, for a cache; "" where equal content cannot be told.
        notes: what was done to the images that a reader of a score should know.
        fit: how files were brought to one size, of :data:`disentangle.images.FITS`; "" where there are no files.
        jpeg: share of the files that are JPEGs; None where there are no files.
    """

    name: str
    count: int
    read: Callable[[int, int], list[Tensor]]
    digest: str = ""
    notes: tuple[str, ...] = ()
    fit: str = ""
    jpeg: float | None = None

    def batches(self, size: int) -> Iterator[list[Tensor]]:
        """Parts of at most ``size`` images, in order."""
        for first in range(0, self.count, size):
            yield self.read(first, min(first + size, self.count))


def file_images(
    path: str | os.PathLike[str], *, most: int | None = None, fit: str = "as-is", resolution: int | None = None,
    max_pixels: int | None = None, on_bad_image: str = "raise",
) -> ImageSet:  # fmt: skip
    """Images of a folder (with its sub-folders) or a .zip, in the order of their names; or of an .npz or .npy array.

    A file is read to the pixels that a training reads: upright, greys of 16 bits divided by 257, transparent pixels
    laid over white, the first frame of an animation; grey images are repeated to three channels. What applied is in the
    notes.

    Args:
        path: of the folder or file.
        most: take the first so many only.
        fit: ``"as-is"`` leaves each in its size, as the published protocols do, which then squash it to the network's;
            ``"center-crop"`` takes the largest square in the middle, as trainings do by default; ``"squash"``,
            ``"pad"``.
        resolution: side of the square in pixels, where it is not as-is; a center crop without one keeps its own.
        max_pixels: up to how many pixels a file is decoded, whatever memory that takes.
        on_bad_image: ``"raise"`` when an unreadable file is come to, or ``"skip"``: decode every file now, and leave
            out those that cannot be; each is logged, and their number is in the notes.

    Raises:
        InputError: if there are no images, a part of the folder may not be read, or an unknown ``fit``; or, when it is
            read, a file is not an image (named).
    """
    place = Path(path)
    check_name("value of on_bad_image", on_bad_image, ("raise", "skip"))
    if fit not in FITS or (resolution is None and fit in ("squash", "pad")) or (resolution and fit == "as-is"):
        raise InputError(
            f"fit is {fit!r} and resolution {resolution}; expected as-is without one, center-crop, or squash or pad "
            "with one."
        )
    if place.suffix.lower() in (".npz", ".npy"):
        if fit != "as-is":
            raise InputError(f"fit is {fit!r}, but {path} is an array; its images are taken as they are.")
        if on_bad_image == "skip":
            raise ArgumentError(f"on_bad_image is 'skip', but {path} is an array, all of whose images are read.")
        return array_images(_load_array(place), name=str(path))
    if not place.is_dir() and not (place.suffix.lower() == ".zip" and place.is_file()):
        raise InputError(f"{path} is no folder, .zip or array of images; give one of these.")
    shelf = open_shelf(place, error=InputError)
    size = None if resolution is None else (resolution, resolution)
    positions: Sequence[int] = range(len(shelf))[:most]
    notes: tuple[str, ...] = ()
    if on_bad_image == "skip":
        positions, notes = _readable(shelf, len(positions), fit, size, max_pixels)
    count = len(positions)
    total = hashlib.sha256(b"\n".join((_READING, fit.encode(), str(resolution).encode())))
    seen = {"transparent": 0, "turned": 0, "sixteen_bits": 0, "oblong": 0}
    jpegs = 0
    for position in positions:
        content = _content(shelf, position)
        total.update(hashlib.sha256(content).digest())
        jpegs += content.startswith(_JPEG)
        try:
            info = inspect_picture(content)
        except (PictureError, MemoryError):
            continue  # said, with its name, when it is read
        for name in ("transparent", "turned", "sixteen_bits"):
            seen[name] += getattr(info, name)
        seen["oblong"] += info.size[0] != info.size[1]

    def read(first: int, last: int) -> list[Tensor]:
        return [_decoded(shelf, position, fit, size, max_pixels) for position in positions[first:last]]

    found = (*_notes(seen, count, fit), *notes)
    return ImageSet(str(path), count, read, total.hexdigest(), found, fit, jpegs / count)


def unlike_compression(one: ImageSet, two: ImageSet) -> str:
    """A sentence where one of two sets of files is made of JPEGs and the other is not; "" else.

    The blocks and the lost colours of JPEG are seen by every extractor: a distance is then that of the file formats too
    (Parmar, Zhang, Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022).
    """
    if one.jpeg is None or two.jpeg is None or abs(one.jpeg - two.jpeg) <= 0.5:
        return ""
    jpegs, others = (one, two) if one.jpeg > two.jpeg else (two, one)
    said = f"{jpegs.name} holds JPEG files and {others.name} does not"
    if others.jpeg:
        shares = [f"{100 * (part.jpeg or 0):.0f} %" for part in (jpegs, others)]
        said = f"{shares[0]} of the files of {jpegs.name} are JPEGs, and {shares[1]} of those of {others.name}"
    return f"{said}: compression alone moves the distance; save both alike, best without loss"


def array_images(images: Any, *, name: str = "array", rounding: Rounding = "round") -> ImageSet:
    """Images of an array or tensor: uint8 (n, H, W, 3), (n, H, W), (n, 3, H, W) or (n, 1, H, W), or float in [-1, 1].

    Raises:
        InputError: if the array is something else, or empty; if floats lie in [0, 1], or beyond [-1, 1]; if some are
            masked or complex.
    """
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(read_array(images, name, finite=False)))
    if tensor.ndim == 3:
        tensor = tensor[:, None]
    if tensor.ndim == 4 and tensor.shape[1] not in (1, 3) and tensor.shape[-1] in (1, 3):
        tensor = tensor.permute(0, 3, 1, 2)
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or not tensor.numel():
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}; expected images (n, H, W, 3) or (n, 3, H, W), one at least."
        )
    if tensor.is_floating_point():
        tensor = _quantised(tensor, name, rounding)
    if tensor.dtype != torch.uint8:
        raise InputError(f"{name} has dtype {tensor.dtype}; expected uint8, or floating point in [-1, 1].")
    grey = tensor.shape[1] == 1
    tensor = tensor.expand(-1, 3, -1, -1)
    total = hashlib.sha256()
    for part in tensor.split(max(1, _PART // tensor[0].numel())):
        total.update(np.ascontiguousarray(part.numpy()).data)
    notes = ("grey images, repeated to three channels",) if grey else ()
    return ImageSet(name, len(tensor), lambda first, last: list(tensor[first:last]), total.hexdigest(), notes)


def _quantised(tensor: Tensor, name: str, rounding: Rounding) -> Tensor:
    """Floats in [-1, 1] to 8 bits, by parts; not those that were scaled to [0, 1]."""
    import torch

    low, high = float(tensor.min()), float(tensor.max())
    if 0 <= low < high <= 10:  # one even picture may well be bright
        raise InputError(
            f"{name} lies in [{low:.3g}, {high:.3g}], with nothing below 0; expected floats in [-1, 1], as generators "
            "return: give 2 x - 1 of pictures in [0, 1], or 8-bit ones as uint8."
        )
    whole = torch.empty(tensor.shape, dtype=torch.uint8)
    step = max(1, _PART // tensor[0].numel())
    for start in range(0, len(tensor), step):
        whole[start : start + step] = to_uint8(tensor[start : start + step], rounding)
    return whole


def data_images(source: Any, *, name: str, n: int | None = None, seed: int = 0) -> ImageSet:
    """Images of a data set with ``len`` and ``images(indices)`` in [0, 1]: all, or ``n`` drawn without replacement."""
    import torch

    total = len(source)
    order = torch.arange(total)
    if n is not None and n < total:
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:n].sort().values

    def read(first: int, last: int) -> list[Tensor]:
        images = source.images(order[first:last])
        return list((images * 255).round().to(torch.uint8).expand(-1, 3, -1, -1))

    grey = source.image_shape[0] == 1
    notes = ("grey images, repeated to three channels",) if grey else ()
    return ImageSet(name, len(order), read, notes=notes)


@checks_arguments
def generated_images(
    generator: Generator, n: int, *, name: str = "generator", space: str | None = None, truncation: float = 1.0,
    seed: int = 0, rounding: Rounding = "round", label: int | None = None, class_shares: Sequence[float] | None = None,
) -> ImageSet:  # fmt: skip
    """``n`` images of a generator as :class:`disentangle.models.Generator`, each from its own seeded latent.

    Of a generator with classes all are of one, ``label``, or of each class as often as ``class_shares`` say, by default
    equally often: see :func:`~disentangle.evaluations.classes.plan_classes`. Transparent images are laid over white.
    Which of these was done is in the notes.
    """
    import torch

    stream = torch.Generator().manual_seed(seed)
    plan = plan_classes(generator, n, label=label, class_shares=class_shares, seed=seed)
    with looking_at(generator, seed=seed), torch.inference_mode():
        whole = plan.part(generator, 0, n)
        latents = whole.sample_latents(n, space=space, truncation=truncation, generator=stream)
        channels = plan.part(generator, 0, 1)(latents[:1], space=space).shape[1] if n else 3

    def read(first: int, last: int) -> list[Tensor]:
        # a generator that draws noise does not draw the same for each part
        with looking_at(generator, seed=(seed, first)), torch.inference_mode():
            images = plan.part(generator, first, last)(latents[first:last], space=space)
            return list(to_uint8(coloured(images, f"{name} made images").cpu(), rounding))

    notes = tuple(note for note in (plan.note, how_coloured(channels)) if note)
    return ImageSet(name, n, read, notes=notes)


def _load_array(path: Path) -> np.ndarray:
    with ArrayFile(path, what="an array of images", fault="is not a readable array") as file:
        names = file.names
        for name in ("images", "arr_0", "imgs", *names):
            if name in names and len(file.header(name).shape) in (3, 4):
                return file.read(name)
        if names == ("",):
            return file.read("")
    raise InputError(f"{path} has {', '.join(names[:20]) or 'nothing'}; expected an array of images, (n, H, W, 3).")


def _readable(
    shelf: FolderShelf | ZipShelf, most: int, fit: str, size: tuple[int, int] | None, max_pixels: int | None
) -> tuple[list[int], tuple[str, ...]]:
    """Positions of the files that can be decoded, and what is noted of the others, which are logged."""
    good: list[int] = []
    for position in range(len(shelf)):
        if len(good) == most:
            break
        try:
            _decoded(shelf, position, fit, size, max_pixels)
        except _UnreadableError as error:
            _log.warning("left out: %s cannot be read as an image (%s)", shelf.name(position), error.why)
        else:
            good.append(position)
    if not good:
        raise InputError(f"None of the {len(shelf)} images can be read; the first is {shelf.name(0)}.")
    bad = good[-1] + 1 - len(good) if len(good) == most else len(shelf) - len(good)
    return good, (f"{bad} unreadable file{'s' if bad > 1 else ''} left out",) if bad else ()


class _UnreadableError(InputError):
    """A file that is no image, which alone may be left out."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"{name} cannot be read as an image ({why}); repair or remove it, or leave such files out by "
            "--on-bad-image skip (in Python on_bad_image='skip')."
        )
        self.why = why


def _content(shelf: FolderShelf | ZipShelf, position: int) -> bytes:
    try:
        return shelf.read(position)
    except (OSError, PictureError, ArchiveError) as error:
        raise _UnreadableError(shelf.name(position), reason(error)) from None


def _decoded(
    shelf: FolderShelf | ZipShelf, position: int, fit: str, size: tuple[int, int] | None, max_pixels: int | None
) -> Tensor:
    import torch

    content = _content(shelf, position)
    try:
        pixels = decode_picture(
            content,
            max_pixels=max_pixels,
            room=_ROOM if fit == "as-is" else 0,
            finish=lambda pixels: fit_picture(pixels, size, fit),
        )
    except PictureError as error:
        raise _UnreadableError(shelf.name(position), str(error)) from None
    except MemoryError:
        raise InputError(f"There is not the memory to decode {shelf.name(position)}; free some.") from None
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def _notes(seen: dict[str, int], count: int, fit: str) -> tuple[str, ...]:
    """What was done to how many of the files."""
    done = {
        "transparent": "may be transparent, laid over white",
        "turned": "turned upright as their EXIF orientation says",
        "sixteen_bits": "of 16 bits, divided by 257",
        "oblong": {
            "as-is": "no squares, which a protocol squashes to one; trainings take their middle (fit center-crop)",
            "center-crop": "no squares, of which the middle was taken",
            "squash": "no squares, squashed to one",
            "pad": "no squares, padded to one",
        }[fit],
    }
    return tuple(f"{seen[name]} of {count} images {text}" for name, text in done.items() if seen[name])
