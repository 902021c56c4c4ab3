"""What each mode of a treatment makes of the step that an optimizer took: a table of pure functions.

The optimizer moves a weight ``W`` by ``-D``. A mode turns its direction ``D / lr`` (the gradient for plain SGD, else
whatever momentum or Adam made of it) into the new weight; mode ``"gradient"`` is no row, it leaves the step alone.
Weights are seen as (r, n) with the shorter side first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from disentangle.linalg import polar
from disentangle.optim.landing import landing_step
from disentangle.optim.pogo import pogo_step
from disentangle.optim.scion import scion_step
from disentangle.optim.spel import spel_step
from disentangle.optim.stiefel import excess
from disentangle.optim.treatment import ON_MANIFOLD, Mode, TreatmentOptions

__all__ = ["new_weight", "orthogonal_direction", "retracted", "step_direction"]

logger = logging.getLogger(__name__)

# A weight farther from the manifold, in ||X X^T - I||_F, is put on it before a step that assumes it is near.
REACH = 0.5

Step = Callable[[Tensor, Tensor, float, TreatmentOptions], "tuple[Tensor, float | Tensor]"]


def _landing(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, Tensor]:
    pull = 1.0 if options.attraction is None else options.attraction
    assert not isinstance(pull, str)
    return landing_step(X, G, lr, attraction=pull, reach=REACH)


def _pogo(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    return pogo_step(X, G, lr, attraction=0.5 if options.attraction is None else options.attraction), lr


def _spel(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    return spel_step(X, G, lr, orthogonal=partial(orthogonal_direction, options=options)), lr


def _scion(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    return scion_step(X, G, lr, radius=options.radius, orthogonal=partial(orthogonal_direction, options=options)), lr


STEPS: dict[Mode, Step] = {
    "update": lambda X, G, lr, options: (X - lr * G, lr),  # G is orthogonal already: OLR had to see it
    "landing": _landing,
    "pogo": _pogo,
    "spel": _spel,
    "scion": _scion,
}


def step_direction(displacement: Tensor, lr: float, options: TreatmentOptions) -> Tensor:
    """The direction a mode's step follows, from the displacement an optimizer made with rate ``lr``; shape kept."""
    if options.mode != "update":
        return displacement / lr
    direction = orthogonal_direction(displacement, options)
    # With scale "none" the step is lr * polar; otherwise its length comes from the displacement, lr included.
    return direction if options.scale == "none" else direction / lr


def new_weight(weight: Tensor, direction: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    """The weight after a step with rate ``lr`` along ``direction`` (same shape), and the rate that was used."""
    X, G = (x.flatten(1) if x.dtype == torch.float64 else x.flatten(1).float() for x in (weight, direction))
    # Landing's papers have orthonormal columns, POGO's rows: off the manifold a square weight is not the same to both.
    tall = X.shape[0] > X.shape[1] or (X.shape[0] == X.shape[1] and options.mode == "landing")
    if tall:
        X, G = X.mT, G.mT
    with torch.autocast(X.device.type, enabled=False):
        if options.mode in ON_MANIFOLD and not bool(torch.linalg.matrix_norm(excess(X)) <= REACH):
            X = polar(X, rank_deficient="complete")
        updated, rate = STEPS[options.mode](X, G, lr, options)
    return (updated.mT if tall else updated).reshape(weight.shape).to(weight.dtype), float(rate)


def orthogonal_direction(matrix: Tensor, options: TreatmentOptions) -> Tensor:
    """``polar`` of a gradient or displacement (m, n, ...) with the chosen length; shape kept."""
    flat = matrix.flatten(1)
    try:
        factor = polar(flat, method=options.method, rank_deficient=options.rank_deficient)
    except torch.linalg.LinAlgError as error:  # an eigensolver that does not converge must not end a training
        logger.warning("%s; Newton-Schulz is used for this step of a weight %s", error, tuple(matrix.shape))
        factor = polar(flat, method="newton_schulz")
    if options.scale != "none":
        # Norms of entries up to 1 and the largest entry, one after the other: their product may leave the type's range.
        largest = flat.abs().amax()
        flat = flat / torch.where(largest > 0, largest, torch.ones_like(largest))
        if options.scale == "grad_norm":
            norm = torch.linalg.matrix_norm(factor)
            length = torch.linalg.matrix_norm(flat) / torch.where(norm > 0, norm, torch.ones_like(norm))
        else:
            length = (flat * factor).sum()  # <M, polar(M)> is the nuclear norm
        factor = (factor * length) * largest
    return factor.reshape(matrix.shape)


def retracted(weight: Tensor) -> Tensor:
    """The nearest weight with an orthonormal shorter side; shape kept."""
    return polar(weight.flatten(1), rank_deficient="complete").reshape(weight.shape)
