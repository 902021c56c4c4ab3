"""An encoder's posterior when the latents are turned."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["turn_posterior"]


@torch.no_grad()
def turn_posterior(mean: Tensor, log_variance: Tensor, rotation: Tensor) -> None:
    """Turn the last layer of an encoder, in place: its rows, or entries, for the mean and for the log-variance.

    The mean is turned exactly. A turned diagonal covariance is not diagonal, so that no such posterior is the old one:
    each new log-variance is the mean of the old ones with weights ``R_ij^2``. It lies between those of the two nearest
    diagonal Gaussians, in either order of the Kullback-Leibler divergence; the entropy stays; and it is exact where the
    mixed latents have one variance.
    """
    mean.copy_(torch.tensordot(rotation, mean.to("cpu", torch.float64), dims=1))
    log_variance.copy_(torch.tensordot(rotation.square(), log_variance.to("cpu", torch.float64), dims=1))
