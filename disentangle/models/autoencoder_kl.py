"""The autoencoder of latent diffusion models, as the installed diffusers package builds it.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022. The network itself is
diffusers' class, so that its files keep their names; here are its place among the toolkit's generators and the scale of
its latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import pydantic
from torch import Tensor

from disentangle.config import Config
from disentangle.errors import ConfigError, InputError
from disentangle.models.base import LatentModule, LatentSpace, check_latents, register_model

__all__ = ["AutoencoderKL", "AutoencoderKLConfig"]

_SCALING_FACTOR = 0.18215  # of Stable Diffusion, and what diffusers takes where nothing is said
_LARGEST_LATENT = 2**20  # numbers; 16 channels of 128 x 128 are a quarter of it


class AutoencoderKLConfig(Config):
    """Architecture of an :class:`AutoencoderKL`; ``diffusers`` is its ``config.json``, less names that start with _."""

    kind: Literal["autoencoder-kl"] = "autoencoder-kl"
    resolution: int = pydantic.Field(512, ge=1, description="pixels along a side; the network itself takes any")
    diffusers: dict[str, Any]

    @property
    def image_channels(self) -> int:
        return int(self.diffusers.get("out_channels", 3))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width): every block but the last halves the resolution."""
        side = self.resolution >> (len(self.diffusers.get("block_out_channels", (64,))) - 1)
        return int(self.diffusers.get("latent_channels", 4)), side, side

    @pydantic.model_validator(mode="after")
    def _fits(self) -> AutoencoderKLConfig:
        blocks = self.diffusers.get("block_out_channels", (64,))
        if not isinstance(blocks, (list, tuple)) or not 1 <= len(blocks) <= 16:
            raise ValueError(f"block_out_channels is {blocks!s:.60}; expected 1 to 16 widths")
        for name, least in (("latent_channels", 1), ("out_channels", 1)):
            number = self.diffusers.get(name, 4)
            if not isinstance(number, int) or number < least:
                raise ValueError(f"{name} is {number!s:.60}; expected a whole number from {least} on")
        if self.resolution % (1 << (len(blocks) - 1)):
            raise ValueError(
                f"resolution is {self.resolution}; expected a multiple of {1 << (len(blocks) - 1)}, what the "
                f"{len(blocks)} blocks shrink it by"
            )
        if math.prod(self.latent_shape) > _LARGEST_LATENT:
            raise ValueError(f"one latent has {math.prod(self.latent_shape):,} numbers; expected {_LARGEST_LATENT:,}")
        scale = self.diffusers.get("scaling_factor", _SCALING_FACTOR)
        if not _is_number(scale) or scale <= 0:
            raise ValueError(f"scaling_factor is {scale!s:.60}; expected a number above 0")
        if not _is_number(self.diffusers.get("shift_factor") or 0.0):
            raise ValueError(f"shift_factor is {self.diffusers['shift_factor']!s:.60}; expected a number")
        for name in ("latents_mean", "latents_std"):
            per_channel = self.diffusers.get(name)
            if per_channel is not None and not (
                isinstance(per_channel, (list, tuple))
                and len(per_channel) == self.latent_shape[0]
                and all(_is_number(x) and (name == "latents_mean" or x > 0) for x in per_channel)
            ):
                raise ValueError(f"{name} is {per_channel!s:.60}; expected a number for each latent channel")
        return self


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@register_model(AutoencoderKLConfig)
class AutoencoderKL(LatentModule):
    """Encoder and decoder. As a generator it maps latents (n, channels, height, width) to images of about [-1, 1].

    Latents are those a diffusion model works on, ``(x - shift) * scale`` of what the network encodes to. The scale
    gives them about unit variance, but their numbers are far from independent: for pictures of things start from
    :meth:`encode`, not from draws of N(0, I). It has no projections: its first layer slides over the latent and reads
    no coordinate of it for itself.

    Raises:
        ConfigError: if diffusers is not installed, or does not build such a network.
    """

    def __init__(self, config: AutoencoderKLConfig) -> None:
        super().__init__()
        self.config = config
        self.autoencoder = _network(config.diffusers)
        channels, height, width = config.latent_shape
        labels = tuple(f"channel {c}, {y}, {x}" for c in range(channels) for y in range(height) for x in range(width))
        self.spaces: Mapping[str, LatentSpace] = {"z": LatentSpace("z", config.latent_shape, labels=labels)}

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, channels * height * width): the scaled posterior means of images (n, C, H, W) in [0, 1].

        ``codes.reshape(-1, *model.spaces["z"].shape)`` are latents.
        """
        expected = (int(self.config.diffusers.get("in_channels", 3)), self.config.resolution, self.config.resolution)
        if images.ndim != 4 or images.shape[1:] != expected or not images.is_floating_point():
            raise InputError(
                f"images have shape {tuple(images.shape)} and dtype {images.dtype}; this autoencoder takes "
                f"(n, {', '.join(map(str, expected))}) floating point in [0, 1]."
            )
        mean = self.autoencoder.encode(2 * images - 1, return_dict=False)[0].mean
        scale, shift = self._scale_and_shift(mean)
        return ((mean - shift) * scale).flatten(1)

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        scale, shift = self._scale_and_shift(latents)
        decoded: Tensor = self.autoencoder.decode(latents / scale + shift, return_dict=False)[0]
        return decoded

    def _scale_and_shift(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(channels, 1, 1) each, at the precision of ``like``."""
        said, channels = self.config.diffusers, self.config.latent_shape[0]
        shift = said.get("latents_mean") or [said.get("shift_factor") or 0.0] * channels
        factor = said.get("scaling_factor", _SCALING_FACTOR)
        scale = [factor / deviation for deviation in said.get("latents_std") or [1.0] * channels]
        return like.new_tensor(scale)[:, None, None], like.new_tensor(shift)[:, None, None]


def _network(settings: Mapping[str, Any]) -> Any:
    try:
        import diffusers
    except ImportError:
        raise ConfigError(
            "An autoencoder of diffusers needs the package diffusers, which is not installed; run pip install "
            "'disentangle-toolkit[diffusers]'."
        ) from None
    try:
        network: Any = diffusers.AutoencoderKL(**settings)
    except Exception as error:  # whatever its constructor meets in settings that are not its own
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"diffusers {diffusers.__version__} builds no AutoencoderKL of this configuration ({first:.160}); it may "
            "need a newer one, or the configuration is damaged."
        ) from None
    return network
