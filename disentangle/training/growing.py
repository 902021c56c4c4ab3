"""Progressive growing: how much of the resolution a ProGAN is trained at, as a pure function of the pictures seen.

Source: Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018, A.1.
"""

from __future__ import annotations

import math

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.config import Config

__all__ = ["GrowthConfig", "at_level_of_detail", "level_of_detail"]


class GrowthConfig(Config):
    """Starts at ``start`` pixels; each doubling fades in and is then trained whole, for so many thousand pictures."""

    start: int = pydantic.Field(8, ge=4)
    fade_kimg: float = pydantic.Field(600, gt=0)
    stable_kimg: float = pydantic.Field(600, ge=0)

    @pydantic.model_validator(mode="after")
    def _power(self) -> GrowthConfig:
        if self.start & (self.start - 1):
            raise ValueError(f"start is {self.start}; expected a power of two from 4 on")
        return self


def level_of_detail(growth: GrowthConfig, pictures: int, resolution: int) -> float:
    """The lod after so many ``pictures``: halvings of the full ``resolution``, with a fraction while one fades in.

    >>> growth = GrowthConfig(start=8, fade_kimg=2, stable_kimg=1)
    >>> [level_of_detail(growth, n, 32) for n in (0, 1000, 2000, 3000, 4000, 5000, 7000)]
    [2.0, 2.0, 1.5, 1.0, 1.0, 0.5, 0.0]
    """
    halvings = max(0, int(math.log2(resolution / growth.start)))
    seen = pictures / 1000 - growth.stable_kimg
    stages, within = divmod(max(0.0, seen), growth.fade_kimg + growth.stable_kimg)
    return max(0.0, halvings - stages - min(1.0, within / growth.fade_kimg)) if seen > 0 else float(halvings)


def at_level_of_detail(images: Tensor, lod: float) -> Tensor:
    """Real images (n, C, R, R) as a generator at ``lod`` could make them: halved, blended, enlarged by repetition.

    >>> at_level_of_detail(torch.tensor([[0.0, 4.0], [0.0, 4.0]]).reshape(1, 1, 2, 2), 0.5).flatten()
    tensor([1., 3., 1., 3.])
    """
    whole, share = math.floor(lod), lod - math.floor(lod)
    fine = _halved_and_back(images, whole)
    return torch.lerp(fine, _halved_and_back(images, whole + 1), share) if share else fine


def _halved_and_back(images: Tensor, times: int) -> Tensor:
    factor = 1 << times
    if factor == 1:
        return images
    return F.interpolate(F.avg_pool2d(images, factor), scale_factor=factor, mode="nearest")
