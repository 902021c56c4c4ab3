"""Penalties on a generator for latent directions that depend on each other: what the treatments are compared with.

Each is a function of a generator, or any decoder, ``f`` from latents (n, d) to pictures, or to a sequence of
activations (n, ...), and differentiable with respect to whatever ``f`` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.errors import InputError, unknown_name

__all__ = [
    "hessian_penalty",
    "ima_contrast",
    "jacobian_l1",
    "jacobian_penalty",
    "normalised_hessian_penalty",
    "rademacher",
    "variation_loss",
]

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
    products = _products(function, latents, directions, epsilon)
    variances = [product.square().sum(dim=2).var(dim=0) for product in products]
    return torch.stack([v.mean() / 2 if reduction == "sample" else _reduced(v, reduction) for v in variances]).sum()


def normalised_hessian_penalty(
    function: Function, latents: Tensor, signs: Tensor, normals: Tensor, *, scale: Tensor | None = None,
    epsilon: float = 0.1,
) -> Tensor:  # fmt: skip
    """The Hessian penalty as a share of all of the Hessian, which no scale of outputs or latents moves; 0-d.

    The variance of ``v^T H v`` is twice the squared off-diagonal for random signs v, and twice the squared sum of all
    entries for normal v. Their ratio is averaged over the batch and summed over the activations. As in the source the
    variances are those of the draws at hand (over k, not k - 1), which cancels.

    Source: Hsu et al., "Tripod: Three Complementary Inductive Biases for Disentangled Representation Learning",
    ICML 2024, and its released code.

    Args:
        function: the decoder.
        latents: (n, d).
        signs: (k, n, d), k at least 2, of :func:`rademacher`.
        normals: (k, n, d), standard normal.
        scale: (d,) by which steps are stretched, in the source the latents' standard deviations; 1 by default.
        epsilon: length of the difference.

    Raises:
        InputError: if the directions do not fit the latents or there is one only.
    """
    _check(latents, signs)
    if normals.shape != signs.shape:
        raise InputError(f"normals have shape {tuple(normals.shape)}; expected that of signs, {tuple(signs.shape)}.")
    k, n = len(signs), len(latents)
    steps = epsilon * torch.cat([signs, normals])
    if scale is not None:
        steps = steps * scale
    points = torch.cat([latents[None], latents + steps, latents - steps]).flatten(0, 1)
    penalties = []
    for values in _activations(function(points)):
        centre, ahead, behind = values.reshape(4 * k + 1, n, -1).split([1, 2 * k, 2 * k])
        second = (ahead - 2 * centre + behind) / epsilon**2
        off, whole = (part.var(dim=0, correction=0).mean(dim=1) for part in second.split(k))
        penalties.append((off / (whole + 1e-10)).mean())
    return torch.stack(penalties).sum()


def ima_contrast(
    function: Function, latents: Tensor, axes: Tensor | None = None, *, epsilon: float | None = 0.1,
    smallest: float = 1e-6,
) -> Tensor:  # fmt: skip
    """The contrast of independent mechanism analysis, C_IMA: 0 where the Jacobian's columns are orthogonal; 0-d.

    ``sum_i log |J_i| - 1/2 log det J^T J``, which is ``-1/2 log det`` of the matrix of the columns' cosines: no scale
    of outputs or latents moves it, and it is never negative. Averaged over the batch and over several activations.

    Source: Gresele et al., "Independent mechanism analysis, a new concept?", NeurIPS 2021, definition 4.2.

    Args:
        function: the decoder.
        latents: (n, d).
        axes: (k, d) whose columns are compared; the coordinates by default. The cost is k + 1 passes.
        epsilon: length of the forward difference that stands for the derivative; None for the exact one.
        smallest: added to the cosines' diagonal, since columns that coincide, or do nothing, have no finite contrast:
            the contrast is at most ``-k/2 log(smallest)`` or so.

    Raises:
        InputError: if the axes do not fit the latents.
    """
    directions = _along(latents, axes)
    contrasts = []
    for product in _products(function, latents, directions, epsilon):
        columns = product.transpose(0, 1)  # (n, k, outputs)
        lengths = columns.norm(dim=2, keepdim=True)
        columns = columns / torch.where(lengths > 0, lengths, torch.ones_like(lengths))
        cosines = columns @ columns.mT
        eye = torch.eye(cosines.shape[1], dtype=cosines.dtype, device=cosines.device)
        # a column that does nothing is orthogonal to all, and has length 1 here
        cosines = cosines * (1 - eye) + eye * (1 + smallest)
        contrasts.append(-0.5 * torch.linalg.slogdet(cosines / (1 + smallest)).logabsdet.mean())
    return torch.stack(contrasts).mean()


def jacobian_l1(
    function: Function, latents: Tensor, axes: Tensor | None = None, *, epsilon: float | None = 0.1
) -> Tensor:
    """The mean absolute entry of the Jacobian, small where each output depends on few latents; 0-d.

    Averaged over the batch and over several activations. It has no scale of its own: outputs that shrink pay less, so
    it needs a loss that holds them beside it.

    Args:
        function: the decoder.
        latents: (n, d).
        axes: (k, d) along which the derivative is taken; the coordinates by default. The cost is k + 1 passes.
        epsilon: length of the forward difference that stands for the derivative; None for the exact one.

    Raises:
        InputError: if the axes do not fit the latents.
    """
    products = _products(function, latents, _along(latents, axes), epsilon)
    return torch.stack([product.abs().mean() for product in products]).mean()


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


def _check(latents: Tensor, directions: Tensor, reduction: str = "mean") -> None:
    if reduction not in ("max", "mean", "sample"):
        raise unknown_name("reduction", str(reduction), ("max", "mean", "sample"))
    if latents.ndim != 2 or directions.ndim != 3 or directions.shape[1:] != latents.shape or len(directions) < 2:
        raise InputError(
            f"directions have shape {tuple(directions.shape)} for latents {tuple(latents.shape)}; expected "
            "(k, n, d) with k at least 2 for latents (n, d)."
        )


def _along(latents: Tensor, axes: Tensor | None) -> Tensor:
    """(k, n, d) directions, the same for every latent."""
    if latents.ndim != 2 or (axes is not None and (axes.ndim != 2 or axes.shape[1] != latents.shape[1])):
        given = "" if axes is None else f" with axes {tuple(axes.shape)}"
        raise InputError(f"latents have shape {tuple(latents.shape)}{given}; expected (n, d) and axes (k, d).")
    chosen = torch.eye(latents.shape[1]) if axes is None else axes
    return chosen.to(latents)[:, None].expand(-1, len(latents), -1)


def _products(function: Function, latents: Tensor, directions: Tensor, epsilon: float | None) -> list[Tensor]:
    """Of each activation the derivatives along (k, n, d) directions, (k, n, outputs)."""
    k, n = directions.shape[:2]
    if epsilon is None:
        repeated = latents.repeat(k, 1)
        moved = torch.func.jvp(lambda z: tuple(_activations(function(z))), (repeated,), (directions.flatten(0, 1),))[1]
        return [values.reshape(k, n, -1) for values in moved]
    points = torch.cat([latents[None], latents + epsilon * directions]).flatten(0, 1)
    products = []
    for values in _activations(function(points)):
        centre, ahead = values.reshape(k + 1, n, -1).split([1, k])
        products.append((ahead - centre) / epsilon)
    return products


def _activations(values: Any) -> Sequence[Tensor]:
    return (values,) if isinstance(values, Tensor) else values
