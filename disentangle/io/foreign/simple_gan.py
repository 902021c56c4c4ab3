"""Plain convolutional generators: the simple GAN of OrthoImproveCond and OroJaR, the DCGAN of torch's examples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Content, Converted, Options, choose, networks_in, picture_channels
from disentangle.io.foreign.network import find, tensors_of
from disentangle.io.foreign.renaming import Row, rename

__all__ = ["NAME", "convert", "recognise"]

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
    """As their discriminators do not: those have another kernel, or no normalisation after the first layer."""
    simple, first, mean = (find(state, name) for name in (_SIMPLE, _DCGAN, "main.1.running_mean"))
    if isinstance(simple, Tensor):
        return simple.ndim == 4 and simple.shape[2:] == (4, 4)
    return isinstance(first, Tensor) and first.ndim == 4 and first.shape[2:] == (4, 4) and isinstance(mean, Tensor)


def convert(content: Content, options: Options) -> Converted:
    """The generator, or the only network."""
    networks = _networks(content.data)
    which = choose(networks, _NETWORKS, options.weights)
    state = tensors_of(networks[which], content.budget)
    return _simple(state, which) if _SIMPLE in state else _dcgan(state, which)


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


def _dcgan(source: dict[str, Tensor], which: str) -> Converted:
    convs = sorted(int(m[1]) for m in (re.fullmatch(r"main\.(\d+)\.weight", n) for n in source) if m)
    convs = [index for index in convs if source[f"main.{index}.weight"].ndim == 4]
    places = {index: f"convs.{i}" for i, index in enumerate(convs[:-1])} | {convs[-1]: "to_image"}
    norms = {index + 1: f"norms.{i}" for i, index in enumerate(convs[:-1])}
    table: list[Row] = [
        (rf"main\.({index})\.(\w+)", rf"{name}.\2", None) for index, name in {**places, **norms}.items()
    ]
    state = rename(source, table)
    channels = tuple(source[f"main.{index}.weight"].shape[1] for index in convs[:-1])
    config = {
        "kind": "dcgan",
        "resolution": 4 << len(channels),
        "image_channels": picture_channels(state["to_image.weight"].shape[1]),
        "latent_dim": state["convs.0.weight"].shape[0],
        "channels": channels,
    }
    return Converted(config, state, which)
