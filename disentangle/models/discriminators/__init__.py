"""Discriminators: they score images (n, C, H, W) in [-1, 1] with one logit each, (n,). Part of a training's state."""

from __future__ import annotations

from typing import Annotated

import pydantic
from torch import nn

from disentangle.models.discriminators.paired import PairedDiscriminator, PairedDiscriminatorConfig
from disentangle.models.discriminators.progan import ProGANDiscriminator, ProGANDiscriminatorConfig
from disentangle.models.discriminators.strided import StridedDiscriminator, StridedDiscriminatorConfig
from disentangle.models.discriminators.stylegan2 import StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig

__all__ = [
    "DiscriminatorConfig",
    "PairedDiscriminator",
    "PairedDiscriminatorConfig",
    "ProGANDiscriminator",
    "ProGANDiscriminatorConfig",
    "StridedDiscriminator",
    "StridedDiscriminatorConfig",
    "StyleGAN2Discriminator",
    "StyleGAN2DiscriminatorConfig",
    "build_discriminator",
]

DiscriminatorConfig = Annotated[
    PairedDiscriminatorConfig | StridedDiscriminatorConfig | StyleGAN2DiscriminatorConfig | ProGANDiscriminatorConfig,
    pydantic.Field(discriminator="kind"),
]


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """The configured discriminator with random weights."""
    match config:
        case PairedDiscriminatorConfig():
            return PairedDiscriminator(config)
        case StridedDiscriminatorConfig():
            return StridedDiscriminator(config)
        case StyleGAN2DiscriminatorConfig():
            return StyleGAN2Discriminator(config)
    return ProGANDiscriminator(config)


def __dir__() -> list[str]:
    return sorted(__all__)
