"""Residual encoder and style decoder of Tripod.

Source: Hsu, Hamid, Burns, Finn, Wu, "Tripod: Three Complementary Inductive Biases for Disentangled Representation
Learning", ICML 2024, and its released code. A block adds its input to two convolutions, each normalised over the
picture and followed by GELU (its tanh form). Between blocks the encoder folds 2x2 pixels into channels, and the decoder
repeats pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ResidualDecoder", "residual_encoder"]


def _gelu() -> nn.GELU:
    return nn.GELU(approximate="tanh")


def _dense(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, width), nn.LayerNorm(width), _gelu())


class _Block(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), _gelu(),
            nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), _gelu(),
        )  # fmt: skip
        self.identity = nn.Identity() if before == width else nn.Conv2d(before, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.identity(features) + self.residual(features)


def residual_encoder(image_channels: int, channels: Sequence[int], hidden: int, outputs: int) -> nn.Sequential:
    """Pictures (n, image_channels, R, R) to (n, outputs).

    Each entry of ``channels`` stands for two blocks, after which R is halved, down to 4; the last halving doubles the
    width, whose means over the picture, and one dense layer as wide, give the outputs. ``hidden`` is the decoder's.
    """
    layers: list[nn.Module] = []
    before = image_channels
    for width, after in zip(channels, (*channels[1:], 2 * channels[-1]), strict=True):
        layers += [_Block(before, width), _Block(width, width), nn.PixelUnshuffle(2), nn.Conv2d(4 * width, after, 1)]
        before = after
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), _dense(before, before)]
    return nn.Sequential(*layers, nn.Linear(before, outputs))


class _StyleConvolution(nn.Module):
    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.InstanceNorm2d(width)
        self.style = nn.Linear(style, 2 * width)
        self.activation = _gelu()

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, dim=1)
        return self.activation(self.norm(self.convolution(features)) * (1 + scale) + shift)


class _Stage(nn.Module):
    """Two residual blocks, then twice the pixels."""

    def __init__(self, width: int, after: int, style: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(_StyleConvolution(width, style) for _ in range(4))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, after, 3, padding=1))

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        first, second, third, fourth = self.convolutions
        features = features + second(first(features, style), style)
        features = features + fourth(third(features, style), style)
        return self.up(features)


class ResidualDecoder(nn.Module):
    """What the first linear layer makes of a latent, (n, hidden), to pictures (n, image_channels, R, R)."""

    def __init__(self, image_channels: int, channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        widths = (*channels[1:], 2 * channels[-1])[::-1]
        self.constant = nn.Parameter(torch.ones(widths[0], 4, 4))
        self.mapping = nn.Sequential(nn.LayerNorm(hidden), _gelu(), _dense(hidden, hidden))
        self.stages = nn.ModuleList(
            _Stage(width, after, hidden) for width, after in zip(widths, (*widths[1:], image_channels), strict=True)
        )

    def _states(self, features: Tensor) -> list[Tensor]:
        style = self.mapping(features)
        states = [style]
        state = self.constant.expand(len(style), -1, -1, -1)
        for stage in self.stages:
            state = stage(state, style)
            states.append(state)
        return states

    def maps(self, features: Tensor) -> list[Tensor]:
        """The style and what each stage but the last makes; of ``features`` (n, hidden)."""
        return self._states(features)[:-1]

    def forward(self, features: Tensor) -> Tensor:
        return self._states(features)[-1]
