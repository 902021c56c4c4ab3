"""Generators whose layers have names of their author's own: a list of layers, one after the other.

Names say nothing here. Shapes do: the layers of a plain generator follow each other in the file in the order in which
they were made, each takes what the one before it gives, the first takes the latent and the last gives pictures. What no
tensor shows (strides, rectifiers, the tanh at the end) is as in the papers, and that is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import ONLY, PICTURE_CHANNELS, Content, Converted, Options
from disentangle.io.foreign.network import tensors_of
from disentangle.text import shown

__all__ = ["NAME", "convert", "explained", "recognise"]

NAME = "a plain generator whose layers have names of their own"

_STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}
_MOST = 200  # tensors: a hundred layers
_SMALLEST = 64  # pixels of the pictures of a fully connected generator


@dataclass
class _Layer:
    """A layer's name in the file, and its tensors by the last part of their names."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def dims(self) -> int:
        return self.tensors["weight"].ndim if "weight" in self.tensors else 0

    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensors["weight"].shape)


def recognise(content: Content) -> bool:
    """Whether it is a list of tensors that make a DCGAN or a fully connected generator, and nothing besides."""
    layers = _layers(content.data)
    return bool(layers) and (_problem_of_dcgan(layers) is None or _problem_of_mlp(layers) is None)


def explained(content: Content) -> str | None:
    """Why a list of tensors is no plain generator, as half a sentence; None if it is no list of layers at all."""
    layers = _layers(content.data)
    if not layers:
        return None
    if any(layer.dims() == 4 for layer in layers):
        return _problem_of_dcgan(layers)
    return _problem_of_mlp(layers) if any(layer.dims() == 2 for layer in layers) else None


def convert(content: Content, options: Options) -> Converted:
    """The only network there is."""
    layers = _layers({**tensors_of(_only_tensors(content.data), content.budget)})
    made = _mlp(layers) if _problem_of_dcgan(layers) is not None else _dcgan(layers)
    return Converted(*made[:2], ONLY, [made[2]])


# ---------------------------------------------------------------------------------------------------- layers


def _only_tensors(data: Mapping[Any, Any]) -> dict[Any, Tensor]:
    return {name: tensor for name, tensor in data.items() if isinstance(tensor, Tensor)}


def _layers(data: Any) -> list[_Layer]:
    """Consecutive tensors of one layer each; none if it is something else than a list of tensors."""
    if not isinstance(data, Mapping) or not data or len(data) > _MOST:
        return []
    found: list[_Layer] = []
    for name, tensor in data.items():
        if not isinstance(tensor, Tensor):
            if isinstance(tensor, (Mapping, list, tuple)):
                return []
            continue  # a number beside the tensors
        if not isinstance(name, str):
            return []
        layer, _, part = name.rpartition(".")
        if not found or found[-1].name != layer or part in found[-1].tensors:
            found.append(_Layer(layer))
        found[-1].tensors[part] = tensor
    return found


def _is_norm(layer: _Layer) -> bool:
    return layer.dims() <= 1 and {"running_mean", "running_var"} <= layer.tensors.keys()


def _begins_late(layers: list[_Layer]) -> bool:
    """Whether the layers are those of one ``torch.nn.Sequential``, which counts from 0, without the first."""
    places = [layer.name.rpartition(".") for layer in layers]
    numbered = len({container for container, _, _ in places}) == 1 and all(place.isdecimal() for *_, place in places)
    return numbered and int(places[0][2]) > 0


def _called(layer: _Layer) -> str:
    return shown(layer.name, most=80)


# ---------------------------------------------------------------------------------------------------- DCGAN


def _problem_of_dcgan(layers: list[_Layer]) -> str | None:
    """What keeps the layers from being a DCGAN's, as half a sentence; None if nothing does."""
    convolutions = [layer for layer in layers if layer.dims() == 4]
    if not convolutions:
        return "it has no convolutions"
    shapes = [layer.shape() for layer in convolutions]
    follows = all(after[0] == before[1] for before, after in pairwise(shapes))
    if shapes[0][1] in PICTURE_CHANNELS and not (follows and len(shapes) > 1 and shapes[-1][1] in PICTURE_CHANNELS):
        return "it is no generator (a discriminator?): its convolutions begin with a picture"
    for layer in convolutions:
        if layer.shape()[2:] != (4, 4):
            return (
                f"its layer {_called(layer)} has kernels of {' x '.join(map(str, layer.shape()[2:]))}, and how they "
                "enlarge a picture is not in the file; expected those of a DCGAN, 4 x 4"
            )
    for (before, after), layer in zip(pairwise(shapes), convolutions[1:], strict=True):
        if after[0] != before[1]:
            return (
                f"its layer {_called(layer)} takes {after[0]:,} features, and the one before gives {before[1]:,}; "
                "expected transposed convolutions, one after the other"
            )
    if len(convolutions) < 2 or shapes[-1][1] not in PICTURE_CHANNELS:
        return f"its last convolution gives {shapes[-1][1]:,} features; expected a picture of 1 to 4 channels"
    expected = [kind for _ in convolutions[:-1] for kind in ("convolution", "norm")] + ["convolution"]
    for place, layer in enumerate(layers):
        kind = "convolution" if layer.dims() == 4 else "norm" if _is_norm(layer) else "other"
        if place >= len(expected) or kind != expected[place]:
            return (
                f"its layer {_called(layer)} ({', '.join(layer.tensors)}) is none that a DCGAN has there; expected "
                "transposed convolutions with a batch normalisation after each but the last"
            )
    for conv, norm in zip(layers[::2], layers[1::2], strict=False):
        wide = {tuple(tensor.shape) for part, tensor in norm.tensors.items() if part != "num_batches_tracked"}
        if wide != {(conv.shape()[1],)} or not norm.tensors.keys() <= {"weight", "bias", *_STATISTICS}:
            return f"its normalisation {_called(norm)} does not fit the {conv.shape()[1]:,} features before it"
        if not {"weight", "bias"} <= norm.tensors.keys():
            return f"its normalisation {_called(norm)} has no weight and bias; expected both"
    if _begins_late(layers):
        return f"it begins with its layer {_called(layers[0])}: those before are missing, it is half of a checkpoint"
    if _biases(convolutions) is None:
        return "some of its convolutions have a bias and some have none; expected all, the last alone or none"
    return None


def _biases(convolutions: list[_Layer]) -> str | None:
    for layer in convolutions:
        bias = layer.tensors.get("bias")
        if layer.tensors.keys() - {"weight", "bias"} or (bias is not None and tuple(bias.shape) != (layer.shape()[1],)):
            return None
    held = ["bias" in layer.tensors for layer in convolutions]
    return "all" if all(held) else "none" if not any(held) else "last" if held[-1] and not any(held[:-1]) else None


def _dcgan(layers: list[_Layer]) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    convolutions, norms = layers[::2], layers[1::2]
    state: dict[str, Tensor] = {}
    for index, conv in enumerate(convolutions):
        ours = f"convs.{index}" if index < len(norms) else "to_image"
        state |= {f"{ours}.{part}": tensor for part, tensor in conv.tensors.items()}
    for index, norm in enumerate(norms):
        state |= {f"norms.{index}.{part}": tensor for part, tensor in norm.tensors.items()}
    channels = tuple(conv.shape()[1] for conv in convolutions[:-1])
    config = {
        "kind": "dcgan",
        "resolution": 4 << len(channels),
        "image_channels": convolutions[-1].shape()[1],
        "latent_dim": convolutions[0].shape()[0],
        "channels": channels,
        "bias": _biases(convolutions),
    }
    return config, state, (
        f"Its layers have names of their own ({_called(layers[0])}, {_called(layers[1])}, ...), so they are taken as "
        "a DCGAN's in the order of the file; strides of 2, rectifiers between and a tanh at the end are as published, "
        "the file does not say them."
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- fully connected


def _problem_of_mlp(layers: list[_Layer]) -> str | None:
    """What keeps the layers from being a fully connected generator's, as half a sentence; None if nothing does."""
    for layer in layers:
        if layer.dims() != 2 or layer.tensors.keys() != {"weight", "bias"}:
            return (
                f"its layer {_called(layer)} ({', '.join(layer.tensors)}) is none that a fully connected generator "
                "has; expected linear layers with a weight and a bias each and no normalisation, of which the file "
                "would not say enough"
            )
        if tuple(layer.tensors["bias"].shape) != layer.shape()[:1]:
            return f"the bias of its layer {_called(layer)} has another size than its weight; it is damaged"
    shapes = [layer.shape() for layer in layers]
    if _begins_late(layers):
        return f"it begins with its layer {_called(layers[0])}: those before are missing, it is half of a checkpoint"
    if len(shapes) < 2:
        return f"it is one linear layer, {_called(layers[0])}; expected two or more"
    for (before, after), layer in zip(pairwise(shapes), layers[1:], strict=True):
        if after[1] != before[0]:
            return f"its layer {_called(layer)} takes {after[1]:,} numbers, and the one before gives {before[0]:,}"
    if shapes[-1][0] <= shapes[0][1] or _picture(shapes[-1][0]) is None:
        return (
            f"it is no generator (a discriminator?): its linear layers make {shapes[-1][0]:,} numbers of "
            f"{shapes[0][1]:,}; expected a square picture of 1 or 3 channels, larger than its latent"
        )
    return None


def _picture(numbers: int) -> tuple[int, int, int] | None:
    """(channels, height, width) of a square picture; no number is both a square and three times one."""
    for channels in (1, 3):
        side = math.isqrt(numbers // channels)
        if numbers >= _SMALLEST and channels * side * side == numbers:
            return channels, side, side
    return None


def _mlp(layers: list[_Layer]) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    shapes = [layer.shape() for layer in layers]
    picture = _picture(shapes[-1][0])
    if picture is None:
        raise CheckpointError(f"its last layer makes {shapes[-1][0]:,} numbers; expected a square picture.")
    state = {f"layers.{i}.{part}": layer.tensors[part] for i, layer in enumerate(layers) for part in ("weight", "bias")}
    config = {
        "kind": "mlp-gan",
        "image_shape": picture,
        "latent_dim": shapes[0][1],
        "hidden": tuple(shape[0] for shape in shapes[:-1]),
    }
    return config, state, (
        f"Its layers have names of their own ({_called(layers[0])}, ...), so they are taken as a fully connected "
        f"generator's in the order of the file: {shapes[0][1]:,} numbers in, {picture[0]} x {picture[1]} x "
        f"{picture[2]} out; leaky rectifiers of 0.2 and a tanh at the end are the usual ones, the file does not say "
        "them."
    )  # fmt: skip
