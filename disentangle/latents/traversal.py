"""Latent traversals: pictures along straight lines through a latent space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.latents.basis import basis
from disentangle.latents.directions import Directions
from disentangle.latents.latent_file import Latents
from disentangle.models.base import Generator, LatentSpace, check_latents

__all__ = ["traverse", "walk_latents"]


def traverse(
    generator: Generator,
    directions: Directions | None = None,
    *,
    seeds: Sequence[int] = (0,),
    start: Latents | None = None,
    extent: float = 3.0,
    steps: int = 7,
    truncation: float = 1.0,
    truncation_cutoff: int | None = None,
    label: int | None = None,
    absolute: bool | None = None,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images along each direction from each starting latent.

    Directions of a StyleGAN's w that name layers are walked in w+, where only those rows move.

    Args:
        generator: any generator.
        directions: what to walk along; the generator's own axes by default.
        seeds: one starting latent a seed.
        start: starting latents in place of the seeds, e.g. of a photograph.
        extent: the walk goes from ``-extent`` to ``extent``, in units of each direction's scale.
        steps: images a walk, at least 2, evenly spaced.
        truncation: pulls the starting latents towards the mean.
        truncation_cutoff: the first rows of w+ that truncation acts on; all by default.
        label: class of a conditional generator.
        absolute: True sets the position along the direction (the usual traversal of one code), False adds to the
            starting latent (the usual edit). By default True for a generator's own axes in z, else False.
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
    if not seeds and start is None:
        raise InputError("seeds is empty; expected one or more.")
    if start is not None and start.space == "w+" and directions.space == "w" and directions.layers is None:
        directions = dataclasses.replace(directions, layers=tuple(range(len(start.values[0]))))  # all rows move
    space = _walked_space(generator, directions)
    options = {} if label is None else {"label": label}
    late: dict[str, Any] = dict(options) if space.name == "z" else {}
    early: dict[str, Any] = dict(options)
    if truncation != 1 and space.truncated_by == "call":
        late.update(truncation=truncation, truncation_cutoff=truncation_cutoff)
    elif truncation != 1 or truncation_cutoff is not None:
        early["truncation"] = truncation
        if truncation_cutoff is not None:
            early["truncation_cutoff"] = truncation_cutoff
    if start is None:
        starts = torch.cat([
            generator.sample_latents(1, space=space.name, generator=torch.Generator().manual_seed(seed), **early)
            for seed in seeds
        ])  # fmt: skip
    else:
        starts = _converted(generator, start, space, options)
    absolute = directions.method == "basis" and space.name == "z" if absolute is None else absolute
    walk = walk_latents(generator, starts, directions, torch.linspace(-extent, extent, steps), absolute=absolute)
    flat = walk.flatten(0, 2)
    images = []
    with torch.inference_mode():
        for first in range(0, len(flat), batch):
            images.append(generator(flat[first : first + batch], space=space.name, **late).float().cpu())
            if progress is not None:
                progress(min(first + batch, len(flat)), len(flat))
    pictures = torch.cat(images)
    return pictures.reshape(*walk.shape[:3], *pictures.shape[1:])


def walk_latents(
    generator: Generator, starts: Tensor, directions: Directions, positions: Tensor, *, absolute: bool
) -> Tensor:
    """(seeds, directions, steps, *latent shape): the starting latents moved to each position along each direction.

    ``starts`` are latents of the space that is walked: that of the directions, or w+ where they name layers.
    """
    space = _walked_space(generator, directions)
    vectors = directions.vectors.to(starts)
    if directions.layers is not None:
        rows = torch.zeros(len(directions), *space.shape).to(starts)
        for i in range(len(directions)):
            rows[i, list(directions.rows(i) or ())] = vectors[i]
        vectors = rows.flatten(1)
    flat = starts.flatten(1)[:, None]  # (seeds, 1, size)
    if absolute:
        if directions.layers is not None:
            raise InputError("absolute positions are not defined for directions that move some layers only.")
        unit = vectors / vectors.norm(dim=1, keepdim=True)
        centred = flat if directions.mean is None else flat - directions.mean.to(starts)
        flat = flat - (centred * unit).sum(-1, keepdim=True) * unit
    moves = (directions.scale.to(starts)[:, None] * positions.to(starts))[..., None] * vectors[:, None]
    moved = flat.expand(-1, len(vectors), -1)[:, :, None] + moves
    return moved.reshape(*moved.shape[:3], *space.shape)


def _walked_space(generator: Generator, directions: Directions) -> LatentSpace:
    """The space that is walked, or an InputError if the directions do not fit the generator."""
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
    if directions.layers is None:
        return space
    if "w+" not in generator.spaces:
        raise InputError("The directions name layers, but this generator has no w+; they were found on another one.")
    rows = generator.spaces["w+"].shape[0]
    named = [row for i in range(len(directions)) for row in directions.rows(i) or ()]
    if named and not 0 <= min(named) <= max(named) < rows:
        raise InputError(f"The directions name layers up to {max(named)}, but this generator has 0 to {rows - 1}.")
    return generator.spaces["w+"]


def _converted(generator: Any, start: Latents, space: LatentSpace, options: dict[str, Any]) -> Tensor:
    """Starting latents in the space that is walked."""
    if start.space not in generator.spaces:
        raise InputError(
            f"The starting latents live in space {start.space!r}, which this generator lacks; "
            f"it has {', '.join(map(repr, generator.spaces))}."
        )
    reference = generator.sample_latents(1, space=space.name, **options)
    values = check_latents(start.values.to(reference), generator.spaces[start.space])
    if start.space == space.name:
        return values
    if not hasattr(generator, "convert_latents"):
        raise InputError(f"The starting latents live in {start.space!r}, the directions in {space.name!r}.")
    return generator.convert_latents(values, start.space, space.name, **options)
