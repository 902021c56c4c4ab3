"""Generators whose layers have names of their author's own: a list of layers, one after the other.

Names say nothing here. Shapes do: the layers of a plain generator follow each other in the file in the order in which
they were made, each takes what the one before it gives, the first takes the latent and the last gives pictures. What no
tensor shows (strides, rectifiers, the tanh at the end) is read from the network where the file has it whole; else it is
as is usual, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.io.foreign import plain_dcgan, plain_mlp
from disentangle.io.foreign.formats import ONLY, Content, Converted, ForeignFormat, Options
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.plain_dcgan import dcgan_of, in_turns, problem_of_dcgan
from disentangle.io.foreign.plain_layers import layers_of, reparametrised
from disentangle.io.foreign.plain_mlp import mlp_of, problem_of_mlp
from disentangle.io.foreign.plain_modules import settings_of

__all__ = ["FORMAT", "NAME", "SETTINGS", "convert", "explained", "recognise"]

NAME = "a plain generator whose layers have names of their own"

SETTINGS = (*plain_mlp.SETTINGS, *plain_dcgan.SETTINGS[len(plain_mlp.SETTINGS) :])


def recognise(content: Content) -> bool:
    """Whether it is a list of tensors that make a DCGAN or a fully connected generator, and nothing besides."""
    layers = layers_of(content.data)
    return bool(layers) and (problem_of_dcgan(in_turns(layers)) is None or problem_of_mlp(layers) is None)


def explained(content: Content) -> str | None:
    """Why a list of tensors is no plain generator, as half a sentence; None if it is no list of layers at all."""
    layers = layers_of(content.data)
    if not layers:
        return None
    made = reparametrised(content.data)
    if made is not None:
        return made
    if any(layer.dims() == 4 for layer in layers):
        return problem_of_dcgan(in_turns(layers))
    return problem_of_mlp(layers) if any(layer.dims() == 2 for layer in layers) else None


def convert(content: Content, options: Options) -> Converted:
    """The only network there is."""
    layers = layers_of({**tensors_of(_only_tensors(content.data), content.budget)})
    turns = in_turns(layers)
    dcgan = problem_of_dcgan(turns) is None
    kind, make = ("dcgan", dcgan_of) if dcgan else ("mlp-gan", mlp_of)
    stated = {} if content.module is None else settings_of(content.module, kind, content.budget)
    config, state, said = make(turns if dcgan else layers, options.settings, stated)
    if dcgan and turns is not layers:
        said.append("Its normalisations, which the file has in one list, are taken by turns with its convolutions.")
    return Converted(config, state, ONLY, said)


def _only_tensors(data: Mapping[Any, Any]) -> dict[Any, Tensor]:
    return {name: tensor for name, tensor in data.items() if isinstance(tensor, Tensor)}


FORMAT = ForeignFormat(NAME, recognise, convert, SETTINGS, general=True)
