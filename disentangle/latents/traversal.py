"""Latent traversals: pictures along straight lines through a latent space."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.latents.basis import basis
from disentangle.latents.directions import Directions
from disentangle.models.base import Generator, LatentSpace

__all__ = ["traverse", "walk_latents"]


def traverse(
    generator: Generator,
    directions: Directions | None = None,
    *,
    seeds: Sequence[int] = (0,),
    extent: float = 3.0,
    steps: int = 7,
    truncation: float = 1.0,
    absolute: bool | None = None,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images along each direction from each starting latent.

    Args:
        generator: any generator.
        directions: what to walk along; the generator's own axes by default.
        seeds: one starting latent a seed.
        extent: the walk goes from ``-extent`` to ``extent``, in units of each direction's scale.
        steps: images a walk, at least 2, evenly spaced.
        truncation: shrinks the starting latents towards the prior's mean.
        absolute: True sets the position along the direction (the usual traversal of one code), False adds to the
            starting latent (the usual edit). By default True for a generator's own axes, else False.
        batch: images generated at once.
        progress: called with (images done, images in all).

    Returns:
        (seeds, directions, steps, C, H, W) float32 on the CPU, in [-1, 1].

    Raises:
        InputError: if the directions belong to another space, or an option is out of range.

    >>> import disentangle
    >>> model = disentangle.models.build_model({"kind": "gan", "resolution": 32, "latent_dim": 4}, seed=0)
    >>> traverse(model, seeds=[1, 2], steps=5).shape
    torch.Size([2, 4, 5, 3, 32, 32])
    """
    directions = basis(generator) if directions is None else directions
    if steps < 2:
        raise InputError(f"steps is {steps}; expected 2 or more.")
    if not extent > 0:
        raise InputError(f"extent is {extent}; expected a positive number.")
    if not seeds:
        raise InputError("seeds is empty; expected one or more.")
    _space(generator, directions)
    starts = torch.cat([_start(generator, seed, directions.space, truncation) for seed in seeds])
    absolute = directions.method == "basis" if absolute is None else absolute
    walk = walk_latents(generator, starts, directions, torch.linspace(-extent, extent, steps), absolute=absolute)
    flat = walk.flatten(0, 2)
    images = []
    with torch.inference_mode():
        for start in range(0, len(flat), batch):
            images.append(generator(flat[start : start + batch], space=directions.space).float().cpu())
            if progress is not None:
                progress(min(start + batch, len(flat)), len(flat))
    pictures = torch.cat(images)
    return pictures.reshape(*walk.shape[:3], *pictures.shape[1:])


def walk_latents(
    generator: Generator, starts: Tensor, directions: Directions, positions: Tensor, *, absolute: bool
) -> Tensor:
    """(seeds, directions, steps, *latent shape): the starting latents moved to each position along each direction."""
    space = _space(generator, directions)
    vectors = directions.vectors.to(starts)
    flat = starts.flatten(1)[:, None]  # (seeds, 1, size)
    if absolute:
        unit = vectors / vectors.norm(dim=1, keepdim=True)
        flat = flat - (flat * unit).sum(-1, keepdim=True) * unit
    moves = (directions.scale.to(starts)[:, None] * positions.to(starts))[..., None] * vectors[:, None]
    moved = flat.expand(-1, len(vectors), -1)[:, :, None] + moves
    return moved.reshape(*moved.shape[:3], *space.shape)


def _space(generator: Generator, directions: Directions) -> LatentSpace:
    """The space the directions live in, or an InputError if they do not fit the generator."""
    if directions.space not in generator.spaces:
        raise InputError(
            f"The directions live in space {directions.space!r}, which this generator lacks; "
            f"it has {', '.join(map(repr, generator.spaces))}."
        )
    space = generator.spaces[directions.space]
    if directions.vectors.shape[1] != space.size:
        raise InputError(
            f"The directions have {directions.vectors.shape[1]} numbers, but a latent of space {space.name!r} has "
            f"{space.size}; they were found on another generator."
        )
    return space


def _start(generator: Generator, seed: int, space: str, truncation: float) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return generator.sample_latents(1, space=space, truncation=truncation, generator=random)
