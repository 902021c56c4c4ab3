"""A penalty on a generator or decoder for latents whose effects on the picture depend on each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pydantic
import torch
from torch import Tensor

from disentangle.config import Config
from disentangle.optim import (
    hessian_penalty,
    ima_contrast,
    jacobian_l1,
    jacobian_penalty,
    normalised_hessian_penalty,
    rademacher,
)

__all__ = ["GeneratorPenaltyConfig", "independence"]

Kind = Literal["none", "hessian", "normalised-hessian", "orojar", "ima", "jacobian-l1", "vp"]


class GeneratorPenaltyConfig(Config):
    """A penalty for directions of the latent that depend on each other: what the treatments are compared with.

    ``hessian``: Hessian penalty (Peebles et al. 2020). ``normalised-hessian``: the same as a share of the whole Hessian
    (Hsu et al. 2024). ``orojar``: orthogonal Jacobian (Wei et al. 2021). ``ima``: the contrast of independent mechanism
    analysis (Gresele et al. 2021). ``jacobian-l1``: mean absolute entry of the Jacobian. ``vp``: variation
    predictability (Zhu et al. 2020), with a network that is trained beside the generator; for GANs.

    Computed on the picture, every ``every`` steps, multiplied by that number. ``hessian`` and ``orojar`` are sums over
    pixels of squares and fourth powers, so that what weight is right depends on the size of the picture: the ones that
    hold here without ``weight`` make them a tenth of a GAN's loss or so at 32 pixels. A VAE's loss is in nats a picture
    (hundreds), so that its weight is always to be given. ``normalised-hessian`` and ``ima`` have no scale. ``ima`` and
    ``jacobian-l1`` take the derivative along every latent, each of which costs a pass.

    The authors' code of ``hessian`` and ``orojar`` takes the largest value of a batch (``reduction="max"``), which
    several processes cannot do from their parts; ``"sample"`` averages over the pictures, and half the variance in the
    orthogonal Jacobian.
    """

    kind: Kind = "none"
    weight: float | None = pydantic.Field(None, ge=0)
    every: int = pydantic.Field(1, ge=1)
    samples: int = pydantic.Field(2, ge=2, description="random directions of hessian, normalised-hessian and orojar")
    epsilon: float = pydantic.Field(0.1, gt=0, description="length of the differences; not of vp")
    reduction: Literal["sample", "max", "mean"] = pydantic.Field(
        "sample",
        description="over a batch, of hessian and orojar; max is the authors', sample that of several processes",
    )

    @property
    def scale(self) -> float:
        """The weight, given or not."""
        return _WEIGHTS[self.kind] if self.weight is None else self.weight


_WEIGHTS: dict[Kind, float] = {
    "none": 0.0,
    "hessian": 2e-4,
    "normalised-hessian": 0.1,
    "orojar": 2e-8,
    "ima": 0.1,
    "jacobian-l1": 1.0,
    "vp": 0.1,
}


def independence(
    penalty: GeneratorPenaltyConfig, function: Callable[[Tensor], Tensor], latents: Tensor, walked: Tensor, *,
    batch: int, shard: slice, stream: Callable[[str], torch.Generator],
) -> Tensor:  # fmt: skip
    """The penalty at some latents, but for ``vp``; 0-d.

    Args:
        penalty: which, and how.
        function: the generator, from latents to pictures.
        latents: (n, d), those of this process.
        walked: (d,) 1 for the coordinates that count, else 0.
        batch: latents over all processes, for which the random directions are drawn.
        shard: this process' part of them.
        stream: a random stream of this step by its name.
    """
    if penalty.kind in ("ima", "jacobian-l1"):
        axes = torch.diag(walked)[walked > 0]
        compute = ima_contrast if penalty.kind == "ima" else jacobian_l1
        return compute(function, latents, axes, epsilon=penalty.epsilon)
    size = (penalty.samples, batch, latents.shape[1])
    signs = rademacher(*size, stream("penalty, signs"))[:, shard].to(latents) * walked
    if penalty.kind == "normalised-hessian":
        normals = torch.randn(size, generator=stream("penalty, normals"))[:, shard].to(latents) * walked
        return normalised_hessian_penalty(function, latents, signs, normals, epsilon=penalty.epsilon)
    directed = hessian_penalty if penalty.kind == "hessian" else jacobian_penalty
    return directed(function, latents, signs, epsilon=penalty.epsilon, reduction=penalty.reduction)
