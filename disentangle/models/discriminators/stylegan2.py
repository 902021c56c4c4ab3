"""The discriminator of StyleGAN2, with residual connections."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import pydantic
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.models.discriminators.classes import ClassProjection
from disentangle.models.discriminators.minibatch import with_minibatch_deviation
from disentangle.models.discriminators.sizes import check_levels, published_channels
from disentangle.models.ops.equalized import EqualizedConv2d, EqualizedLinear, biased_leaky_relu
from disentangle.models.ops.fir import smooth

__all__ = ["StyleGAN2Discriminator", "StyleGAN2DiscriminatorConfig"]


class StyleGAN2DiscriminatorConfig(Config):
    """Architecture of a :class:`StyleGAN2Discriminator`; ``channels`` as a StyleGAN2's, for 4, 8, ... pixels.

    ``group`` pictures are compared with each other (minibatch standard deviation), 0 for none. ``c_dim`` classes, 0 for
    none, enter by a :class:`ClassProjection` of ``class_features`` (those at 4 pixels where nothing is said).
    """

    kind: Literal["stylegan2"] = "stylegan2"
    resolution: int
    image_channels: int
    channels: tuple[int, ...] = ()
    group: int = pydantic.Field(4, ge=0)
    resample_filter: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)
    clamp: float | None = pydantic.Field(None, gt=0, description="largest magnitude of a layer's output")
    c_dim: int = pydantic.Field(0, ge=0)
    class_features: int | None = pydantic.Field(None, ge=1)
    class_layers: int = pydantic.Field(8, ge=0)
    class_multiplier: float = pydantic.Field(0.01, gt=0)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _published(cls, record: Any) -> Any:
        return published_channels(record, 32768, 512)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> StyleGAN2DiscriminatorConfig:
        check_levels(self.resolution, self.channels)
        if len(self.resample_filter) % 2:
            raise ValueError(f"resample_filter has {len(self.resample_filter)} taps; expected an even number")
        return self


class _Block(nn.Module):
    """Halves the resolution: two convolutions, and a shortcut of one."""

    def __init__(self, config: StyleGAN2DiscriminatorConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = EqualizedConv2d(inputs, inputs, 3)
        self.conv1 = EqualizedConv2d(inputs, outputs, 3)
        self.skip = EqualizedConv2d(inputs, outputs, 1, bias=False)
        self.taps, self.clamp = config.resample_filter, config.clamp

    def forward(self, x: Tensor) -> Tensor:
        # The sum of two branches of unit variance is scaled back, in the gains of what is added.
        gain = math.sqrt(0.5)
        margin = (len(self.taps) - 2) // 2
        shortcut = self.skip(smooth(x, self.taps, padding=(margin, margin))[:, :, ::2, ::2]) * gain
        y = biased_leaky_relu(self.conv0.convolved(x), self.conv0.bias, clamp=self.clamp)
        # One more on each side: the strided convolution that follows has no padding of its own.
        y = smooth(y, self.taps, padding=(margin + 1, margin + 1))
        y = F.conv2d(y, self.conv1.used(), stride=2)
        clamp = None if self.clamp is None else self.clamp * gain
        return shortcut + biased_leaky_relu(y, self.conv1.bias, gain=1.0, clamp=clamp)


class StyleGAN2Discriminator(nn.Module):
    """Images (n, C, R, R) in [-1, 1], and their classes where it has any, to logits (n,).

    Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, figure 7 (residual).
    """

    def __init__(self, config: StyleGAN2DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels[::-1]
        self.fromrgb = EqualizedConv2d(config.image_channels, widths[0], 1)
        self.blocks = nn.ModuleList(_Block(config, before, after) for before, after in pairwise(widths))
        last = widths[-1]
        self.conv = EqualizedConv2d(last + bool(config.group), last, 3)
        self.fc = EqualizedLinear((16 * last, last), activation="lrelu")
        self.out = EqualizedLinear((last, 1 if not config.c_dim else config.class_features or last))
        if config.c_dim:
            self.classes = ClassProjection(
                config.c_dim,
                config.class_features or last,
                depth=config.class_layers,
                multiplier=config.class_multiplier,
            )

    def forward(self, images: Tensor, label: int | Tensor | None = None) -> Tensor:
        clamp = self.config.clamp
        x = biased_leaky_relu(self.fromrgb.convolved(images), self.fromrgb.bias, clamp=clamp)
        for block in self.blocks:
            x = block(x)
        if self.config.group:
            x = with_minibatch_deviation(x, self.config.group)
        x = biased_leaky_relu(self.conv.convolved(x), self.conv.bias, clamp=clamp)
        x = self.out(self.fc(x.flatten(1)))
        return self.classes(x, label) if self.config.c_dim else x.squeeze(1)
