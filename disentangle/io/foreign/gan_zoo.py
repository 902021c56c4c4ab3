"""Checkpoints of pytorch_GAN_zoo: ProGAN, StyleGAN and DCGAN."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node
from disentangle.io.foreign.formats import Content, Converted, Options, block_widths, choose, mapping_depth, networks_in
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import Row, rename

__all__ = ["NAME", "convert", "recognise"]

NAME = "a checkpoint of pytorch_GAN_zoo"

_NETWORKS = ("avgG", "netG")
_MARKS = ("formatLayer.module.weight", "mapping.FC.0.module.weight", "formatLayer.weight")
_SQRT2 = math.sqrt(2.0)


def recognise(content: Content) -> bool:
    """Whether a network under "avgG" or "netG" has the first layer of one of its generators."""
    return bool(networks_in(content.data, _NETWORKS, _MARKS).keys() & set(_NETWORKS))


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator."""
    networks = networks_in(content.data, _NETWORKS, _MARKS)
    which = choose(networks, _NETWORKS, options.weights)
    state = tensors_of(networks[which], content.budget)
    said = content.data.get("config")
    settings = said if isinstance(said, dict) else said.attributes if isinstance(said, Node) else {}
    if "mapping.FC.0.module.weight" in state:
        return _stylegan1(state, settings, which)
    if "formatLayer.module.weight" in state:
        return _progan(state, settings, which)
    return _dcgan(state, which)


def _folded(state: dict[str, Tensor], weight: str, bias: str, gain: float) -> Tensor:
    """``b gain / sqrt(fan in)``: they scale the bias with the weight, ``(Wx + b) s``."""
    return state[bias] * (gain / math.sqrt(state[weight][0].numel()))


def _progan(source: dict[str, Tensor], settings: dict[Any, Any], which: str) -> Converted:
    equalized = settings.get("equalizedlR", True) is not False
    state = dict(source)
    if equalized:
        for name in source:
            if name.endswith(".bias"):
                state[name] = _folded(source, name[:-4] + "weight", name, _SQRT2)
    z_dim = state["formatLayer.module.weight"].shape[1]

    def block(match: re.Match[str]) -> str:
        return f"b{8 << int(match[1])}.conv{match[2]}.{match[3]}"

    table: list[Row] = [
        (r"formatLayer\.module\.weight", "b4.conv0.weight", lambda t: t.reshape(-1, 4, 4, z_dim).permute(3, 0, 1, 2)),
        (r"formatLayer\.module\.bias", "b4.conv0.bias", lambda t: t.reshape(-1, 4, 4)),
        (r"groupScale0\.0\.module\.(weight|bias)", r"b4.conv1.\1", None),
        (r"scaleLayers\.(\d+)\.([01])\.module\.(weight|bias)", block, None),
        (r"toRGBLayers\.(\d+)\.module\.(weight|bias)", lambda m: f"b{4 << int(m[1])}.torgb.{m[2]}", None),
    ]
    state = rename(state, table)
    channels = block_widths(state, "")
    config = {
        "kind": "progan",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state["b4.torgb.bias"].shape[0],
        "latent_dim": z_dim,
        "channels": channels,
        "equalized": equalized,
        "first_gain": _SQRT2,
        "first_bias": "pixel",
        "rgb_gain": _SQRT2,
        "last": "tanh" if settings.get("generationActivation") else "identity",
    }
    return Converted(config, state, which)


def _stylegan1(source: dict[str, Tensor], settings: dict[Any, Any], which: str) -> Converted:
    state = dict(source)
    for name in source:
        if not name.endswith(".module.bias"):
            continue
        weight = name[:-4] + "weight"
        state[name] = _folded(source, weight, name, _SQRT2)
        if ".styleModulator." in name:
            state[weight] = source[weight] * _SQRT2
            # Their scale is used as it is, ours plus one.
            scale, shift = state[name].chunk(2)
            state[name] = torch.cat([scale - 1, shift])

    def numbered(suffix: str) -> Callable[[re.Match[str]], str]:
        def name(match: re.Match[str]) -> str:
            return f"synthesis.b{8 << int(match[1])}.conv{int(match[2]) // 2}.{suffix}".format(*match.groups())

        return name

    def noise(match: re.Match[str]) -> str:
        return f"synthesis.b{8 << int(match[1])}.conv{match[2]}.noise_strength"

    table: list[Row] = [
        (r"mean_w", "mapping.w_avg", lambda t: t.flatten()),
        (r"mapping\.FC\.(\d+)\.module\.(weight|bias)", r"mapping.fc\1.\2", None),
        (r"baseScale0", "synthesis.b4.const", lambda t: t[0]),
        (r"adain0([01])\.styleModulator\.module\.(weight|bias)", r"synthesis.b4.conv\1.affine.\2", None),
        (r"noiseMod0([01])\.module\.weight", r"synthesis.b4.conv\1.noise_strength", None),
        (r"conv0\.module\.(weight|bias)", r"synthesis.b4.conv1.\1", None),
        (r"scaleLayers\.(\d+)\.([02])\.module\.(weight|bias)", numbered("{2}"), None),
        (r"scaleLayers\.(\d+)\.([13])\.styleModulator\.module\.(weight|bias)", numbered("affine.{2}"), None),
        (r"noiseModulators\.(\d+)\.([01])\.module\.weight", noise, None),
        (r"toRGBLayers\.(\d+)\.module\.(weight|bias)", lambda m: f"synthesis.b{8 << int(m[1])}.torgb.{m[2]}", None),
    ]
    state = rename(state, table)
    channels = block_widths(state)
    if not 2 <= len(channels) <= 10:
        raise CheckpointError(f"it has {len(channels)} scales; expected 2 (8 pixels) to 10 (2,048 pixels).")
    random = torch.Generator().manual_seed(0)
    for index, count in enumerate(channels):
        for part in ("conv0", "conv1"):
            layer = f"synthesis.b{4 << index}.{part}"
            state[f"{layer}.noise_strength"] = state[f"{layer}.noise_strength"].flatten().expand(count).clone()
            state[f"{layer}.noise_const"] = torch.randn(4 << index, 4 << index, generator=random)
    state["synthesis.b4.conv0.bias"] = torch.zeros(channels[0])
    psi = settings.get("phiTruncation", 0.5)
    psi = float(psi) if isinstance(psi, (int, float)) else 0.5
    config = {
        "kind": "stylegan1",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state["synthesis.b8.torgb.bias"].shape[0],
        "z_dim": state["mapping.fc0.weight"].shape[1],
        "w_dim": state["mapping.fc0.weight"].shape[0],
        "mapping_layers": mapping_depth(state),
        "channels": channels,
        "blur": False,
        "norm_centred": False,
        "rgb_gain": _SQRT2,
        "rgb_first": 1,
        "noise": "random",
        "truncation": psi,
    }
    return Converted(
        config,
        state,
        which,
        [
            f"This software always truncates, by {psi:g}: so does the model where a call says nothing.",
            "It draws noise anew for every image: so does the model; its stored noise is of seed 0.",
        ],
    )


def _dcgan(source: dict[str, Tensor], which: str) -> Converted:
    depth = sum(re.fullmatch(r"main\.convTranspose\d+\.weight", name) is not None for name in source)
    table: list[Row] = [
        (r"formatLayer\.weight", "convs.0.weight", None),
        (r"main\.convTranspose(\d+)\.weight", r"convs.\1.weight", None),
        (r"main\.batchNorm(\d+)\.(\w+)", r"norms.\1.\2", None),
        (r"main\.outlayer\.weight", "to_image.weight", None),
    ]
    state = rename(source, table)
    channels = tuple(state[f"convs.{i}.weight"].shape[1] for i in range(depth + 1))
    config = {
        "kind": "dcgan",
        "resolution": 4 << len(channels),
        "image_channels": state["to_image.weight"].shape[1],
        "latent_dim": state["convs.0.weight"].shape[0],
        "channels": channels,
    }
    return Converted(config, state, which)
