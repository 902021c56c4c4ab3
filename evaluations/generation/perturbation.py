"""Perceptual interpolated path length (PIPL): how far images move along single directions of single layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from disentangle.checks import check_image_range, check_integer, check_number
from disentangle.errors import InputError
from disentangle.evaluations.classes import Generator, plan_classes
from disentangle.evaluations.generation.path_length import (
    PathLengthSettings,
    check_distances,
    described_distance,
    filtered,
    piece_sizes,
    prepare_images,
    scored_name,
)
from disentangle.evaluations.score import Score, package_versions
from disentangle.looking import looks_at
from disentangle.signatures import checks_arguments

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["perceptual_perturbation"]


@checks_arguments
@looks_at("generator", "distance")
def perceptual_perturbation(
    generator: Generator,
    distance: Callable[[Tensor, Tensor], Tensor],
    directions: Mapping[str, Tensor],
    *,
    space: str | None = None,
    epsilon: float = 1.0,
    n: int = 5_000,
    top: int | None = 10,
    ends: str = "full",
    size: int | None = 256,
    batch: int = 16,
    as_published: bool = False,
    seed: int = 0,
    name: str = "pipl",
    label: int | None = None,
    class_shares: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Mean distance of an image from the one a step of ``epsilon`` along a direction away, over epsilon squared.

    Song, Sebe, Wang, TPAMI 2023, section 5 (PIPL): latents between two random ones, a unit direction of one layer's
    matrix added. Every pair of layer and direction is measured equally often, so that the mean does not depend on which
    were drawn.

    Args:
        generator: as for :func:`~disentangle.evaluations.generation.path_length.path_length`.
        distance: images in [-1, 1], twice, to (n,) squared distances.
        directions: layer to (k, size) unit directions in the latent space, best first.
        space: of the latents; the generator's first by default.
        epsilon: length of the step.
        n: pairs of images in all, rounded up to the same number for each pair of layer and direction.
        top: directions of each layer, None for all.
        ends: ``"full"``, the latent lies at a random place between two; ``"end"``, it is one of them.
        size: side of the images that are compared, by box means; None for their own (the published code compares
            images larger than 256 as they are).
        batch: pairs at once; it moves no draw, except of ``as_published``.
        as_published: instead draw one layer and one direction for each batch, as the published code does; its mean
            depends on the draw.
        seed: of all draws.
        name: of the score. Alone it is for LPIPS with its published weights; the name of any other distance is put
            behind it, as "pipl/efficientnet-lite0", unless it has a slash already.
        label, class_shares: of a generator with classes, see :func:`~disentangle.evaluations.classes.plan_classes`;
            a step stays in its class.
        progress: called with (pairs done, pairs in all).

    Returns:
        Score, lower is better; value: mean of the distances within the 1st and 99th percentile. Parts: ``"table"``
        (layers, top) means, NaN where a layer has fewer directions or (as published) none was drawn, ``"layers"``.

    Raises:
        InputError: if the directions do not fit the latents, images lie outside [-1, 1], or distances are no numbers.
    """
    import torch

    start = time.perf_counter()
    n, seed = check_integer("n", n, least=1), check_integer("seed", seed, least=0, most=2**63 - 1)
    batch, epsilon = check_integer("batch", batch, least=1), check_number("epsilon", epsilon, above=0)
    top = None if top is None else check_integer("top", top, least=1)
    spaces = dict(generator.spaces)
    wanted = next(iter(spaces)) if space is None else space
    if wanted not in spaces:
        raise InputError(f"the generator has no space {wanted!r}; it has {', '.join(spaces)}.")
    layers = {layer: rows[:top] for layer, rows in directions.items()}
    for layer, rows in layers.items():
        if rows.ndim != 2 or rows.shape[1] != spaces[wanted].size or not len(rows):
            raise InputError(
                f"directions of {layer!r} have shape {tuple(rows.shape)}; expected (k, {spaces[wanted].size}) for "
                f"space {wanted!r}."
            )
    if not layers:
        raise InputError("there are no directions to perturb along; give one layer's at least.")
    settings = PathLengthSettings(space=wanted, ends="full" if ends == "full" else "end", epsilon=epsilon, size=size)
    stream, choice = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    pairs = [(row, column) for row, layer in enumerate(layers) for column in range(len(layers[layer]))]
    if as_published:
        plan = []
        for first in range(0, n, batch):
            plan.append((pairs[int(choice.integers(len(pairs)))], min(batch, n - first)))
    else:
        each = -(-n // len(pairs))
        plan = [(pair, count) for pair in pairs for count in piece_sizes(each)]
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    total, done, names = sum(count for _, count in plan), 0, list(layers)
    classes = plan_classes(generator, total, label=label, class_shares=class_shares, seed=seed)
    with torch.no_grad():
        for pair, count in plan:
            of_piece = classes.part(generator, done, done + count)
            one, other = (of_piece.sample_latents(count, space=wanted, generator=stream) for _ in range(2))
            place = torch.rand(count, generator=stream) if settings.ends == "full" else torch.zeros(count)
            drawn = one + (other - one) * place.to(one).reshape(-1, *[1] * (one.ndim - 1))
            direction = layers[names[pair[0]]][pair[1]].to(one).reshape(spaces[wanted].shape)
            for latents in drawn.split(batch):
                of_batch = classes.part(generator, done, done + len(latents))
                images = [
                    prepare_images(of_batch(moved, space=wanted), settings)
                    for moved in (latents, latents + epsilon * direction)
                ]
                check_image_range(images[0], "the generator's images")
                step = distance(*images).reshape(len(latents)).double().cpu().numpy() / epsilon**2
                found.setdefault(pair, []).append(step)
                done += len(latents)
                if progress is not None:
                    progress(done, total)
    table = np.full((len(layers), max(map(len, layers.values()))), np.nan)
    for (row, column), parts in found.items():
        table[row, column] = np.concatenate(parts).mean()
    everything = np.concatenate([part for parts in found.values() for part in parts])
    check_distances(everything, distance)
    return Score(
        name=scored_name(name, distance),
        value=float(filtered(everything, settings).mean()),
        parts={"table": table, "layers": names, "unfiltered_mean": float(everything.mean())},
        settings={
            "protocol": "as published" if as_published else "every direction equally",
            **asdict(settings),
            "n": total,
            **({"batch": batch} if as_published else {}),
            "directions": len(pairs),
            **described_distance(distance),
            "seed": seed,
            **classes.settings,
            "packages": package_versions("torch", "numpy"),
        },
        higher_is_better=False,
        seconds=time.perf_counter() - start,
    )
