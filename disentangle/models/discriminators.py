"""Discriminators: they score images (n, C, H, W) in [-1, 1] with one logit each, (n,). Part of a training's state."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pydantic
from torch import Tensor, nn

from disentangle.config import Config

__all__ = [
    "DiscriminatorConfig",
    "PairedDiscriminator",
    "PairedDiscriminatorConfig",
    "StridedDiscriminator",
    "StridedDiscriminatorConfig",
    "build_discriminator",
]


class PairedDiscriminatorConfig(Config):
    """EigenGAN's: a 7x7 stem of ``channels[0]``, then a plain and a strided 3x3 convolution for each further entry."""

    kind: Literal["paired"] = "paired"
    resolution: int
    image_channels: int
    channels: tuple[int, ...]

    @pydantic.model_validator(mode="after")
    def _fits(self) -> PairedDiscriminatorConfig:
        _check_resolution(self.resolution, len(self.channels) - 1)
        return self


class StridedDiscriminatorConfig(Config):
    """The simple GAN's: a strided 4x4 convolution for each entry of ``channels``, then one or two linear layers.

    ``hidden`` is the width between two linear layers, 0 for a single one; ``norm`` applies from the second on.
    """

    kind: Literal["strided"] = "strided"
    resolution: int
    image_channels: int
    channels: tuple[int, ...]
    norm: Literal["none", "instance"] = "none"
    activation: Literal["lrelu", "relu"] = "lrelu"
    hidden: int = pydantic.Field(0, ge=0)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> StridedDiscriminatorConfig:
        _check_resolution(self.resolution, len(self.channels))
        return self


DiscriminatorConfig = PairedDiscriminatorConfig | StridedDiscriminatorConfig


def _check_resolution(resolution: int, halvings: int) -> None:
    if resolution != 4 * 2**halvings:
        raise ValueError(
            f"{halvings} halvings end at 4 pixels from {4 * 2**halvings}, but resolution is {resolution}; "
            "give one entry of channels per halving"
        )


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


class StridedDiscriminator(nn.Module):
    """Discriminator of the simple GAN (Wei et al., ICCV 2021); without normalisation, a plain small one."""

    def __init__(self, config: StridedDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config

        def activation() -> nn.Module:
            return nn.ReLU() if config.activation == "relu" else nn.LeakyReLU(0.2)

        layers: list[nn.Module] = []
        before = config.image_channels
        for position, after in enumerate(config.channels):
            normed = config.norm == "instance" and position > 0
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not normed))
            if normed:
                layers.append(nn.InstanceNorm2d(after, affine=True, eps=1e-6))
            layers.append(activation())
            before = after
        layers.append(nn.Flatten())
        if config.hidden:
            layers += [nn.Linear(16 * before, config.hidden), nn.Linear(config.hidden, 1)]
        else:
            layers.append(nn.Linear(16 * before, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """The configured discriminator with random weights."""
    if isinstance(config, PairedDiscriminatorConfig):
        return PairedDiscriminator(config)
    return StridedDiscriminator(config)
