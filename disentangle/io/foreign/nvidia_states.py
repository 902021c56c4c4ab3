"""Tensors of NVIDIA's StyleGAN2 and 3 without the network around them: ``torch.save(G_ema.state_dict(), ...)``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
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
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.nvidia_stylegan3_state import described_stylegan3
from disentangle.io.foreign.reflectors import order_of, rank_of, with_frames
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import filter_in, said_of_filter, taps_of
from disentangle.io.foreign.unstated import Setting, settled

__all__ = ["FORMAT", "NAME", "SETTINGS", "convert", "recognise"]

NAME = "the tensors of a StyleGAN2 or StyleGAN3 by NVIDIA's names"

_NETWORKS = ("G_ema", "G")
_MARKS = ("synthesis.b4.conv1.affine.weight", "synthesis.input.freqs")
_MULTIPLIER = Setting("lr_multiplier", 0.01, "learning rate multiplier of the mapping network")
_CLAMP = Setting("clamp", None, "limit of the layers' outputs (conv_clamp); 256 in a StyleGAN3", optional=True)
_SCALE = Setting("output_scale", 0.25, "what a StyleGAN3 multiplies its pictures by")
SETTINGS = (_MULTIPLIER, _CLAMP, _SCALE)
_CLAMPED = replace(_CLAMP, default=256.0)  # StyleGAN3
_FACTORS = re.compile(r"synthesis\.(\w+)\.affine\.U")
_TABLE: list[Row] = [
    (r".*\.resample_filter", DROP, None),
    (r"(mapping\..*|synthesis\..*)", r"\1", None),
]


def recognise(content: Content) -> bool:
    """Whether one of its networks has the first modulated convolution, or the Fourier features, by NVIDIA's names."""
    return bool(networks_in(content.data, _NETWORKS, _MARKS))


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator, with all sizes read from the tensors."""
    networks = networks_in(content.data, _NETWORKS, _MARKS)
    which = choose(networks, _NETWORKS, options.weights)
    source = tensors_of(networks[which], content.budget)
    state = rename(source, _TABLE)
    if _MARKS[1] in state:
        if "mapping.fc0.weight" not in state or "synthesis.input.affine.weight" not in state:
            raise CheckpointError("it lacks mapping.fc0.weight or its input; it is damaged, or half of a checkpoint.")
        return _stylegan3(content, state, which, options)
    return _stylegan2(source, state, which, options)


def _stylegan3(content: Content, state: dict[str, Tensor], which: str, options: Options) -> Converted:
    values, said = settled((_MULTIPLIER, _CLAMPED, _SCALE), options.settings)
    orthogonal = [match[1] for match in map(_FACTORS.fullmatch, state) if match]
    extra: dict[str, Any] = {}
    if orthogonal:
        rank, order = rank_of(options.rank, None), order_of(options.order, state, {}, 0)
        state = with_frames(state, orthogonal, rank, order)
        extra["projection"] = {
            "kind": "householder", "rank": rank, "layers": tuple(orthogonal), "gain": "equalized",
        }  # fmt: skip
        said.append(
            f"Orthogonal affine layers of rank {rank}, factors in the order {order}: neither is in the file, --rank "
            "and --order say others."
        )
    lacks_mean = "mapping.w_avg" not in state
    if lacks_mean:
        state["mapping.w_avg"] = torch.zeros_like(state["mapping.fc0.weight"][:, 0])
    config = described_stylegan3(content.path, NAME, state, extra)
    if lacks_mean:
        del state["mapping.w_avg"]  # computed, and said
    layers = [{**layer, "clamp": values["clamp"]} for layer in config["layers"]]
    return Converted(
        {**config, "layers": tuple(layers), "mapping_multiplier": values["lr_multiplier"],
         "output_scale": values["output_scale"]},
        state, which, said,
    )  # fmt: skip


def _stylegan2(source: dict[str, Tensor], state: dict[str, Tensor], which: str, options: Options) -> Converted:
    values, said = settled((_MULTIPLIER, _CLAMP), options.settings)
    channels, kernel = block_widths(state), filter_in(source, ".resample_filter")
    largest = f"synthesis.b{4 << (len(channels) - 1)}"
    for name in ("mapping.fc0.weight", f"{largest}.torgb.bias", "synthesis.b4.conv1.affine.weight"):
        if name not in state:
            raise CheckpointError(f"it lacks {name}; it is damaged, or half of a checkpoint.")
    skips = any(re.fullmatch(r"synthesis\.b\d+\.skip\.weight", name) for name in state)
    everywhere = "synthesis.b4.torgb.weight" in state or len(channels) == 1
    embed = state.get("mapping.embed.weight")
    w_dim = state["synthesis.b4.conv1.affine.weight"].shape[1]
    config: dict[str, Any] = {
        "kind": "stylegan2",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state[f"{largest}.torgb.bias"].shape[0],
        # The label enters beside z, as many numbers as w has.
        "z_dim": state["mapping.fc0.weight"].shape[1] - (0 if embed is None else embed.shape[0]),
        "w_dim": w_dim,
        "c_dim": 0 if embed is None else embed.shape[1],
        "mapping_layers": mapping_depth(state),
        "mapping_multiplier": values["lr_multiplier"],
        "clamp": values["clamp"],
        "channels": channels,
        "architecture": "resnet" if skips else "skip" if everywhere else "orig",
        "kernel": state["synthesis.b4.conv1.weight"].shape[-1],
        "resample_filter": taps_of(kernel),
        "use_noise": any(name.endswith("noise_strength") for name in state),
    }
    return Converted(config, state, which, [*said, *said_of_filter(kernel)])


FORMAT = ForeignFormat(NAME, recognise, convert, SETTINGS, networks=_NETWORKS)
