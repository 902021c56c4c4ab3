"""Resizing as each package does it: the choice that moves a Fréchet distance most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from disentangle.errors import unknown_name

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RESIZERS", "resize_images"]


def resize_images(images: Tensor, size: int, how: str) -> Tensor:
    """Resize (n, C, H, W) float images of any range to ``size`` pixels a side.

    Args:
        images: float; for ``"pil-bicubic-float"`` in [0, 255].
        size: of both sides.
        how: a key of :data:`RESIZERS`.

    Raises:
        InputError: if there is no such resizer.
    """
    if how not in RESIZERS:
        raise unknown_name("resizer", how, RESIZERS)
    return RESIZERS[how](images, size)


def _tensorflow(images: Tensor, size: int) -> Tensor:
    """TensorFlow 1's bilinear: output pixel i at input place i * in / out, no half pixel and no antialiasing."""
    import torch

    for axis in (-1, -2):  # along rows, then across them, as the TF kernel interpolates
        n = images.shape[axis]
        place = torch.arange(size, device=images.device, dtype=images.dtype) * (n / size)
        low = place.floor().long().clamp(max=n - 1)
        high = (low + 1).clamp(max=n - 1)
        share = (place - low).reshape(-1, *[1] * (-axis - 1))
        first, second = images.index_select(axis, low), images.index_select(axis, high)
        images = first + (second - first) * share
    return images


def _interpolate(mode: str, antialias: bool) -> Callable[[Tensor, int], Tensor]:
    def resize(images: Tensor, size: int) -> Tensor:
        from torch.nn.functional import interpolate

        return interpolate(images, (size, size), mode=mode, align_corners=False, antialias=antialias)

    return resize


def _pillow(images: Tensor, size: int) -> Tensor:
    """Pillow's bicubic of each channel in floating point, clipped to [0, 255] and not rounded: clean-fid's."""
    import numpy as np
    import torch
    from PIL import Image

    arrays = images.detach().cpu().float().numpy()
    resized = np.empty((*arrays.shape[:2], size, size), dtype=np.float32)
    for i, image in enumerate(arrays):
        for c, channel in enumerate(image):
            resized[i, c] = np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(resized).clamp(0, 255).to(images)


RESIZERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "tf1": _tensorflow,
    "bilinear": _interpolate("bilinear", False),
    "bilinear-antialias": _interpolate("bilinear", True),
    "bicubic-antialias": _interpolate("bicubic", True),
    "pil-bicubic-float": _pillow,
}
