"""A generator's own axes as directions: an EigenGAN's subspace coordinates, a VAE's or simple GAN's latent entries."""

from __future__ import annotations

from typing import Any

import torch

from disentangle.errors import unknown_name
from disentangle.latents.directions import Directions, fingerprint
from disentangle.models.base import Generator, StyleLayer

__all__ = ["basis"]


def basis(generator: Generator, *, space: str | None = None) -> Directions:
    """Unit vectors of the coordinates that the space is walked along, in the generator's order.

    Where a StyleGAN has orthogonal affine layers, its axes are theirs instead: of each such layer the directions of w
    that it passes, one by one, moving that layer only.

    Args:
        generator: any generator.
        space: one of its spaces; the first by default.

    Raises:
        InputError: if there is no such space.
    """
    orthogonal = [layer for layer in _style_layers(generator) if hasattr(layer.affine, "basis")]
    if orthogonal and space in (None, "w"):
        return _of_layers(generator, orthogonal)
    if space is not None and space not in generator.spaces:
        raise unknown_name("latent space", space, generator.spaces)
    chosen = next(iter(generator.spaces.values())) if space is None else generator.spaces[space]
    vectors = torch.eye(chosen.size)[list(chosen.walk)]
    return Directions(
        vectors=vectors, space=chosen.name, labels=chosen.labels, method="basis", scale=torch.ones(len(vectors)),
        generator=fingerprint(generator, chosen.name),
    )  # fmt: skip


def _style_layers(generator: Any) -> tuple[StyleLayer, ...]:
    return generator.style_layers() if hasattr(generator, "style_layers") else ()


def _of_layers(generator: Generator, layers: list[StyleLayer]) -> Directions:
    bases: list[Any] = [layer.affine.basis().detach().float().cpu() for layer in layers]  # type: ignore[operator]
    vectors = torch.cat(bases)
    return Directions(
        vectors=vectors,
        space="w",
        labels=tuple(f"{layer.name}, {i}" for layer, rows in zip(layers, bases, strict=True) for i in range(len(rows))),
        method="basis",
        scale=torch.ones(len(vectors)),
        layers=tuple((layer.ws_index,) for layer, rows in zip(layers, bases, strict=True) for _ in rows),
        generator=fingerprint(generator, "w"),
    )
