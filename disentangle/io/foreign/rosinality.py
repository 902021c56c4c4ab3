"""Checkpoints of rosinality's StyleGAN2, converted or in training, and of HouseholderGAN, which builds on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node
from disentangle.io.foreign.discriminators import one_filter, sized
from disentangle.io.foreign.formats import (
    Content,
    Converted,
    ForeignFormat,
    Options,
    block_widths,
    choose,
    mapping_depth,
    networks_in,
)
from disentangle.io.foreign.module_tree import attribute, stated_in, unwrapped
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.reflectors import order_of, rank_of, with_frames
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import said_of_filter, taps_of
from disentangle.io.foreign.unstated import Setting, settled

__all__ = ["FORMAT", "NAME", "SETTINGS", "convert", "recognise"]

NAME = "a StyleGAN2 checkpoint in rosinality's layout"

SETTINGS = (Setting("lr_mlp", 0.01, "learning rate multiplier of the mapping network"),)

_NETWORKS = ("g_ema", "g")
_MARK = "conv1.conv.modulation.bias"


def recognise(content: Content) -> bool:
    """Whether one of its networks has this layout's first modulated convolution."""
    return bool(networks_in(content.data, _NETWORKS, [_MARK]))


def _block(match: re.Match[str]) -> str:
    index = int(match["index"])
    return f"synthesis.b{8 << index // 2}.conv{index % 2}.{_PARTS[match['part']]}"


def _noise(match: re.Match[str]) -> str:
    index = int(match["index"])
    return "synthesis.b4.conv1.noise_const" if index == 0 else (
        f"synthesis.b{8 << (index - 1) // 2}.conv{(index - 1) % 2}.noise_const"
    )  # fmt: skip


def _rgb(match: re.Match[str]) -> str:
    return f"synthesis.b{8 << int(match['index'])}.torgb.{_RGB_PARTS[match['part']]}"


_PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "conv.modulation.U": "affine.U",
    "conv.modulation.V": "affine.V",
    "activate.bias": "bias",
    "noise.weight": "noise_strength",
}
_RGB_PARTS = {name: part for name, part in _PARTS.items() if name.startswith("conv.")} | {"bias": "bias"}


def _shaped(tensor: Tensor) -> Tensor:
    """Without the leading dimension of one, and a strength of noise as a plain number."""
    return tensor.reshape(tensor.shape[1:]) if tensor.ndim > 2 and tensor.shape[0] == 1 else tensor


def _alternatives(names: Any) -> str:
    return "(?P<part>" + "|".join(re.escape(name) for name in names) + ")"


_TABLE: list[Row] = [
    (r".*\.kernel", DROP, None),  # the smoothing filter, read apart
    (r"style\.(\d+)\.(weight|bias)", lambda m: f"mapping.fc{int(m[1]) - 1}.{m[2]}", None),
    (r"input\.input", "synthesis.b4.const", lambda t: t[0]),
    (r"conv1\.noise\.weight", "synthesis.b4.conv1.noise_strength", lambda t: t.reshape(())),
    (rf"conv1\.{_alternatives(_PARTS)}", lambda m: f"synthesis.b4.conv1.{_PARTS[m['part']]}", _shaped),
    (r"convs\.(?P<index>\d+)\.(?P<part>noise\.weight)", _block, lambda t: t.reshape(())),
    (rf"convs\.(?P<index>\d+)\.{_alternatives(_PARTS)}", _block, _shaped),
    (r"to_rgb1\.bias", "synthesis.b4.torgb.bias", lambda t: t.flatten()),
    (rf"to_rgb1\.{_alternatives(_RGB_PARTS)}", lambda m: f"synthesis.b4.torgb.{_RGB_PARTS[m['part']]}", _shaped),
    (r"to_rgbs\.(?P<index>\d+)\.(?P<part>bias)", _rgb, lambda t: t.flatten()),
    (rf"to_rgbs\.(?P<index>\d+)\.{_alternatives(_RGB_PARTS)}", _rgb, _shaped),
    (r"noises\.noise_(?P<index>\d+)", _noise, lambda t: t[0, 0]),
]


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator; the mean of w is taken from ``latent_avg``, or left to be computed."""
    networks = networks_in(content.data, _NETWORKS, [_MARK])
    which = choose(networks, _NETWORKS, options.weights)
    source = tensors_of(networks[which], content.budget)
    state = rename(source, _TABLE)
    average = content.data.get("latent_avg")
    if isinstance(average, Tensor):
        state |= {"mapping.w_avg": tensors_of({"latent_avg": average}, content.budget)["latent_avg"].flatten()}
    stated = _arguments(content.data) | stated_in(content.module, {"style.1.lr_mul": "lr_mlp"})
    values, assumed = settled(SETTINGS, options.settings, stated=stated)
    channels = block_widths(state)
    width = state["mapping.fc0.weight"].shape[0]
    config: dict[str, Any] = {
        "kind": "stylegan2",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state["synthesis.b4.torgb.bias"].shape[0],
        "z_dim": width,
        "w_dim": width,
        "mapping_layers": mapping_depth(state),
        "mapping_multiplier": values["lr_mlp"],
        "channels": channels,
        "kernel": state["synthesis.b4.conv1.weight"].shape[-1],
        **_filters(source),
    }
    decisions = [*said_of_filter(source.get("convs.0.conv.blur.kernel")), *assumed]
    orthogonal = [
        name.removesuffix(".affine.U").removeprefix("synthesis.") for name in state if name.endswith(".affine.U")
    ]
    if orthogonal:
        said = _rank_of_module(content.module, source) or _rank_in(content.data.get("args"))
        rank = rank_of(options.rank, said)
        where = "as the file says" if said else "as asked" if options.rank else "the published one, the file says none"
        order = order_of(options.order, state, {}, rank)
        decisions.append(f"Orthogonal affine layers of rank {rank} ({where}), factors in the order {order}.")
        config["projection"] = {"kind": "householder", "rank": rank, "layers": tuple(orthogonal), "gain": "one"}
        state = with_frames(state, orthogonal, rank, order)
    return Converted(config, state, which, decisions)


def _filters(source: Mapping[str, Tensor]) -> dict[str, Any]:
    """The filter of the features, and that of the image, which this software's settings do not reach."""
    found: dict[str, set[tuple[float, ...]]] = {"blur": set(), "upsample": set()}
    for name, tensor in source.items():
        part = name.removesuffix(".kernel").rpartition(".")[2]
        if name.endswith(".kernel") and part in found:
            found[part].add(taps_of(tensor))
    for part, filters in found.items():
        if len(filters) > 1:
            raise CheckpointError(f"its layers differ in their smoothing filters ({part}); expected one for all.")
    features = next(iter(found["blur"]), taps_of(None))
    image = next(iter(found["upsample"]), features)
    return {"resample_filter": features} | ({"image_filter": image} if image != features else {})


def _arguments(data: Any) -> dict[str, Any]:
    """What the arguments in a training checkpoint say of our settings."""
    held = data.get("args") if isinstance(data, Mapping) else None
    named = held.attributes if isinstance(held, Node) else held
    if not isinstance(named, Mapping):
        return {}
    return {setting.name: named[setting.name] for setting in SETTINGS if setting.name in named}


def _rank_of_module(module: Node | None, source: Mapping[str, Tensor]) -> int | None:
    """Of a network that was pickled whole: the ones on the diagonal that its layers keep beside their factors."""
    factors = next((name for name in source if name.endswith(".modulation.U")), None)
    diagonal = None if module is None or factors is None else attribute(unwrapped(module), f"{factors[:-1]}S")
    if not isinstance(diagonal, Tensor) or diagonal.ndim != 2:
        return None
    return int((diagonal.diagonal() != 0).sum()) or None


def _rank_in(arguments: Any) -> int | None:
    value = arguments.attributes.get("diag_size") if isinstance(arguments, Node) else None
    return value if isinstance(value, int) and value > 0 else None


_DISCRIMINATOR: list[Row] = [
    (r".*\.kernel", DROP, None),
    (r"convs\.0\.0\.weight", "fromrgb.weight", None),
    (r"convs\.0\.1\.bias", "fromrgb.bias", None),
    (r"convs\.(\d+)\.conv1\.0\.weight", lambda m: f"blocks.{int(m[1]) - 1}.conv0.weight", None),
    (r"convs\.(\d+)\.conv1\.1\.bias", lambda m: f"blocks.{int(m[1]) - 1}.conv0.bias", None),
    (r"convs\.(\d+)\.conv2\.1\.weight", lambda m: f"blocks.{int(m[1]) - 1}.conv1.weight", None),
    (r"convs\.(\d+)\.conv2\.2\.bias", lambda m: f"blocks.{int(m[1]) - 1}.conv1.bias", None),
    (r"convs\.(\d+)\.skip\.1\.weight", lambda m: f"blocks.{int(m[1]) - 1}.skip.weight", None),
    (r"final_conv\.0\.weight", "conv.weight", None),
    (r"final_conv\.1\.bias", "conv.bias", None),
    (r"final_linear\.0\.(weight|bias)", r"fc.\1", None),
    (r"final_linear\.1\.(weight|bias)", r"out.\1", None),
]


def _discriminator(content: Content) -> Converted:
    """The network d of a checkpoint in training, as our residual one."""
    held = content.data.get("d")
    if not isinstance(held, Mapping) or not held:
        raise CheckpointError("it holds no discriminator; expected one under the name d: keep the training checkpoint.")
    tensors = tensors_of(held, content.budget)
    kernels = [tensor for name, tensor in tensors.items() if name.endswith(".kernel")]
    return sized(rename(tensors, _DISCRIMINATOR), "d", one_filter(kernels))


FORMAT = ForeignFormat(NAME, recognise, convert, SETTINGS, networks=_NETWORKS, convert_discriminator=_discriminator)
