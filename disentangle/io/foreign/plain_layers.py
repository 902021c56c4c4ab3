"""A list of tensors as the layers of a plain generator, one after the other, whose names are their author's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor

from disentangle.text import shown

__all__ = [
    "Layer", "begins_late", "called", "is_norm", "layers_of", "problem_between", "problem_of_norm", "reparametrised",
    "said_of_gaps",
]  # fmt: skip

_STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}
_MOST = 200  # tensors: a hundred layers


@dataclass(eq=False)
class Layer:
    """A layer's name in the file, and its tensors by the last part of their names."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def dims(self) -> int:
        return self.tensors["weight"].ndim if "weight" in self.tensors else 0

    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensors["weight"].shape)


def layers_of(data: Any) -> list[Layer]:
    """Consecutive tensors of one layer each; none if it is something else than a list of tensors."""
    if not isinstance(data, Mapping) or not data or len(data) > _MOST:
        return []
    found: list[Layer] = []
    for name, tensor in data.items():
        if not isinstance(tensor, Tensor):
            if isinstance(tensor, (Mapping, list, tuple)):
                return []
            continue  # a number beside the tensors
        if not isinstance(name, str):
            return []
        layer, _, part = name.rpartition(".")
        if not found or found[-1].name != layer or part in found[-1].tensors:
            found.append(Layer(layer))
        found[-1].tensors[part] = tensor
    return found


def is_norm(layer: Layer) -> bool:
    """Whether it has a batch normalisation's statistics."""
    return layer.dims() <= 1 and {"running_mean", "running_var"} <= layer.tensors.keys()


def problem_of_norm(norm: Layer, features: int) -> str | None:
    """What keeps it from normalising so many features, as half a sentence; None if nothing does."""
    wide = {tuple(tensor.shape) for part, tensor in norm.tensors.items() if part != "num_batches_tracked"}
    if wide != {(features,)} or not norm.tensors.keys() <= {"weight", "bias", *_STATISTICS}:
        return f"its normalisation {called(norm)} does not fit the {features:,} features before it"
    if not {"weight", "bias"} <= norm.tensors.keys():
        return f"its normalisation {called(norm)} has no weight and bias; expected both"
    return None


def reparametrised(data: Mapping[Any, Any]) -> str | None:
    """What says, as half a sentence, that weights are made of others each time they are used; None if none are."""
    for name in data if len(data) <= 2 * _MOST else ():
        match = re.search(r"\.parametrizations\.|(?:^|\.)weight_(?:orig|g|v)$", name) if isinstance(name, str) else None
        if match is not None:
            return (
                f"its weight {shown(name, most=80)} is made of others each time it is used (spectral or weight "
                "normalisation): make it a plain one in torch (remove_spectral_norm, remove_weight_norm, "
                "remove_parametrizations) and save the state anew"
            )
    return None


def begins_late(layers: Sequence[Layer]) -> bool:
    """Whether the layers are those of one ``torch.nn.Sequential``, which counts from 0, without the first.

    One layer without tensors may stand before them, as an ``Unflatten`` that gives the latent its shape does: where
    every layer's rectifier has a number of its own, the number 0 alone has no room for a layer and its rectifier.
    """
    places = [_place(layer) for layer in layers]
    numbered = len({container for container, _ in places}) == 1 and all(place is not None for _, place in places)
    first = (places[0][1] or 0) if numbered else 0
    crowded = any(_gap(before, after) == 0 and not is_norm(after) for before, after in pairwise(layers))
    return first > 1 or (first == 1 and crowded)


def _place(layer: Layer) -> tuple[str, int | None]:
    container, _, place = layer.name.rpartition(".")
    return container, int(place) if place.isdecimal() and len(place) < 7 else None


def _gap(before: Layer, after: Layer) -> int | None:
    """How many layers without tensors lie between two of one ``Sequential``; None where names do not tell."""
    (first, low), (second, high) = _place(before), _place(after)
    return high - low - 1 if first == second and low is not None and high is not None and high > low else None


def problem_between(layer: Layer, norm: Layer) -> str | None:
    """Whether something lies between a layer and its normalisation, where a plain generator has nothing."""
    if _gap(layer, norm) in (None, 0):
        return None
    return (
        f"between its layer {called(layer)} and the normalisation {called(norm)} lies one without tensors (a "
        "rectifier?), and the file does not say what it does; expected normalisations right behind their layers"
    )


def said_of_gaps(layers: Sequence[Layer]) -> list[str]:
    """A sentence where more lies between two layers than a rectifier."""
    wide = [(before, after) for before, after in pairwise(layers) if (_gap(before, after) or 0) > 1]
    if not wide:
        return []
    before, after = wide[0]
    return [
        f"Between its layers {called(before)} and {called(after)} lie {_gap(before, after)} without tensors: one is "
        "taken as the rectifier, the others as dropout, which does nothing here; if one enlarges pictures, these are "
        "others."
    ]


def called(layer: Layer) -> str:
    """Its name, as it may be printed."""
    return shown(layer.name, most=80)
