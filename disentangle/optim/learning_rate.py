"""OLR, the optimal learning rate: the step along the gradient after which a weight is nearest to orthogonal.

With ``A = W W^T``, ``B = W L^T + L W^T``, ``C = L L^T`` and Frobenius products, the objective

    f(t) = ||(W - t L)(W - t L)^T - I||^2
         = ||A - I||^2 - 2 t <A - I, B> + t^2 (||B||^2 + 2 <A - I, C>) - 2 t^3 <B, C> + t^4 ||C||^2

is an exact quartic. Three rates are offered:

``released``
    what the paper's code computes on the vectorised weight ``w`` and gradient ``l``:
    ``(w.w)(l.w) / ((w.w)(l.l) + 2 (l.w)^2)``, which is one Newton step on ``|w - t l|^4 / 4``. It knows the norm of the
    weight and its angle to the gradient, not its orthogonality; before a layer that removes scale ``l.w`` vanishes.
``matrix``
    the minimiser of ``f`` up to second order, ``<A - I, B> / (||B||^2 + 2 <A - I, C>)``: what the derivation intends.
``exact``
    the global minimiser of ``f`` on ``[0, maximum]``.

Source: Song, Sebe, Wang, "Orthogonal SVD Covariance Conditioning and Latent Disentanglement", TPAMI 2023, optimal
learning rate; the quartic is a derivation of ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from disentangle.errors import InputError, unknown_name
from disentangle.linalg.matrices import excess

__all__ = ["Form", "accepted_learning_rate", "optimal_learning_rate", "orthogonality_quartic"]

Form = Literal["released", "matrix", "exact"]
FORMS = ("released", "matrix", "exact")


def optimal_learning_rate(
    weight: Tensor, gradient: Tensor, form: Form = "matrix", *, maximum: float = math.inf
) -> Tensor:
    """Rate that brings ``weight - rate * gradient`` nearest to orthogonal, by one of three forms.

    Args:
        weight: (m, n, ...) with at least two dimensions; flattened to (m, rest). The shorter side is made orthonormal.
        gradient: same shape, the direction of descent.
        form: ``"released"``, ``"matrix"`` or ``"exact"``, see the module's description.
        maximum: upper end of the interval for ``"exact"``; the others ignore it.

    Returns:
        0-d float64 tensor on the weight's device. NaN where undefined: zero or non-finite gradient, or (``matrix``)
        an objective without a minimum up to second order. Negative or large rates are returned as they come; whether
        to use one is :func:`accepted_learning_rate`'s decision.

    Raises:
        InputError: if the shapes differ or have fewer than two dimensions, or the form is unknown.

    >>> weight = 2 * torch.eye(2, 3)
    >>> optimal_learning_rate(weight, weight, form="exact").item()
    0.5
    """
    if form not in FORMS:
        raise unknown_name("form of the optimal learning rate", str(form), FORMS)
    if weight.shape != gradient.shape:
        raise InputError(
            f"weight has shape {tuple(weight.shape)} and gradient {tuple(gradient.shape)}; expected the same."
        )
    if weight.ndim < 2:
        raise InputError(f"weight has shape {tuple(weight.shape)}; expected at least two dimensions.")
    numbers = rate_numbers(weight, gradient, form)
    rate = rate_from_numbers(numbers.tolist(), form, maximum)
    return torch.tensor(rate, dtype=torch.float64, device=weight.device)


def accepted_learning_rate(rate: float, base: float) -> float:
    """The paper's rule: ``rate`` if ``0 < rate < base``, else ``base`` (also for NaN)."""
    return rate if 0 < rate < base else base


def orthogonality_quartic(weight: Tensor, gradient: Tensor) -> Tensor:
    """Coefficients of ``f(t) = ||(W - tL)(W - tL)^T - I||_F^2``, highest power first; (5,) float64.

    ``weight`` and ``gradient`` (m, n, ...) are flattened to matrices; the shorter side is used.
    """
    w, l = (x.detach().flatten(1).double() for x in (weight, gradient))
    if w.shape[0] > w.shape[1]:
        w, l = w.mT, l.mT
    error = excess(w)
    cross = w @ l.mT
    b = cross + cross.mT
    c = l @ l.mT
    return torch.stack(
        [
            (c * c).sum(),
            -2 * (b * c).sum(),
            (b * b).sum() + 2 * (error * c).sum(),
            -2 * (error * b).sum(),
            (error * error).sum(),
        ]
    )


def rate_numbers(weight: Tensor, gradient: Tensor, form: Form) -> Tensor:
    """What a rate is made of, as one small tensor, so that many rates cost one transfer from a device.

    (3,) ``w.w, l.w, l.l`` and, except for ``released``, the five coefficients of the quartic; float64.
    """
    w, l = (x.detach().reshape(-1).double() for x in (weight, gradient))
    dots = torch.stack([w @ w, l @ w, l @ l])
    if form == "released":
        return dots
    return torch.cat([dots, orthogonality_quartic(weight, gradient)])


def rate_from_numbers(numbers: Sequence[float], form: Form, maximum: float = math.inf) -> float:
    """The rate from :func:`rate_numbers`; NaN where undefined."""
    ww, lw, ll = numbers[:3]
    if not all(map(math.isfinite, numbers)) or ll == 0:
        return math.nan
    if form == "released":
        denominator = ww * ll + 2 * lw * lw
        return ww * lw / denominator if denominator > 0 else math.nan
    quartic = numbers[3:]
    if form == "matrix":
        curvature, slope = quartic[2], quartic[3]
        return -slope / (2 * curvature) if curvature > 0 else math.nan
    return _minimise_quartic(quartic, maximum)


def cosine_from_numbers(numbers: Sequence[float]) -> float:
    """Cosine of the angle between weight and gradient, from :func:`rate_numbers`."""
    ww, lw, ll = numbers[:3]
    return lw / math.sqrt(ww * ll) if ww * ll > 0 else math.nan


def _minimise_quartic(coefficients: Sequence[float], maximum: float) -> float:
    """Global minimiser on [0, maximum] of a quartic with positive leading coefficient."""
    # The leading coefficient ||C||^2 is positive for a non-zero gradient. Substituting t = s / scale makes it 1, so
    # that the roots of the derivative are found with well-scaled numbers.
    scale = coefficients[0] ** 0.25
    scaled = np.array([c / scale**power for c, power in zip(coefficients, (4, 3, 2, 1, 0), strict=True)])
    roots = np.roots(np.polyder(scaled))
    stationary = [root.real / scale for root in roots if abs(root.imag) <= 1e-8 * max(1.0, abs(root))]
    candidates = [0.0, *(t for t in stationary if 0 <= t <= maximum)]
    if math.isfinite(maximum):
        candidates.append(maximum)
    return float(min(candidates, key=lambda t: np.polyval(scaled, t * scale)))
