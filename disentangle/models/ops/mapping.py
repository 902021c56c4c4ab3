"""The mapping network of the StyleGANs: z, and a class, to w.

Source: Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", CVPR 2019;
Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020 (classes).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.models.ops.equalized import Activation, EqualizedLinear, pixel_norm

__all__ = ["MappingNetwork", "class_weights"]


def class_weights(label: int | Tensor | None, c_dim: int, *, n: int) -> Tensor | None:
    """(n, c_dim) one-hot classes; None for an unconditional network.

    Args:
        label: one class for all, (n,) classes, or (n, c_dim) weights of classes, returned as they are.
        c_dim: classes of the network, 0 if it has none.
        n: latents.

    Raises:
        InputError: if a class is missing, out of range or not wanted.
    """
    if not c_dim:
        if label is not None and torch.as_tensor(label).numel():
            raise InputError("a label was given, but this network has no classes; leave it out.")
        return None
    if label is None:
        raise InputError(f"this network has {c_dim} classes and none was given; choose one by label (--label).")
    given = torch.as_tensor(label)
    if given.shape == (n, c_dim):
        return given
    if given.is_floating_point() or given.ndim > 1 or (given.ndim == 1 and len(given) not in (1, n)):
        raise InputError(
            f"label has shape {tuple(given.shape)} and dtype {given.dtype}; expected a class, ({n},) classes or "
            f"({n}, {c_dim}) weights of classes."
        )
    if given.numel() and not 0 <= int(given.min()) <= int(given.max()) < c_dim:
        raise InputError(f"label is {given.flatten().tolist()}; expected 0 to {c_dim - 1}.")
    return F.one_hot(given.long().expand(n), c_dim)


class MappingNetwork(nn.Module):
    """``depth`` equalised linear layers with a nonlinearity, of a learning rate multiplier, on the normalised z.

    Args:
        z_dim: dimension of z; 0 where w follows from the class alone.
        w_dim: dimension of w.
        c_dim: classes; their one-hot vector is embedded, normalised and put after z. 0 for none.
        depth: linear layers.
        multiplier: their learning rate multiplier.
        gain_first: see :class:`EqualizedLinear`; StyleGAN has it, its successors have not.
        hidden: outputs of all layers but the last; None for ``w_dim``.
        embedding: numbers that a class is embedded in; None for ``w_dim``.
        class_norm: "apart" normalises the embedded class by itself, as ADA does; "together" embeds it without a bias
            and normalises it with z as one vector, as before ADA.
        activation: see :func:`disentangle.models.ops.equalized.activated`.
        normalized: whether z (and with "together" the class) is normalised.

    Attributes:
        w_avg: (w_dim,) mean of w, which truncation pulls towards.
    """

    w_avg: Tensor

    def __init__(
        self, *, z_dim: int, w_dim: int, c_dim: int = 0, depth: int = 8, multiplier: float = 0.01,
        gain_first: bool = False, hidden: int | None = None, embedding: int | None = None,
        class_norm: Literal["apart", "together"] = "apart", activation: Activation = "lrelu", normalized: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.depth, self.c_dim, self.gain_first, self.normalized = depth, c_dim, gain_first, normalized
        self.together = class_norm == "together"
        embedded = (embedding or w_dim) if c_dim else 0
        if c_dim:
            self.embed = EqualizedLinear((c_dim, embedded), bias=None if self.together else 0.0)
        for i in range(depth):
            features = (
                z_dim + embedded if i == 0 else hidden or w_dim,
                w_dim if i == depth - 1 else hidden or w_dim,
            )
            layer = EqualizedLinear(features, multiplier=multiplier, activation=activation, gain_first=gain_first)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, label: int | Tensor | None = None) -> Tensor:
        """(n, z_dim) and, in a conditional network, a class, (n,) classes or (n, c_dim) weights, to (n, w_dim)."""
        classes = class_weights(label, self.c_dim, n=len(z))
        embedded = None if classes is None else self.embed(classes.to(z))
        if embedded is not None and self.together:
            x = self._normal(torch.cat([z, embedded], dim=1))
        else:
            x = self._normal(z)
            x = x if embedded is None else torch.cat([x, pixel_norm(embedded)], dim=1)
        for i in range(self.depth):
            x = self.get_submodule(f"fc{i}")(x)
        return x

    def _normal(self, x: Tensor) -> Tensor:
        if not self.normalized or not x.shape[1]:
            return x
        # The same number, rounded as the implementations of StyleGAN, or of its successors, round it.
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt() if self.gain_first else pixel_norm(x)

    @torch.no_grad()
    def turn_latents(self, rotation: Tensor) -> None:
        """Make the first layer read ``R z`` as it read z; ``rotation`` is (z_dim, z_dim), on the CPU."""
        weight: Tensor = self.get_submodule("fc0").weight  # type: ignore[assignment]
        of_z = weight[:, : len(rotation)]  # behind it is the class
        of_z.copy_(of_z.to("cpu", torch.float64) @ rotation.mT)

    @torch.no_grad()
    def track(self, mean: Tensor, *, share: float = 0.002) -> None:
        """Move ``w_avg`` towards the ``mean`` (w_dim,) w of a training batch (Karras et al. 2019, B)."""
        self.w_avg.lerp_(mean.to(self.w_avg), share)
