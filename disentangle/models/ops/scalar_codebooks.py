"""Scalar codebooks: each latent takes the nearest of a few numbers of its own, which are learnt.

Source: Hsu, Dorrell, Whittington, Wu, Finn, "Disentanglement via Latent Quantization", NeurIPS 2023, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ScalarCodebooks"]


class ScalarCodebooks(nn.Module):
    """The values of each of ``latents`` latents; evenly from -0.5 to 0.5 before training.

    Args:
        latents: d.
        values: numbers a latent can take, 2 or more.
    """

    def __init__(self, latents: int, values: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.linspace(-0.5, 0.5, values).repeat(latents, 1))

    def continuous(self, encoded: Tensor) -> Tensor:
        """What is quantised: the encoder's output (n, d) as it is."""
        return encoded

    def indices(self, continuous: Tensor) -> Tensor:
        """(n, d) int64: which value is the nearest, the first of two as near."""
        return (continuous[:, :, None] - self.values).abs().argmin(2)

    def nearest(self, continuous: Tensor) -> Tensor:
        """(n, d) values, with a gradient to the codebooks and none to what is quantised."""
        return self.values.expand(len(continuous), -1, -1).gather(2, self.indices(continuous)[:, :, None])[:, :, 0]

    def forward(self, continuous: Tensor) -> Tensor:
        """(n, d) nearest values, whose gradient goes straight through to what is quantised, and not to the codebooks.

        Computed as in the source, ``x + (value - x)``, whose rounding is that of the larger of both.
        """
        return continuous + (self.nearest(continuous) - continuous).detach()

    def levels(self) -> tuple[tuple[float, ...], ...]:
        """The values of each latent, in ascending order."""
        rows = self.values.detach().float().sort(dim=1).values.tolist()
        return tuple(map(tuple, rows))
