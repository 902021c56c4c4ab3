"""DiffAugment: the same kinds of random, differentiable change for real and fake images.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020 (colour, translation,
cutout, and their ranges). Random numbers are drawn on the CPU from an explicit generator, so that a seed gives the same
changes on every device and however the batch is divided among processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.errors import unknown_name

__all__ = ["AUGMENTATIONS", "DiffAugment"]


class DiffAugment:
    """Random changes of image batches (n, C, H, W) in [-1, 1].

    Args:
        policy: names out of ``"color"``, ``"translation"``, ``"cutout"``, applied in that order.
        probability: each elementary change is applied to a whole batch with this probability.
        per_image: decide for each picture by itself instead.

    Calling it with the same generator state makes the same changes.
    """

    def __init__(self, policy: Sequence[str], probability: float = 1.0, *, per_image: bool = False) -> None:
        for name in policy:
            if name not in AUGMENTATIONS:
                raise unknown_name("augmentation", name, AUGMENTATIONS)
        self.changes = [change for name in policy for change in AUGMENTATIONS[name]]
        self.probability, self.per_image = probability, per_image

    def __call__(self, images: Tensor, generator: torch.Generator, shard: slice, batch: int) -> Tensor:
        """Change ``images``, which are the ``shard`` of a global batch of ``batch`` images."""
        for change in self.changes:
            decisions = torch.rand(batch if self.per_image else (), generator=generator) < self.probability
            random = torch.rand(batch, 2, generator=generator)[shard].to(images.device, images.dtype)
            if self.per_image:
                chosen = decisions[shard].to(images.device)[:, None, None, None]
                images = torch.where(chosen, change(images, random), images)
            elif bool(decisions):
                images = change(images, random)
        return images


def _brightness(images: Tensor, random: Tensor) -> Tensor:
    return images + (random[:, :1, None, None] - 0.5)


def _saturation(images: Tensor, random: Tensor) -> Tensor:
    mean = images.mean(dim=1, keepdim=True)
    return mean + (images - mean) * (2 * random[:, :1, None, None])


def _contrast(images: Tensor, random: Tensor) -> Tensor:
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (0.5 + random[:, :1, None, None])


def _translation(images: Tensor, random: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift by up to an eighth of each side, zeros coming in."""
    height, width = images.shape[-2:]
    reach = torch.tensor([round(height * ratio), round(width * ratio)], device=images.device)
    shift = (random * (2 * reach + 1)).floor().long() - reach
    rows = torch.arange(height, device=images.device) + shift[:, :1]
    columns = torch.arange(width, device=images.device) + shift[:, 1:]
    padded = F.pad(images, (1, 1, 1, 1))  # index 0 and size + 1 are the zeros outside
    rows = (rows + 1).clamp(0, height + 1)
    columns = (columns + 1).clamp(0, width + 1)
    n = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cutout(images: Tensor, random: Tensor, ratio: float = 0.5) -> Tensor:
    """Zero a rectangle of half of each side, its centre anywhere in the picture."""
    inside = []
    for side, centre in zip(images.shape[-2:], random.T, strict=True):
        length = round(side * ratio)
        start = (centre * (side + (1 - length % 2))).floor() - length // 2
        position = torch.arange(side, device=images.device)
        inside.append((position >= start[:, None]) & (position < start[:, None] + length))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0.0)


AUGMENTATIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], ...]] = {
    "color": (_brightness, _saturation, _contrast),
    "translation": (_translation,),
    "cutout": (_cutout,),
}
