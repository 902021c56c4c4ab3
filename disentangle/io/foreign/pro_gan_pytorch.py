"""Checkpoints of pro_gan_pytorch, of release 3 (pro-gan-pth) and of those before."""

from __future__ import annotations

import math

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Content, Converted, ForeignFormat, Options, block_widths, choose, networks_in
from disentangle.io.foreign.module_tree import stated_in
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import Row, rename
from disentangle.io.foreign.unstated import Setting, settled
from disentangle.text import shown

__all__ = ["FORMAT", "NAME", "SETTINGS", "convert", "recognise"]

NAME = "a ProGAN of pro_gan_pytorch"

SETTINGS = (Setting("equalized", True, "weights scaled each time they are used (use_eql)"),)

_NETWORKS = ("shadow_generator", "generator")
_MARK = "layers.0.conv_1.weight"
_BEFORE = "initial_block.conv_1.weight"  # of releases 0 to 2, which did not normalise the latent


def recognise(content: Content) -> bool:
    """Whether one of its generators has this project's layers."""
    return bool(networks_in(content.data, _NETWORKS, [_MARK, _BEFORE]))


_TABLE: list[Row] = [
    (r"layers\.0\.conv_1\.weight", "b4.conv0.weight", None),
    (r"layers\.0\.conv_1\.bias", "b4.conv0.bias", None),
    (r"layers\.(\d+)\.conv_([12])\.(weight|bias)", lambda m: f"b{4 << int(m[1])}.conv{int(m[2]) - 1}.{m[3]}", None),
    (r"rgb_converters\.(\d+)\.(weight|bias)", lambda m: f"b{4 << int(m[1])}.torgb.{m[2]}", None),
]

_TABLE_BEFORE: list[Row] = [
    (r"initial_block\.conv_([12])\.(weight|bias)", lambda m: f"b4.conv{int(m[1]) - 1}.{m[2]}", None),
    (r"layers\.(\d+)\.conv_([12])\.(weight|bias)", lambda m: f"b{8 << int(m[1])}.conv{int(m[2]) - 1}.{m[3]}", None),
]


def convert(content: Content, options: Options) -> Converted:
    """The averaged ("shadow") generator."""
    networks = networks_in(content.data, _NETWORKS, [_MARK, _BEFORE])
    which = choose(networks, _NETWORKS, options.weights)
    source = tensors_of(networks[which], content.budget)
    before = _BEFORE in source
    state = rename(source, [*_TABLE_BEFORE, _TABLE[-1]] if before else _TABLE)
    part = content.data.get(which)
    settings = part.get("conf") if isinstance(part, dict) else None
    settings = settings if isinstance(settings, dict) else {}
    stated = stated_in(content.module, {"use_eql": "equalized"})
    if "use_eql" in settings:
        stated["equalized"] = bool(settings["use_eql"])
    values, decisions = settled(SETTINGS, options.settings, stated=stated)
    channels = block_widths(state, "")
    if before:
        decisions.append(
            "Of a release before 3: the latent enters as it is; where classes were put before it, they are the first "
            "of its numbers."
        )
    if isinstance(settings.get("depth"), int) and settings["depth"] != len(channels) + 1:
        raise CheckpointError(
            f"its settings say depth is {shown(settings['depth'])}, and its tensors make {len(channels) + 1}; it is "
            "damaged, or half of a checkpoint."
        )
    config = {
        "kind": "progan",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state["b4.torgb.bias"].shape[0],
        "latent_dim": state["b4.conv0.weight"].shape[0],
        "channels": channels,
        "equalized": values["equalized"],
        "first_gain": math.sqrt(2.0),
        "first_norm": False,
        "norm_latent": not before,
        "rgb_gain": math.sqrt(2.0),
    }
    return Converted(config, state, which, decisions)


FORMAT = ForeignFormat(NAME, recognise, convert, SETTINGS, networks=_NETWORKS)
