"""Checkpoints of genforce (and SeFa): ProGAN, StyleGAN and StyleGAN2, from the zoo or from training."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Content, Converted, ForeignFormat, Options, block_widths, choose, networks_in
from disentangle.io.foreign.fused import turn_fused
from disentangle.io.foreign.mapping_sizes import embedded_together, mapping_sizes
from disentangle.io.foreign.module_tree import stated_in
from disentangle.io.foreign.network import find, tensors_of
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import taps_of_channels
from disentangle.io.foreign.unstated import Setting, settled
from disentangle.text import shown

__all__ = ["FORMAT", "NAME", "SETTINGS", "convert", "recognise"]

NAME = "a generator of genforce or SeFa"

_TANH = Setting("tanh", False, "a tanh at the end of the generator (final_tanh)")
_SCALED = Setting("wscale", True, "weights scaled each time they are used (use_wscale)")
_MULTIPLIER = Setting("lr_multiplier", 0.01, "learning rate multiplier of the mapping network (mapping_lr_mul)")
_DEMODULATED = Setting("demodulate", True, "StyleGAN2's convolutions demodulate")
SETTINGS = (_TANH, _SCALED, _MULTIPLIER, _DEMODULATED)

_NETWORKS = ("generator_smooth", "generator")
_NOISE = "synthesis.layer0.apply_noise.weight"  # of StyleGAN's first layer
_MARKS = ("synthesis.layer0.style.weight", "layer0.weight")
Fused = Literal["auto", "always", "never"]
_STATED = {
    "final_tanh": "tanh", "use_wscale": "wscale", "mapping_lr_mul": "lr_multiplier", "demodulate": "demodulate",
    "fused_scale": "fused", "label_size": "classes",
}  # fmt: skip
_USUAL = 512  # numbers of z


def recognise(content: Content) -> bool:
    """Whether one of its networks has the names of genforce's layers."""
    return bool(_networks(content.data))


def _networks(data: Any) -> dict[str, Mapping[Any, Any]]:
    inside = data.get("models") if isinstance(data, dict) else None
    found = networks_in(inside if isinstance(inside, dict) else data, _NETWORKS, _MARKS)
    # The mark of a ProGAN is no other's only together with its layer to the image.
    return {
        name: state
        for name, state in found.items()
        if isinstance(find(state, _MARKS[0]), Tensor) or isinstance(find(state, "output0.weight"), Tensor)
    }


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator."""
    networks = _networks(content.data)
    which = choose(networks, _NETWORKS, options.weights)
    state = tensors_of(networks[which], content.budget)
    _refuse_variants(state)
    stated = stated_in(content.module, _STATED)
    options = replace(options, fused=_fused(options.fused, stated.pop("fused", None)))
    if "synthesis.early_layer.const" in state:
        return _stylegan2(state, which, options, stated)
    if _NOISE in state:
        return _stylegan1(state, which, options, stated)
    if "synthesis.layer0.style.weight" in state:
        raise CheckpointError("its synthesis network is neither StyleGAN's nor StyleGAN2's; expected one of these.")
    return _progan(state, which, options, stated)


def _fused(given: Fused, stated: object) -> Fused:
    """Whether upsampling and convolution were one step: as a network that was pickled whole says, else the caller.

    Raises:
        CheckpointError: if the caller says otherwise.
    """
    if stated is None:
        return given
    said: Fused = "auto" if stated == "auto" else "always" if stated else "never"
    if given not in ("auto", said):
        raise CheckpointError(f"the file states fused_scale {stated}, so that --fused {given} cannot be; leave it out.")
    return said


def _refuse_variants(state: Mapping[str, Tensor]) -> None:
    """What genforce's classes can be made to be, and no network here is."""
    if "synthesis.early_layer.weight" in state or {_NOISE, "synthesis.layer0.weight"} <= state.keys():
        raise CheckpointError("its first layer is no constant (const_input=False), which is not supported.")
    if any(name.endswith("noise") and tensor.ndim == 4 and tensor.shape[1] != 1 for name, tensor in state.items()):
        raise CheckpointError("its noise is one number a channel (noise_type='channel'), which is not supported.")
    average, affine = state.get("truncation.w_avg"), find(state, "synthesis.layer0.style.weight")
    if average is not None and affine is not None and average.numel() != affine.shape[-1]:
        raise CheckpointError(
            f"its mapping network makes {average.numel()} numbers, and its layers read {affine.shape[-1]}: a w for "
            "each layer (repeat_w=False), which is not supported."
        )
    if any(name.startswith("mapping.embedding") for name in state):
        raise CheckpointError("its classes are embedded as in no other StyleGAN; convert the pickle it was made from.")


def _check_filters(source: Mapping[str, Tensor], published: tuple[float, ...]) -> None:
    """The filters in a file, which its authors' code always makes of the same taps."""
    wanted = torch.tensor(published, dtype=torch.float64)
    for name, kernel in source.items():
        if not name.endswith(".kernel"):
            continue
        taps = torch.tensor(taps_of_channels(kernel), dtype=torch.float64)
        if len(taps) != len(wanted) or (taps / taps.sum() - wanted / wanted.sum()).abs().max() > 1e-5:
            raise CheckpointError(
                f"its smoothing filter {shown(name, most=60)} is of {len(taps)} other taps; expected "
                f"{[round(tap) for tap in published]}."
            )


def _unscaled(state: dict[str, Tensor], names: Iterable[str], gain: float = 1.0) -> None:
    """Weights that were used as they are, made such that our scaling gives them back, in place."""
    for name in names:
        state[name] = state[name] * (math.sqrt(state[name][0].numel()) / gain)


def _place(match: re.Match[str], offset: int) -> str:
    """Layer 2i and 2i + 1 are the two of a resolution; ``offset`` 1 where 4 pixels have one layer only."""
    index = int(match["index"]) + offset
    return f"b{4 << index // 2}.conv{index % 2}"


def _row(prefix: str, part: str, new: str, offset: int, change: Any = None) -> Row:
    pattern = rf"{re.escape(prefix)}layer(?P<index>\d+)\.{re.escape(part)}"
    return pattern, lambda m: f"{prefix}{_place(m, offset)}.{new}", change


def _rgb(prefix: str, part: str, new: str, change: Any = None) -> Row:
    pattern = rf"{re.escape(prefix)}output(?P<index>\d+)\.{re.escape(part)}"
    return pattern, lambda m: f"{prefix}b{4 << int(m['index'])}.torgb.{new}", change


def _lod(state: dict[str, Tensor], name: str, decisions: list[str]) -> float:
    value = float(state[name]) if name in state else 0.0
    if value:
        decisions.append(f"The file stands at level of detail {value:g}, so its pictures are not at full resolution.")
    return value


_MAPPING: list[Row] = [
    (r"mapping\.dense(\d+)\.(weight|bias)", r"mapping.fc\1.\2", None),
    (r"mapping\.label_weight", "mapping.embed.weight", embedded_together),
    (r"truncation\.w_avg", "mapping.w_avg", None),
]


_STYLEGAN2: list[Row] = [
    (r".*\.kernel", DROP, None),
    *_MAPPING,
    (r"synthesis\.early_layer\.const", "synthesis.b4.const", lambda t: t[0]),
    (
        r"synthesis\.layer(?P<index>\d*[13579])\.weight",
        lambda m: f"synthesis.{_place(m, 1)}.weight",
        lambda t: t.flip(2, 3),
    ),
    _row("synthesis.", "weight", "weight", 1),
    _row("synthesis.", "bias", "bias", 1),
    _row("synthesis.", "noise_strength", "noise_strength", 1, lambda t: t.reshape(())),
    _row("synthesis.", "noise", "noise_const", 1, lambda t: t[0, 0]),
    _row("synthesis.", "style.weight", "affine.weight", 1),
    _row("synthesis.", "style.bias", "affine.bias", 1, lambda t: t + 1),
    _rgb("synthesis.", "weight", "weight"),
    _rgb("synthesis.", "bias", "bias"),
    _rgb("synthesis.", "style.weight", "affine.weight"),
    _rgb("synthesis.", "style.bias", "affine.bias", lambda t: t + 1),
]


def _stylegan2(source: dict[str, Tensor], which: str, options: Options, stated: dict[str, Any]) -> Converted:
    values, decisions = settled(SETTINGS, options.settings, stated=stated)
    _check_filters(source, (1.0, 3.0, 3.0, 1.0))
    state = rename(source, _STYLEGAN2)
    if not values["wscale"]:
        _unscaled(state, [n for n in state if re.search(r"(fc\d+|affine|torgb)\.weight$", n)])
    if not values["demodulate"] and values["wscale"]:  # ours is used as it is, which demodulation hides
        for name in [name for name in state if re.search(r"conv[01]\.weight$", name)]:
            state[name] = state[name] / math.sqrt(state[name][0].numel())
    channels = block_widths(state)
    painted = sum(name.endswith("torgb.weight") for name in state)
    config = {
        "kind": "stylegan2",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state[f"synthesis.b{4 << (len(channels) - 1)}.torgb.bias"].shape[0],
        **mapping_sizes(state, class_norm="together"),
        "mapping_multiplier": values["lr_multiplier"],
        "channels": channels,
        "architecture": "skip" if painted > 1 else "orig",
        "demodulate": values["demodulate"],
        "last": "tanh" if values["tanh"] else "identity",
    }
    return Converted(config, state, which, decisions)


_STYLEGAN1: list[Row] = [
    (r".*\.kernel|synthesis\.lod", DROP, None),
    *_MAPPING,
    (r"synthesis\.layer0\.const", "synthesis.b4.const", lambda t: t[0]),
    _row("synthesis.", "weight", "weight", 0),
    _row("synthesis.", "bias", "bias", 0),
    _row("synthesis.", "apply_noise.weight", "noise_strength", 0, lambda t: t.flatten()),
    _row("synthesis.", "apply_noise.noise", "noise_const", 0, lambda t: t[0, 0]),
    _row("synthesis.", "style.weight", "affine.weight", 0),
    _row("synthesis.", "style.bias", "affine.bias", 0),
    _rgb("synthesis.", "weight", "weight"),
    _rgb("synthesis.", "bias", "bias"),
]


def _stylegan1(source: dict[str, Tensor], which: str, options: Options, stated: dict[str, Any]) -> Converted:
    values, decisions = settled((_TANH, _SCALED, _MULTIPLIER), options.settings, stated=stated)
    _check_filters(source, (1.0, 2.0, 1.0))
    state = rename(source, _STYLEGAN1)
    channels = block_widths(state)
    decisions += turn_fused(state, "synthesis.", len(channels), options.fused, first=128)
    if not values["wscale"]:
        _unscaled(state, [n for n in state if re.search(r"(affine|torgb)\.weight$", n)])
        _unscaled(state, [n for n in state if re.search(r"(fc\d+|conv[01])\.weight$", n)], gain=math.sqrt(2.0))
    config = {
        "kind": "stylegan1",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state["synthesis.b4.torgb.bias"].shape[0],
        **mapping_sizes(state, class_norm="together"),
        "mapping_multiplier": values["lr_multiplier"],
        "channels": channels,
        "last": "tanh" if values["tanh"] else "identity",
        "lod": _lod(source, "synthesis.lod", decisions),
    }
    return Converted(config, state, which, decisions)


_PROGAN: list[Row] = [
    (r"lod", DROP, None),
    # A 4x4 convolution of one pixel with 3 pixels of padding meets its kernel backwards.
    (r"layer0\.weight", "b4.conv0.weight", lambda t: t.flip(2, 3).transpose(0, 1)),
    _row("", "weight", "weight", 0),
    _row("", "bias", "bias", 0),
    _rgb("", "weight", "weight"),
    _rgb("", "bias", "bias"),
]


def _progan(source: dict[str, Tensor], which: str, options: Options, stated: dict[str, Any]) -> Converted:
    values, decisions = settled((_TANH, _SCALED), options.settings, stated=stated)
    fused: Fused = options.fused
    state = rename(source, _PROGAN)
    channels = block_widths(state, "")
    inputs = state["b4.conv0.weight"].shape[0]
    if stated.get("classes"):
        raise CheckpointError(
            f"it states {shown(stated['classes'], most=20)} classes (label_size), which are not supported in a ProGAN."
        )
    if inputs != _USUAL and "classes" not in stated:
        decisions.append(
            f"Its first layer reads {inputs} numbers, all taken as z; where some are classes, these are other pictures."
        )
    # A fused layer of their ProGAN has its inputs first, which shows where the width changes.
    ups = {f"b{4 << i}.conv0.weight": (channels[i - 1], channels[i]) for i in range(1, len(channels))}
    if fused == "auto" and any(tuple(state[n].shape[:2]) == io and io[0] != io[1] for n, io in ups.items()):
        fused = "always"
        decisions.append("Upsampling and convolution were one step, as its sizes show.")
    if fused == "auto" and ups and all(wide == narrow for wide, narrow in ups.values()):
        decisions.append(
            "All its layers are of one width, so that sizes do not tell whether upsampling and convolution were one "
            "step: taken as two (--fused says otherwise)."
        )
    if fused == "always":
        state |= {name: state[name].transpose(0, 1) for name in ups}
    said = turn_fused(state, "", len(channels), fused, first=8 << len(channels))
    decisions += said if options.fused == "always" else []
    config = {
        "kind": "progan",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state["b4.torgb.bias"].shape[0],
        "latent_dim": state["b4.conv0.weight"].shape[0],
        "channels": channels,
        "equalized": values["wscale"],
        "first_gain": math.sqrt(2.0) / 4,
        "last": "tanh" if values["tanh"] else "identity",
        "lod": _lod(source, "lod", decisions),
    }
    return Converted(config, state, which, decisions)


FORMAT = ForeignFormat(NAME, recognise, convert, SETTINGS, networks=_NETWORKS)
