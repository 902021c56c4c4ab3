"""The settings of a StyleGAN3 of which a file has the tensors only.

Names of its layers say canvas and width, shapes say kernels and filters. The rest follows from the rules of the paper's
appendix C, if they are those that the network was made by: then its layers have these names and its filters these taps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from disentangle.config import parse_config
from disentangle.errors import CheckpointError, ConfigError
from disentangle.io.foreign.fitting import fitted
from disentangle.io.foreign.formats import mapping_depth
from disentangle.models.base import build_model, config_class
from disentangle.text import shown

__all__ = ["described_stylegan3"]

_LAYER = re.compile(r"synthesis\.(L(\d{1,2})_(\d{1,5})_(\d{1,5}))\.weight")
_MOST = 64  # layers
_BASES = tuple(2**power for power in range(6, 19))  # features at one pixel
_CRITICAL = (2, 1, 0, 3, 4)


def described_stylegan3(
    path: str | os.PathLike[str], name: str, state: Mapping[str, Tensor], extra: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """The configuration of the network that has these tensors, by the toolkit's names.

    Args:
        path: the file, for messages.
        name: of its format, for messages.
        state: all of the network's tensors.
        extra: of the configuration.

    Returns:
        The configuration with all its layers.

    Raises:
        CheckpointError: if they are none of the published rules.
    """
    found = sorted((match for match in map(_LAYER.fullmatch, state) if match), key=lambda match: int(match[2]))
    if not 2 <= len(found) <= _MOST or [int(match[2]) for match in found] != list(range(len(found))):
        raise CheckpointError(f"it has {len(found)} layers of a StyleGAN3, not one after the other; it is damaged.")
    names, last = [match[1] for match in found], found[-1]
    embed, first = state.get("mapping.embed.weight"), state["mapping.fc0.weight"]
    taps = state.get(f"synthesis.{names[0]}.down_filter")
    fixed: dict[str, Any] = {
        **extra,
        "kind": "stylegan3",
        "resolution": int(last[3]),
        "image_channels": int(last[4]),
        "z_dim": first.shape[1] - (0 if embed is None else embed.shape[0]),
        "w_dim": state["synthesis.input.affine.weight"].shape[1],
        "c_dim": 0 if embed is None else embed.shape[1],
        "mapping_layers": mapping_depth(state),
        "num_layers": len(names) - 1,
        "channel_max": max(int(match[4]) for match in found[:-1]),
        "kernel": state[f"synthesis.{names[0]}.weight"].shape[-1],
        "radial": taps is not None and taps.ndim == 2,
    }
    tried: list[list[dict[str, Any]]] = []
    for config in _candidates(fixed, int(found[0][3])):
        layers = _layers(config)
        if layers not in tried and [layer["name"] for layer in layers] == names:
            tried.append(layers)
            if _fits(path, name, config, state):
                return dict(parse_config(config_class("stylegan3"), config).model_dump(mode="json"))
    what = f"the filters of its {len(names)} layers are" if tried else f"its layers {shown(names[0])} and on are"
    raise CheckpointError(
        f"{what} not those of the published rules, and the file has no settings; convert the network pickle that it "
        "was taken from."
    )


def _fits(path: str | os.PathLike[str], name: str, config: dict[str, Any], state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors make this network and its filters are those that the rules design."""
    try:
        fitted(path, name, config, state)  # before anything is made in the sizes that the names say
    except CheckpointError:
        return False
    designed = build_model(config, seed=0).state_dict()
    return all(
        torch.allclose(state[key].to(taps), taps, rtol=0, atol=1e-4)
        for key, taps in designed.items()
        if key.endswith("_filter")
    )


def _candidates(fixed: dict[str, Any], first_size: int) -> Iterator[dict[str, Any]]:
    for critical in _CRITICAL:
        if critical >= fixed["num_layers"]:
            continue
        for base in _BASES:
            config = {**fixed, "num_critical": critical, "channel_base": base, "margin_size": 0}
            layers = _layers(config)
            margin = first_size - layers[0]["out_size"] if layers else -1
            if margin >= 0 and margin % 2 == 0:
                yield {**config, "margin_size": margin // 2}


def _layers(config: dict[str, Any]) -> list[dict[str, Any]]:
    """What the rules make of a configuration; nothing if they make no network."""
    try:
        return list(parse_config(config_class("stylegan3"), config).model_dump(mode="json")["layers"])
    except (ConfigError, ArithmeticError):
        return []
