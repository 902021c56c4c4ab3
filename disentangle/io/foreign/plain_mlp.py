"""Plain fully connected generators: linear layers from a latent to all pixels, with or without batch normalisations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.plain_layers import (
    Layer,
    begins_late,
    called,
    is_norm,
    problem_between,
    problem_of_norm,
    said_of_gaps,
)
from disentangle.io.foreign.unstated import Setting, settled

__all__ = ["SETTINGS", "mlp_of", "problem_of_mlp"]

_SMALLEST = 64  # pixels of the pictures
_SLOPE = Setting("slope", 0.2, "of the rectifiers below zero; 0 for a relu, as a DCGAN's are taken")
_TANH = Setting("tanh", True, "a tanh at the end")
_EPS = Setting("eps", 1e-5, "of the batch normalisations")
SETTINGS = (_SLOPE, _TANH, _EPS)
_EPS_BY_MISTAKE = 0.8  # which PyTorch-GAN's generators, much copied, have in the place of a momentum


def problem_of_mlp(layers: Sequence[Layer]) -> str | None:
    """What keeps the layers from being a fully connected generator's, as half a sentence; None if nothing does."""
    linear = [layer for layer in layers if layer.dims() == 2]
    for place, layer in enumerate(layers):
        before = layers[place - 1] if place else None
        if is_norm(layer) and before is not None and before.dims() == 2 and layer is not layers[-1]:
            problem = problem_of_norm(layer, before.shape()[0]) or problem_between(before, layer)
            if problem is not None:
                return problem
            continue
        followed = place + 1 < len(layers) and is_norm(layers[place + 1])
        kinds = ({"weight", "bias"}, {"weight"}) if followed else ({"weight", "bias"},)
        if layer.dims() != 2 or layer.tensors.keys() not in kinds:
            return (
                f"its layer {called(layer)} ({', '.join(layer.tensors)}) is none that a fully connected generator "
                "has there; expected linear layers with a weight and a bias each, and batch normalisations right "
                "behind all but the last"
            )
        bias = layer.tensors.get("bias")
        if bias is not None and tuple(bias.shape) != layer.shape()[:1]:
            return f"the bias of its layer {called(layer)} has another size than its weight; it is damaged"
    shapes = [layer.shape() for layer in linear]
    if begins_late(layers):
        return f"it begins with its layer {called(layers[0])}: those before are missing, it is half of a checkpoint"
    if len(shapes) < 2:
        return f"it is one linear layer, {called(layers[0])}; expected two or more"
    for (before_shape, after), layer in zip(pairwise(shapes), linear[1:], strict=True):
        if after[1] != before_shape[0]:
            return f"its layer {called(layer)} takes {after[1]:,} numbers, and the one before gives {before_shape[0]:,}"
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


def mlp_of(
    layers: Sequence[Layer], given: Mapping[str, object], stated: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor], list[str]]:
    """Configuration, tensors by our names, and what was decided, of layers that make a fully connected generator.

    Args:
        layers: for which :func:`problem_of_mlp` has nothing to say.
        given: settings, by the caller.
        stated: settings that the file has, where it has the network whole.

    Raises:
        CheckpointError: if the settings are no network's.
    """
    linear = [layer for layer in layers if layer.dims() == 2]
    shapes = [layer.shape() for layer in linear]
    picture = _picture(shapes[-1][0])
    if picture is None:
        raise CheckpointError(f"its last layer makes {shapes[-1][0]:,} numbers; expected a square picture.")
    state: dict[str, Tensor] = {}
    for index, layer in enumerate(linear):
        weight = layer.tensors["weight"]
        state[f"layers.{index}.weight"] = weight
        state[f"layers.{index}.bias"] = layer.tensors.get("bias", torch.zeros_like(weight[:, 0]))
    norms = tuple(is_norm(after) for before, after in pairwise(layers) if before.dims() == 2)
    names = iter(index for index, normalised in enumerate(norms) if normalised)
    for norm in (layer for layer in layers if is_norm(layer)):
        place = next(names)
        state |= {f"norms.{place}.{part}": tensor for part, tensor in norm.tensors.items()}
    known, copied = [_SLOPE, _TANH], len(norms) > 1 and not norms[0] and all(norms[1:])
    if any(norms):
        known.append(replace(_EPS, default=_EPS_BY_MISTAKE) if copied else _EPS)
    values, said = settled(known, given, stated=stated)
    if not 0 <= values["slope"] < 1 or values.get("eps", 1) <= 0:
        raise CheckpointError(
            f"its slope is {values['slope']:g} and its eps {values.get('eps', 1):g}; expected a slope from 0 up to 1 "
            "and an eps of more than 0."
        )
    if copied and "eps" not in given and "eps" not in stated:
        said.append(
            "Only its first layer has no normalisation, as in PyTorch-GAN, whose eps is 0.8; the usual is 1e-5."
        )
    config: dict[str, Any] = {
        "kind": "mlp-gan",
        "image_shape": picture,
        "latent_dim": shapes[0][1],
        "hidden": tuple(shape[0] for shape in shapes[:-1]),
        "slope": values["slope"],
        "last": "tanh" if values["tanh"] else "identity",
    }
    if any(norms):
        config |= {"norms": norms, "norm_eps": values["eps"]}
    return config, state, [
        f"Its layers have names of their own ({called(layers[0])}, ...), so they are taken as a fully connected "
        f"generator's in the order of the file: {shapes[0][1]:,} numbers in, {picture[0]} x {picture[1]} x "
        f"{picture[2]} out.",
        *said,
        *said_of_gaps(layers),
    ]  # fmt: skip
