"""What the mode of a treatment makes of the step that an optimizer took.

The optimizer moves a weight ``W`` by ``-D``. A mode (:class:`~disentangle.optim.mode.Mode`) turns its direction
``D / lr`` (the gradient for plain SGD, else whatever momentum or Adam made of it) into the new weight; mode
``"gradient"`` has no step, it leaves the optimizer's alone. Weights are seen as (r, n) with the shorter side first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.linalg import polar
from disentangle.optim.mode import REACH
from disentangle.optim.nog import orthogonal_direction
from disentangle.optim.stiefel import excess
from disentangle.optim.treatment import TreatmentOptions

__all__ = ["new_weight", "retracted", "step_direction"]


def step_direction(displacement: Tensor, lr: float, options: TreatmentOptions) -> Tensor:
    """The direction a mode's step follows, from the displacement an optimizer made with rate ``lr``; shape kept."""
    if not (options.nog and options.chosen_mode.after_optimizer):
        return displacement / lr
    direction = orthogonal_direction(displacement, options)
    # With scale "none" the step is lr * polar; otherwise its length comes from the displacement, lr included.
    return direction if options.scale == "none" else direction / lr


def new_weight(weight: Tensor, direction: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    """The weight after a step with rate ``lr`` along ``direction`` (same shape), and the rate that was used."""
    X, G = (x.flatten(1) if x.dtype == torch.float64 else x.flatten(1).float() for x in (weight, direction))
    mode = options.chosen_mode
    assert mode.step is not None
    tall = X.shape[0] > X.shape[1] or (X.shape[0] == X.shape[1] and mode.of_columns)
    if tall:
        X, G = X.mT, G.mT
    with torch.autocast(X.device.type, enabled=False):
        if mode.on_manifold and not bool(torch.linalg.matrix_norm(excess(X)) <= REACH):
            X = polar(X, rank_deficient="complete")
        updated, rate = mode.step(X, G, lr, options)
    return (updated.mT if tall else updated).reshape(weight.shape).to(weight.dtype), float(rate)


def retracted(weight: Tensor) -> Tensor:
    """The nearest weight with an orthonormal shorter side; shape kept."""
    return polar(weight.flatten(1), rank_deficient="complete").reshape(weight.shape)
