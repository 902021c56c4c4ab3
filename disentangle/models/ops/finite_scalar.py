"""Finite scalar quantisation: each latent is squashed to [-1, 1] and rounded to one of evenly spaced levels.

Source: Mentzer, Minnen, Agustsson, Tschannen, "Finite Scalar Quantization: VQ-VAE Made Simple", ICLR 2024; in the form
of Hsu et al., "Tripod", ICML 2024: both ends of the range are levels, whether their number is odd or even.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["FiniteScalars"]


class FiniteScalars(nn.Module):
    """``values`` evenly spaced levels from -1 to 1 for each of ``latents`` latents; nothing in it is trained."""

    def __init__(self, latents: int, values: int) -> None:
        super().__init__()
        self.latents, self.steps = latents, values - 1

    def continuous(self, encoded: Tensor) -> Tensor:
        """What is quantised: the hyperbolic tangent of the encoder's output (n, d)."""
        return torch.tanh(encoded)

    def indices(self, continuous: Tensor) -> Tensor:
        """(n, d) int64: which level is the nearest, the even one of two as near."""
        return torch.round((continuous + 1) / 2 * self.steps).clamp(0, self.steps).long()

    def nearest(self, continuous: Tensor) -> Tensor:
        """(n, d) levels, without a gradient."""
        return 2 * self.indices(continuous).to(continuous) / self.steps - 1

    def forward(self, continuous: Tensor) -> Tensor:
        """(n, d) nearest levels, whose gradient goes straight through to what is quantised."""
        return continuous + (self.nearest(continuous) - continuous).detach()

    def levels(self) -> tuple[tuple[float, ...], ...]:
        """The levels of each latent, in ascending order."""
        row = 2 * torch.arange(self.steps + 1, dtype=torch.float32) / self.steps - 1
        return (tuple(row.tolist()),) * self.latents
