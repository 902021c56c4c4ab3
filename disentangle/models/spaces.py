"""A place where latents live: their shape, their distribution, and what of them a traversal walks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from disentangle.errors import InputError

__all__ = ["LatentSpace", "check_latents"]


@dataclass(frozen=True)
class LatentSpace:
    """One space a generator can be driven from.

    Attributes:
        name: "z", "w", "w+", "s".
        shape: shape of one latent.
        prior: ``"normal"`` is N(0, I), ``"uniform"`` is uniform on [-1, 1].
        walk: positions in the flattened latent that a traversal walks; all of them by default. An EigenGAN leaves its
            input noise out.
        labels: a name for each position in ``walk``.
        uniform: positions in the flattened latent that are uniform of mean 0 and variance 1, on [-sqrt 3, sqrt 3],
            whatever the prior of the others is; none by default.
        truncated_by: ``"prior"`` if shrinking a latent towards the prior's mean truncates it, ``"call"`` if only the
            generator can, while it maps the latent on: a StyleGAN normalises its z, so its length means nothing.
        values: of each position in the flattened latent the numbers it takes, where these are finitely many, in
            ascending order; none by default. A sample takes each as often, and is shrunk towards their mean.
    """

    name: str
    shape: tuple[int, ...]
    prior: Literal["normal", "uniform"] = "normal"
    walk: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    truncated_by: Literal["prior", "call"] = "prior"
    uniform: tuple[int, ...] = ()
    values: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.walk:
            object.__setattr__(self, "walk", tuple(range(self.size)))
        if not self.labels:
            object.__setattr__(self, "labels", tuple(f"{self.name}{i}" for i in self.walk))
        if len(self.labels) != len(self.walk):
            raise InputError(f"{len(self.labels)} labels for {len(self.walk)} walked coordinates; expected as many.")
        for positions, what in ((self.walk, "walked"), (self.uniform, "uniform")):
            if positions and (min(positions) < 0 or max(positions) >= self.size):
                raise InputError(f"{what} coordinates lie outside a latent of {self.size} numbers.")
        if self.values and (len(self.values) != self.size or not all(self.values)):
            raise InputError(
                f"values has {len(self.values)} rows for {self.size} coordinates; expected numbers for each."
            )

    @property
    def size(self) -> int:
        """Numbers in one latent."""
        return math.prod(self.shape)

    @property
    def isotropic(self) -> bool:
        """Whether a rotation of the latent leaves the distribution of latents, and so of pictures, what it is."""
        return self.prior == "normal" and not self.uniform and not self.values

    def sample(self, n: int, *, truncation: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """``n`` latents from the prior, shrunk towards its mean by ``truncation``; (n, *shape) float32 on the CPU."""
        if self.values:
            drawn = torch.rand(n, self.size, generator=generator)
            columns = []
            for column, values in enumerate(self.values):
                known = torch.tensor(values)
                taken = known[(drawn[:, column] * len(values)).long().clamp(max=len(values) - 1)]
                columns.append(known.mean() + truncation * (taken - known.mean()) if truncation != 1 else taken)
            return torch.stack(columns, dim=1).reshape(n, *self.shape)
        if self.prior == "normal":
            latents = torch.randn(n, *self.shape, generator=generator)
        else:
            latents = 2 * torch.rand(n, *self.shape, generator=generator) - 1
        if self.uniform:
            drawn = 2 * torch.rand(n, len(self.uniform), generator=generator) - 1
            latents.flatten(1)[:, list(self.uniform)] = math.sqrt(3) * drawn
        return truncation * latents


def check_latents(latents: Tensor, space: LatentSpace) -> Tensor:
    """``latents`` as they are, or an InputError if they are not (n, *space.shape) floats."""
    if latents.shape[1:] != space.shape or latents.ndim != len(space.shape) + 1 or not latents.is_floating_point():
        expected = ", ".join(["n", *map(str, space.shape)])
        raise InputError(
            f"latents have shape {tuple(latents.shape)} and dtype {latents.dtype}; space {space.name!r} expects "
            f"({expected}) floating point."
        )
    return latents
