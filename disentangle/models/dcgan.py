"""DCGAN: transposed convolutions with batch normalisation.

Source: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pydantic
from torch import Tensor, nn

from disentangle.models.base import (
    GeneratorConfig,
    LatentModule,
    LatentSpace,
    ProjectionLayer,
    check_latents,
    register_model,
)

__all__ = ["DCGAN", "DCGANConfig"]


class DCGANConfig(GeneratorConfig):
    """Architecture of a :class:`DCGAN`: ``channels`` counts the features at 4, 8, ..., resolution / 2 pixels.

    ``bias`` says which convolutions have one; before a batch normalisation it changes training only.
    """

    kind: Literal["dcgan"] = "dcgan"
    resolution: int = pydantic.Field(64, ge=8)
    image_channels: int = pydantic.Field(3, ge=1)
    latent_dim: int = pydantic.Field(100, ge=1)
    channels: tuple[int, ...] = (512, 256, 128, 64)
    last: Literal["tanh", "identity"] = "tanh"
    bias: Literal["none", "last", "all"] = "none"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> DCGANConfig:
        if self.resolution != 4 << len(self.channels):
            raise ValueError(
                f"channels has {len(self.channels)} entries, which makes {4 << len(self.channels)} pixels, but "
                f"resolution is {self.resolution}"
            )
        return self


@register_model(DCGANConfig)
class DCGAN(LatentModule):
    """Generator from latents (n, latent_dim) to images (n, image_channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.latent_dim, *config.channels)
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(
                widths[i], widths[i + 1], 4, stride=2 if i else 1, padding=1 if i else 0, bias=config.bias == "all"
            )
            for i in range(len(config.channels))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in config.channels)
        self.to_image = nn.ConvTranspose2d(
            config.channels[-1], config.image_channels, 4, stride=2, padding=1, bias=config.bias != "none"
        )
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (config.latent_dim,))}
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.02)

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        x = latents[:, :, None, None]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x)).relu_()
        image: Tensor = self.to_image(x)
        return image.tanh() if self.config.last == "tanh" else image

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The first layer: weight (latent_dim, channels, 4, 4), viewed as latent_dim rows."""
        first = self.convs[0]
        assert isinstance(first, nn.ConvTranspose2d)
        return {
            "first": ProjectionLayer(
                first, "weight", tuple(range(self.config.latent_dim)), lambda: first.weight.flatten(1).mT,
                latent_first=True,
            )
        }  # fmt: skip
