"""The simple GAN of the latent disentanglement experiments: transposed convolutions from a short latent.

Architecture: Wei et al., "Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation",
ICCV 2021 (64 and 128 pixels, instance normalisation), with a latent of 30 numbers in Song, Sebe and Wang, TPAMI 2023.
Its first layer is a bare linear map of the latent, the projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

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
from disentangle.models.ops.coders import check_halvings, with_usual_channels

__all__ = ["SimpleGAN", "SimpleGANConfig"]

_CHANNELS = {
    32: (256, 128, 64, 64),
    64: (512, 256, 128, 64, 64),
    128: (1024, 1024, 512, 256, 128, 64),
}


class SimpleGANConfig(GeneratorConfig):
    """Architecture of a :class:`SimpleGAN`: ``channels[0]`` at 4 pixels, each further entry doubles the resolution."""

    kind: Literal["gan"] = "gan"
    resolution: int = pydantic.Field(64, ge=8)
    image_channels: int = pydantic.Field(3, ge=1)
    latent_dim: int = pydantic.Field(30, ge=1)
    channels: tuple[int, ...] = ()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _published_channels(cls, record: Any) -> Any:
        return with_usual_channels(record, _CHANNELS)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> SimpleGANConfig:
        check_halvings(self.channels, self.resolution, _CHANNELS, first=1)
        return self


@register_model(SimpleGANConfig)
class SimpleGAN(LatentModule):
    """Generator from latents (n, latent_dim) to images (n, image_channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, config: SimpleGANConfig) -> None:
        super().__init__()
        self.config = config
        self.first = nn.ConvTranspose2d(config.latent_dim, config.channels[0], 4)
        layers: list[nn.Module] = []
        for before, after in pairwise(config.channels):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.InstanceNorm2d(after, affine=True, eps=1e-6),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*layers)
        self.to_image = nn.Conv2d(config.channels[-1], config.image_channels, 3, padding=1)
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (config.latent_dim,))}
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, std=0.02)  # as published; instance normalisation sets the scale
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        return self.to_image(self.body(self.first(latents[:, :, None, None]))).tanh()

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The first layer: weight (latent_dim, channels, 4, 4), viewed as latent_dim rows."""
        return {
            "first": ProjectionLayer(
                self.first, "weight", tuple(range(self.config.latent_dim)), lambda: self.first.weight.flatten(1).mT,
                latent_first=True,
            )
        }  # fmt: skip
