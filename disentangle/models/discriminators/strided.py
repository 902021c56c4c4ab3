"""The discriminator of the simple GAN, and plain small ones."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.models.discriminators.sizes import check_halvings

__all__ = ["StridedDiscriminator", "StridedDiscriminatorConfig"]


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
    outputs: int = pydantic.Field(1, ge=1, description="logits of a picture")

    @pydantic.model_validator(mode="after")
    def _fits(self) -> StridedDiscriminatorConfig:
        check_halvings(self.resolution, len(self.channels))
        return self


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
            layers += [nn.Linear(16 * before, config.hidden), nn.Linear(config.hidden, config.outputs)]
        else:
            layers.append(nn.Linear(16 * before, config.outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(n,) logits, or (n, outputs) where there are several."""
        logits: Tensor = self.layers(images)
        return logits.squeeze(1) if self.config.outputs == 1 else logits
