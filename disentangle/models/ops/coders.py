"""What models that encode an image to a code and decode it have in common, whatever their networks are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.models.base import LatentModule, ProjectionLayer, check_latents

__all__ = ["Coder", "ConvolutionalCoder", "check_halvings", "with_usual_channels"]


def with_usual_channels(record: Any, usual: Mapping[int, tuple[int, ...]]) -> Any:
    """A record of a configuration, with the channels that are usual at its resolution where it gives none."""
    if isinstance(record, dict) and not record.get("channels"):
        resolution = record.get("resolution", 64)
        known = usual.get(resolution) if isinstance(resolution, int) else None  # whatever a file has in its place
        if known is not None:
            record = {**record, "channels": known}
    return record


def check_halvings(channels: tuple[int, ...], resolution: int, usual: Collection[int], *, first: int = 0) -> None:
    """Whether channels lead from 4 pixels to the resolution, or back, by factors of two.

    Args:
        channels: of the layers.
        resolution: height and width.
        usual: resolutions that have usual ones.
        first: how many of them belong to the 4 pixels themselves.

    Raises:
        ValueError: half a sentence, for pydantic.
    """
    if not channels or min(channels) < 1:
        raise ValueError(f"channels must be given at {resolution} pixels, from 1 up; defaults exist for {list(usual)}")
    fits = 4 * 2 ** (len(channels) - first)
    if resolution != fits:
        raise ValueError(
            f"channels has {len(channels)} entries, which fits {fits} pixels, but resolution is {resolution}"
        )


class Coder(LatentModule):
    """An encoder, and a decoder whose first layer, ``first`` (hidden, latent_dim), is linear and the projection."""

    called = "VAE"  # in messages
    first: nn.Linear

    def check_images(self, images: Tensor, shape: tuple[int, ...]) -> None:
        """An InputError unless these are images (n, *shape) of floating point."""
        if images.ndim != 4 or images.shape[1:] != shape or not images.is_floating_point():
            raise InputError(
                f"images have shape {tuple(images.shape)} and dtype {images.dtype}; this {self.called} takes "
                f"(n, {', '.join(map(str, shape))}) floating point in [0, 1]."
            )

    def projection_layers(self) -> dict[str, ProjectionLayer]:
        """The decoder's first linear layer."""
        coordinates = tuple(range(self.first.in_features))
        return {"first": ProjectionLayer(self.first, "weight", coordinates, lambda: self.first.weight)}


class ConvolutionalCoder(Coder):
    """One whose ``decoder`` makes logits of pixels of what the first layer makes of a latent."""

    decoder: nn.Module

    def decode(self, latents: Tensor) -> Tensor:
        """Logits (n, C, H, W) of the pixels of latents (n, latent_dim)."""
        logits: Tensor = self.decoder(self.first(latents))
        return logits

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        check_latents(latents, self._space(space))
        return 2 * torch.sigmoid(self.decode(latents)) - 1
