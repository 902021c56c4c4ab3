"""Autoencoder whose codes take finitely many values: QLAE and Tripod.

Each latent is a number from a short list, learnt (:mod:`disentangle.models.ops.scalar_codebooks`) or evenly spaced
(:mod:`disentangle.models.ops.finite_scalar`). It has no prior: samples take each value equally often. Which losses it
is trained with, see :mod:`disentangle.training.quantisation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.models.base import (
    GeneratorConfig,
    LatentSpace,
    register_model,
)
from disentangle.models.ops.coders import ConvolutionalCoder, check_halvings, with_usual_channels
from disentangle.models.ops.finite_scalar import FiniteScalars
from disentangle.models.ops.plain_coders import PlainDecoder, plain_encoder
from disentangle.models.ops.residual_coders import ResidualDecoder, residual_encoder
from disentangle.models.ops.scalar_codebooks import ScalarCodebooks
from disentangle.models.ops.style_coders import StyleDecoder, normalised_encoder

__all__ = ["Autoencoder", "AutoencoderConfig", "QuantiserConfig"]

_CHANNELS = {32: (32, 64, 128), 64: (32, 64, 128, 256)}


class QuantiserConfig(Config):
    """Which values a latent takes: ``"codebooks"`` learnt ones of its own, ``"fsq"`` evenly spaced ones."""

    kind: Literal["codebooks", "fsq"] = "codebooks"
    values: int = pydantic.Field(10, ge=2, le=65_536, description="of each latent")


class AutoencoderConfig(GeneratorConfig):
    """Architecture of an :class:`Autoencoder`; each entry of ``channels`` halves the resolution, down to 4 pixels.

    ``network``: ``"plain"`` is the VAE's; in ``"style"`` (QLAE's) and ``"residual"`` (Tripod's) the latent scales and
    shifts the maps of the decoder, and both normalise over the picture.
    """

    kind: Literal["autoencoder"] = "autoencoder"
    resolution: int = pydantic.Field(64, ge=8)
    image_channels: int = pydantic.Field(3, ge=1)
    latent_dim: int = pydantic.Field(12, ge=1)
    quantiser: QuantiserConfig = QuantiserConfig()
    network: Literal["plain", "style", "residual"] = "style"
    channels: tuple[int, ...] = ()
    hidden: int = pydantic.Field(256, ge=1)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _standard_channels(cls, record: Any) -> Any:
        return with_usual_channels(record, _CHANNELS)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> AutoencoderConfig:
        check_halvings(self.channels, self.resolution, _CHANNELS)
        return self


@register_model(AutoencoderConfig)
class Autoencoder(ConvolutionalCoder):
    """Encoder, quantiser and decoder. As a generator it maps latents (n, latent_dim) to images in [-1, 1].

    The decoder's first linear layer, (hidden, latent_dim), is the projection. ``encode`` gives quantised values. The
    decoder takes numbers between the values too, so that a walk goes from the lowest to the highest as finely as asked.
    """

    called = "autoencoder"
    decoder: PlainDecoder | StyleDecoder | ResidualDecoder

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.image_channels, config.channels, config.hidden)
        encoders: dict[str, Callable[..., nn.Sequential]] = {
            "plain": plain_encoder, "style": normalised_encoder, "residual": residual_encoder,
        }  # fmt: skip
        decoders: dict[str, Callable[..., PlainDecoder | StyleDecoder | ResidualDecoder]] = {
            "plain": PlainDecoder, "style": StyleDecoder, "residual": ResidualDecoder,
        }  # fmt: skip
        quantiser = ScalarCodebooks if config.quantiser.kind == "codebooks" else FiniteScalars
        self.encoder = encoders[config.network](*sizes, config.latent_dim)
        self.quantiser: ScalarCodebooks | FiniteScalars = quantiser(config.latent_dim, config.quantiser.values)
        self.first = nn.Linear(config.latent_dim, config.hidden)
        self.decoder = decoders[config.network](*sizes)

    @property
    def spaces(self) -> Mapping[str, LatentSpace]:  # type: ignore[override]
        """The space ``"z"`` with the values of each latent as they are now."""
        values = self.quantiser.levels()
        return {"z": LatentSpace("z", (self.config.latent_dim,), prior="uniform", values=values)}

    def continuous(self, images: Tensor) -> Tensor:
        """Codes (n, latent_dim) of images (n, C, H, W) in [0, 1] before they are quantised."""
        expected = (self.config.image_channels, self.config.resolution, self.config.resolution)
        self.check_images(images, expected)
        return self.quantiser.continuous(self.encoder(images))

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, latent_dim): the quantised values of images in [0, 1]."""
        return self.quantiser.nearest(self.continuous(images))

    def maps(self, latents: Tensor) -> list[Tensor]:
        """What the decoder's layers make of latents (n, latent_dim) on the way, pixels left out."""
        return self.decoder.maps(self.first(latents))
