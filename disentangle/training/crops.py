"""Random crops and flips of image batches, from random numbers that are handed in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["random_crop", "random_flip"]


def random_crop(images: Tensor, padding: int, random: Tensor) -> Tensor:
    """Pad with ``padding`` black pixels on each side, then cut out the old size anywhere.

    Args:
        images: (n, C, H, W) in [0, 1].
        padding: pixels; 0 changes nothing.
        random: (n, 2) uniform in [0, 1), for the row and the column.

    Returns:
        (n, C, H, W), in the memory format of ``images``.
    """
    if not padding:
        return images
    height, width = images.shape[-2:]
    offset = (random * (2 * padding + 1)).long()
    rows = offset[:, :1] + torch.arange(height, device=images.device)
    columns = offset[:, 1:] + torch.arange(width, device=images.device)
    padded = F.pad(images, (padding,) * 4)
    n = torch.arange(len(images), device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def random_flip(images: Tensor, random: Tensor) -> Tensor:
    """Mirror the images (n, C, H, W) left to right whose number in ``random`` (n,), uniform in [0, 1), is below 1/2."""
    return torch.where((random < 0.5)[:, None, None, None], images.flip(3), images)
