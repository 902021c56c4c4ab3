"""The mapping network of the StyleGANs: z, and a class, to w.

Source: Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", CVPR 2019;
Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020 (classes).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disentangle.models.ops.equalized import EqualizedLinear, pixel_norm

__all__ = ["MappingNetwork"]


class MappingNetwork(nn.Module):
    """``depth`` equalised linear layers with leaky relu, of a learning rate multiplier, on the normalised z.

    Args:
        z_dim: dimension of z.
        w_dim: dimension of w and of the hidden layers.
        c_dim: classes; their one-hot vector is embedded, normalised by itself and put after z. 0 for none.
        depth: linear layers.
        multiplier: their learning rate multiplier.
        gain_first: see :class:`EqualizedLinear`; StyleGAN has it, its successors have not.

    Attributes:
        w_avg: (w_dim,) mean of w, which truncation pulls towards.
    """

    w_avg: Tensor

    def __init__(
        self, *, z_dim: int, w_dim: int, c_dim: int = 0, depth: int = 8, multiplier: float = 0.01,
        gain_first: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.depth = depth
        embedded = w_dim if c_dim else 0
        if c_dim:
            self.embed = EqualizedLinear((c_dim, w_dim))
        for i in range(depth):
            inputs = z_dim + embedded if i == 0 else w_dim
            layer = EqualizedLinear((inputs, w_dim), multiplier=multiplier, activation="lrelu", gain_first=gain_first)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """(n, z_dim) and, in a conditional network, (n, c_dim) to (n, w_dim)."""
        x = pixel_norm(z)
        if classes is not None:
            x = torch.cat([x, pixel_norm(self.embed(classes.to(z)))], dim=1)
        for i in range(self.depth):
            x = self.get_submodule(f"fc{i}")(x)
        return x
