"""SPEL: steepest descent in the spectral norm within the tangent space, then back to orthonormal rows.

    X <- polar(X - lr polar(grad f(X))),    grad f(X) = G - sym(G X^T) X

Two polar factors a step and no inner loop; every iterate has orthonormal rows to rounding. Like NOG it goes as far
however small the gradient is, unless the direction is given a length.

Source: Yang and Lai, "Manifold constrained steepest descent", arXiv 2601.21487, 2026 (SPEL: spectral norm, Stiefel
manifold).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from disentangle.linalg import polar
from disentangle.optim.mode import OWN_LENGTH, OWN_POLAR, PULLS, Mode
from disentangle.optim.nog import orthogonal_direction
from disentangle.optim.stiefel import riemannian_gradient

if TYPE_CHECKING:
    from disentangle.optim.treatment import TreatmentOptions

__all__ = ["MODE", "spel_step"]


def spel_step(X: Tensor, G: Tensor, lr: float, *, orthogonal: Callable[[Tensor], Tensor] = polar) -> Tensor:
    """One step from ``X`` (r, n), r <= n, with orthonormal rows along ``G`` (r, n); the new X.

    Args:
        lr: spectral norm of the step, where ``orthogonal`` is the plain polar factor.
        orthogonal: what is made of the Riemannian gradient.
    """
    gradient = riemannian_gradient(X, G)
    # Where X is stationary the projection leaves rounding of G, whose polar factor would be a random step of full size.
    noise = len(X) * torch.finfo(G.dtype).eps * torch.linalg.matrix_norm(G)
    gradient = torch.where(torch.linalg.matrix_norm(gradient) <= noise, torch.zeros_like(G), gradient)
    return polar(X - lr * orthogonal(gradient), rank_deficient="complete")


def _step(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    return spel_step(X, G, lr, orthogonal=partial(orthogonal_direction, options=options)), lr


MODE = Mode(
    "spel",
    "The steepest descent in the spectral norm along the manifold of orthogonal weights, which it never leaves.",
    _step,
    refuses={
        "olr": OWN_LENGTH,
        "nog": OWN_POLAR,
        "ol": PULLS,
        "retraction": "it ends with that retraction already; leave retraction out",
    },
    on_manifold=True,
)
