"""Jacobian axes: the directions along which a small step changes the pictures most, on average over the latents.

Sources: Wang and Ponce, "The Geometry of Deep Generative Image Models and its Applications", ICLR 2021 (eigenvectors of
the averaged metric tensor ``E[J^T M J]``; there of LPIPS, here of pixels or any features); Cardoso and Souloumiac,
"Jacobi Angles for Simultaneous Diagonalization", 1996 (of the latents' metrics together, not of their mean).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from disentangle.checks import check_integer, check_name
from disentangle.errors import InputError, unknown_name
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.latent_file import Latents
from disentangle.latents.method import DirectionMethod, keywords_of
from disentangle.latents.picture_features import picture_features
from disentangle.latents.pullback import Pullback
from disentangle.latents.sefa import with_fixed_signs
from disentangle.latents.traversal import converted
from disentangle.linalg.joint_diagonalization import joint_diagonalization
from disentangle.linalg.randomized_eigen import products_needed, randomized_eigenpairs
from disentangle.looking import looks_at
from disentangle.models.base import Generator, LatentSpace, class_option
from disentangle.signatures import checks_arguments

__all__ = ["METHOD", "jacobian_axes", "parts_of"]

logger = logging.getLogger(__name__)

_EXACT = 512  # coordinates up to which nothing is estimated, where fewer axes are asked for
_LARGEST = 2048  # and where all are
_JOINT = 256  # whose rotations take k^3 numbers for each latent, a dozen times
_DRAWN = 1000  # latents for the standard deviations


@checks_arguments
@looks_at("generator", "metric")
def jacobian_axes(
    generator: Generator, *, space: str | None = None, metric: Any = "pixels", layers: Sequence[int] | None = None,
    rank: int | None = None, samples: int = 64, at: Latents | None = None, criterion: Literal["mean", "joint"] = "mean",
    seed: int = 0, label: int | None = None, batch: int = 64, progress: Callable[[int, int], None] | None = None,
) -> Directions:  # fmt: skip
    """Eigenvectors of the mean ``J^T M J``, strongest first: orthonormal, and uncorrelated in what they change.

    J is the derivative of the pictures (or their features) by the latent. Where projections read parts of the latent,
    as an EigenGAN's blocks do, each part has axes of its own, which mix nothing with the others'. With a normal z,
    whose distribution no rotation changes, these are as good a choice of axes as those it was trained with:
    :func:`disentangle.latents.turn` makes them the generator's own.

    Derivatives are exact, and so are the axes of the drawn latents, for up to 512 coordinates, or 2048 where ``rank``
    is not given. Beyond, a randomised method finds the strongest; what it may have missed is logged and noted.

    Args:
        generator: any generator.
        space: one of its spaces; "w" if there is one, else the first.
        metric: distance of pictures, see :func:`~disentangle.latents.picture_features.picture_features`: ``"pixels"``
            (summed squares, images in [-1, 1]), ``"lpips"``, ``"efficientnet-lite0"``, an extractor, a function.
        layers: rows of w+ that move: directions in w then say so; of w+ and s only the coordinates of these rows.
        rank: how many axes, of each part; all by default.
        samples: latents over which the mean is taken.
        at: these latents instead, of this or an earlier space: one picture's own axes.
        criterion: ``"mean"``, or ``"joint"`` for the basis in which the metrics of all latents are as diagonal as they
            can be together; for up to 256 coordinates.
        seed: of the draw.
        label: class of a conditional generator.
        batch: pictures made at once, each with its derivative along one coordinate; bounds the memory.
        progress: called with (pictures done, pictures in all).

    Returns:
        Directions whose ``eigenvalues`` are the squared distance that a small step makes, over the step's square, and
        whose ``scale`` is the standard deviation of the latents along them: 1 in a normal z and for ``at``. ``note``
        says how they were found.

    Raises:
        InputError: if there is no such space, layer or metric, more axes than coordinates were asked for, the space is
            too large for all of its axes, or the pictures have no derivative or do not change.

    >>> from disentangle.models import build_model
    >>> model = build_model({"kind": "gan", "resolution": 8, "channels": [4, 4], "latent_dim": 3}, seed=0)
    >>> jacobian_axes(model, samples=4).vectors.shape
    torch.Size([3, 3])
    """
    chosen = _space(generator, space)
    samples, batch = check_integer("samples", samples, least=1), check_integer("batch", batch, least=1)
    seed = check_integer("seed", seed, least=0, most=2**63 - 1)
    check_name("criterion", criterion, ("mean", "joint"))
    walked, parts, positions = _coordinates(generator, chosen, layers)
    rank = _check_sizes(chosen, parts, rank, criterion)
    options = class_option(generator, label)
    draws = torch.Generator().manual_seed(seed)
    if at is None:
        latents: Tensor = generator.sample_latents(samples, space=walked.name, generator=draws, **options)
    else:
        if not len(at.values):
            raise InputError("at holds no latents; expected one or more.")
        latents = converted(generator, at, walked, options)
    name, embed = picture_features(metric)

    def features(points: Tensor) -> Tensor:
        made: Tensor = embed(generator(points, space=walked.name, **options))
        return made

    pullback = Pullback(features, latents, positions, batch=batch, progress=progress)
    note = {"metric": name, "samples": len(latents), "criterion": criterion, "seed": seed, "at": at is not None}
    estimated = rank is not None and len(positions) > _EXACT and len(parts) == 1
    if estimated:
        assert rank is not None
        found, extra = _leading(pullback, rank, seed)
        note |= extra
    else:
        found = _exact(pullback, [len(part) for part in parts.values()], rank, criterion)
    _check(found, features, pullback)
    vectors, labels = [], []
    for (part, coordinates), (_, axes) in zip(parts.items(), found, strict=True):
        whole = torch.zeros(len(axes), chosen.size)
        whole[:, list(coordinates)] = with_fixed_signs(axes).float()
        vectors.append(whole)
        labels += [f"{part}, axis {i}" if len(parts) > 1 else f"axis {i}" for i in range(len(axes))]
    directions = torch.cat(vectors)
    scale = torch.ones(len(directions))
    if at is None and not (chosen.name == "z" and chosen.isotropic):
        several = torch.Generator().manual_seed(seed)
        spread: Tensor = generator.sample_latents(_DRAWN, space=chosen.name, generator=several, **options)
        scale = (spread.flatten(1).cpu().double() @ directions.double().mT).std(dim=0).float()
    return Directions(
        vectors=directions, space=chosen.name, labels=tuple(labels), method="jacobian", scale=scale,
        layers=tuple(sorted(set(layers))) if layers is not None and chosen.name == "w" else None,
        generator=fingerprint(generator, chosen.name), note=note,
        eigenvalues=torch.cat([values for values, _ in found]).clamp(min=0).float(),
    )  # fmt: skip


def _space(generator: Generator, name: str | None) -> LatentSpace:
    name = name or ("w" if "w" in generator.spaces else next(iter(generator.spaces)))
    if name not in generator.spaces:
        raise unknown_name("latent space", name, generator.spaces)
    return generator.spaces[name]


def parts_of(generator: Generator, space: LatentSpace) -> dict[str, tuple[int, ...]]:
    """The coordinates that are turned among themselves: those of each projection, or all where they share any."""
    found = {name: p.coordinates for name, p in generator.projections().items() if p.space == space.name}
    read = [c for coordinates in found.values() for c in coordinates]
    if len(set(read)) == len(read) and set(read) == set(space.walk):
        return found
    return {"": space.walk}


def _coordinates(
    generator: Any, space: LatentSpace, layers: Sequence[int] | None
) -> tuple[LatentSpace, dict[str, tuple[int, ...]], Tensor]:
    """The space that is walked, the coordinates of the directions' parts, and which numbers of it each moves."""
    if layers is None:
        parts = parts_of(generator, space)
        return space, parts, torch.tensor([c for part in parts.values() for c in part])[:, None]
    if "w+" not in generator.spaces or space.name == "z":
        raise InputError(f"layers choose rows of w+, but the directions live in {space.name!r}; leave them out.")
    wide = generator.spaces["w+"]
    rows, width = wide.shape
    wrong = [row for row in layers if not 0 <= row < rows]
    if wrong or not layers:
        raise InputError(f"layers are {list(layers)[:10]}; expected rows of w+, 0 to {rows - 1}.")
    kept = sorted(set(layers))
    if space.name == "w":
        positions = torch.tensor([[row * width + i for row in kept] for i in range(width)])
        return wide, {"": tuple(range(width))}, positions
    if space.name == "w+":
        coordinates = [row * width + i for row in kept for i in range(width)]
    else:
        of_rows = [layer for layer in generator.style_layers() if layer.ws_index in kept]
        coordinates = [i for layer in of_rows for i in range(layer.start, layer.start + layer.channels)]
    if not coordinates:
        raise InputError(f"no style belongs to the layers {kept}; expected others.")
    return space, {"": tuple(coordinates)}, torch.tensor(coordinates)[:, None]


def _check_sizes(space: LatentSpace, parts: dict[str, tuple[int, ...]], rank: int | None, criterion: str) -> int | None:
    """The rank, where it was asked for and the parts have as many axes, and these can be found."""
    size = sum(map(len, parts.values()))
    rank = None if rank is None else check_integer("rank", rank, least=1, most=min(map(len, parts.values())))
    if criterion == "joint" and size > _JOINT:
        raise InputError(
            f"criterion is 'joint', but {size:,} coordinates of {space.name!r} move; expected at most {_JOINT}: take "
            "'mean', or fewer layers."
        )
    if size > _LARGEST and (rank is None or len(parts) > 1 or rank > _LARGEST):
        raise InputError(
            f"all axes of {size:,} coordinates of {space.name!r} were asked for, which are too many; give rank, at "
            f"most {_LARGEST}, or fewer layers."
        )
    return rank


def _exact(pullback: Pullback, sizes: list[int], rank: int | None, criterion: str) -> list[tuple[Tensor, Tensor]]:
    """Eigenvalues and axes of each part, falling."""
    pullback.total = pullback.pictures
    logger.info("%d pictures are made, each with one derivative.", pullback.total)
    ends = torch.tensor(sizes).cumsum(0).tolist()
    inside = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    if criterion == "joint":
        metrics = _finite(torch.stack(list(pullback.metrics())))
        pairs = []
        for part in inside:
            basis, diagonals = joint_diagonalization(metrics[:, part, part])
            pairs.append((diagonals.mean(0)[:rank], basis.mT[:rank]))
        return pairs
    mean = torch.zeros(ends[-1], ends[-1], dtype=torch.float64)
    for metric in pullback.metrics():
        mean += metric / len(pullback.latents)
    _finite(mean)
    pairs = []
    for part in inside:
        values, axes = torch.linalg.eigh(mean[part, part])
        pairs.append((values.flip(0)[:rank], axes.mT.flip(0)[:rank]))
    return pairs


def _leading(pullback: Pullback, rank: int, seed: int) -> tuple[list[tuple[Tensor, Tensor]], dict[str, Any]]:
    """The strongest axes alone, and what they may be wrong by."""
    size = len(pullback.positions)
    pullback.total = pullback.pictures_of_products(products_needed(rank, size))
    logger.info(
        "%d pictures are made, half of them with a derivative forward, half with one back.", pullback.total
    )  # fmt: skip
    found = randomized_eigenpairs(
        lambda rows: _finite(pullback.product(rows)), size, rank, generator=torch.Generator().manual_seed(seed)
    )
    logger.info(
        "Randomised: each eigenvalue is right to %.3g, and no axis beyond those searched has one above %.3g "
        "(probability 0.99999).", found.residual, found.missed,
    )  # fmt: skip
    return [(found.values, found.vectors)], {"residual": found.residual, "missed": found.missed}


def _finite(metric: Tensor) -> Tensor:
    if not torch.isfinite(metric).all():
        raise InputError("the derivatives of the pictures hold NaN or infinity; the generator has none there.")
    return metric


def _check(found: list[tuple[Tensor, Tensor]], features: Callable[[Tensor], Tensor], pullback: Pullback) -> None:
    """An InputError for derivatives that are zero everywhere."""
    if any(values.any() for values, _ in found):
        return
    before = pullback.latents[:1]
    after = before.clone().flatten(1)
    after[:, pullback.positions.flatten()] += 1
    with torch.no_grad():
        if torch.equal(features(before), features(after.reshape(before.shape))):
            raise InputError("the pictures do not change with the latent, so that it has no axes.")
    raise InputError(
        "the pictures change with the latent, but their derivative is zero: the generator rounds, detaches or leaves "
        "torch; expected one that can be differentiated."
    )


def _find(generator: Generator, *, top: int | None = None, **options: Any) -> Directions:
    return jacobian_axes(generator, rank=top, **options)


METHOD = DirectionMethod(
    "jacobian",
    "Along which a small step changes the pictures most, on average or at one latent.",
    _find,
    options=("top", *(name for name in keywords_of(jacobian_axes) if name != "rank")),
    replaces={"at": ("samples", "seed")},
)
