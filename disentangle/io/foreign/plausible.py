"""Whether the pictures of a converted network look like pictures, which a setting not in its file may prevent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.io.foreign.trial import pictures_within

__all__ = ["said_of_pictures"]

_LATENTS = 16
_REACH = 1.5  # pictures are of about [-1, 1], and trained networks overshoot a little
_SHARE = 0.05  # of values beyond, from which on it is said
_STILL = 1e-3  # half a step of 8 bits is four times that
_ASK = "a setting that the file does not state may be another one (--list shows those that can be set)"


def said_of_pictures(model: Any) -> list[str]:
    """One sentence for each thing that is odd about the pictures of 16 latents; none if there is none.

    Networks for large pictures are tried with fewer latents, as many as work in proportion to their size is enough for.

    Args:
        model: the network, which made a finite picture.
    """
    if not hasattr(model, "sample_latents"):
        return []
    latents = model.sample_latents(_LATENTS, generator=torch.Generator().manual_seed(0))
    classes = getattr(model, "c_dim", 0)
    noisy = getattr(getattr(model, "config", None), "noise", None) == "random"

    def options(number: int) -> dict[str, Any]:
        return ({"label": number % classes} if classes else {}) | ({"noise": "const"} if noisy else {})

    numbers = sum(parameter.numel() for parameter in model.parameters())
    pictures = pictures_within(model, latents, options, most=2**33 + 2**13 * numbers, largest=4 * numbers)
    return _odd(pictures.to(torch.float64)) if pictures.numel() else []


def _odd(pictures: Tensor) -> list[str]:
    """What is said of (n, channels, ...) or (n, values), n from 1 on."""
    said = []
    n = f"{len(pictures)} latents" if len(pictures) > 1 else "a latent"
    beyond = float((pictures.abs() > _REACH).double().mean())
    if beyond > _SHARE:
        said.append(
            f"Pictures of {n} reach from {float(pictures.min()):.3g} to {float(pictures.max()):.3g}, {beyond:.0%} of "
            f"their values beyond [-{_REACH}, {_REACH}], where about [-1, 1] is usual: {_ASK}."
        )
    planes = pictures.flatten(2) if pictures.ndim > 2 else pictures
    if float(planes.std(dim=-1, correction=0).max()) < _STILL:
        said.append(f"Pictures of {n} are of one colour: {_ASK}, or the network was never trained.")
    elif len(pictures) > 1 and float((pictures - pictures[0]).abs().max()) < _STILL:
        said.append(f"Pictures of {n} are all the same: {_ASK}, or the network has collapsed.")
    return said
