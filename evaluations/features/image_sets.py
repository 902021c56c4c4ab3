"""Sets of 8-bit colour images from where users have them: folders, zips, arrays, data sets, generators."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.errors import InputError
from disentangle.evaluations.features.protocols import Rounding, to_uint8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageSet", "array_images", "data_images", "file_images", "generated_images"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


@dataclass(frozen=True)
class ImageSet:
    """Images one after another.

    Attributes:
        name: for messages and records.
        count: number of images.
        read: from (first, last) to that part as a list of uint8 (3, H, W), which may differ in size.
        digest: of the content, for a cache; "" where equal content cannot be told.
        notes: what was done to the images that a reader of a score should know.
    """

    name: str
    count: int
    read: Callable[[int, int], list[Tensor]]
    digest: str = ""
    notes: tuple[str, ...] = ()

    def batches(self, size: int) -> Iterator[list[Tensor]]:
        """Parts of at most ``size`` images, in order."""
        for first in range(0, self.count, size):
            yield self.read(first, min(first + size, self.count))


def file_images(path: str | os.PathLike[str], *, most: int | None = None) -> ImageSet:
    """Images of a folder (with its sub-folders) or a .zip, in the order of their names; or of an .npz or .npy array.

    Grey images are repeated to three channels; transparency is dropped; animations give their first frame.

    Args:
        path: of the folder or file.
        most: take the first so many only.

    Raises:
        InputError: if there are no images, or, when it is read, a file is not one (named).
    """
    place = Path(path)
    if place.suffix.lower() in (".npz", ".npy"):
        return array_images(_load_array(place), name=str(path))
    if place.is_dir():
        names = sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.suffix.lower() in _SUFFIXES)

        def content(name: str) -> bytes:
            return (place / name).read_bytes()

    elif place.suffix.lower() == ".zip" and place.is_file():
        archive = zipfile.ZipFile(place)
        names = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in _SUFFIXES)
        content = archive.read
    else:
        raise InputError(f"{path} is no folder, .zip or array of images; give one of these.")
    names = names[:most]
    if not names:
        raise InputError(f"{path} holds no images ({', '.join(_SUFFIXES)}); give a folder or .zip that does.")
    total = hashlib.sha256()
    for name in names:
        total.update(hashlib.sha256(content(name)).digest())

    def read(first: int, last: int) -> list[Tensor]:
        return [_decode(content(name), f"{path}/{name}") for name in names[first:last]]

    return ImageSet(str(path), len(names), read, total.hexdigest())


def array_images(images: Any, *, name: str = "array", rounding: Rounding = "round") -> ImageSet:
    """Images of an array or tensor: uint8 (n, H, W, 3), (n, H, W), (n, 3, H, W) or (n, 1, H, W), or float in [-1, 1].

    Raises:
        InputError: if the array is something else, or empty.
    """
    import torch

    tensor = images.detach().cpu() if hasattr(images, "detach") else torch.from_numpy(np.ascontiguousarray(images))
    if tensor.ndim == 3:
        tensor = tensor[:, None]
    if tensor.ndim == 4 and tensor.shape[1] not in (1, 3) and tensor.shape[-1] in (1, 3):
        tensor = tensor.permute(0, 3, 1, 2)
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or not len(tensor):
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}; expected images (n, H, W, 3) or (n, 3, H, W), one at least."
        )
    if tensor.is_floating_point():
        tensor = to_uint8(tensor, rounding)
    if tensor.dtype != torch.uint8:
        raise InputError(f"{name} has dtype {tensor.dtype}; expected uint8, or floating point in [-1, 1].")
    grey = tensor.shape[1] == 1
    tensor = tensor.expand(-1, 3, -1, -1)
    digest = hashlib.sha256(np.ascontiguousarray(tensor.numpy()).data).hexdigest()
    notes = ("grey images, repeated to three channels",) if grey else ()
    return ImageSet(name, len(tensor), lambda first, last: list(tensor[first:last]), digest, notes)


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


def generated_images(
    generator: Any, n: int, *, name: str = "generator", space: str | None = None, truncation: float = 1.0,
    seed: int = 0, rounding: Rounding = "round",
) -> ImageSet:  # fmt: skip
    """``n`` images of a generator as :class:`disentangle.models.Generator`, each from its own seeded latent."""
    import torch

    stream = torch.Generator().manual_seed(seed)
    latents = generator.sample_latents(n, space=space, truncation=truncation, generator=stream)

    def read(first: int, last: int) -> list[Tensor]:
        with torch.inference_mode():
            images = generator(latents[first:last], space=space)
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(
                f"{name} made images of shape {tuple(images.shape)}; expected (n, 3, H, W) or (n, 1, H, W)."
            )
        return list(to_uint8(images.cpu(), rounding).expand(-1, 3, -1, -1))

    return ImageSet(name, n, read)


def _load_array(path: Path) -> np.ndarray:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        names = content.files
        for name in ("images", "arr_0", "imgs", *names):
            if name in names and content[name].ndim in (3, 4):
                return np.asarray(content[name])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected an array of images.") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a readable array ({error}).") from None
    raise InputError(f"{path} has {', '.join(names)}; expected an array of images, (n, H, W, 3).")


def _decode(content: bytes, name: str) -> Tensor:
    import torch
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            array = np.asarray(image.convert("RGB"))
    except Exception as error:  # whatever Pillow makes of a damaged file
        raise InputError(f"{name} cannot be read as an image ({str(error)[:100]}); repair or remove it.") from None
    return torch.from_numpy(array.copy()).permute(2, 0, 1)
