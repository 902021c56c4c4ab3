"""A generator's own axes as directions: an EigenGAN's subspace coordinates, a VAE's or simple GAN's latent entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from disentangle.checks import check_integer
from disentangle.errors import ArgumentError, unknown_name
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.method import DirectionMethod, moving
from disentangle.looking import looks_at
from disentangle.models.base import Generator, Projection
from disentangle.signatures import checks_arguments

__all__ = ["METHOD", "basis"]


@checks_arguments
@looks_at("generator")
def basis(generator: Generator, *, space: str | None = None) -> Directions:
    """Unit vectors of the coordinates that the space is walked along, in the generator's order.

    Where projections have orthogonal weights of a fixed rank, the axes are theirs instead: the directions that each
    passes, one by one; in a StyleGAN each moves its own layer only. Of latents that take finitely many values the mean
    is the middle between the lowest and the highest, and a third of the way there the scale: the usual walk, three
    units to each side, goes from one to the other.

    Args:
        generator: any generator.
        space: one of its spaces; the first by default.

    Raises:
        InputError: if there is no such space.
    """
    orthogonal = {name: p for name, p in generator.projections().items() if p.basis is not None}
    read = space or next((p.space for p in orthogonal.values()), None)
    orthogonal = {name: p for name, p in orthogonal.items() if p.space == read}
    if orthogonal:
        return _of_projections(generator, orthogonal)
    if space is not None and space not in generator.spaces:
        raise unknown_name("latent space", space, generator.spaces)
    chosen = next(iter(generator.spaces.values())) if space is None else generator.spaces[space]
    vectors = torch.eye(chosen.size)[list(chosen.walk)]
    scale, mean = torch.ones(len(vectors)), None
    if chosen.values:
        ends = torch.tensor([(min(values), max(values)) for values in chosen.values])
        mean = ends.mean(1)
        scale = (ends[:, 1] - ends[:, 0])[list(chosen.walk)] / 6
    return Directions(
        vectors=vectors, space=chosen.name, labels=chosen.labels, method="basis", scale=scale, mean=mean,
        generator=fingerprint(generator, chosen.name),
    )  # fmt: skip


def _of_projections(generator: Any, projections: Mapping[str, Projection]) -> Directions:
    space = next(iter(projections.values())).space
    size = generator.spaces[space].size
    rows = {}
    if space == "w" and "w+" in generator.spaces:
        rows = {layer.name: (layer.ws_index,) for layer in getattr(generator, "style_layers", tuple)()}
    vectors, labels, layers = [], [], []
    for name, projection in projections.items():
        assert projection.basis is not None
        basis = projection.basis().detach().float().cpu()
        whole = torch.zeros(len(basis), size)
        whole[:, list(projection.coordinates)] = basis
        vectors.append(whole)
        labels += [f"{name}, {i}" for i in range(len(basis))]
        layers += [rows[name]] * len(basis) if rows else []
    return Directions(
        vectors=torch.cat(vectors),
        space=space,
        labels=tuple(labels),
        method="basis",
        scale=torch.ones(len(labels)),
        generator=fingerprint(generator, space),
        layers=tuple(layers) if rows else None,
    )


def _find(
    generator: Generator, *, space: str | None = None, layers: Sequence[int] | None = None, top: int | None = None
) -> Directions:
    found = basis(generator, space=space)
    if layers is not None and found.layers is not None:
        within = [i for i in range(len(found)) if set(found.rows(i) or ()) <= set(layers)]
        if not within:
            raise ArgumentError(f"this generator has no orthogonal layer among {list(layers)}; leave layers out.")
        found = found.select(within)
    if top is not None and check_integer("top", top, least=1) > len(found):
        raise ArgumentError(f"top is {top}, but this generator has {len(found)} axes; give no more, or leave it out.")
    found = found.select(range(top or len(found)))
    return moving(found, layers) if layers is not None and found.layers is None else found


METHOD = DirectionMethod("basis", "The model's own axes; of HouseholderGAN those of its orthogonal layers.", _find)
