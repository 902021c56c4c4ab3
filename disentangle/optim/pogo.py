"""POGO: a tangent step with any optimizer's direction, then one proximal step back to orthonormal rows.

    M  = X - lr X skew(X^T G)
    X' = M - lambda N(M),    N(M) = (M M^T - I) M

With lambda = 1/2 the second line is one Newton-Schulz step towards the polar factor of M: an error ``d`` becomes about
``3 d^2 / 4``, and since the tangent step leaves only ``lr^2``, X stays on the manifold to ``lr^4``. The best lambda
minimises ``||X' X'^T - I||^2``, an exact quartic; it tends to 1/2 near the manifold. (The authors' code, which has 1/2
unless asked, looks for a root of that quartic instead, in single precision.)

Source: Javaloy and Vergari, "POGO: a Proximal One-step Geometric Orthoptimizer", arXiv 2602.14656, 2026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from disentangle.checks import check_number
from disentangle.errors import InputError
from disentangle.optim.learning_rate import rate_from_numbers, rate_numbers
from disentangle.optim.mode import NO_POLAR, OWN_LENGTH, PULLS, Mode, Option
from disentangle.optim.stiefel import normal_field, relative_gradient

if TYPE_CHECKING:
    from disentangle.optim.treatment import TreatmentOptions

__all__ = ["MODE", "best_attraction", "check_attraction", "pogo_step"]


def pogo_step(X: Tensor, G: Tensor, lr: float, *, attraction: float | Literal["quartic"] = 0.5) -> Tensor:
    """One step from ``X`` (r, n), r <= n, with nearly orthonormal rows along ``G`` (r, n); the new X.

    Args:
        lr: rate of the tangent step.
        attraction: lambda, or ``"quartic"`` for the best one, which costs a transfer to the host.
    """
    moved = X - lr * relative_gradient(X, G)
    normal = normal_field(moved)
    pull = best_attraction(moved, normal) if attraction == "quartic" else attraction
    return moved - pull * normal


def best_attraction(M: Tensor, normal: Tensor) -> float:
    """The lambda in [0, 1] after which ``M - lambda N(M)`` is nearest to orthonormal; 1/2 where rounding decides."""
    size = float(normal.abs().amax())
    if not size > 1e-7:
        return 0.5
    # The quartic is in lambda * size, so that its coefficients do not span the fourth power of a small number.
    best = rate_from_numbers(rate_numbers(M, normal / size, "exact").tolist(), "exact", size) / size
    return best if best > 0 else 0.5


def check_attraction(given: Any) -> None:
    """Refuse what is neither a number above 0 nor ``"quartic"``."""
    if given == "quartic":
        return
    try:
        check_number("attraction", given, above=0)
    except InputError as error:
        raise type(error)(f"{str(error).removesuffix('.')}, or 'quartic' for POGO.") from None


def _step(X: Tensor, G: Tensor, lr: float, options: TreatmentOptions) -> tuple[Tensor, float]:
    return pogo_step(X, G, lr, attraction=options.own("attraction")), lr


MODE = Mode(
    "pogo",
    "A step along the manifold of orthogonal weights, and one back to it that needs no decomposition.",
    _step,
    options={
        "attraction": Option("share of the way back, lambda; 'quartic' finds the best one", 0.5, check_attraction)
    },
    refuses={"olr": OWN_LENGTH, "ol": PULLS},
    refuses_without_nog={"scale": NO_POLAR},
    on_manifold=True,
)
