"""How much each direction changes the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.checks import check_integer
from disentangle.latents.basis import basis
from disentangle.latents.directions import Directions
from disentangle.latents.traversal import traverse
from disentangle.looking import looks_at
from disentangle.models.base import Generator
from disentangle.signatures import checks_arguments

__all__ = ["activity", "most_active"]


@checks_arguments
@looks_at("generator")
def activity(
    generator: Generator, directions: Directions | None = None, *, samples: int = 16, extent: float = 2.0,
    seed: int = 0, label: int | None = None,
) -> Tensor:  # fmt: skip
    """Mean absolute pixel change between the two ends of a walk, averaged over starting latents.

    Args:
        generator: any generator.
        directions: its own axes by default.
        samples: starting latents.
        extent: half the length of the walk.
        seed: of the starting latents.
        label: class of a conditional generator.

    Returns:
        (k,) float32 in [0, 2]: 0 for a direction that does nothing.
    """
    directions = basis(generator) if directions is None else directions
    ends = traverse(
        generator, directions, seeds=range(seed, seed + samples), extent=extent, steps=2, label=label
    )  # fmt: skip
    return (ends[:, :, 1] - ends[:, :, 0]).abs().mean(dim=(0, 2, 3, 4))


@checks_arguments
@looks_at("generator")
def most_active(
    generator: Generator, directions: Directions | None = None, *, top: int, samples: int = 16, seed: int = 0,
    label: int | None = None,
) -> Directions:  # fmt: skip
    """The ``top`` directions that change the picture most, strongest first.

    Raises:
        InputError: if there are not so many.
    """
    directions = basis(generator) if directions is None else directions
    top = check_integer("top", top, least=1, most=len(directions))
    order = torch.argsort(activity(generator, directions, samples=samples, seed=seed, label=label), descending=True)
    return directions.select(order[:top].tolist())
