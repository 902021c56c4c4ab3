"""Latent projections: the layers that carry a latent into features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SubspaceProjection"]


class SubspaceProjection(nn.Module):
    """EigenGAN's linear subspace of a feature space: ``phi(z) = (L * z) U + mu``.

    Source: He, Kan, Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs", ICCV 2021, equation 1.

    Args:
        basis: number of directions k, at most ``features``.
        features: dimension of the feature space.

    Attributes:
        U: (k, features) basis, rows orthonormal at the start.
        L: (k,) importance of each direction, 3k, 3(k-1), ..., 3 at the start.
        mu: (features,) origin of the subspace.
    """

    def __init__(self, basis: int, features: int) -> None:
        super().__init__()
        self.U = nn.Parameter(nn.init.orthogonal_(torch.empty(basis, features)))
        self.L = nn.Parameter(3.0 * torch.arange(basis, 0, -1, dtype=torch.float32))
        self.mu = nn.Parameter(torch.zeros(features))

    def forward(self, z: Tensor) -> Tensor:
        """(n, k) coordinates to (n, features)."""
        return torch.addmm(self.mu, self.L * z, self.U)

    def matrix(self) -> Tensor:
        """(features, k): the linear map from coordinates to features, ``U^T diag(L)``."""
        return (self.L.unsqueeze(1) * self.U).mT

    def extra_repr(self) -> str:
        return f"basis={self.U.shape[0]}, features={self.U.shape[1]}"
