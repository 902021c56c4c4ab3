"""StyleGAN2: a mapping network, and a synthesis network of modulated convolutions.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020; classes as in "Training
Generative Adversarial Networks with Limited Data", NeurIPS 2020.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.models.base import StyleLayer, register_model
from disentangle.models.ops.derivatives import differentiated
from disentangle.models.ops.equalized import Activation, EqualizedLinear, activated, activation_gain
from disentangle.models.ops.fir import upsample
from disentangle.models.ops.minimal_filtering import minimal_filters, worthwhile_axes
from disentangle.models.ops.modulation import (
    demodulation,
    half_range,
    modulated_conv2d,
    modulated_pointwise,
    squared_filters,
)
from disentangle.models.ops.noise import Streams, drawn_noise
from disentangle.models.ops.style_spaces import MappedConfig, StyleBasedModule
from disentangle.models.ops.styled import styled_conv2d
from disentangle.nn.derived import Derived

__all__ = ["StyleGAN2", "StyleGAN2Config"]

Noise = Literal["const", "random", "none"]


class StyleGAN2Config(MappedConfig):
    """Architecture of a :class:`StyleGAN2`.

    ``channels`` counts the features at 4, 8, ..., ``resolution`` pixels; left out it is the published rule,
    ``min(channel_base / resolution, channel_max)`` of those two keys (32,768 and 512 where they are left out too).
    """

    kind: Literal["stylegan2"] = "stylegan2"
    resolution: int = pydantic.Field(256, ge=4)
    image_channels: int = pydantic.Field(3, ge=1)
    z_dim: int = pydantic.Field(512, ge=0, description="0 where only the class decides")
    w_dim: int = pydantic.Field(512, ge=1)
    c_dim: int = pydantic.Field(0, ge=0, description="classes")
    mapping_layers: int = pydantic.Field(8, ge=1)
    mapping_multiplier: float = pydantic.Field(
        0.01, gt=0, description="learning rate multiplier of the mapping network"
    )
    channels: tuple[int, ...] = ()
    architecture: Literal["skip", "resnet", "orig"] = "skip"
    kernel: int = pydantic.Field(3, ge=1, description="size of the modulated convolutions")
    resample_filter: tuple[float, ...] = pydantic.Field((1.0, 3.0, 3.0, 1.0), min_length=1, description="taps")
    image_filter: tuple[float, ...] | None = pydantic.Field(
        None, min_length=1, description="taps for the image, where they are others than those for the features"
    )
    activation: Activation = "lrelu"
    demodulate: bool = True
    last: Literal["identity", "tanh"] = "identity"
    clamp: float | None = pydantic.Field(None, gt=0, description="largest magnitude of a layer's output")
    noise: Noise = "const"
    use_noise: bool = True

    @pydantic.model_validator(mode="before")
    @classmethod
    def _published_channels(cls, record: Any) -> Any:
        if isinstance(record, dict):
            record = dict(record)
            base, most = record.pop("channel_base", 32768), record.pop("channel_max", 512)
            resolution = record.get("resolution", 256)
            if not record.get("channels") and isinstance(resolution, int) and resolution >= 4:
                record["channels"] = tuple(min(base // 2**i, most) for i in range(2, resolution.bit_length()))
        return record

    @pydantic.model_validator(mode="after")
    def _fits(self) -> StyleGAN2Config:
        if self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}; expected a power of two from 4 on")
        if len(self.channels) != self.resolution.bit_length() - 2:
            raise ValueError(
                f"channels has {len(self.channels)} entries; {self.resolution} pixels need "
                f"{self.resolution.bit_length() - 2}, one for each of 4, 8, ..., {self.resolution}"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; expected an odd number")
        for taps in (self.resample_filter, self.image_filter or (1.0,)):
            if abs(sum(taps)) <= 1e-6 * max(map(abs, taps)):
                raise ValueError("the taps of a filter sum to zero; expected a smoothing one")
        if not self.z_dim and not self.c_dim:
            raise ValueError("z_dim and c_dim are 0; expected a z, classes or both")
        return self


class _SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias, leaky relu.

    Without gradients, the squares of the filters and, in wide layers, their sums for minimal filtering (up to 16/9 the
    memory of the filters) are kept from call to call.
    """

    noise_const: Tensor

    def __init__(
        self,
        config: StyleGAN2Config,
        inputs: int,
        outputs: int,
        resolution: int,
        *,
        up: int,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear((config.w_dim, inputs), bias=1.0)
        if up == 2:
            # Laid out in memory as a transposed convolution reads it, which would copy it in each call otherwise.
            weight = torch.randn(inputs, outputs, config.kernel, config.kernel).transpose(0, 1)
        else:
            weight = torch.randn(outputs, inputs, config.kernel, config.kernel)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([])) if config.use_noise else None
        if config.use_noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.resolution, self.up, self.taps = resolution, up, config.resample_filter
        self.activation, self.demodulated = config.activation, config.demodulate
        self.gain = activation_gain(config.activation) * gain
        self.clamp = None if config.clamp is None else config.clamp * gain
        self._squares, self._filters = Derived(), Derived()

    def forward(self, x: Tensor, style: Tensor, noise: Noise, generator: Streams | None) -> Tensor:
        weight: Tensor = self.weight
        filters = None
        if not self.demodulated:
            scale = torch.ones_like(style[:, :1]).expand(-1, len(weight))
        elif x.dtype in (torch.float16, torch.bfloat16):
            weight, style, scale = half_range(weight, style)
        elif differentiated(x, style, weight):
            scale = demodulation(weight, style)
        else:
            scale = demodulation(weight, style, squares=self._squares(squared_filters, weight))
            axes = worthwhile_axes(weight, self.resolution) if self.up == 1 and x.device.type == "cpu" else 0
            if axes:
                filters = self._filters(partial(minimal_filters, axes=axes), weight)
        if self.activation != "lrelu":
            x = modulated_conv2d(x, weight, style, up=self.up, taps=self.taps, scale=scale) + self.bias[:, None, None]
            added = self._noise(x, noise, generator, gain=1.0)
            x = activated(x if added is None else x + added, self.activation) * self.gain
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        # The leaky relu lets positive factors through, so its gain is put where it costs a vector, not a picture.
        return styled_conv2d(
            x, weight, style, scale=scale * self.gain, bias=self.bias * self.gain,
            noise=self._noise(x, noise, generator, gain=self.gain), up=self.up,
            taps=self.taps, clamp=self.clamp, filters=filters,
        )  # fmt: skip

    def _noise(self, x: Tensor, mode: Noise, generator: Streams | None, *, gain: float) -> Tensor | None:
        """(1 or n, 1, H, W) noise times its strength and a gain, or None."""
        if mode == "none" or self.noise_strength is None:
            return None
        if mode == "const":
            return (self.noise_const * (self.noise_strength * gain))[None, None]
        return drawn_noise(len(x), self.resolution, generator).to(x) * (self.noise_strength * gain)


class _ToRGB(nn.Module):
    """1x1 modulated convolution to the image, without demodulation and noise."""

    def __init__(self, config: StyleGAN2Config, inputs: int) -> None:
        super().__init__()
        self.affine = EqualizedLinear((config.w_dim, inputs), bias=1.0)
        self.weight = nn.Parameter(torch.randn(config.image_channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.image_channels))
        self.gain = 1 / math.sqrt(inputs)
        self.clamp = config.clamp

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = modulated_pointwise(x, self.weight.flatten(1), style * self.gain) + self.bias[:, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class _Skip(nn.Module):
    """The residual branch of the resnet architecture: 1x1 convolution and upsampling."""

    def __init__(self, inputs: int, outputs: int, taps: tuple[float, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.gain, self.taps = math.sqrt(0.5 / inputs), taps

    def forward(self, x: Tensor) -> Tensor:
        return upsample(F.conv2d(x, self.weight * self.gain), self.taps)


class _Block(nn.Module):
    """All layers of one resolution."""

    def __init__(self, config: StyleGAN2Config, index: int) -> None:
        super().__init__()
        self.resolution, outputs = 4 * 2**index, config.channels[index]
        resnet = config.architecture == "resnet" and index > 0
        gain = math.sqrt(0.5) if resnet else 1.0
        if index == 0:
            self.const = nn.Parameter(torch.randn(outputs, 4, 4))
        else:
            inputs = config.channels[index - 1]
            self.conv0 = _SynthesisLayer(config, inputs, outputs, self.resolution, up=2)
            if resnet:
                self.skip = _Skip(inputs, outputs, config.resample_filter)
        self.conv1 = _SynthesisLayer(config, outputs, outputs, self.resolution, up=1, gain=gain)
        if config.architecture == "skip" or self.resolution == config.resolution:
            self.torgb = _ToRGB(config, outputs)
        self.names = tuple(part for part in ("conv0", "conv1", "torgb") if hasattr(self, part))


class _Synthesis(nn.Module):
    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        for index in range(len(config.channels)):
            self.add_module(f"b{4 * 2**index}", _Block(config, index))
        self.num_ws = 2 * len(config.channels)
        self.widths = [layer.channels for layer in self.style_layers()]

    def blocks(self) -> list[_Block]:
        return [block for block in self.children() if isinstance(block, _Block)]

    def style_layers(self) -> tuple[StyleLayer, ...]:
        layers: list[StyleLayer] = []
        row = start = 0
        for block in self.blocks():
            for part in block.names:
                affine = block.get_submodule(part).affine
                assert isinstance(affine, nn.Module)
                channels = len(affine.bias)  # type: ignore[arg-type]
                layers.append(
                    StyleLayer(
                        name=f"b{block.resolution}.{part}", kind="torgb" if part == "torgb" else "conv", ws_index=row,
                        resolution=block.resolution, affine=affine, start=start, channels=channels,
                    )
                )  # fmt: skip
                start += channels
                row += part != "torgb"  # the next block's first convolution reads the same w as this one's image
        return tuple(layers)

    def forward(self, styles: Tensor, *, noise: Noise | None = None, generator: Streams | None = None) -> Tensor:
        """(n, S) flat styles to images; ``noise`` as configured by default, ``generator`` seeds random noise."""
        mode = self.config.noise if noise is None else noise
        if mode not in ("const", "random", "none"):
            raise InputError(f"noise is {mode!r}; expected 'const', 'random' or 'none'.")
        flat = iter(styles.split(self.widths, dim=1))
        blocks = self.blocks()
        x = blocks[0].const.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        for block in blocks:
            residual = block.skip(x) if hasattr(block, "skip") else None
            if hasattr(block, "conv0"):
                x = block.conv0(x, next(flat), mode, generator)
            x = block.conv1(x, next(flat), mode, generator)
            x = x if residual is None else x + residual
            if image is not None:
                image = upsample(image, self.config.image_filter or self.config.resample_filter)
            if hasattr(block, "torgb"):
                painted = block.torgb(x, next(flat))
                image = painted if image is None else image + painted
        assert image is not None
        image = image.contiguous()
        return image.tanh() if self.config.last == "tanh" else image


@register_model(StyleGAN2Config)
class StyleGAN2(StyleBasedModule):
    """Generator with the spaces z, w, w+ and s; images are (n, image_channels, resolution, resolution), about [-1, 1].

    Keywords of a call: ``space``, ``truncation``, ``truncation_cutoff``, ``label``; ``noise``: "const" (stored),
    "random" (drawn anew, seeded by ``generator``, one for all samples or one for each) or "none".
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config, _Synthesis(config))
