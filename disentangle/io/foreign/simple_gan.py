"""Plain convolutional generators: the simple GAN of OrthoImproveCond and OroJaR, the DCGAN of torch's examples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import (
    Content,
    Converted,
    ForeignFormat,
    Options,
    choose,
    networks_in,
    picture_channels,
)
from disentangle.io.foreign.network import find, tensors_of
from disentangle.io.foreign.plain_dcgan import SETTINGS, dcgan_config
from disentangle.io.foreign.plain_layers import reparametrised
from disentangle.io.foreign.plain_modules import settings_of
from disentangle.io.foreign.renaming import Row, rename
from disentangle.io.foreign.unstated import settled

__all__ = ["FORMAT", "NAME", "SETTINGS", "convert", "recognise"]

NAME = "the state of a simple GAN or of a DCGAN"

_SIMPLE, _DCGAN = _MARKS = ("layers.0.layers.conv.weight", "main.0.weight")
_NETWORKS = ("netG", "generator", "model")


def recognise(content: Content) -> bool:
    """Whether one of its networks begins as one of the two do: with 4 x 4 pixels of a latent."""
    return bool(_networks(content.data))


def _networks(data: Any) -> dict[str, Mapping[Any, Any]]:
    found = networks_in(data, _NETWORKS, _MARKS)
    return {name: state for name, state in found.items() if _begins_with_a_latent(state)}


def _begins_with_a_latent(state: Mapping[Any, Any]) -> bool:
    """As their discriminators do not: those have another kernel, or no normalisation after the first layer.

    Of the DCGAN, all kernels are of 4 pixels; others are told by their shapes alone.
    """
    simple, first, mean = (find(state, name) for name in (_SIMPLE, _DCGAN, "main.1.running_mean"))
    if isinstance(simple, Tensor):
        return simple.ndim == 4 and simple.shape[2:] == (4, 4)
    if not isinstance(first, Tensor) or not isinstance(mean, Tensor) or reparametrised(state) is not None:
        return False
    kernels = {tuple(tensor.shape[2:]) for tensor in state.values() if isinstance(tensor, Tensor) and tensor.ndim == 4}
    return first.ndim == 4 and kernels == {(4, 4)}


def convert(content: Content, options: Options) -> Converted:
    """The generator, or the only network."""
    networks = _networks(content.data)
    which = choose(networks, _NETWORKS, options.weights)
    state = tensors_of(networks[which], content.budget)
    if _SIMPLE in state:
        settled((), options.settings)  # none of them is this network's
        return _simple(state, which)
    stated = {} if content.module is None else settings_of(content.module, "dcgan", content.budget)
    if state["main.0.weight"].ndim != 4 or not any(
        name != "main.0.weight" and tensor.ndim == 4 for name, tensor in state.items()
    ):
        raise CheckpointError("it has one convolution, main.0; it is damaged, or half of a checkpoint.")
    renamed, shapes = _dcgan(state)
    config, said = dcgan_config(shapes, options.settings, stated)
    return Converted(config, renamed, which, said)


def _simple(source: dict[str, Tensor], which: str) -> Converted:
    last = max(int(m[1]) for m in (re.match(r"layers\.(\d+)\.", name) for name in source) if m)
    if f"layers.{last}.layers.conv.weight" not in source or source[_SIMPLE].shape[2:] != (4, 4) or (
        source[f"layers.{last}.layers.conv.weight"].shape[2:] != (3, 3)
    ):  # fmt: skip
        raise CheckpointError("it is no generator (a discriminator?); expected the file of netG.")

    def body(match: re.Match[str]) -> str:
        return f"body.{3 * (int(match[1]) - 1) + (match[2] == 'instancenorm')}.{match[3]}"

    table: list[Row] = [
        (r"layers\.0\.layers\.conv\.(weight|bias)", r"first.\1", None),
        (rf"layers\.{last}\.layers\.conv\.(weight|bias)", r"to_image.\1", None),
        (r"layers\.(\d+)\.layers\.(conv|instancenorm)\.(weight|bias)", body, None),
    ]
    state = rename(source, table)
    channels = [state["first.weight"].shape[1], *(state[f"body.{3 * i}.weight"].shape[1] for i in range(last - 1))]
    config = {
        "kind": "gan",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": picture_channels(state["to_image.weight"].shape[0]),
        "latent_dim": state["first.weight"].shape[0],
        "channels": tuple(channels),
    }
    return Converted(config, state, which)


def _dcgan(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[tuple[int, ...]]]:
    """Tensors by our names, and the shapes of the convolutions in their order."""
    convs = sorted(int(m[1]) for m in (re.fullmatch(r"main\.(\d+)\.weight", n) for n in source) if m)
    convs = [index for index in convs if source[f"main.{index}.weight"].ndim == 4]
    picture_channels(source[f"main.{convs[-1]}.weight"].shape[1])
    places = {index: f"convs.{i}" for i, index in enumerate(convs[:-1])} | {convs[-1]: "to_image"}
    norms = {index + 1: f"norms.{i}" for i, index in enumerate(convs[:-1])}
    table: list[Row] = [
        (rf"main\.({index})\.(\w+)", rf"{name}.\2", None) for index, name in {**places, **norms}.items()
    ]
    return rename(source, table), [tuple(source[f"main.{index}.weight"].shape) for index in convs]


FORMAT = ForeignFormat(NAME, recognise, convert, SETTINGS, networks=_NETWORKS)
