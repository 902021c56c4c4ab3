"""StyleGAN in the layout of lernapparat's port, which GANSpace uses: flat names under g_mapping and g_synthesis."""

from __future__ import annotations

import re

import torch

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import ONLY, Content, Converted, ForeignFormat, Options, block_widths
from disentangle.io.foreign.fused import turn_fused
from disentangle.io.foreign.mapping_sizes import mapping_sizes
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import taps_of_channels

__all__ = ["FORMAT", "NAME", "convert", "recognise"]

NAME = "a StyleGAN as GANSpace uses it"

_MAPPING, _FIRST = "g_mapping.dense0.weight", "g_synthesis.blocks.4x4.const"


def recognise(content: Content) -> bool:
    """Whether it is a dictionary of tensors with the two networks' first layers."""
    return isinstance(content.data, dict) and _FIRST in content.data and _MAPPING in content.data


def _layer(match: re.Match[str]) -> str:
    """Layer of a block ``NxN``; anything but a square is left to be refused as unknown."""
    return f"synthesis.b{match['size']}.conv{int(match['part']) - 1}"


_BLOCK = r"g_synthesis\.blocks\.(?P<size>\d+)x(?P=size)"


def _row(theirs: str, ours: str) -> Row:
    pattern = rf"{_BLOCK}\.epi(?P<part>[12])\.{re.escape(theirs)}"
    return pattern, lambda match: f"{_layer(match)}.{ours}", None


_TABLE: list[Row] = [
    (r"g_synthesis\.blocks\.\d+x\d+\.conv0_up\.intermediate\.kernel", DROP, None),
    (r"g_mapping\.dense(\d+)\.(weight|bias)", r"mapping.fc\1.\2", None),
    (r"truncation\.avg_latent", "mapping.w_avg", lambda t: t.flatten()),
    (r"g_synthesis\.blocks\.4x4\.const", "synthesis.b4.const", lambda t: t[0]),
    (r"g_synthesis\.blocks\.4x4\.bias", "synthesis.b4.conv0.bias", None),
    (r"g_synthesis\.blocks\.4x4\.conv\.(weight|bias)", r"synthesis.b4.conv1.\1", None),
    (rf"{_BLOCK}\.conv0_up\.(weight|bias)", r"synthesis.b\g<size>.conv0.\2", None),
    (rf"{_BLOCK}\.conv1\.(weight|bias)", r"synthesis.b\g<size>.conv1.\2", None),
    _row("top_epi.noise.weight", "noise_strength"),
    _row("style_mod.lin.weight", "affine.weight"),
    _row("style_mod.lin.bias", "affine.bias"),
]


def convert(content: Content, options: Options) -> Converted:
    """The only network."""
    source = tensors_of(content.data, content.budget)
    count = sum(re.fullmatch(r"g_synthesis\.blocks\.\d+x\d+\.conv1?\.weight", name) is not None for name in source)
    if not 2 <= count <= 10:
        raise CheckpointError(f"it has {count} blocks; expected those from 4x4 to at most 2048x2048.")
    top: list[Row] = [(r"g_synthesis\.torgb\.(weight|bias)", rf"synthesis.b{2 << count}.torgb.\1", None)]
    state = rename(source, _TABLE + top)
    channels = block_widths(state)
    decisions = turn_fused(state, "synthesis.", count, options.fused, first=128)
    filters = {taps_of_channels(kernel) for name, kernel in source.items() if name.endswith(".intermediate.kernel")}
    if len(filters) > 1:
        raise CheckpointError("its layers differ in their smoothing filters; expected one for all.")
    taps = next(iter(filters), (1.0, 2.0, 1.0))
    if len(taps) % 2 == 0:
        raise CheckpointError(f"its smoothing filter has {len(taps)} taps; expected an odd number, as [1, 2, 1].")
    random = torch.Generator().manual_seed(0)
    for index in range(count):
        for part in ("conv0", "conv1"):
            noise = torch.randn(4 << index, 4 << index, generator=random)
            state[f"synthesis.b{4 << index}.{part}.noise_const"] = noise
    decisions.append("The file has no noise, which this software draws for every image: so does the model.")
    config = {
        "kind": "stylegan1",
        "resolution": 2 << count,
        "image_channels": state[f"synthesis.b{2 << count}.torgb.bias"].shape[0],
        **mapping_sizes(state),
        "channels": channels,
        "blur_filter": taps[::-1],  # theirs is not turned round as a convolution's is
        "norm_eps": 1e-5,
        "rgb_first": count - 1,
        "noise": "random",
    }
    return Converted(config, state, ONLY, decisions)


FORMAT = ForeignFormat(NAME, recognise, convert)
