"""Checkpoints of pytorch_GAN_zoo: ProGAN, StyleGAN and DCGAN."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node
from disentangle.io.foreign.formats import (
    Content,
    Converted,
    ForeignFormat,
    Options,
    block_widths,
    choose,
    mapping_depth,
    networks_in,
    picture_channels,
)
from disentangle.io.foreign.module_tree import attribute, class_name, stated_in, unwrapped
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import Row, rename
from disentangle.io.foreign.unstated import Setting, settled
from disentangle.json_files import read_json
from disentangle.text import shown

__all__ = ["FORMAT", "NAME", "SETTINGS", "convert", "recognise"]

NAME = "a checkpoint of pytorch_GAN_zoo"

_SLOPE = Setting("slope", 0.2, "of the leaky relu below zero (leakyness)")
_TANH = Setting("tanh", False, "a tanh at the end, which the loss decides (lossMode)")
_TANH_OF_DCGAN = Setting("tanh", True, _TANH.meaning)
_TRUNCATION = Setting("truncation", 0.5, "what StyleGAN always truncates by (phiTruncation)")
_BLEND = Setting("alpha", 0.0, "share of the smaller picture while the network grows")
_EQUALIZED = Setting("equalized", True, "ProGAN's weights scaled each time they are used (equalizedlR)")
SETTINGS = (_SLOPE, _TANH, _TRUNCATION, _BLEND, _EQUALIZED)

_NETWORKS = ("avgG", "netG")
_MARKS = ("formatLayer.module.weight", "mapping.FC.0.module.weight", "formatLayer.weight")
_SQRT2 = math.sqrt(2.0)
_NOWHERE = object()


def recognise(content: Content) -> bool:
    """Whether one of its networks has the first layer of one of its generators."""
    return bool(networks_in(content.data, _NETWORKS, _MARKS))


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator."""
    networks = networks_in(content.data, _NETWORKS, _MARKS)
    which = choose(networks, _NETWORKS, options.weights)
    state = tensors_of(networks[which], content.budget)
    said = content.data.get("config")
    settings = said if isinstance(said, dict) else said.attributes if isinstance(said, Node) else {}
    stated = _in_our_terms(settings) | _of_module(content.module)
    beside, where = _beside(content.path)

    def known(*these: Setting) -> tuple[dict[str, Any], list[str]]:
        return settled(these, options.settings, stated=stated, beside=_in_our_terms(beside), where=where)

    if settings.get("perChannelNormalization", beside.get("perChannelNormalization")) is False:
        raise CheckpointError("it states perChannelNormalization False, which is not supported; expected True.")
    if "mapping.FC.0.module.weight" in state:
        return _stylegan1(state, which, *known(_SLOPE, _TANH, _TRUNCATION, _BLEND))
    if "formatLayer.module.weight" in state:
        return _progan(state, which, *known(_SLOPE, _TANH, _BLEND, _EQUALIZED))
    return _dcgan(state, which, *known(_TANH_OF_DCGAN))


def _of_module(module: Node | None) -> dict[str, Any]:
    """What a network that was pickled whole says of our settings.

    Raises:
        CheckpointError: if it does not normalise its latent.
    """
    if module is None:
        return {}
    network = unwrapped(module)
    found = stated_in(network, {
        "leakyRelu.negative_slope": "slope", "activation.negative_slope": "slope", "phiTruncation": "truncation",
        "alpha": "alpha", "equalizedlR": "equalized",
    })  # fmt: skip
    if attribute(network, "normalizationLayer", True) is None:
        raise CheckpointError("it states perChannelNormalization False, which is not supported; expected True.")
    for name in ("generationActivation", "outputAcctivation"):
        end = attribute(network, name, _NOWHERE)
        if end is not _NOWHERE:
            if end is not None and class_name(end) != "Tanh":
                raise CheckpointError(f"it ends with {shown(class_name(end), most=40)}; expected a tanh, or nothing.")
            found["tanh"] = end is not None
    return found


def _in_our_terms(settings: Mapping[Any, Any]) -> dict[str, Any]:
    """Their configuration of a model (``lossCriterion``) or of a training (``lossMode``), by our settings' names."""
    found: dict[str, Any] = {}
    for theirs, ours in (
        ("leakyness", "slope"), ("leakyReluLeak", "slope"), ("phiTruncation", "truncation"), ("alpha", "alpha"),
        ("equalizedlR", "equalized"),
    ):  # fmt: skip
        if theirs in settings:
            found[ours] = settings[theirs]
    loss = settings.get("lossCriterion", settings.get("lossMode"))
    if loss is not None:
        if not isinstance(loss, str) or loss not in _LOSSES:
            raise CheckpointError(f"it states the loss {shown(loss, most=40)}; expected one of {', '.join(_LOSSES)}.")
        found["tanh"] = _LOSSES[loss]
    return found


_TRUNCATES = "This software always truncates, by {:g}: so does the model where a call says nothing."
_LOSSES = {"WGANGP": False, "Logistic": False, "MSE": True, "DCGAN": True}  # whether pictures end with a tanh


def _beside(path: Path) -> tuple[dict[str, Any], str]:
    """The configuration of the training that the checkpoint ``<name>_s5_i96000.pt`` is of, and its file's name."""
    label = re.fullmatch(r"(.+?)(_s\d+_i\d+)?", path.stem)
    file = path.with_name(f"{label[1] if label else path.stem}_train_config.json")
    try:
        there = file.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        return {}, ""
    held = read_json(file, what="the configuration of a training", error=CheckpointError)
    if not isinstance(held, dict):
        raise CheckpointError(f"{file.name} holds no settings by name; expected the configuration of a training.")
    return held, file.name


def _folded(state: dict[str, Tensor], weight: str, bias: str, gain: float) -> Tensor:
    """``b gain / sqrt(fan in)``: they scale the bias with the weight, ``(Wx + b) s``."""
    return state[bias] * (gain / math.sqrt(state[weight][0].numel()))


def _progan(source: dict[str, Tensor], which: str, values: dict[str, Any], decisions: list[str]) -> Converted:
    equalized = values["equalized"]
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
        "slope": values["slope"],
        "last": "tanh" if values["tanh"] else "identity",
        "lod": values["alpha"],
    }
    return Converted(config, state, which, decisions + _said_of_blending(values))


def _said_of_blending(values: Mapping[str, Any]) -> list[str]:
    share = values["alpha"]
    return [f"It was growing: its pictures are {share:g} of the next smaller one."] if share else []


def _stylegan1(source: dict[str, Tensor], which: str, values: dict[str, Any], decisions: list[str]) -> Converted:
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
    psi = min(values["truncation"], 1.0)  # theirs is left out from 1 on
    config = {
        "kind": "stylegan1",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state["synthesis.b8.torgb.bias"].shape[0],
        "z_dim": state["mapping.fc0.weight"].shape[1],
        "w_dim": state["mapping.fc0.weight"].shape[0],
        "mapping_layers": mapping_depth(state),
        "channels": channels,
        "slope": values["slope"],  # of the synthesis network: that of the mapping network is 0.2 in any case
        "blur": False,
        "norm_centred": False,
        "rgb_gain": _SQRT2,
        "rgb_first": 1,
        "noise": "random",
        "truncation": psi,
        "last": "tanh" if values["tanh"] else "identity",
        "lod": values["alpha"],
    }
    return Converted(
        config,
        state,
        which,
        [
            *decisions,
            *_said_of_blending(values),
            *([] if psi == 1 else [_TRUNCATES.format(psi)]),
            "It draws noise anew for every image: so does the model; its stored noise is of seed 0.",
        ],
    )


def _dcgan(source: dict[str, Tensor], which: str, values: dict[str, Any], decisions: list[str]) -> Converted:
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
        "image_channels": picture_channels(state["to_image.weight"].shape[1]),
        "latent_dim": state["convs.0.weight"].shape[0],
        "channels": channels,
        "last": "tanh" if values["tanh"] else "identity",
    }
    return Converted(config, state, which, decisions)


FORMAT = ForeignFormat(NAME, recognise, convert, SETTINGS, networks=_NETWORKS)
