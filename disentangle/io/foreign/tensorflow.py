"""Network pickles of the TensorFlow era: StyleGAN2 and StyleGAN2-ADA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node
from disentangle.io.foreign.formats import Content, Converted, Options, block_widths, choose, mapping_depth
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import taps_of

__all__ = ["NAME", "convert", "recognise", "settings_of", "variables_of"]

NAME = "a network pickle of StyleGAN2 (TensorFlow)"

_CLASSES = ("dnnlib.tflib.network.Network", "tfutil.Network", "tflib.network.Network")
_ORDER = ("G", "D", "Gs")


def recognise(content: Content) -> bool:
    """Whether it is a tuple of networks (generator, discriminator, averaged generator), or one of them."""
    data = content.data
    parts = data if isinstance(data, (tuple, list)) else (data,)
    return any(isinstance(part, Node) and part.path in _CLASSES for part in parts)


def _flip(t: Tensor) -> Tensor:
    return _conv(t).flip(2, 3)


def _conv(t: Tensor) -> Tensor:
    return t.permute(3, 2, 0, 1)  # height, width, in, out


def _transposed(t: Tensor) -> Tensor:
    return t.T


def _plus_one(t: Tensor) -> Tensor:
    return t + 1


def _noise(match: Any) -> str:
    index = int(match[1])
    if index == 0:
        return "synthesis.b4.conv1.noise_const"
    return f"synthesis.b{8 << (index - 1) // 2}.conv{(index - 1) % 2}.noise_const"


_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}


def _layer(match: Any) -> str:
    return f"synthesis.b{match[1]}.{_LAYERS[match[2]]}.{match[3]}"


def _affine(part: str) -> Any:
    return lambda match: f"synthesis.b{match[1]}.{_LAYERS[match[2]]}.affine.{part}"


_TABLE: list[Row] = [
    (r"lod|(mapping|synthesis)/(lod|.*resample_kernel)", DROP, None),
    (r"(?:mapping/)?dlatent_avg", "mapping.w_avg", None),
    (r"mapping/LabelEmbed/weight", "mapping.embed.weight", _transposed),
    (r"mapping/LabelEmbed/bias", "mapping.embed.bias", None),
    (r"mapping/Dense(\d+)/weight", r"mapping.fc\1.weight", _transposed),
    (r"mapping/Dense(\d+)/bias", r"mapping.fc\1.bias", None),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const", lambda t: t.reshape(t.shape[-3:])),
    (r"synthesis/(\d+)x\d+/(Conv0_up)/(weight)", _layer, _flip),
    (r"synthesis/(\d+)x\d+/(Conv|Conv1|ToRGB|Skip)/(weight)", _layer, _conv),
    (r"synthesis/(\d+)x\d+/(\w+)/mod_weight", _affine("weight"), _transposed),
    (r"synthesis/(\d+)x\d+/(\w+)/mod_bias", _affine("bias"), _plus_one),
    (r"synthesis/(\d+)x\d+/(\w+)/(bias)", _layer, None),
    (r"synthesis/(\d+)x\d+/(\w+)/(noise_strength)", _layer, lambda t: t.reshape(())),
    (r"synthesis/noise(\d+)", _noise, lambda t: t[0, 0]),
]


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator ``Gs``."""
    data = content.data
    parts = data if isinstance(data, (tuple, list)) else (data,)
    networks = dict(zip(_ORDER, parts, strict=False)) if len(parts) > 1 else {"Gs": parts[0]}
    networks = {name: part for name, part in networks.items() if isinstance(part, Node)}
    which = choose(networks, ("Gs", "G"), options.weights)
    network = networks[which]
    version = network.attributes.get("version")
    variables = variables_of(network)
    if "synthesis/4x4/Const/const" not in variables or "synthesis/4x4/Conv/mod_weight" not in variables:
        raise CheckpointError(
            f"its network {which} ({network.attributes.get('name')!s:.40}, version {version!s:.10}, {len(variables)} "
            "variables) is no StyleGAN2 generator; expected mapping and synthesis networks with modulated convolutions."
        )
    if any("LabelConcat" in name for name in variables):
        raise CheckpointError(
            "its classes enter as StyleGAN2's did before ADA, which is not supported; expected ADA's."
        )
    state = rename(variables, _TABLE)
    settings = settings_of(network)
    channels = block_widths(state)
    skips = any(name.endswith(".skip.weight") for name in state)
    painted = sum(name.endswith(".torgb.weight") for name in state)
    classes = "mapping.embed.weight" in state
    width = state["mapping.fc0.weight"].shape[0]
    clamp, taps = settings.get("conv_clamp"), settings.get("resample_kernel")
    config: dict[str, Any] = {
        "kind": "stylegan2",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state[f"synthesis.b{4 << (len(channels) - 1)}.torgb.bias"].shape[0],
        "z_dim": state["mapping.fc0.weight"].shape[1] - (width if classes else 0),
        "w_dim": width,
        "c_dim": state["mapping.embed.weight"].shape[1] if classes else 0,
        "mapping_layers": mapping_depth(state),
        "mapping_multiplier": float(settings.get("mapping_lrmul", 0.01)),
        "channels": channels,
        "architecture": "resnet" if skips else "skip" if painted > 1 else "orig",
        "kernel": state["synthesis.b4.conv1.weight"].shape[-1],
        "resample_filter": taps_of(None if taps is None else torch.tensor(taps, dtype=torch.float64)),
        "clamp": None if clamp is None else float(clamp),
    }
    return Converted(config, state, which)


def variables_of(network: Node) -> dict[str, Tensor]:
    """Its own variables and those of its components, by "component/name"."""
    found = dict(_named(network.attributes.get("variables")))
    components = network.attributes.get("components")
    for name, part in (components if isinstance(components, dict) else {}).items():
        if isinstance(part, Node):
            found.update({f"{name}/{key}": tensor for key, tensor in _named(part.attributes.get("variables")).items()})
    return found


def _named(variables: Any) -> dict[str, Tensor]:
    pairs = variables if isinstance(variables, (list, tuple)) else []
    return {
        str(pair[0]): pair[1]
        for pair in pairs
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[1], Tensor)
    }


def settings_of(network: Node) -> dict[str, Any]:
    """What the network was made with, its components' settings included."""
    found: dict[str, Any] = {}
    components = network.attributes.get("components")
    parts = [*(components.values() if isinstance(components, dict) else ()), network]
    for part in parts:
        kwargs = part.attributes.get("static_kwargs") if isinstance(part, Node) else None
        if isinstance(kwargs, dict):
            found.update(kwargs)
    return found
