"""A generator's own axes as directions: an EigenGAN's subspace coordinates, a VAE's or simple GAN's latent entries."""

from __future__ import annotations

import torch

from disentangle.latents.directions import Directions
from disentangle.models.base import Generator

__all__ = ["basis"]


def basis(generator: Generator, *, space: str | None = None) -> Directions:
    """Unit vectors of the coordinates that the space is walked along, in the generator's order.

    Args:
        generator: any generator.
        space: one of its spaces; the first by default.
    """
    chosen = next(iter(generator.spaces.values())) if space is None else generator.spaces[space]
    vectors = torch.eye(chosen.size)[list(chosen.walk)]
    return Directions(
        vectors=vectors, space=chosen.name, labels=chosen.labels, method="basis", scale=torch.ones(len(vectors))
    )
