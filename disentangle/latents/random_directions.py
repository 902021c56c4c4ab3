"""Random directions: what a method must be better than."""

from __future__ import annotations

import torch

from disentangle.checks import check_integer
from disentangle.errors import InputError
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.method import DirectionMethod
from disentangle.latents.sefa import with_fixed_signs
from disentangle.looking import looks_at
from disentangle.models.base import Generator
from disentangle.signatures import checks_arguments

__all__ = ["METHOD", "random_directions"]


@checks_arguments
@looks_at("generator")
def random_directions(generator: Generator, *, space: str | None = None, top: int = 10, seed: int = 0) -> Directions:
    """Orthonormal directions drawn uniformly from the coordinates a space is walked along.

    Args:
        generator: any generator.
        space: one of its spaces; "w" if there is one, else the first.
        top: how many, at most the walked coordinates.
        seed: of the draw.

    Raises:
        InputError: if there is no such space, or fewer coordinates than directions.
    """
    name = space or ("w" if "w" in generator.spaces else next(iter(generator.spaces)))
    chosen = generator.spaces.get(name)
    if chosen is None:
        raise InputError(f"this generator has no space {name!r}; it has {', '.join(generator.spaces)}.")
    top = check_integer("top", top, least=1, most=len(chosen.walk))
    stream = torch.Generator().manual_seed(check_integer("seed", seed, least=0, most=2**63 - 1))
    drawn = torch.randn(len(chosen.walk), top, generator=stream, dtype=torch.float64)
    vectors = torch.zeros(top, chosen.size)
    vectors[:, list(chosen.walk)] = with_fixed_signs(torch.linalg.qr(drawn)[0].mT).to(torch.float32)
    return Directions(
        vectors=vectors, space=name, labels=tuple(f"random {i}" for i in range(top)), method="random",
        scale=torch.ones(top), generator=fingerprint(generator, name),
    )  # fmt: skip


METHOD = DirectionMethod("random", "Drawn at random, as something to compare with.", random_directions)
