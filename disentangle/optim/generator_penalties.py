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
Reduction = Literal["max", "mean", "sample"]


def rademacher(samples: int, n: int, d: int, generator: torch.Generator | None = None) -> Tensor:
    """(samples, n, d) random signs, +1 or -1, drawn on the CPU."""
    return 2.0 * torch.randint(2, (samples, n, d), generator=generator) - 1.0


def hessian_penalty(
    function: Function, latents: Tensor, directions: Tensor, *, epsilon: float = 0.1,
    reduction: Reduction = "max",
) -> Tensor:  # fmt: skip
    """The Hessian penalty: how far the Hessian of each output is from diagonal; 0-d.

    For random signs ``v`` the variance of ``v^T H v`` is twice the sum of the squared off-diagonal entries of H; the
    second derivative along v is the central difference ``(f(z + e v) - 2 f(z) + f(z - e v)) / e^2``.

    Source: Peebles et al., "The Hessian Penalty", ECCV 2020, equations 2 to 7; the reductions "max" and "mean" and the
    sum over activations are those of its code.

    Args:
        function: the generator.
        latents: (n, d).
        directions: (k, n, d), k at least 2, of :func:`rademacher`.
        epsilon: length of the difference.
        reduction: of the variances of an activation: ``"max"`` the largest of all samples and outputs, ``"mean"`` their
            mean, ``"sample"`` the mean over the samples of each one's largest, which does not grow with the batch and
            may be averaged over its parts. Several activations are added up.

    Raises:
        InputError: if the directions do not fit the latents or there is one only, or the reduction is unknown.
    """
    _check(latents, directions, reduction)
    k, n = len(directions), len(latents)
    steps = epsilon * directions
    points = torch.cat([latents[None], latents + steps, latents - steps]).flatten(0, 1)
    penalties = []
    for values in _activations(function(points)):
        centre, ahead, behind = values.reshape(2 * k + 1, n, -1).split([1, k, k])
        variance = ((ahead - 2 * centre + behind) / epsilon**2).var(dim=0)
        penalties.append(variance.amax(dim=1).mean() if reduction == "sample" else _reduced(variance, reduction))
    return torch.stack(penalties).sum()


def jacobian_penalty(
    function: Function, latents: Tensor, directions: Tensor, *, epsilon: float | None = 0.1,
    reduction: Reduction = "max",
) -> Tensor:  # fmt: skip
    """The orthogonal Jacobian penalty: ``sum_{i != j} (J_i^T J_j)^2`` over the columns of the Jacobian; 0-d.

    For random signs ``v`` the variance of ``|J v|^2`` is twice that sum.

    Source: Wei et al., "Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation",
    ICCV 2021, equations 4 and 6; the reductions "max" and "mean" and the sum over activations are those of its code.

    Args:
        function: the generator.
        latents: (n, d).
        directions: (k, n, d), k at least 2, of :func:`rademacher`.
        epsilon: length of the forward difference that stands for ``J v``; None for the exact derivative.
        reduction: of the variances of the samples: ``"max"`` the largest, ``"mean"`` the mean, ``"sample"`` half the
            mean, an estimate of the sum above. Several activations are added up.

    Raises:
        InputError: if the directions do not fit the latents or there is one only, or the reduction is unknown.
    """
    _check(latents, directions, reduction)
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
    variances = [product.square().sum(dim=2).var(dim=0) for product in products]
    return torch.stack([v.mean() / 2 if reduction == "sample" else _reduced(v, reduction) for v in variances]).sum()


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


def _reduced(variances: Tensor, reduction: Reduction) -> Tensor:
    return variances.amax() if reduction == "max" else variances.mean()


def _check(latents: Tensor, directions: Tensor, reduction: str) -> None:
    if reduction not in ("max", "mean", "sample"):
        raise unknown_name("reduction", str(reduction), ("max", "mean", "sample"))
    if latents.ndim != 2 or directions.ndim != 3 or directions.shape[1:] != latents.shape or len(directions) < 2:
        raise InputError(
            f"directions have shape {tuple(directions.shape)} for latents {tuple(latents.shape)}; expected "
            "(k, n, d) with k at least 2 for latents (n, d)."
        )


def _activations(values: Any) -> Sequence[Tensor]:
    return (values,) if isinstance(values, Tensor) else values
