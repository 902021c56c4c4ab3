"""Layers with an equalised learning rate, and the normalisations that go with them.

Source: Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018, 4.1 and
4.2: weights are stored with unit variance and scaled by He's constant each time they are used.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.models.ops.derivatives import differentiated

__all__ = ["Activation", "EqualizedConv2d", "EqualizedLinear", "activated", "activation_gain", "biased_leaky_relu",
           "pixel_norm"]  # fmt: skip

_SQRT2 = math.sqrt(2.0)
Activation = Literal["lrelu", "relu", "linear", "swish"]


def activation_gain(activation: str) -> float:
    """What leaves a nonlinearity is multiplied by this, to be of unit variance about: the root of 2, 1 for none."""
    return 1.0 if activation == "linear" else _SQRT2


def activated(x: Tensor, activation: str) -> Tensor:
    """The nonlinearity by its name, without gain; the leaky relu is of 0.2.

    >>> activated(torch.tensor([-1.0, 1.0]), "lrelu")
    tensor([-0.2000,  1.0000])
    """
    if activation == "lrelu":
        return F.leaky_relu(x, 0.2)
    if activation == "relu":
        return F.relu(x)
    if activation == "swish":
        return F.silu(x)
    return x


def pixel_norm(x: Tensor, *, eps: float = 1e-8) -> Tensor:
    """``x / sqrt(mean_c x^2 + eps)``: unit mean square over dimension 1, whatever else there is.

    >>> pixel_norm(torch.tensor([[3.0, 4.0]])).square().mean().round(decimals=4)
    tensor(1.)
    """
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + eps)


def biased_leaky_relu(x: Tensor, bias: Tensor | None, *, gain: float = _SQRT2, clamp: float | None = None) -> Tensor:
    """``clamp(gain * leaky_relu(x + bias, 0.2))``, the bias along dimension 1.

    Works in place where no derivative is wanted: the caller hands over a tensor of its own.
    """
    if bias is not None:
        bias = bias.reshape(-1, *[1] * (x.ndim - 2))
    if differentiated(x, bias):
        y = F.leaky_relu(x if bias is None else x + bias, 0.2) * gain
        return y if clamp is None else y.clamp(-clamp, clamp)
    if bias is not None:
        x.add_(bias)
    F.leaky_relu_(x, 0.2)
    if gain != 1:
        x.mul_(gain)
    return x if clamp is None else x.clamp_(-clamp, clamp)


class EqualizedLinear(nn.Module):
    """``y = act(x (W m / sqrt(in))^T + m b)``, m the learning rate multiplier.

    Args:
        features: (in, out).
        multiplier: m; the weight starts as N(0, 1) / m, so that it is worth the same and learns m times as fast.
        bias: value the used bias starts at, None for no bias.
        activation: ``"linear"``, or another :func:`activated`, times the root of 2.
        gain_first: multiply the weight by the root of 2, not what leaves the nonlinearity. Which one it is changes what
            a bias is worth.
    """

    def __init__(
        self, features: tuple[int, int], *, multiplier: float = 1.0, bias: float | None = 0.0,
        activation: Activation = "linear",
        gain_first: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        inputs, outputs = features
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = None if bias is None else nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.multiplier = multiplier
        self.he_gain = multiplier * (_SQRT2 if gain_first else 1.0) / math.sqrt(inputs)
        self.gain = self.he_gain  # another one where the weight is orthogonal
        self.output_gain = 1.0 if gain_first else _SQRT2
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(n, in) to (n, out)."""
        weight = self.weight * self.gain
        bias = None if self.bias is None else self.bias * self.multiplier
        if self.activation == "linear":
            return F.linear(x, weight, bias)
        if self.activation != "lrelu":
            return activated(F.linear(x, weight, bias), self.activation) * self.output_gain
        return biased_leaky_relu(F.linear(x, weight), bias, gain=self.output_gain)

    def matrix(self) -> Tensor:
        """(out, in): the weight as stored, without the multiplier and He's constant."""
        return self.weight

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, multiplier={self.multiplier:g}, activation={self.activation}"


class EqualizedConv2d(nn.Module):
    """``conv(x, W g / sqrt(in k^2)) + b`` of an odd size k, zeros around the picture.

    Args:
        inputs, outputs: channels.
        kernel: k.
        gain: g.
        bias: whether there is one; it starts at zero.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, H, W) to (n, out, H, W)."""
        return F.conv2d(x, self.used(), self.bias, padding=self.weight.shape[-1] // 2)

    def convolved(self, x: Tensor) -> Tensor:
        """The same without the bias, for an activation that adds it."""
        return F.conv2d(x, self.used(), padding=self.weight.shape[-1] // 2)

    def used(self) -> Tensor:
        """(out, in, k, k): the weight as it is used."""
        return self.weight * self.scale

    def extra_repr(self) -> str:
        outputs, inputs, kernel, _ = self.weight.shape
        return f"{inputs}, {outputs}, kernel={kernel}"
