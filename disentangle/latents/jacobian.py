"""Jacobian axes: the directions along which a small step changes the pictures most, on average over the latents.

Source: Wang and Ponce, "The Geometry of Deep Generative Image Models and its Applications", ICLR 2021: eigenvectors of
the averaged metric tensor ``E[J^T M J]``; there of LPIPS, here of pixels or any features.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disentangle.checks import check_integer
from disentangle.errors import InputError, unknown_name
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.pullback import Pullback
from disentangle.latents.sefa import with_fixed_signs
from disentangle.looking import looks_at
from disentangle.models.base import Generator, LatentSpace, class_option

__all__ = ["jacobian_axes"]

logger = logging.getLogger(__name__)


@looks_at("generator", "metric")
def jacobian_axes(
    generator: Generator, *, space: str | None = None, metric: Any = "pixels", rank: int | None = None,
    samples: int = 64, seed: int = 0, label: int | None = None, batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Directions:  # fmt: skip
    """Eigenvectors of the mean ``J^T M J``, strongest first: orthonormal, and uncorrelated in what they change.

    With z normal, and J the derivative of the pictures by it, turning a generator to these axes makes its squared
    cosines small without any training. Where projections read parts of the latent, as an EigenGAN's blocks do, each
    part has its own axes, which mix nothing with the others'.

    Args:
        generator: any generator.
        space: one of its spaces; the first by default.
        metric: ``"pixels"``, sums of squared differences of images in [-1, 1]; or what has ``embed(images)``, whose
            squared differences are the distance; or a function of images (n, C, H, W) in [-1, 1] to features.
        rank: how many axes of each part; all by default.
        samples: latents over which the mean is taken.
        seed: of the draw.
        label: class of a conditional generator.
        batch: pictures made at once, each with its derivative along one coordinate.
        progress: called with (pictures done, pictures in all), which are samples times coordinates.

    Returns:
        Directions with their ``eigenvalues``: the mean squared distance per squared unit of a small step.

    Raises:
        InputError: if there is no such space or metric, or more axes than coordinates were asked for, or the pictures
            have no derivative or do not change.

    >>> from disentangle.models import build_model
    >>> model = build_model({"kind": "gan", "resolution": 8, "channels": [4, 4], "latent_dim": 3}, seed=0)
    >>> jacobian_axes(model, samples=4).vectors.shape
    torch.Size([3, 3])
    """
    chosen = _space(generator, space)
    samples = check_integer("samples", samples, least=1)
    batch = check_integer("batch", batch, least=1)
    parts = _parts(generator, chosen)
    smallest = min(len(part) for part in parts.values())
    rank = None if rank is None else check_integer("rank", rank, least=1, most=smallest)
    options = class_option(generator, label)
    draws = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    latents: Tensor = generator.sample_latents(samples, space=chosen.name, generator=draws, **options)
    embed = _embedding(metric)

    def features(points: Tensor) -> Tensor:
        made: Tensor = embed(generator(points, space=chosen.name, **options))
        return made

    coordinates = [c for part in parts.values() for c in part]
    moves = torch.zeros(len(coordinates), chosen.size)
    moves[torch.arange(len(coordinates)), coordinates] = 1
    pullback = Pullback(features, latents, moves.reshape(-1, *chosen.shape), batch=batch, progress=progress)
    logger.info("%d pictures, each with its derivative along one coordinate", pullback.pictures)
    mean = torch.zeros(len(coordinates), len(coordinates), dtype=torch.float64)
    for tensor in pullback.metrics():
        mean += tensor / samples
    _check(mean, features, latents, moves.reshape(-1, *chosen.shape))
    vectors, values, labels, first = [], [], [], 0
    for name, part in parts.items():
        inside = slice(first, first + len(part))
        first += len(part)
        found, axes = torch.linalg.eigh(mean[inside, inside])
        chosen_axes = with_fixed_signs(axes.mT.flip(0)[:rank])
        whole = torch.zeros(len(chosen_axes), chosen.size)
        whole[:, list(part)] = chosen_axes.float()
        vectors.append(whole)
        values.append(found.flip(0)[:rank].clamp(min=0))
        labels += [f"{name}, axis {i}" if len(parts) > 1 else f"axis {i}" for i in range(len(chosen_axes))]
    return Directions(
        vectors=torch.cat(vectors), space=chosen.name, labels=tuple(labels), method="jacobian",
        scale=torch.ones(len(labels)), eigenvalues=torch.cat(values).float(),
        generator=fingerprint(generator, chosen.name),
    )  # fmt: skip


def _space(generator: Generator, name: str | None) -> LatentSpace:
    if name is None:
        return next(iter(generator.spaces.values()))
    if name not in generator.spaces:
        raise unknown_name("latent space", name, generator.spaces)
    return generator.spaces[name]


def _parts(generator: Generator, space: LatentSpace) -> dict[str, tuple[int, ...]]:
    """The coordinates that are turned among themselves: those of each projection, or all where they share any."""
    found = {name: p.coordinates for name, p in generator.projections().items() if p.space == space.name}
    read = [c for coordinates in found.values() for c in coordinates]
    if len(set(read)) == len(read) and set(read) == set(space.walk):
        return found
    return {"": space.walk}


def _embedding(metric: Any) -> Callable[[Tensor], Tensor]:
    if isinstance(metric, str) and metric == "pixels":
        return lambda images: images
    embed = getattr(metric, "embed", metric)
    if not callable(embed):
        raise InputError(
            f"metric is {type(metric).__name__}; expected 'pixels', an object with embed(images), or a function of "
            "images to features."
        )
    return embed  # type: ignore[no-any-return]


def _check(mean: Tensor, features: Callable[[Tensor], Tensor], latents: Tensor, moves: Tensor) -> None:
    """An InputError for derivatives that say nothing."""
    if not torch.isfinite(mean).all():
        raise InputError("the derivatives of the pictures hold NaN or infinity; the generator has none there.")
    if mean.any():
        return
    with torch.no_grad():
        before, after = features(latents[:1]), features(latents[:1] + moves.sum(0).to(latents))
    if torch.equal(before, after):
        raise InputError("the pictures do not change with the latent, so that no axis is one; expected a generator.")
    raise InputError(
        "the pictures change with the latent, but their derivative is zero: the generator rounds, detaches or leaves "
        "torch; expected one that can be differentiated."
    )
