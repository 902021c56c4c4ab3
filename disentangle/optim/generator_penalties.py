"""Penalties on a generator for latent directions that depend on each other: what the treatments are compared with.

Each is a function of a generator ``f`` from latents (n, d) to pictures, or to a sequence of activations (n, ...), and
differentiable with respect to whatever ``f`` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.errors import InputError, unknown_name

__all__ = ["hessian_penalty", "jacobian_penalty", "rademacher", "variation_loss"]

Function = Callable[[Tensor], "Tensor | Sequence[Tensor]"]


def rademacher(samples: int, n: int, d: int, generator: torch.Generator | None = None) -> Tensor:
    """(samples, n, d) random signs, +1 or -1, drawn on the CPU."""
    return 2.0 * torch.randint(2, (samples, n, d), generator=generator) - 1.0


def hessian_penalty(
    function: Function, latents: Tensor, directions: Tensor, *, epsilon: float = 0.1,
    reduction: Literal["max", "mean"] = "max",
) -> Tensor:  # fmt: skip
    """The Hessian penalty: how far the Hessian of each output is from diagonal; 0-d.

    For random signs ``v`` the variance of ``v^T H v`` is twice the sum of the squared off-diagonal entries of H; the
    second derivative along v is the central difference ``(f(z + e v) - 2 f(z) + f(z - e v)) / e^2``.

    Source: Peebles et al., "The Hessian Penalty", ECCV 2020, equations 2 to 7.

    Args:
        function: the generator.
        latents: (n, d).
        directions: (k, n, d), k at least 2, of :func:`rademacher`.
        epsilon: length of the difference.
        reduction: over the outputs of a sample; the batch and several activations are averaged.

    Raises:
        InputError: if the directions do not fit the latents or there is one only.
    """
    if reduction not in ("max", "mean"):
        raise unknown_name("reduction", str(reduction), ("max", "mean"))
    _check(latents, directions)
    k, n = len(directions), len(latents)
    steps = epsilon * directions
    points = torch.cat([latents[None], latents + steps, latents - steps]).flatten(0, 1)
    penalties = []
    for values in _activations(function(points)):
        centre, ahead, behind = values.reshape(2 * k + 1, n, -1).split([1, k, k])
        variance = ((ahead - 2 * centre + behind) / epsilon**2).var(dim=0)
        penalties.append((variance.amax(dim=1) if reduction == "max" else variance.mean(dim=1)).mean())
    return torch.stack(penalties).mean()


def jacobian_penalty(function: Function, latents: Tensor, directions: Tensor, *, epsilon: float | None = 0.1) -> Tensor:
    """The orthogonal Jacobian penalty: ``sum_{i != j} (J_i^T J_j)^2`` over the columns of the Jacobian; 0-d.

    For random signs ``v`` the variance of ``|J v|^2`` is twice that sum, so half the variance over the directions is
    returned, averaged over the batch and over several activations.

    Source: Wei et al., "Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation",
    ICCV 2021, equations 4 and 6.

    Args:
        function: the generator.
        latents: (n, d).
        directions: (k, n, d), k at least 2, of :func:`rademacher`.
        epsilon: length of the forward difference that stands for ``J v``; None for the exact derivative.

    Raises:
        InputError: if the directions do not fit the latents or there is one only.
    """
    _check(latents, directions)
    k, n = len(directions), len(latents)
    if epsilon is None:
        repeated = latents.repeat(k, 1)
        moved = torch.func.jvp(lambda z: tuple(_activations(function(z))), (repeated,), (directions.flatten(0, 1),))[1]
        products = [values.reshape(k, n, -1) for values in moved]
    else:
        points = torch.cat([latents[None], latents + epsilon * directions]).flatten(0, 1)
        products = []
        for values in _activations(function(points)):
            centre, ahead = values.reshape(k + 1, n, -1).split([1, k])
            products.append((ahead - centre) / epsilon)
    return torch.stack([product.square().sum(dim=2).var(dim=0).mean() / 2 for product in products]).mean()


def variation_loss(predictor: Callable[[Tensor], Tensor], first: Tensor, second: Tensor, moved: Tensor) -> Tensor:
    """How badly a predictor tells from the difference of two pictures which coordinate was moved; nats, 0-d.

    Both the generator and the predictor are to lower it.

    Source: Zhu, Xu and Tao, "Learning Disentangled Representations with Latent Variation Predictability", ECCV 2020,
    equation 4.

    Args:
        predictor: pictures (n, C, H, W) to logits (n, coordinates).
        first, second: (n, C, H, W), made from latents that differ in one coordinate.
        moved: (n,) int64, which one.
    """
    return F.cross_entropy(predictor(second - first), moved)


def _check(latents: Tensor, directions: Tensor) -> None:
    if latents.ndim != 2 or directions.ndim != 3 or directions.shape[1:] != latents.shape or len(directions) < 2:
        raise InputError(
            f"directions have shape {tuple(directions.shape)} for latents {tuple(latents.shape)}; expected "
            "(k, n, d) with k at least 2 for latents (n, d)."
        )


def _activations(values: Any) -> Sequence[Tensor]:
    return (values,) if isinstance(values, Tensor) else values
