"""Network pickles of the TensorFlow era: ProGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Node
from disentangle.io.foreign import tensorflow_progan, tensorflow_stylegan1, tensorflow_stylegan2
from disentangle.io.foreign.discriminators import GROUP, placed, sized
from disentangle.io.foreign.formats import Content, Converted, ForeignFormat, Options, choose
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.tensorflow_settings import (
    ANY,
    Allowed,
    check_settings,
    half_precision,
    number_of,
    taps_stated,
)
from disentangle.io.foreign.tensorflow_stylegan2 import INPUTS_AND_TRAINING
from disentangle.text import shown

__all__ = ["FORMAT", "NAME", "convert", "recognise", "settings_of", "variables_of"]

NAME = "a network pickle of ProGAN, StyleGAN or StyleGAN2 (TensorFlow)"

_CLASSES = ("dnnlib.tflib.network.Network", "tfutil.Network", "tflib.network.Network")
_ORDER = ("G", "D", "Gs")
_COMPONENTS = 64
_ENTRY = 400  # bytes of an entry of a dictionary and what is listed of it, without its name


def recognise(content: Content) -> bool:
    """Whether it is a tuple of networks (generator, discriminator, averaged generator), or one of them."""
    data = content.data
    parts = data if isinstance(data, (tuple, list)) else (data,)
    return any(isinstance(part, Node) and part.path in _CLASSES for part in parts)


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator ``Gs``."""
    data = content.data
    parts = data if isinstance(data, (tuple, list)) else (data,)
    networks = dict(zip(_ORDER, parts, strict=False)) if len(parts) > 1 else {"Gs": parts[0]}  # no more than three
    networks = {name: part for name, part in networks.items() if isinstance(part, Node)}
    which = choose(networks, ("Gs", "G"), options.weights)
    network = networks[which]
    variables = tensors_of(variables_of(network, content.budget, every=True), content.budget)
    settings = settings_of(network, content.budget)
    # Decided by what the network holds, not by what its source text says it does.
    if "synthesis/4x4/Conv/mod_weight" in variables:
        converted = tensorflow_stylegan2.convert(variables, settings, which)
    elif "mapping/Dense0/weight" in variables and "synthesis/4x4/Conv/weight" in variables:
        converted = tensorflow_stylegan1.convert(variables, settings, which)
    elif "4x4/Dense/weight" in variables:
        converted = tensorflow_progan.convert(variables, settings, which)
    else:
        raise CheckpointError(
            f"its network {which} ({shown(network.attributes.get('name'), most=40)}, version "
            f"{shown(network.attributes.get('version'), most=10)}, {len(variables)} variables) is no generator of "
            "ProGAN, StyleGAN or StyleGAN2; expected mapping and synthesis networks, or ProGAN's layers."
        )
    psi, cutoff = settings.get("truncation_psi"), settings.get("truncation_cutoff")
    if "mapping.w_avg" in converted.state and isinstance(psi, (int, float)) and psi != 1 and abs(psi) < 1e30:
        rows = "" if cutoff is None else f" of {shown(cutoff, most=20)} layers"
        converted.decisions.append(
            f"It states a truncation by {psi:g}{rows} for calls that give none; the model truncates only if asked."
        )
    converted.decisions += half_precision(settings)
    return converted


def variables_of(network: Node, budget: Budget, *, every: bool = False) -> dict[str, Tensor]:
    """Its own variables and those of its components, by "component/name"; what is shared counts in each place.

    A variable without dimensions is a number in the file, since a session returns numpy's scalars for these.

    Raises:
        CheckpointError: if one is neither an array nor a number and ``every`` is wanted; it is left out otherwise.
    """
    found: dict[str, Tensor] = {}
    for prefix, part in (("", network), *_components(network)):
        variables = part.attributes.get("variables")
        variables = variables if isinstance(variables, (list, tuple)) else ()
        budget.steps(len(variables))
        for pair in variables:
            if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str):
                value = pair[1]
                if isinstance(value, (int, float)) and abs(value) < 1e38:
                    value = torch.tensor(float(value))
                if not isinstance(value, Tensor):
                    if not every:
                        continue
                    raise CheckpointError(
                        f"its variable {shown(prefix + pair[0], most=80)} is {shown(value, most=40)}; expected an "
                        "array or a number."
                    )
                budget.memory(_ENTRY)
                budget.text(len(prefix) + len(pair[0]))
                found[prefix + pair[0]] = value
    return found


def _components(network: Node) -> list[tuple[str, Node]]:
    """Networks of which it is made, by "name/"."""
    held = network.attributes.get("components")
    if not isinstance(held, dict):
        return []
    if len(held) > _COMPONENTS:
        raise CheckpointError(f"its network has {len(held):,} components; expected {_COMPONENTS} at most.")
    return [(f"{name[:200]}/", part) for name, part in held.items() if isinstance(name, str) and isinstance(part, Node)]


def settings_of(network: Node, budget: Budget) -> dict[str, Any]:
    """What the network was made with, its components' settings included."""
    found: dict[str, Any] = {}
    for _, part in (*_components(network), ("", network)):
        kwargs = part.attributes.get("static_kwargs")
        if isinstance(kwargs, dict):
            budget.memory(_ENTRY * len(kwargs))
            found.update((key, value) for key, value in kwargs.items() if isinstance(key, str))
    return found


_DISCRIMINATOR_STATED: Allowed = {
    **INPUTS_AND_TRAINING,
    "architecture": ("resnet",),
    "nonlinearity": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",),
    "use_spectral_norm": (False,),
    "mbstd_group_size": ANY,
    "mbstd_num_features": (0, 1),
    "score_size": ANY,
    "score_max": ANY,
    "resample_kernel": ANY,
    "conv_clamp": ANY,
    "num_fp16_res": ANY,
    "augment_strength": ANY,
    "use_pagan": (False,),
    "adaptive_dropout": (0,),
    "freeze_layers": ANY,
}
_DISCRIMINATOR_LAYERS = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip", "Conv": "conv"}
_DISCRIMINATOR: list[Row] = [
    (r"lod|.*resample_kernel", DROP, None),
    (
        r"(\d+)x\d+/(FromRGB|Conv0|Conv1_down|Skip|Conv)/weight",
        lambda m: f"b{m[1]}.{_DISCRIMINATOR_LAYERS[m[2]]}.weight",
        lambda t: t.permute(3, 2, 0, 1),  # height, width, in, out
    ),
    (r"(\d+)x\d+/(FromRGB|Conv0|Conv1_down|Conv)/bias", lambda m: f"b{m[1]}.{_DISCRIMINATOR_LAYERS[m[2]]}.bias", None),
    (r"4x4/Dense0/weight", "b4.fc.weight", lambda t: t.T),
    (r"4x4/Dense0/bias", "b4.fc.bias", None),
    (r"LabelEmbed/weight", "mapping.embed.weight", lambda t: t.T),
    (r"LabelEmbed/bias", "mapping.embed.bias", None),
    (r"Mapping(\d+)/weight", r"mapping.fc\1.weight", lambda t: t.T),
    (r"Mapping(\d+)/bias", r"mapping.fc\1.bias", None),
    (r"Output/weight", "b4.out.weight", lambda t: t.T),
    (r"Output/bias", "b4.out.bias", None),
]


def _discriminator(content: Content) -> Converted:
    """The second of three networks, as our residual one."""
    data = content.data
    network = data[1] if isinstance(data, (tuple, list)) and len(data) > 1 else None
    named = variables_of(network, content.budget, every=True) if isinstance(network, Node) else {}
    if not named or not isinstance(network, Node):
        raise CheckpointError("it holds no discriminator; expected one in the middle of its three networks.")
    variables = tensors_of(named, content.budget)
    settings = settings_of(network, content.budget)
    decisions = check_settings(settings, _DISCRIMINATOR_STATED, what="its discriminator")
    clamp = settings.get("conv_clamp")
    found = sized(
        placed(rename(variables, _DISCRIMINATOR)),
        "D",
        taps_stated(settings),
        None if clamp is None else number_of(settings, "conv_clamp", 0.0),
        settings.get("mbstd_group_size", GROUP),
        number_of(settings, "mapping_lrmul", 0.1),
    )
    found.decisions += decisions
    return found


FORMAT = ForeignFormat(NAME, recognise, convert, convert_discriminator=_discriminator)
