"""ProGAN: the progressively grown generator.

Source: Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018. One
network; where implementations differ, the difference is a field of the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.models.base import (
    GeneratorConfig,
    LatentModule,
    LatentSpace,
    ProjectionLayer,
    check_latents,
    register_model,
)
from disentangle.models.ops.equalized import EqualizedConv2d, pixel_norm

__all__ = ["ProGAN", "ProGANConfig"]

_SQRT2 = math.sqrt(2.0)


class ProGANConfig(GeneratorConfig):
    """Architecture of a :class:`ProGAN`; ``channels`` counts the features at 4, 8, ..., ``resolution`` pixels.

    The last fields are where implementations differ. A weight is used times its gain over the root of the inputs of its
    layer (for the first layer: of ``latent_dim``), if ``equalized``.
    """

    kind: Literal["progan"] = "progan"
    resolution: int = pydantic.Field(64, ge=4)
    image_channels: int = pydantic.Field(3, ge=1)
    latent_dim: int = pydantic.Field(512, ge=1)
    channels: tuple[int, ...] = ()
    equalized: bool = True
    first_gain: float = pydantic.Field(_SQRT2 / 4, description="root of 2, over 4 where its 16 pixels count as inputs")
    first_bias: Literal["channel", "pixel"] = "channel"
    first_norm: bool = pydantic.Field(True, description="pixel norm between the two layers of 4 pixels")
    gain: float = pydantic.Field(_SQRT2, description="of the convolutions")
    rgb_gain: float = pydantic.Field(1.0, description="of the layers to the image")
    last: Literal["identity", "tanh"] = "identity"
    slope: float = pydantic.Field(0.2, ge=0, description="of the leaky relu below zero; 0 for a plain relu")
    norm: bool = pydantic.Field(True, description="pixel norm after the layers")
    norm_latent: bool = pydantic.Field(True, description="pixel norm of the latent")
    norm_eps: float = pydantic.Field(1e-8, gt=0, description="of both")
    lod: float = pydantic.Field(0.0, ge=0, description="level of detail of a call that gives none; 0 is the full image")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _published_channels(cls, record: Any) -> Any:
        if isinstance(record, dict) and not record.get("channels"):
            resolution = record.get("resolution", 64)
            if isinstance(resolution, int) and resolution >= 4:
                record = {
                    **record,
                    "channels": tuple(min(8192 // 2**i, 512) for i in range(1, resolution.bit_length() - 1)),
                }
        return record

    @pydantic.model_validator(mode="after")
    def _fits(self) -> ProGANConfig:
        if self.resolution != 4 << (len(self.channels) - 1):
            raise ValueError(
                f"channels has {len(self.channels)} entries, which makes {4 << (len(self.channels) - 1)} pixels, but "
                f"resolution is {self.resolution}"
            )
        if self.lod > len(self.channels) - 1:
            raise ValueError(f"lod is {self.lod}; expected 0 to {len(self.channels) - 1}")
        return self


class _First(nn.Module):
    """Linear map of the latent to 4x4 pixels: ``out[c, y, x] = sum_z weight[z, c, y, x] latent[z] + bias[c]``."""

    def __init__(self, config: ProGANConfig) -> None:
        super().__init__()
        channels = config.channels[0]
        self.weight = nn.Parameter(torch.randn(config.latent_dim, channels, 4, 4))
        self.bias = nn.Parameter(torch.zeros((channels, 4, 4) if config.first_bias == "pixel" else (channels,)))
        self.scale = config.first_gain / math.sqrt(config.latent_dim) if config.equalized else 1.0

    def matrix(self) -> Tensor:
        """(16 channels, latent_dim), the map as it is used."""
        return (self.weight * self.scale).flatten(1).mT

    def forward(self, z: Tensor) -> Tensor:
        bias = self.bias if self.bias.ndim == 3 else self.bias[:, None, None]
        return F.linear(z, self.matrix()).reshape(len(z), -1, 4, 4) + bias


class _Block(nn.Module):
    def __init__(self, config: ProGANConfig, index: int) -> None:
        super().__init__()
        outputs = config.channels[index]
        inputs = config.channels[index - 1] if index else 0

        def gain(value: float, fan_in: int) -> float:
            return value if config.equalized else math.sqrt(fan_in)

        self.conv0 = (
            EqualizedConv2d(inputs, outputs, 3, gain=gain(config.gain, 9 * inputs)) if index else _First(config)
        )
        self.conv1 = EqualizedConv2d(outputs, outputs, 3, gain=gain(config.gain, 9 * outputs))
        self.torgb = EqualizedConv2d(outputs, config.image_channels, 1, gain=gain(config.rgb_gain, outputs))
        self.slope, self.eps = config.slope, config.norm_eps
        self.normalized = (config.norm and (index > 0 or config.first_norm), config.norm)

    def forward(self, x: Tensor) -> Tensor:
        for layer, normalized in zip((self.conv0, self.conv1), self.normalized, strict=True):
            x = F.leaky_relu(layer(x), self.slope)
            x = pixel_norm(x, eps=self.eps) if normalized else x
        return x


@register_model(ProGANConfig)
class ProGAN(LatentModule):
    """Generator from latents (n, latent_dim), normalised before use, to images of about [-1, 1].

    A call takes ``lod``: 0 for the full resolution, 1 for half of it, between them a blend, as while the network grew.
    Images are (n, image_channels, resolution, resolution) at any level, enlarged by repetition.
    """

    def __init__(self, config: ProGANConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = [_Block(config, index) for index in range(len(config.channels))]
        for index, block in enumerate(self.blocks):
            self.add_module(f"b{4 << index}", block)
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", (config.latent_dim,), truncated_by="call")}

    def forward(
        self, latents: Tensor, *, space: str | None = None, lod: float | None = None, truncation: float = 1.0
    ) -> Tensor:
        """See the class; ``truncation`` other than 1 is refused, because the latent is normalised."""
        check_latents(latents, self._space(space))
        if truncation != 1:
            raise InputError(f"truncation is {truncation}, but a ProGAN normalises its latent; expected 1.")
        lod = self.config.lod if lod is None else lod
        levels = len(self.blocks)
        if not 0 <= lod <= levels - 1:
            raise InputError(f"lod is {lod}; expected 0 to {levels - 1}.")
        used, blend = levels - math.floor(lod), lod - math.floor(lod)
        x = pixel_norm(latents, eps=self.config.norm_eps) if self.config.norm_latent else latents
        image: Tensor | None = None
        for index, block in enumerate(self.blocks[:used]):
            x = block(x if index == 0 else _double(x))
            if blend and index == used - 2:
                image = _double(block.torgb(x))
        top = self.blocks[used - 1].torgb(x)
        image = top if image is None else torch.lerp(top, image, blend)
        for _ in range(levels - used):
            image = _double(image)
        return image.tanh() if self.config.last == "tanh" else image

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` latents from N(0, I); truncation is refused, see :meth:`forward`."""
        if truncation != 1:
            raise InputError(f"truncation is {truncation}, but a ProGAN normalises its latent; expected 1.")
        return super().sample_latents(n, space=space, generator=generator)

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The first layer: weight (latent_dim, channels, 4, 4), viewed as latent_dim rows."""
        first = self.blocks[0].conv0
        assert isinstance(first, _First)
        coordinates = tuple(range(self.config.latent_dim))
        return {"first": ProjectionLayer(first, "weight", coordinates, first.matrix, latent_first=True)}


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
