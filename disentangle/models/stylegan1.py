"""StyleGAN: styles that scale and shift instance-normalised features.

Source: Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", CVPR 2019.
"""

from __future__ import annotations

import math
from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.models.base import StyleLayer, register_model
from disentangle.models.ops.equalized import EqualizedLinear, activated, biased_leaky_relu
from disentangle.models.ops.fir import smooth
from disentangle.models.ops.noise import Streams, drawn_noise
from disentangle.models.ops.style_spaces import MappedConfig, StyleBasedModule

__all__ = ["StyleGAN1", "StyleGAN1Config"]

Noise = Literal["const", "random", "none"]


class StyleGAN1Config(MappedConfig):
    """Architecture of a :class:`StyleGAN1`; ``channels`` counts the features at 4, 8, ..., ``resolution`` pixels.

    The last fields are where implementations differ.
    """

    kind: Literal["stylegan1"] = "stylegan1"
    resolution: int = pydantic.Field(256, ge=4)
    image_channels: int = pydantic.Field(3, ge=1)
    z_dim: int = pydantic.Field(512, ge=1)
    w_dim: int = pydantic.Field(512, ge=1)
    c_dim: int = pydantic.Field(0, ge=0, description="classes")
    mapping_layers: int = pydantic.Field(8, ge=1)
    mapping_multiplier: float = pydantic.Field(0.01, gt=0)
    channels: tuple[int, ...]
    blur: bool = pydantic.Field(True, description="smooth after the convolutions that double the size")
    blur_filter: tuple[float, ...] = pydantic.Field((1.0, 2.0, 1.0), min_length=1, description="taps of the smoothing")
    activation: Literal["lrelu", "relu"] = "lrelu"
    slope: float = pydantic.Field(0.2, ge=0, description="of the synthesis network's leaky relu below zero")
    last: Literal["identity", "tanh"] = "identity"
    norm_eps: float = pydantic.Field(1e-8, gt=0)
    norm_centred: bool = pydantic.Field(
        True, description="variance of the centred features; else the less accurate E[x^2] - E[x]^2, as some have it"
    )
    rgb_gain: float = pydantic.Field(1.0, description="of the layers to the image, over the root of their inputs")
    rgb_first: int = pydantic.Field(0, ge=0, description="first block with a layer to the image")
    noise: Noise = "const"
    truncation: float = pydantic.Field(1.0, description="psi of a call on z that gives none")
    lod: float = pydantic.Field(0.0, ge=0, description="level of detail of a call that gives none; 0 is the full image")

    @pydantic.model_validator(mode="after")
    def _fits(self) -> StyleGAN1Config:
        if self.resolution != 4 << (len(self.channels) - 1):
            raise ValueError(
                f"channels has {len(self.channels)} entries, which makes {4 << (len(self.channels) - 1)} pixels, but "
                f"resolution is {self.resolution}"
            )
        if self.rgb_first >= len(self.channels) or self.lod > len(self.channels) - 1 - self.rgb_first:
            raise ValueError(f"rgb_first {self.rgb_first} and lod {self.lod} leave no layer to the image")
        if abs(sum(self.blur_filter)) <= 1e-6 * max(map(abs, self.blur_filter)):
            raise ValueError("the taps of blur_filter sum to zero; expected a smoothing one")
        return self


class _Layer(nn.Module):
    """Convolution (none at the very first), noise, bias, leaky relu, instance norm, style."""

    noise_const: Tensor

    def __init__(self, config: StyleGAN1Config, inputs: int | None, outputs: int, resolution: int, *, up: bool) -> None:
        super().__init__()
        if inputs is not None:
            self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
            self.scale = math.sqrt(2.0 / (9 * inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.affine = EqualizedLinear((config.w_dim, 2 * outputs))
        self.resolution, self.up = resolution, up
        self.blur = config.blur_filter if up and config.blur else ()
        self.activation, self.slope = config.activation, config.slope
        self.eps, self.centred = config.norm_eps, config.norm_centred

    def forward(self, x: Tensor, style: Tensor, noise: Noise, generator: Streams | None) -> Tensor:
        if hasattr(self, "weight"):
            x = F.interpolate(x, scale_factor=2, mode="nearest") if self.up else x
            x = F.conv2d(x, self.weight * self.scale, padding=1)
            if self.blur:
                before = (len(self.blur) - 1) // 2
                x = smooth(x, self.blur, padding=(before, before), after=len(self.blur) // 2)
        if noise == "const":
            x = x + self.noise_const * self.noise_strength[:, None, None]
        elif noise == "random":
            x = x + drawn_noise(len(x), self.resolution, generator).to(x) * self.noise_strength[:, None, None]
        if self.activation == "lrelu" and self.slope == 0.2:
            x = biased_leaky_relu(x, self.bias, gain=1.0)
        elif self.activation == "lrelu":
            x = F.leaky_relu(x + self.bias[:, None, None], self.slope)
        else:
            x = activated(x + self.bias[:, None, None], self.activation)
        if self.centred:
            variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, unbiased=False)
        else:
            mean = x.mean(dim=(2, 3), keepdim=True)
            variance = (x.square().mean(dim=(2, 3), keepdim=True) - mean.square()).clamp(min=0)
        x = (x - mean) * torch.rsqrt(variance + self.eps)
        scale, shift = style[:, :, None, None].chunk(2, dim=1)
        return x * (scale + 1) + shift


class _ToRGB(nn.Module):
    def __init__(self, config: StyleGAN1Config, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(config.image_channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.image_channels))
        self.scale = config.rgb_gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias)


class _Block(nn.Module):
    def __init__(self, config: StyleGAN1Config, index: int) -> None:
        super().__init__()
        outputs, self.resolution = config.channels[index], 4 << index
        if index == 0:
            self.const = nn.Parameter(torch.ones(outputs, 4, 4))
        inputs = config.channels[index - 1] if index else None
        self.conv0 = _Layer(config, inputs, outputs, self.resolution, up=index > 0)
        self.conv1 = _Layer(config, outputs, outputs, self.resolution, up=False)
        if index >= config.rgb_first:
            self.torgb = _ToRGB(config, outputs)


class _Synthesis(nn.Module):
    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        self.config = config
        self.blocks = [_Block(config, index) for index in range(len(config.channels))]
        for block in self.blocks:
            self.add_module(f"b{block.resolution}", block)
        self.num_ws = 2 * len(self.blocks)

    def style_layers(self) -> tuple[StyleLayer, ...]:
        layers: list[StyleLayer] = []
        start = 0
        for block in self.blocks:
            for part in ("conv0", "conv1"):
                affine = block.get_submodule(part).affine
                assert isinstance(affine, EqualizedLinear)
                name, channels = f"b{block.resolution}.{part}", len(affine.weight)
                layers.append(StyleLayer(name, "conv", len(layers), block.resolution, affine, start, channels))
                start += channels
        return tuple(layers)

    def forward(
        self, styles: Tensor, *, noise: Noise | None = None, generator: Streams | None = None,
        lod: float | None = None,
    ) -> Tensor:  # fmt: skip
        """(n, S) flat styles to images; ``noise`` and ``lod`` as configured by default."""
        mode = self.config.noise if noise is None else noise
        if mode not in ("const", "random", "none"):
            raise InputError(f"noise is {mode!r}; expected 'const', 'random' or 'none'.")
        lod = self.config.lod if lod is None else lod
        levels = len(self.blocks)
        if not 0 <= lod <= levels - 1 - self.config.rgb_first:
            raise InputError(f"lod is {lod}; expected 0 to {levels - 1 - self.config.rgb_first}.")
        used, blend = levels - math.floor(lod), lod - math.floor(lod)
        flat = iter(styles.split([layer.channels for layer in self.style_layers()], dim=1))
        x = self.blocks[0].const.to(styles).expand(len(styles), -1, -1, -1).clone()
        image: Tensor | None = None
        for index, block in enumerate(self.blocks[:used]):
            x = block.conv0(x, next(flat), mode, generator)
            x = block.conv1(x, next(flat), mode, generator)
            if blend and index == used - 2:
                image = F.interpolate(block.torgb(x), scale_factor=2, mode="nearest")
        top = self.blocks[used - 1].torgb(x)
        image = top if image is None else torch.lerp(top, image, blend)
        for _ in range(levels - used):
            image = F.interpolate(image, scale_factor=2, mode="nearest")
        return image.tanh() if self.config.last == "tanh" else image


@register_model(StyleGAN1Config)
class StyleGAN1(StyleBasedModule):
    """Generator with the spaces z, w, w+ and s; images are (n, image_channels, resolution, resolution), about [-1, 1].

    In s each layer has its scales first (without the 1 that is added) and then its shifts. Keywords of a call:
    ``space``, ``truncation``, ``truncation_cutoff``, ``noise``, ``generator``; ``lod``: level of detail, see
    :class:`disentangle.models.ProGAN`.
    """

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__(config, _Synthesis(config), gain_first=True)
        self.default_truncation = config.truncation
