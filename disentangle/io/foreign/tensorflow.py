"""Network pickles of the TensorFlow era: StyleGAN2 and StyleGAN2-ADA."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Node
from disentangle.io.foreign.formats import Content, Converted, Options, block_widths, choose, mapping_depth
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import taps_of
from disentangle.text import shown

__all__ = ["NAME", "convert", "recognise", "settings_of", "variables_of"]

NAME = "a network pickle of StyleGAN2 (TensorFlow)"

_CLASSES = ("dnnlib.tflib.network.Network", "tfutil.Network", "tflib.network.Network")
_ORDER = ("G", "D", "Gs")
_COMPONENTS = 64
_ENTRY = 400  # bytes of an entry of a dictionary and what is listed of it, without its name


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
    networks = dict(zip(_ORDER, parts, strict=False)) if len(parts) > 1 else {"Gs": parts[0]}  # no more than three
    networks = {name: part for name, part in networks.items() if isinstance(part, Node)}
    which = choose(networks, ("Gs", "G"), options.weights)
    network = networks[which]
    version = network.attributes.get("version")
    variables = tensors_of(variables_of(network, content.budget), content.budget)
    if "synthesis/4x4/Const/const" not in variables or "synthesis/4x4/Conv/mod_weight" not in variables:
        raise CheckpointError(
            f"its network {which} ({shown(network.attributes.get('name'), most=40)}, version "
            f"{shown(version, most=10)}, {len(variables)} variables) is no StyleGAN2 generator; expected mapping and "
            "synthesis networks with modulated convolutions."
        )
    if any("LabelConcat" in name for name in variables):
        raise CheckpointError(
            "its classes enter as StyleGAN2's did before ADA, which is not supported; expected ADA's."
        )
    state = rename(variables, _TABLE)
    settings = settings_of(network, content.budget)
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
        "resample_filter": taps_of(taps),
        "clamp": None if clamp is None else float(clamp),
    }
    return Converted(config, state, which)


def variables_of(network: Node, budget: Budget) -> dict[str, Tensor]:
    """Its own variables and those of its components, by "component/name"; what is shared counts in each place."""
    found: dict[str, Tensor] = {}
    for prefix, part in (("", network), *_components(network)):
        variables = part.attributes.get("variables")
        variables = variables if isinstance(variables, (list, tuple)) else ()
        budget.steps(len(variables))
        for pair in variables:
            if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str):
                if not isinstance(pair[1], Tensor):
                    continue
                budget.memory(_ENTRY)
                budget.text(len(prefix) + len(pair[0]))
                found[prefix + pair[0]] = pair[1]
    return found


def _components(network: Node) -> list[tuple[str, Node]]:
    """Networks of which it is made, by "name/"."""
    held = network.attributes.get("components")
    if not isinstance(held, dict):
        return []
    if len(held) > _COMPONENTS:
        raise CheckpointError(f"its network has {len(held):,} components; expected {_COMPONENTS} at most.")
    return [(f"{name[:200]}/", part) for name, part in held.items() if isinstance(name, str) and isinstance(part, Node)]


def settings_of(network: Node, budget: Budget) -> dict[str, Any]:
    """What the network was made with, its components' settings included."""
    found: dict[str, Any] = {}
    for _, part in (*_components(network), ("", network)):
        kwargs = part.attributes.get("static_kwargs")
        if isinstance(kwargs, dict):
            budget.memory(_ENTRY * len(kwargs))
            found.update(kwargs)
    return found
