"""Latent traversals: pictures along straight lines through a latent space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from disentangle.checks import check_integer, check_number, check_seed
from disentangle.errors import ArgumentError, InputError
from disentangle.latents.basis import basis
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.latent_file import Latents
from disentangle.looking import looks_at
from disentangle.models.base import Generator, LatentSpace, check_latents, class_option
from disentangle.signatures import checks_arguments

__all__ = ["check_fit", "converted", "start_columns", "traverse", "walk_latents"]


@checks_arguments
@looks_at("generator")
def traverse(
    generator: Generator,
    directions: Directions | None = None,
    *,
    seeds: Sequence[int] = (0,),
    start: Latents | None = None,
    space: str | None = None,
    extent: float = 3.0,
    steps: int = 9,
    truncation: float | None = None,
    truncation_cutoff: int | None = None,
    label: int | None = None,
    absolute: bool | None = None,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images along each direction from each starting latent.

    Directions of a StyleGAN's w that name layers are walked in w+, where only those rows move; so are all of w from
    starting latents of w+, or with a ``truncation_cutoff``. Truncation comes first, so that a step is as long at any.

    Args:
        generator: any generator.
        directions: what to walk along; the generator's own axes by default.
        seeds: one starting latent a seed.
        start: starting latents in place of the seeds, e.g. of a photograph.
        space: whose axes to walk along, where no directions are given; the first by default.
        extent: the walk goes from ``-extent`` to ``extent``, in units of each direction's scale.
        steps: images a walk, at least 2, evenly spaced.
        truncation: pulls the starting latents towards the mean, 1 not at all; by default as much as the generator
            itself does where nothing is said.
        truncation_cutoff: the first rows of w+ that truncation acts on; all by default.
        label: class of a conditional generator.
        absolute: True sets the position along the direction (the usual traversal of one code; where the directions have
            a mean, counted from it), False adds to the starting latent (the usual edit). By default True for a
            generator's own axes in z from seeds, else False: a photograph stays in the middle of its walk.
        batch: images generated at once.
        progress: called with (images done, images in all).

    Returns:
        (seeds, directions, steps, C, H, W) float32 on the CPU, in [-1, 1].

    Raises:
        InputError: if the directions belong to another space or generator, or an option is out of range or without
            meaning for this generator.

    >>> import disentangle
    >>> model = disentangle.models.build_model({"kind": "gan", "resolution": 32, "latent_dim": 4}, seed=0)
    >>> traverse(model, seeds=[1, 2], steps=5).shape
    torch.Size([2, 4, 5, 3, 32, 32])
    """
    if directions is None:
        directions = basis(generator, space=space)
    elif space not in (None, directions.space):
        raise ArgumentError(
            f"space is {space!r}, but the directions live in {directions.space!r}; give one of the two."
        )
    steps, extent = check_integer("steps", steps, least=2), check_number("extent", extent, above=0)
    truncation = None if truncation is None else check_number("truncation", truncation)
    seeds, batch = tuple(check_seed(seed) for seed in seeds), check_integer("batch", batch, least=1)
    if not seeds and start is None:
        raise ArgumentError("seeds is empty; expected one or more.")
    _check_options(generator, start, truncation, truncation_cutoff)
    check_fit(generator, directions)
    by_rows = truncation_cutoff is not None or (start is not None and start.space == "w+")
    if by_rows and directions.space == "w" and directions.layers is None and "w+" in generator.spaces:
        directions = dataclasses.replace(directions, layers=tuple(range(generator.spaces["w+"].shape[0])))
    walked = check_fit(generator, directions)
    options = class_option(generator, label)
    early, late = dict(options), dict(options) if walked.name == "z" else {}
    if walked.truncated_by == "call":
        late |= {} if truncation is None else {"truncation": truncation}
        late |= {} if truncation_cutoff is None else {"truncation_cutoff": truncation_cutoff}
    else:
        early["truncation"] = getattr(generator, "default_truncation", 1.0) if truncation is None else truncation
        early |= {} if truncation_cutoff is None else {"truncation_cutoff": truncation_cutoff}
    if start is None:
        starts = torch.cat([
            generator.sample_latents(1, space=walked.name, generator=torch.Generator().manual_seed(seed), **early)
            for seed in seeds
        ])  # fmt: skip
    else:
        starts = converted(generator, start, walked, early if start.space == "z" else options)
    if absolute is None:
        absolute = directions.method == "basis" and walked.name == "z" and start is None
    walk = walk_latents(generator, starts, directions, torch.linspace(-extent, extent, steps), absolute=absolute)
    flat = walk.flatten(0, 2)
    images = []
    with torch.inference_mode():
        for first in range(0, len(flat), batch):
            images.append(generator(flat[first : first + batch], space=walked.name, **late).float().cpu())
            if progress is not None:
                progress(min(first + batch, len(flat)), len(flat))
    pictures = torch.cat(images)
    return pictures.reshape(*walk.shape[:3], *pictures.shape[1:])


def walk_latents(
    generator: Generator, starts: Tensor, directions: Directions, positions: Tensor, *, absolute: bool
) -> Tensor:
    """(seeds, directions, steps, *latent shape): the starting latents moved to each position along each direction.

    ``starts`` are latents of the space that is walked: that of the directions, or w+ where they name layers. There
    every moved row is walked like a latent of its own.
    """
    space = check_fit(generator, directions)
    vectors = directions.vectors.to(starts)
    size = vectors.shape[1]
    rows = starts.reshape(len(starts), 1, -1, size)  # (seeds, 1, rows, size)
    moved = torch.ones(len(vectors), rows.shape[2]).to(starts)
    if directions.layers is not None:
        moved = torch.zeros_like(moved)
        for i in range(len(directions)):
            moved[i, list(directions.rows(i) or ())] = 1
    moves = moved[:, :, None] * vectors[:, None]  # (k, rows, size)
    held = rows.expand(-1, len(vectors), -1, -1)
    if absolute:
        unit = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(vectors.dtype).tiny)
        centred = rows if directions.mean is None else rows - directions.mean.to(starts)
        along = (centred * unit[:, None]).sum(-1, keepdim=True)  # (seeds, k, rows, 1)
        held = held - along * moved[:, :, None] * unit[:, None]
    lengths = directions.scale.to(starts)[:, None] * positions.to(starts)  # (k, steps)
    walk = held[:, :, None] + lengths[..., None, None] * moves[:, None]
    return walk.reshape(*walk.shape[:3], *space.shape)


@checks_arguments
def start_columns(
    generator: Generator,
    directions: Directions,
    positions: Tensor,
    *,
    seeds: Sequence[int],
    truncation: float | None = None,
    label: int | None = None,
) -> list[int | None]:
    """Which picture of a walk that sets positions in z is nearest to its starting latent.

    Args:
        generator: as of :func:`traverse`, like the directions, seeds, truncation and label.
        directions: of z.
        positions: (steps,) in units of each direction's scale, in ascending order.
        seeds: of the starting latents.
        truncation: of the starting latents.
        label: class of a conditional generator.

    Returns:
        A number of a step, or None where the start lies beyond the walk, for each direction and seed, direction first.
    """
    space = generator.spaces["z"]
    options: dict[str, Any] = dict(class_option(generator, label))
    if space.truncated_by != "call":
        options["truncation"] = getattr(generator, "default_truncation", 1.0) if truncation is None else truncation
    starts = torch.cat([
        generator.sample_latents(1, space="z", generator=torch.Generator().manual_seed(check_seed(seed)), **options)
        for seed in seeds
    ])  # fmt: skip
    flat = starts.flatten(1).float().cpu()
    vectors, scale = directions.vectors.float().cpu(), directions.scale.float().cpu()
    centred = flat if directions.mean is None else flat - directions.mean.float().cpu()
    tiny = torch.finfo(torch.float32).tiny
    along = (centred @ vectors.T) / (vectors.square().sum(1) * scale).clamp(min=tiny)  # (seeds, k)
    distances = (along.T[:, :, None] - positions).abs()  # (k, seeds, steps)
    nearest = distances.argmin(-1)
    within = distances.amin(-1) <= 0.5 * float(positions.diff().max()) * (1 + 1e-4)
    return [
        int(step) if inside else None
        for step, inside in zip(nearest.flatten().tolist(), within.flatten().tolist(), strict=True)
    ]


@checks_arguments
def check_fit(generator: Generator, directions: Directions) -> LatentSpace:
    """The space that is walked along the directions: theirs, or w+ where they name layers.

    Raises:
        InputError: if they do not fit the generator.
    """
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
    own = fingerprint(generator, space.name)
    if directions.generator not in (None, own):
        raise InputError(
            f"The directions were found on a {directions.generator}, but this generator is a {own}; find them on it."
        )
    if directions.layers is None:
        return space
    if "w+" not in generator.spaces:
        raise InputError("The directions name layers, but this generator has no w+; they were found on another one.")
    rows = generator.spaces["w+"].shape[0]
    named = [row for i in range(len(directions)) for row in directions.rows(i) or ()]
    if named and not 0 <= min(named) <= max(named) < rows:
        wrong = max(named) if max(named) >= rows else min(named)
        raise InputError(f"The directions name layer {wrong}, but this generator has 0 to {rows - 1}.")
    return generator.spaces["w+"]


def _check_options(generator: Any, start: Latents | None, truncation: float | None, cutoff: int | None) -> None:
    """An ArgumentError for what this generator or these starting latents leave without meaning."""
    if cutoff is not None and "w+" not in generator.spaces:
        raise ArgumentError(
            f"truncation_cutoff is {cutoff}, but it chooses rows of w+, which this generator lacks; leave it out."
        )
    if start is None or (truncation in (None, 1) and cutoff is None):
        return
    if start.space != "z" or generator.spaces["z"].truncated_by == "prior":
        raise ArgumentError(
            f"truncation was given for starting latents in {start.space!r}, which are walked as they are; leave it "
            "out, or start from seeds."
        )


def converted(generator: Any, start: Latents, space: LatentSpace, options: dict[str, Any]) -> Tensor:
    """Starting latents in the space that is walked."""
    if start.space not in generator.spaces:
        raise InputError(
            f"The starting latents live in space {start.space!r}, which this generator lacks; "
            f"it has {', '.join(map(repr, generator.spaces))}."
        )
    reference = generator.sample_latents(1, space=start.space, **{k: v for k, v in options.items() if k == "label"})
    values = check_latents(start.values.to(reference), generator.spaces[start.space])
    if start.space == space.name:
        return values
    if not hasattr(generator, "convert_latents"):
        raise InputError(
            f"The starting latents live in {start.space!r}, but the directions in {space.name!r}; expected the same."
        )
    return generator.convert_latents(values, start.space, space.name, **options)
