"""StyleGAN3: a synthesis network that treats its features as continuous signals.

Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021; configurations T (equivariant to
translation) and R (to rotation too).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.errors import InputError
from disentangle.models.base import GeneratorConfig, StyleLayer, register_model
from disentangle.models.ops.equalized import EqualizedLinear
from disentangle.models.ops.filtered_lrelu import filtered_lrelu, low_pass
from disentangle.models.ops.modulation import demodulation
from disentangle.models.ops.style_spaces import StyleBasedModule

__all__ = ["StyleGAN3", "StyleGAN3Config", "StyleGAN3Layer"]

_TAPS = 6  # of a filter, for each factor of resampling


class StyleGAN3Layer(Config):
    """One layer: what it maps to what, and how it resamples. Sizes are in pixels of the canvas, margins included."""

    name: str
    torgb: bool = False
    in_channels: int = pydantic.Field(ge=1)
    out_channels: int = pydantic.Field(ge=1)
    out_size: int = pydantic.Field(ge=1)
    kernel: int = pydantic.Field(3, ge=1)
    up: int = pydantic.Field(1, ge=1)
    down: int = pydantic.Field(1, ge=1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    up_filter: tuple[int, ...] = pydantic.Field((), description="shape of the taps: (t,), or () for no filter")
    down_filter: tuple[int, ...] = pydantic.Field((), description="(t,), (t, t) if radial, or () for no filter")
    clamp: float | None = 256.0
    # What filters are made from where the layer is new; a file brings its own.
    in_cutoff: float | None = None
    in_width: float | None = None
    out_cutoff: float | None = None
    out_width: float | None = None
    rate: float | None = None


class StyleGAN3Config(GeneratorConfig):
    """Architecture of a :class:`StyleGAN3`.

    ``layers`` says everything about the synthesis network. Left out, it follows from the keys of the published
    configurations (appendix C of the paper): num_layers 14, num_critical 2, first_cutoff 2, first_stopband 2^2.1,
    last_stopband_rel 2^0.3, margin_size 10, channel_base 32,768, channel_max 512, kernel 3, radial false. R has
    channel_base 65,536, channel_max 1,024, kernel 1, radial true.
    """

    kind: Literal["stylegan3"] = "stylegan3"
    resolution: int = pydantic.Field(256, ge=16)
    image_channels: int = pydantic.Field(3, ge=1)
    z_dim: int = pydantic.Field(512, ge=1)
    w_dim: int = pydantic.Field(512, ge=1)
    c_dim: int = pydantic.Field(0, ge=0, description="classes")
    mapping_layers: int = pydantic.Field(2, ge=1)
    mapping_multiplier: float = pydantic.Field(
        0.01, gt=0, description="learning rate multiplier of the mapping network"
    )
    layers: tuple[StyleGAN3Layer, ...]
    input_channels: int = pydantic.Field(ge=1)
    input_size: int = pydantic.Field(ge=1)
    sampling_rate: float = pydantic.Field(gt=0, description="of the input, samples per image side")
    bandwidth: float = pydantic.Field(gt=0, description="of the input, cycles per image side")
    output_scale: float = 0.25

    @pydantic.model_validator(mode="before")
    @classmethod
    def _published_layers(cls, record: Any) -> Any:
        return {**_geometry(record), **_without_rules(record)} if isinstance(record, dict) else record

    @pydantic.model_validator(mode="after")
    def _fits(self) -> StyleGAN3Config:
        channels = self.input_channels
        for layer in self.layers:
            if layer.in_channels != channels:
                raise ValueError(f"layer {layer.name} takes {layer.in_channels} channels, but gets {channels}")
            channels = layer.out_channels
        if not self.layers or channels != self.image_channels or self.layers[-1].out_size != self.resolution:
            raise ValueError(f"the layers do not end at {self.image_channels} channels of {self.resolution} pixels")
        return self


_RULES: dict[str, Any] = {
    "num_layers": 14, "num_critical": 2, "first_cutoff": 2.0, "first_stopband": 2**2.1, "last_stopband_rel": 2**0.3,
    "margin_size": 10, "channel_base": 32768, "channel_max": 512, "kernel": 3, "radial": False,
}  # fmt: skip


def _without_rules(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in _RULES}


def _geometry(record: dict[str, Any]) -> dict[str, Any]:
    """Layers and input by the paper's rules: cutoffs and stop bands rise geometrically, rates are powers of two."""
    resolution, colours = record.get("resolution", 256), record.get("image_channels", 3)
    if record.get("layers") or not isinstance(resolution, int) or resolution < 16:
        return {}
    rule = {**_RULES, **{key: value for key, value in record.items() if key in _RULES}}
    count, critical = rule["num_layers"], rule["num_critical"]
    last = resolution / 2
    progress = [min(i / (count - critical), 1) for i in range(count + 1)]
    cutoffs = [rule["first_cutoff"] * (last / rule["first_cutoff"]) ** p for p in progress]
    final = last * rule["last_stopband_rel"]
    stops = [rule["first_stopband"] * (final / rule["first_stopband"]) ** p for p in progress]
    rates = [2.0 ** math.ceil(math.log2(min(2 * stop, resolution))) for stop in stops]
    widths = [max(stop, rate / 2) - cutoff for stop, rate, cutoff in zip(stops, rates, cutoffs, strict=True)]
    sizes = [int(rate) + 2 * rule["margin_size"] for rate in rates]
    sizes[-2:] = [resolution, resolution]
    channels = [round(min(rule["channel_base"] / 2 / cutoff, rule["channel_max"])) for cutoff in cutoffs]
    channels[-1] = colours
    layers = []
    for i in range(count + 1):
        before, torgb = max(i - 1, 0), i == count
        rate = max(rates[before], rates[i]) * (1 if torgb else 2)
        up, down = round(rate / rates[before]), round(rate / rates[i])
        up_taps = _TAPS * up if up > 1 and not torgb else 1
        down_taps = _TAPS * down if down > 1 and not torgb else 1
        kernel = 1 if torgb else rule["kernel"]
        # All the canvas the filters and the convolution need, so that what is left has the size wanted.
        total = (sizes[i] - 1) * down + 1 - (sizes[before] + kernel - 1) * up + up_taps + down_taps - 2
        low = (total + up) // 2
        radial = rule["radial"] and i < count - critical
        layers.append(
            {
                "name": f"L{i}_{sizes[i]}_{channels[i]}", "torgb": torgb,
                "in_channels": channels[before], "out_channels": channels[i], "out_size": sizes[i],
                "kernel": kernel, "up": up, "down": down, "padding": (low, total - low, low, total - low),
                "up_filter": (up_taps,) if up_taps > 1 else (),
                "down_filter": () if down_taps == 1 else (down_taps, down_taps) if radial else (down_taps,),
                "in_cutoff": cutoffs[before], "in_width": 2 * widths[before],
                "out_cutoff": cutoffs[i], "out_width": 2 * widths[i], "rate": rate,
            }
        )  # fmt: skip
    return {
        "layers": tuple(layers), "input_channels": channels[0], "input_size": sizes[0], "sampling_rate": rates[0],
        "bandwidth": cutoffs[0],
    }  # fmt: skip


class _Input(nn.Module):
    """Fourier features on a canvas that the style turns and shifts."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        channels = config.input_channels
        self.size, self.rate, self.bandwidth = config.input_size, config.sampling_rate, config.bandwidth
        freqs = torch.randn(channels, 2)
        radii = freqs.square().sum(1, keepdim=True).sqrt()
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * self.bandwidth
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualizedLinear((config.w_dim, 4))
        with torch.no_grad():
            self.affine.weight.zero_()
            assert self.affine.bias is not None
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, style: Tensor, transform: Tensor | None) -> Tensor:
        """(n, 4) styles: cosine, sine, x, y; and the inverse transform of the image, (3, 3) or (n, 3, 3)."""
        user = self.transform if transform is None else transform
        c, s, x, y = (style / style[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(c), torch.ones_like(c)
        turn = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1).reshape(-1, 3, 3)
        total = turn @ shift @ user.to(style)
        phases = self.phases + (self.freqs @ total[:, :2, 2:]).squeeze(2)
        freqs = self.freqs @ total[:, :2, :2]
        # Frequencies the grid cannot hold fade out before they alias.
        amplitudes = (1 - (freqs.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)).clamp(0, 1)
        steps = (torch.arange(self.size, dtype=style.dtype, device=style.device) + 0.5 - self.size / 2) / self.rate
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)  # (size, size, (x, y))
        waves = torch.einsum("hwd,ncd->nhwc", grid, freqs) + phases[:, None, None]
        features = torch.sin(2 * math.pi * waves) * amplitudes[:, None, None]
        features = features @ (self.weight / math.sqrt(len(self.weight))).mT
        return features.permute(0, 3, 1, 2)


class _Layer(nn.Module):
    """Modulated convolution and a filtered leaky relu."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, config: StyleGAN3Config, layer: StyleGAN3Layer) -> None:
        super().__init__()
        self.layer = layer
        self.affine = EqualizedLinear((config.w_dim, layer.in_channels), bias=1.0)
        self.weight = nn.Parameter(torch.randn(layer.out_channels, layer.in_channels, layer.kernel, layer.kernel))
        self.bias = nn.Parameter(torch.zeros(layer.out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.register_buffer("up_filter", _filter(layer.up_filter, layer.in_cutoff, layer.in_width, layer.rate))
        self.register_buffer("down_filter", _filter(layer.down_filter, layer.out_cutoff, layer.out_width, layer.rate))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        layer = self.layer
        gain = self.magnitude_ema.rsqrt()
        if layer.torgb:
            weight: Tensor = self.weight
            style, scale = style * (layer.in_channels * layer.kernel**2) ** -0.5, None
        else:
            weight = self.weight * self.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
            style = style * style.square().mean().rsqrt()
            scale = demodulation(weight, style)
        x = F.conv2d(x * (style * gain)[:, :, None, None], weight, padding=layer.kernel - 1)
        if scale is not None:
            scale = scale[:, :, None, None]
            x = x * scale if x.requires_grad else x.mul_(scale)
        return filtered_lrelu(
            x, self.up_filter, self.down_filter, self.bias, up=layer.up, down=layer.down, padding=layer.padding,
            gain=1.0 if layer.torgb else math.sqrt(2.0), slope=1.0 if layer.torgb else 0.2, clamp=layer.clamp,
        )  # fmt: skip


def _filter(shape: tuple[int, ...], cutoff: float | None, width: float | None, rate: float | None) -> Tensor | None:
    if not shape:
        return None
    if cutoff is None or width is None or rate is None:
        return torch.zeros(shape)  # to be filled from the file that gave the shape
    return low_pass(shape[0], cutoff=cutoff, width=width, rate=rate, radial=len(shape) == 2)


class _Synthesis(nn.Module):
    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.input = _Input(config)
        for layer in config.layers:
            self.add_module(layer.name, _Layer(config, layer))
        self.num_ws = len(config.layers) + 1

    def style_layers(self) -> tuple[StyleLayer, ...]:
        layers = [StyleLayer("input", "input", 0, self.config.input_size, self.input.affine, 0, 4)]
        start = 4
        for row, layer in enumerate(self.config.layers, start=1):
            affine = self.get_submodule(f"{layer.name}.affine")
            kind: Literal["conv", "torgb"] = "torgb" if layer.torgb else "conv"
            layers.append(StyleLayer(layer.name, kind, row, layer.out_size, affine, start, layer.in_channels))
            start += layer.in_channels
        return tuple(layers)

    def forward(self, styles: Tensor, *, transform: Tensor | None = None) -> Tensor:
        """(n, S) flat styles to images; ``transform`` in place of the stored one."""
        if transform is not None and (transform.shape[-2:] != (3, 3) or transform.ndim > 3):
            raise InputError(f"transform has shape {tuple(transform.shape)}; expected (3, 3) or (n, 3, 3).")
        first, *rest = styles.split([4, *(layer.in_channels for layer in self.config.layers)], dim=1)
        x = self.input(first, transform).contiguous(memory_format=torch.channels_last)
        for layer, style in zip(self.config.layers, rest, strict=True):
            x = self.get_submodule(layer.name)(x, style)
        return (x * self.config.output_scale).contiguous()


@register_model(StyleGAN3Config)
class StyleGAN3(StyleBasedModule):
    """Generator with the spaces z, w, w+ and s; images are (n, image_channels, resolution, resolution), about [-1, 1].

    Keywords of a call: ``space``, ``truncation``, ``truncation_cutoff``, ``label``; ``transform``: the inverse of an
    affine transform of the image, (3, 3) or (n, 3, 3), in units of the image's side. There is no noise.
    """

    projection_gain = "equalized"

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__(config, _Synthesis(config))

    def default_projection_layers(self) -> tuple[str, ...]:
        """Every fourth layer, from the first on."""
        return tuple(layer.name for layer in self.config.layers)[::4]
