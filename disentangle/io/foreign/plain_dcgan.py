"""Plain DCGANs: transposed convolutions with a batch normalisation after each but the last.

A file has the kernels of the convolutions and not how far apart they are set. A first one makes as many pixels of the
latent as its kernel is wide; of the others it is taken that they double the picture, for which a kernel of k has one
usual way: a stride of 2, a padding of (k - 1) // 2, and an output padding of 1 where k is odd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import PICTURE_CHANNELS
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

__all__ = ["SETTINGS", "dcgan_config", "dcgan_of", "in_turns", "problem_of_dcgan"]

_WIDEST = 31  # pixels of a kernel
_LARGEST = 4096  # pixels of a picture
_SLOPE = Setting("slope", 0.0, "of a DCGAN's rectifiers below zero; 0 for a relu")
_TANH = Setting("tanh", True, "a tanh at the end")
_EPS = Setting("eps", 1e-5, "of the batch normalisations")
_GEOMETRY = ("strides", "paddings", "output_paddings")
SETTINGS = (
    _SLOPE, _TANH, _EPS,
    *(Setting(name, (), f"{name.replace('_', ' ')} of the transposed convolutions; by their kernels if left out")
      for name in _GEOMETRY),
)  # fmt: skip


def in_turns(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Convolutions and normalisations by turns, where a file has each in a list of its own."""
    convolutions = [layer for layer in layers if layer.dims() == 4]
    norms = [layer for layer in layers if is_norm(layer)]
    if len(layers) != len(convolutions) + len(norms) or len(norms) != len(convolutions) - 1 or len(norms) < 2:
        return layers
    turns = [*(layer for pair in zip(convolutions, norms, strict=False) for layer in pair), convolutions[-1]]
    return layers if turns == list(layers) else turns


def problem_of_dcgan(layers: Sequence[Layer]) -> str | None:
    """What keeps the layers from being a DCGAN's, as half a sentence; None if nothing does."""
    convolutions = [layer for layer in layers if layer.dims() == 4]
    if not convolutions:
        return "it has no convolutions"
    if layers[0].dims() == 2 and layers[0] is not convolutions[0]:
        return (
            f"its first layer {called(layers[0])} is linear, which the toolkit's DCGAN does not have; expected "
            "transposed convolutions from the latent on"
        )
    shapes = [layer.shape() for layer in convolutions]
    follows = all(after[0] == before[1] for before, after in pairwise(shapes))
    if shapes[0][1] in PICTURE_CHANNELS and not (follows and len(shapes) > 1 and shapes[-1][1] in PICTURE_CHANNELS):
        return "it is no generator (a discriminator?): its convolutions begin with a picture"
    for layer in convolutions:
        height, width = layer.shape()[2:]
        if height != width or not 1 <= width <= _WIDEST:
            return (
                f"its layer {called(layer)} has kernels of {height} x {width}; expected square ones of a DCGAN, of up "
                f"to {_WIDEST} pixels"
            )
    for (before, after), layer in zip(pairwise(shapes), convolutions[1:], strict=True):
        if after[0] != before[1]:
            return (
                f"its layer {called(layer)} takes {after[0]:,} features, and the one before gives {before[1]:,}; "
                "expected transposed convolutions, one after the other"
            )
    if len(convolutions) < 2 or shapes[-1][1] not in PICTURE_CHANNELS:
        return f"its last convolution gives {shapes[-1][1]:,} features; expected a picture of 1 to 4 channels"
    expected = [kind for _ in convolutions[:-1] for kind in ("convolution", "norm")] + ["convolution"]
    for place, layer in enumerate(layers):
        kind = "convolution" if layer.dims() == 4 else "norm" if is_norm(layer) else "other"
        if place >= len(expected) or kind != expected[place]:
            return (
                f"its layer {called(layer)} ({', '.join(layer.tensors)}) is none that a DCGAN has there; expected "
                "transposed convolutions with a batch normalisation after each but the last"
            )
    for conv, norm in zip(layers[::2], layers[1::2], strict=False):
        problem = problem_of_norm(norm, conv.shape()[1]) or problem_between(conv, norm)
        if problem is not None:
            return problem
    if begins_late(layers):
        return f"it begins with its layer {called(layers[0])}: those before are missing, it is half of a checkpoint"
    if _biases(convolutions) is None:
        return "some of its convolutions have a bias and some have none; expected all, the last alone or none"
    return None


def _biases(convolutions: Sequence[Layer]) -> str | None:
    for layer in convolutions:
        bias = layer.tensors.get("bias")
        if layer.tensors.keys() - {"weight", "bias"} or (bias is not None and tuple(bias.shape) != (layer.shape()[1],)):
            return None
    held = ["bias" in layer.tensors for layer in convolutions]
    return "all" if all(held) else "none" if not any(held) else "last" if held[-1] and not any(held[:-1]) else None


def dcgan_of(
    layers: Sequence[Layer], given: Mapping[str, object], stated: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor], list[str]]:
    """Configuration, tensors by our names, and what was decided, of layers that make a DCGAN.

    Args:
        layers: for which :func:`problem_of_dcgan` has nothing to say.
        given: settings, by the caller.
        stated: settings that the file has, where it has the network whole.

    Raises:
        CheckpointError: if the settings make no picture.
    """
    convolutions, norms = layers[::2], layers[1::2]
    state: dict[str, Tensor] = {}
    for index, conv in enumerate(convolutions):
        ours = f"convs.{index}" if index < len(norms) else "to_image"
        state |= {f"{ours}.{part}": tensor for part, tensor in conv.tensors.items()}
    for index, norm in enumerate(norms):
        state |= {f"norms.{index}.{part}": tensor for part, tensor in norm.tensors.items()}
    shapes = [conv.shape() for conv in convolutions]
    config, said = dcgan_config(shapes, given, stated)
    config["bias"] = _biases(convolutions)
    return config, state, [
        f"Its layers have names of their own ({called(layers[0])}, {called(layers[1])}, ...), so they are taken as a "
        f"DCGAN's in the order of the file, whose pictures have {config['resolution']:,} pixels a side.",
        *said,
        *said_of_gaps(layers),
    ]  # fmt: skip


def dcgan_config(
    shapes: Sequence[tuple[int, ...]], given: Mapping[str, object], stated: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The configuration of transposed convolutions of these weights, and what was decided.

    Args:
        shapes: (inputs, outputs, kernel, kernel) of each.
        given, stated: see :func:`dcgan_of`.

    Raises:
        CheckpointError: if the settings make no picture.
    """
    kernels = [shape[2] for shape in shapes]
    usual = [(1, 0, 0) if index == 0 else _doubling(kernel) for index, kernel in enumerate(kernels)]
    known = [Setting(setting.name, setting.default, setting.meaning) for setting in (_SLOPE, _TANH, _EPS)]
    known += [
        Setting(name, numbers, setting.meaning)
        for name, numbers, setting in zip(_GEOMETRY, zip(*usual, strict=True), SETTINGS[3:], strict=True)
    ]
    values, said = settled(known, given, stated=stated)
    if values["slope"] < 0 or values["eps"] <= 0:
        raise CheckpointError(
            f"its slope is {values['slope']:g} and its eps {values['eps']:g}; expected 0 or more, and more than 0."
        )
    drawn = tuple(zip(kernels, *(values[name] for name in _GEOMETRY), strict=True))
    channels = tuple(shape[1] for shape in shapes[:-1])
    config = {
        "kind": "dcgan",
        "resolution": _pixels(drawn),
        "image_channels": shapes[-1][1],
        "latent_dim": shapes[0][0],
        "channels": channels,
        "slope": values["slope"],
        "norm_eps": values["eps"],
        "last": "tanh" if values["tanh"] else "identity",
    }
    if drawn != ((4, 1, 0, 0), *((4, 2, 1, 0),) * len(channels)):
        config["convolutions"] = drawn
    return config, said


def _doubling(kernel: int) -> tuple[int, int, int]:
    """Stride, padding and output padding with which a kernel makes two pixels of one; a kernel of 1 makes none."""
    return (2, (kernel - 1) // 2, kernel % 2) if kernel > 1 else (1, 0, 0)


def _pixels(drawn: Sequence[tuple[int, int, int, int]]) -> int:
    """How many a picture has on a side.

    Raises:
        CheckpointError: if that is none, or a layer cannot be so.
    """
    size = 1
    for place, (kernel, stride, padding, more) in enumerate(drawn, start=1):
        size = (size - 1) * stride - 2 * padding + kernel + more
        if stride < 1 or (more and more >= stride) or not 1 <= size <= _LARGEST:
            raise CheckpointError(
                f"its transposed convolution {place} has a kernel of {kernel}, and with stride {stride}, padding "
                f"{padding} and output padding {more} makes {size:,} pixels or none; say others by --set-source "
                "strides, paddings and output_paddings."
            )
    if size < 8:
        raise CheckpointError(
            f"its transposed convolutions make {size} pixels with strides "
            f"{','.join(str(layer[1]) for layer in drawn)}; expected 8 or more, say others by --set-source strides."
        )
    return size
