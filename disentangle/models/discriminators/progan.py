"""The discriminator of ProGAN, which grows with its generator."""

from __future__ import annotations

import math
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.errors import InputError
from disentangle.models.discriminators.minibatch import with_minibatch_deviation
from disentangle.models.discriminators.sizes import check_levels, published_channels
from disentangle.models.ops.equalized import EqualizedConv2d, EqualizedLinear

__all__ = ["ProGANDiscriminator", "ProGANDiscriminatorConfig"]


class ProGANDiscriminatorConfig(Config):
    """Architecture of a :class:`ProGANDiscriminator`; ``channels`` as a ProGAN's, for 4, 8, ... pixels.

    ``group`` pictures are compared with each other (minibatch standard deviation), 0 for none.
    """

    kind: Literal["progan"] = "progan"
    resolution: int
    image_channels: int
    channels: tuple[int, ...] = ()
    group: int = pydantic.Field(4, ge=0)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _published(cls, record: Any) -> Any:
        return published_channels(record, 16384, 512)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> ProGANDiscriminatorConfig:
        check_levels(self.resolution, self.channels)
        return self


class _Level(nn.Module):
    """One resolution: from the image, and through two convolutions to half of it."""

    def __init__(self, image_channels: int, inputs: int, outputs: int, extra: int) -> None:
        super().__init__()
        self.fromrgb = EqualizedConv2d(image_channels, inputs, 1, gain=math.sqrt(2))
        self.conv0 = EqualizedConv2d(inputs + extra, inputs, 3, gain=math.sqrt(2))
        if not extra:
            self.conv1 = EqualizedConv2d(inputs, outputs, 3, gain=math.sqrt(2))

    def entered(self, images: Tensor) -> Tensor:
        return F.leaky_relu(self.fromrgb(images), 0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv0(x), 0.2)
        return F.avg_pool2d(F.leaky_relu(self.conv1(x), 0.2), 2)


class ProGANDiscriminator(nn.Module):
    """Images (n, C, R, R) in about [-1, 1] to logits (n,).

    A call takes ``lod``, as a ProGAN's does: the image is halved that many times before it is looked at, and between
    two levels what enters is a blend of both.

    Source: Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018,
    table 2 and figure 2.
    """

    def __init__(self, config: ProGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        self.levels = nn.ModuleList(
            _Level(config.image_channels, width, widths[max(index - 1, 0)], int(index == 0))
            for index, width in enumerate(widths)
        )
        self.fc = EqualizedLinear((16 * widths[0], widths[0]), activation="lrelu")
        self.out = EqualizedLinear((widths[0], 1))

    def forward(self, images: Tensor, *, lod: float = 0.0) -> Tensor:
        """Logits (n,).

        Raises:
            InputError: if ``lod`` is below 0 or above the number of halvings.
        """
        halvings = len(self.levels) - 1
        if not 0 <= lod <= halvings:
            raise InputError(f"lod is {lod}; expected 0 to {halvings}.")
        whole, share = math.floor(lod), lod - math.floor(lod)
        for _ in range(whole):
            images = F.avg_pool2d(images, 2)
        top = halvings - whole
        level = self.levels[top]
        assert isinstance(level, _Level)
        x = level.entered(images)
        for index in range(top, 0, -1):
            x = self.levels[index](x)
            if share and index == top:
                below = self.levels[index - 1]
                assert isinstance(below, _Level)
                x = torch.lerp(x, below.entered(F.avg_pool2d(images, 2)), share)
        last = self.levels[0]
        assert isinstance(last, _Level)
        x = with_minibatch_deviation(x, self.config.group) if self.config.group else F.pad(x, (0, 0, 0, 0, 0, 1))
        x = F.leaky_relu(last.conv0(x), 0.2)
        return self.out(self.fc(x.flatten(1))).squeeze(1)
