"""NOG, the nearest orthogonal gradient: a direction is replaced by its polar factor, with a chosen length.

In mode ``"gradient"`` that is the gradient, and the optimizer's own step follows; in mode ``"update"`` what the
optimizer made of it: OLR then has to see the orthogonal direction, so that the step itself is a plain one.

Source: Song, Sebe, Wang, "Orthogonal SVD Covariance Conditioning and Latent Disentanglement", TPAMI 2023.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from disentangle.linalg import polar
from disentangle.optim.mode import Mode

if TYPE_CHECKING:
    from disentangle.optim.treatment import TreatmentOptions

__all__ = ["GRADIENT", "UPDATE", "orthogonal_direction"]

logger = logging.getLogger(__name__)


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


def _plain_step(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    return X - lr * G, lr


GRADIENT = Mode("gradient", "The gradient is treated before the optimizer's step, as published.", None, alone=False)
UPDATE = Mode(
    "update",
    "The step that the optimizer made of the gradient is treated, so that it is orthogonal itself.",
    _plain_step,
    needs={"nog": "mode='update' makes the step orthogonal, which is NOG; pass nog=True with it."},
    alone=False,
    after_optimizer=True,
)
