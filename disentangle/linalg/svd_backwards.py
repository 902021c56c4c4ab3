"""The published backward passes of the SVD meta-layer, kept for comparison; none is as exact as the default.

All of them write the derivative of an eigenvector with ``K_ij = 1 / (l_i - l_j)``, which makes the divided difference
``K_ij f_i + K_ji f_j``, and differ in what they put for K where eigenvalues are close. Definitions: Song, Sebe and
Wang, ICCV 2021 (Taylor, Pade, the cut-offs); Wang et al., NeurIPS 2019 (power iteration). In their code the forward
pass is a singular value decomposition, which is the eigendecomposition for these matrices. Between equal eigenvalues
K_ij and K_ji have one sign in their code, so that the two terms add up instead of cancelling, as they do here:

    svd_plain        K itself. For equal eigenvalues its infinity becomes the largest finite entry of K in the batch.
    svd_trunc        K held within 1e10 in size; 1e10 for equal eigenvalues.
    svd_top_n        svd_plain after the 50 smallest eigenvalues were set to the floor, where they are all equal.
    svd_taylor       (1 / l_i) sum_{k=0..100} (l_j / l_i)^k for l_i >= l_j, and K_ji = -K_ij; 101 / l_i for equal ones.
                     A relative error of (l_j / l_i)^101: 2e-4 at a ratio of 0.92.
    svd_pade         (1 / l_i) / (1 - l_j / l_i): the diagonal [50/50] Pade approximant of 1 / (1 - x) *is* 1 / (1 - x),
                     so this is svd_plain, with the largest finite entry of K taken negative for equal eigenvalues:
                     there the published quotient, whose coefficients are rounding noise, is minus infinity. For
                     eigenvalues within some 1e-9 of each other it is noise too, which is not followed here.
    power_iteration  20 power steps from the exact eigenvector, later ones by deflation. In the eigenbasis the steps sum
                     to (1 / l_i) sum_{k=0..19} (l_j / l_i)^k for l_i >= l_j, and deflation gives K_ji one term less.

Their floor is the machine epsilon of float64 whatever the matrix, ours is relative to its largest eigenvalue: ``floor``
is that epsilon over the largest eigenvalue where a singular matrix is to be treated as theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SVD_STEPS", "keep_top", "svd_differences"]

# Default of `steps` by method: how many eigenvalues are dropped, the degree of the series, the power steps.
SVD_STEPS = {
    "svd_plain": None,
    "svd_trunc": None,
    "svd_top_n": 50,
    "svd_taylor": 100,
    "svd_pade": None,
    "power_iteration": 20,
}
_TRUNCATION = 1e10


def keep_top(eigenvalues: Tensor, least: Tensor, dropped: int) -> Tensor:
    """Eigenvalues (..., n) ascending with the smallest ones set to the floor; the largest is always kept."""
    n = eigenvalues.shape[-1]
    small = torch.arange(n, device=eigenvalues.device) < min(dropped, n - 1)
    return torch.where(small, torch.minimum(eigenvalues, least), eigenvalues)


def svd_differences(eigenvalues: Tensor, values: Tensor, exponent: float, method: str, steps: int) -> Tensor:
    """What takes the place of the divided differences (..., n, n) of ``values = eigenvalues^exponent`` (..., n)."""
    first, second = eigenvalues.unsqueeze(-1), eigenvalues.unsqueeze(-2)
    f, g = values.unsqueeze(-1), values.unsqueeze(-2)
    largest_number = torch.finfo(values.dtype).max
    difference = first - second
    equal = difference == 0
    if method in ("svd_plain", "svd_top_n", "svd_trunc", "svd_pade"):
        K = difference.masked_fill(equal, float("inf")).reciprocal()
        if method == "svd_trunc":
            K = K.clamp(-_TRUNCATION, _TRUNCATION)
            tied: float | Tensor = _TRUNCATION
        else:
            K = K.clamp(-largest_number, largest_number)
            tied = K.amax() if K.numel() else 0.0
        table = torch.where(equal, (-tied if method == "svd_pade" else tied) * (f + g), K * (f - g))
    else:
        upper, lower = torch.maximum(first, second), torch.minimum(first, second)
        ratio = lower / upper
        larger, smaller = torch.where(first >= second, f, g), torch.where(first >= second, g, f)
        if method == "svd_taylor":
            table = _geometric(ratio, steps + 1) / upper * torch.where(equal, f + g, larger - smaller)
        else:
            table = (_geometric(ratio, steps) * larger - _geometric(ratio, steps - 1) * smaller) / upper
    derivative = exponent * eigenvalues.pow(exponent - 1)
    diagonal = torch.eye(eigenvalues.shape[-1], dtype=torch.bool, device=eigenvalues.device)
    return torch.where(diagonal, derivative.unsqueeze(-1), table).clamp(-largest_number, largest_number)


def _geometric(ratio: Tensor, terms: int) -> Tensor:
    """``1 + r + ... + r^(terms - 1)`` for r in [0, 1]."""
    one = ratio == 1
    safe = ratio.masked_fill(one, 0)
    return ((1 - safe.pow(terms)) / (1 - safe)).masked_fill(one, terms)
