"""The discriminator of EigenGAN."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pydantic
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.models.discriminators.sizes import check_halvings

__all__ = ["PairedDiscriminator", "PairedDiscriminatorConfig"]


class PairedDiscriminatorConfig(Config):
    """EigenGAN's: a 7x7 stem of ``channels[0]``, then a plain and a strided 3x3 convolution for each further entry."""

    kind: Literal["paired"] = "paired"
    resolution: int
    image_channels: int
    channels: tuple[int, ...]

    @pydantic.model_validator(mode="after")
    def _fits(self) -> PairedDiscriminatorConfig:
        check_halvings(self.resolution, len(self.channels) - 1)
        return self


class PairedDiscriminator(nn.Module):
    """Discriminator of EigenGAN (He et al., ICCV 2021)."""

    def __init__(self, config: PairedDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        layers: list[nn.Module] = [nn.Conv2d(config.image_channels, channels[0], 7, padding=3), nn.LeakyReLU(0.2)]
        for before, after in pairwise(channels):
            layers += [
                nn.Conv2d(before, before, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.LeakyReLU(0.2),
            ]
        last = channels[-1]
        layers += [nn.Conv2d(last, last, 3, padding=1), nn.LeakyReLU(0.2), nn.Flatten()]
        layers += [nn.Linear(16 * last, last), nn.LeakyReLU(0.2), nn.Linear(last, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)
