"""Tensors that a file may lack, because the software that wrote it makes them anew: stored noise, counters."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from disentangle.inert.budget import Budget

__all__ = ["regenerate"]

_NOISE = re.compile(r"synthesis\.b([1-9]\d{0,5})\.conv[01]\.noise_strength")
_BYTES = 3 * 4  # as tensor, in the network and in the file that is written


def regenerate(config: dict[str, Any], state: dict[str, Tensor], budget: Budget) -> list[str]:
    """Put what is missing into ``state``, and say it, one sentence a kind of tensor.

    Args:
        config: of the network; noise is made for no more pixels than it has.
        state: tensors by the toolkit's names; only those are added whose layer is there.
        budget: of the file; what is drawn is taken from it.
    """
    decisions = []
    random = torch.Generator().manual_seed(0)
    drawn = 0
    for name in list(state):
        match = _NOISE.fullmatch(name)
        missing = name.removesuffix("noise_strength") + "noise_const"
        if match is None or missing in state:
            continue
        pixels = int(match[1])
        if not isinstance(config.get("resolution"), int) or pixels > config["resolution"]:
            continue
        budget.memory(_BYTES * pixels * pixels)
        state[missing] = torch.randn(pixels, pixels, generator=random)
        drawn += 1
    if drawn:
        decisions.append(
            f"The file has no stored noise for {drawn} layers, which is drawn and not learnt: that of seed 0 is used; "
            "pictures without noise are the same."
        )
    lacking = [
        name.removesuffix("running_mean") + "num_batches_tracked"
        for name in state
        if name.endswith(".running_mean") and name.removesuffix("running_mean") + "num_batches_tracked" not in state
    ]
    for name in lacking:
        state[name] = torch.zeros((), dtype=torch.long)
    if lacking:
        decisions.append(f"The file does not count the batches of {len(lacking)} normalisations: taken as none.")
    return decisions
