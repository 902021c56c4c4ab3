"""Landing: descend along the manifold of orthonormal rows and be pulled towards it, without a retraction.

    X <- X - eta (X skew(X^T G) + lambda N(X)),    N(X) = (X X^T - I) X

The two terms are orthogonal to each other. With ``E = X X^T - I``, ``d = ||E||``, ``F`` the whole field and
``b = ||F F^T||``, the first order of the tangent term cancels exactly,

    X' X'^T - I = E - 2 eta lambda (E + E^2) + eta^2 F F^T,

so that for ``2 eta lambda <= 1`` the new distance is at most ``d - 2 eta lambda (d - ||E^2||) + eta^2 b``. The *safe
step* is the largest eta that keeps this bound at most ``reach``: a weight as near as that stays so.

Source: Ablin and Peyré, "Fast and accurate optimization on the orthogonal manifold without retraction", AISTATS 2022
(field, safe step for square X); Ablin, Vary, Gao, Absil, JMLR 2024 (for rectangular X). Both have orthonormal columns,
so that a square weight is transposed before it comes here. The bound here keeps ``||E^2||`` and ``b`` exact, where the
papers and their code use ``d^2`` and ``||F||^2``: a step that has to be shortened is never shorter than theirs, and
longer as a rule; all others are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from disentangle.errors import ArgumentError
from disentangle.optim.mode import NO_POLAR, OWN_LENGTH, PULLS, REACH, Mode, Option
from disentangle.optim.pogo import check_attraction
from disentangle.optim.stiefel import excess

if TYPE_CHECKING:
    from disentangle.optim.treatment import TreatmentOptions

__all__ = ["MODE", "landing_field", "landing_step", "safe_step"]


def landing_step(
    X: Tensor, G: Tensor, lr: float, *, attraction: float = 1.0, reach: float = REACH
) -> tuple[Tensor, Tensor]:
    """One step from ``X`` (r, n), r <= n, along ``G`` (r, n): the new X, and the rate used as a 0-d tensor.

    Args:
        lr: the rate wanted; the safe one is used where it is smaller.
        attraction: lambda, above 0.
        reach: distance ``||X X^T - I||_F`` that is never exceeded, in (0, 1); X has to be within it.
    """
    E = excess(X)
    field = landing_field(X, G, E, attraction)
    rate = safe_step(E, field, attraction, reach).clamp(max=lr)
    return X - rate * field, rate


def landing_field(X: Tensor, G: Tensor, E: Tensor, attraction: float = 1.0) -> Tensor:
    """``X skew(X^T G) + lambda N(X)``, (r, n), with ``E = X X^T - I`` put to use in both terms."""
    return 0.5 * (G + E @ G) + (attraction * E - 0.5 * (X @ G.mT)) @ X


def safe_step(E: Tensor, field: Tensor, attraction: float = 1.0, reach: float = REACH) -> Tensor:
    """Largest rate with which ``X - rate * field`` provably stays within ``reach`` of the manifold; 0-d tensor."""
    norm = torch.linalg.matrix_norm
    d, b = norm(E), norm(field @ field.mT)
    c = attraction * (d - norm(E @ E))
    # the positive root of b eta^2 - 2 c eta = reach - d, clamped so that b = 0 needs no special case
    root = (c.square() + b * (reach - d).clamp(min=0)).sqrt()
    return ((c + root) / b.clamp(min=torch.finfo(b.dtype).tiny)).clamp(max=0.5 / attraction)


def _step(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, Tensor]:
    return landing_step(X, G, lr, attraction=options.own("attraction"))


def _check_attraction(given: Any) -> None:
    if given == "quartic":
        raise ArgumentError("attraction='quartic' belongs to mode='pogo'; give mode='landing' a number.")
    check_attraction(given)


MODE = Mode(
    "landing",
    "Descends along the manifold of orthogonal weights and is pulled towards it, without a retraction.",
    _step,
    options={"attraction": Option("the pull towards the manifold, lambda", 1.0, _check_attraction)},
    refuses={"olr": OWN_LENGTH, "ol": PULLS},
    refuses_without_nog={"scale": NO_POLAR},
    on_manifold=True,
    of_columns=True,
)
