"""The covariance of channels over samples, accumulated in float64.

Products of float32 numbers are exact in float64, so that the covariance of float32 data is positive semi-definite to
float64's rounding, and the noise that a float32 covariance shows (about 1e-7 of its largest eigenvalue, of either sign)
is absent. A whitening with a small ridge needs that: with rank 27 of 64 channels and a ridge of 1e-5 the float32
covariance alone costs four digits of the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.linalg.matrices import check_matrix

__all__ = ["covariance"]


def covariance(X: Tensor, *, correction: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and covariance of ``X`` over its last dimension, ``(X - mean)(X - mean)^T / (n - correction)``.

    Args:
        X: (..., c, n) real floating point, n samples of c channels; any memory layout, never modified.
        correction: 0 for the biased estimate of batch normalisation, 1 for the unbiased one.

    Returns:
        mean (..., c) and covariance (..., c, c), both float64 whatever the dtype of ``X``. The covariance is exactly
        symmetric. The same under autocast; differentiable to any order.

    Raises:
        InputError: if ``X`` is not a floating point tensor of two dimensions or more, or holds too few samples.

    >>> mean, matrix = covariance(torch.tensor([[1.0, 3.0], [0.0, 4.0]]))
    >>> matrix
    tensor([[1., 2.],
            [2., 4.]], dtype=torch.float64)
    """
    check_matrix(X, "covariance", sides="(..., channels, samples)")
    if X.shape[-1] <= correction:
        raise InputError(
            f"covariance got {X.shape[-1]} samples with correction {correction}; expected at least {correction + 1}."
        )
    wide = X.double()
    mean = wide.mean(-1)
    centred = wide - mean.unsqueeze(-1)
    product = centred @ centred.mT / (X.shape[-1] - correction)
    return mean, torch.lerp(product, product.mT, 0.5)  # the two halves of a product may be summed in different orders
