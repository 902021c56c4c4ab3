"""A VAE of two fully connected layers each way, the default of pythae.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014; networks of Chadebec, Vincent, Allassonnière,
"Pythae: Unifying Generative Autoencoders in Python", NeurIPS 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn

from disentangle.models.base import (
    GeneratorConfig,
    LatentSpace,
    check_latents,
    register_model,
)
from disentangle.models.ops.coders import Coder
from disentangle.models.ops.posteriors import turn_posterior

__all__ = ["MLPVAE", "MLPVAEConfig"]


class MLPVAEConfig(GeneratorConfig):
    """Architecture of an :class:`MLPVAE`; ``image_shape`` is (channels, height, width)."""

    kind: Literal["mlp-vae"] = "mlp-vae"
    image_shape: tuple[pydantic.PositiveInt, pydantic.PositiveInt, pydantic.PositiveInt] = (1, 28, 28)
    latent_dim: int = pydantic.Field(10, ge=1)
    hidden: int = pydantic.Field(512, ge=1)

    @property
    def image_channels(self) -> int:
        return self.image_shape[0]

    @property
    def resolution(self) -> int:
        return self.image_shape[1]


@register_model(MLPVAEConfig)
class MLPVAE(Coder):
    """Encoder and decoder. As a generator it maps latents (n, latent_dim) to images in [-1, 1]."""

    def __init__(self, config: MLPVAEConfig) -> None:
        super().__init__()
        self.config = config
        pixels = math.prod(config.image_shape)
        self.encoder = nn.Sequential(nn.Linear(pixels, config.hidden), nn.ReLU())
        self.mean = nn.Linear(config.hidden, config.latent_dim)
        self.log_variance = nn.Linear(config.hidden, config.latent_dim)
        self.first = nn.Linear(config.latent_dim, config.hidden)
        self.last = nn.Linear(config.hidden, pixels)
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (config.latent_dim,))}

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (n, latent_dim), for images (n, C, H, W) in [0, 1]."""
        self.check_images(images, self.config.image_shape)
        features = self.encoder(images.flatten(1))
        return self.mean(features), self.log_variance(features)

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, latent_dim): the posterior means of images in [0, 1]."""
        return self.posterior(images)[0]

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        pixels = torch.sigmoid(self.last(self.first(latents).relu_()))
        return (2 * pixels - 1).reshape(-1, *self.config.image_shape)

    @torch.no_grad()
    def turn_latents(self, rotation: Tensor) -> None:
        """As elsewhere; the encoder turns with it, see :func:`~disentangle.models.ops.posteriors.turn_posterior`."""
        super().turn_latents(rotation)
        turn_posterior(self.mean.weight, self.log_variance.weight, rotation)
        turn_posterior(self.mean.bias, self.log_variance.bias, rotation)
