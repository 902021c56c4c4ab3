"""How a discriminator is told which class a picture should be of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from disentangle.models.ops.equalized import EqualizedLinear, pixel_norm
from disentangle.models.ops.mapping import class_weights

__all__ = ["ClassProjection"]


class ClassProjection(nn.Module):
    """Logits of features and classes: their inner product with what a small network makes of the class.

    Sources: Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018; the network of the class as in Karras
    et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020.

    Args:
        c_dim: classes.
        features: dimension of what is projected on.
        depth: layers after the embedding.
        multiplier: learning rate multiplier of these.
    """

    def __init__(self, c_dim: int, features: int, *, depth: int = 8, multiplier: float = 0.01) -> None:
        super().__init__()
        self.c_dim = c_dim
        self.embed = EqualizedLinear((c_dim, features))
        self.layers = nn.ModuleList(
            EqualizedLinear((features, features), multiplier=multiplier, activation="lrelu") for _ in range(depth)
        )

    def forward(self, x: Tensor, label: int | Tensor | None) -> Tensor:
        """(n, features) and a class, (n,) classes or (n, c_dim) weights of classes, to (n,) logits."""
        classes = class_weights(label, self.c_dim, n=len(x))
        assert classes is not None
        y = pixel_norm(self.embed(classes.to(x)))
        for layer in self.layers:
            y = layer(y)
        return torch.einsum("nf,nf->n", x, y) / math.sqrt(x.shape[1])
