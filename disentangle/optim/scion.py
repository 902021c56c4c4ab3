"""Scion: a conditional gradient step in the ball of matrices whose spectral norm is at most a radius.

    X <- (1 - t) X - t rho polar(m)

``-rho polar(m)`` minimises ``<m, S>`` over the ball ``||S||_2 <= rho``, so X moves towards that corner of the ball by
the share t, the learning rate: ``||X||_2`` never exceeds the larger of rho and where it began, without a projection.
It bounds the largest singular value only; X does not become orthogonal.

Source: Pethick et al., "Training Deep Learning Models with Norm-Constrained LMOs", ICML 2025, arXiv 2502.07529
(the constrained variant with the spectral norm; the average m is the optimizer's momentum). The radius of the authors'
code is ``scale (rows / columns)^(1/2)`` of a matrix, and its polar factor five steps of a Newton-Schulz iteration in
bfloat16, whose singular values lie within about 0.3 of 1; here the factor is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from disentangle.checks import check_number
from disentangle.errors import InputError
from disentangle.linalg import polar
from disentangle.optim.mode import OWN_LENGTH, OWN_POLAR, Mode, Option
from disentangle.optim.nog import orthogonal_direction

if TYPE_CHECKING:
    from disentangle.optim.treatment import TreatmentOptions

__all__ = ["MODE", "scion_step"]


def scion_step(
    X: Tensor, G: Tensor, lr: float, *, radius: float = 1.0, orthogonal: Callable[[Tensor], Tensor] = polar
) -> Tensor:
    """One step from ``X`` (r, n) along ``G`` (r, n), the average of the gradients; the new X.

    Args:
        lr: t, in [0, 1].
        radius: rho, above 0.
        orthogonal: the polar factor of G.

    Raises:
        InputError: if lr is above 1, which would leave the ball.
    """
    if not 0 <= lr <= 1:
        raise InputError(f"The learning rate is {lr}; mode='scion' moves by a share of the way, so expected 0 to 1.")
    return (1 - lr) * X - (lr * radius) * orthogonal(G)


def _step(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    orthogonal = partial(orthogonal_direction, options=options)
    return scion_step(X, G, lr, radius=options.own("radius"), orthogonal=orthogonal), lr


MODE = Mode(
    "scion",
    "Moves by a share of the way to the boundary of a ball of the spectral norm, and so never leaves that.",
    _step,
    options={
        "radius": Option("largest spectral norm", 1.0, lambda given: check_number("radius", given, above=0)),
    },
    refuses={
        "olr": OWN_LENGTH,
        "nog": OWN_POLAR,
        "retraction": "its weights lie inside a ball, not on it; leave retraction out",
        "scale": "the length of its step is radius times the rate; leave scale out",
    },
)
