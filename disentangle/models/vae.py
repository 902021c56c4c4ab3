"""Variational autoencoder with the convolutional networks that disentanglement studies share.

Encoder and decoder follow Burgess et al., "Understanding disentangling in beta-VAE" (2018) with the widths of Locatello
et al. (ICML 2019): 4x4 convolutions of stride 2, one hidden layer of 256, ReLU. What makes it a beta-VAE, a FactorVAE
and so on is the objective it is trained with, see :mod:`disentangle.training.objectives`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor, nn

from disentangle.models.base import (
    GeneratorConfig,
    LatentSpace,
    register_model,
)
from disentangle.models.ops.coders import ConvolutionalCoder, check_halvings, with_usual_channels
from disentangle.models.ops.plain_coders import PlainDecoder, plain_encoder
from disentangle.models.ops.posteriors import turn_posterior
from disentangle.models.ops.style_coders import StyleDecoder

__all__ = ["VAE", "VAEConfig"]

_CHANNELS = {32: (32, 32, 64), 64: (32, 32, 64, 64), 128: (32, 32, 64, 64, 64)}


class VAEConfig(GeneratorConfig):
    """Architecture of a :class:`VAE`; each entry of ``channels`` halves the resolution, down to 4 pixels.

    ``decoder``: in a ``"style"`` decoder the latent scales and shifts the maps, one layer for each width.
    """

    kind: Literal["vae"] = "vae"
    resolution: int = pydantic.Field(64, ge=8)
    image_channels: int = pydantic.Field(3, ge=1)
    latent_dim: int = pydantic.Field(10, ge=1)
    channels: tuple[int, ...] = ()
    hidden: int = pydantic.Field(256, ge=1)
    decoder: Literal["plain", "style"] = "plain"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _standard_channels(cls, record: Any) -> Any:
        return with_usual_channels(record, _CHANNELS)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> VAEConfig:
        check_halvings(self.channels, self.resolution, _CHANNELS)
        return self


@register_model(VAEConfig)
class VAE(ConvolutionalCoder):
    """Encoder and decoder. As a generator it maps latents (n, latent_dim) to images in [-1, 1].

    The decoder's first linear layer, (hidden, latent_dim), is the projection. ``encode`` gives posterior means.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.image_channels, config.channels, config.hidden)
        self.encoder = plain_encoder(*sizes, 2 * config.latent_dim)
        self.first = nn.Linear(config.latent_dim, config.hidden)
        self.decoder = PlainDecoder(*sizes) if config.decoder == "plain" else StyleDecoder(*sizes, layers=1)
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (config.latent_dim,))}

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (n, latent_dim), for images (n, C, H, W) in [0, 1]."""
        expected = (self.config.image_channels, self.config.resolution, self.config.resolution)
        self.check_images(images, expected)
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, latent_dim): the posterior means of images in [0, 1]."""
        return self.posterior(images)[0]

    @torch.no_grad()
    def turn_latents(self, rotation: Tensor) -> None:
        """As elsewhere; the encoder turns with it, see :func:`~disentangle.models.ops.posteriors.turn_posterior`."""
        super().turn_latents(rotation)
        last = self.encoder[-1]
        assert isinstance(last, nn.Linear)
        for numbers in (last.weight, last.bias):
            mean, log_variance = numbers.chunk(2)
            turn_posterior(mean, log_variance, rotation)
