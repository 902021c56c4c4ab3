"""The affine layer from w to a style, plain or orthogonal."""

from __future__ import annotations

import math
from typing import Literal

import pydantic
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.models.ops.equalized import EqualizedLinear
from disentangle.nn import HouseholderProjection

__all__ = ["Householder", "HouseholderAffine", "style_affine"]


class Householder(Config):
    """Which affine layers are orthogonal, and how: Song et al., ICCV 2023.

    ``order`` is the order of the factors of a wide or square weight, ``"usv"`` or ``"vsu"``; released files are of the
    first, the authors' last code computes the second. ``gain`` is what the weight is multiplied by: one, as in their
    StyleGAN2, or He's constant, as in their StyleGAN3.
    """

    rank: int = pydantic.Field(10, ge=1)
    order: Literal["usv", "vsu"] = "usv"
    layers: tuple[str, ...]
    gain: Literal["one", "equalized"] = "one"


class HouseholderAffine(HouseholderProjection):
    """``y = g x W^T + b`` with ``W = H(U) S H(V)`` of orthonormal rows up to its rank."""

    def __init__(self, inputs: int, outputs: int, householder: Householder, *, bias: float = 1.0) -> None:
        super().__init__(inputs, outputs, rank=householder.rank, order=householder.order, bias=bias)
        self.gain = 1.0 if householder.gain == "one" else 1 / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in) to (n, out)."""
        return F.linear(x, self.matrix() * self.gain, self.bias)


def style_affine(
    inputs: int, outputs: int, *, name: str, householder: Householder | None, bias: float = 1.0
) -> nn.Module:
    """The affine layer of the style layer called ``name``: equalised, its bias starting at ``bias``, or orthogonal."""
    if householder is not None and name in householder.layers:
        return HouseholderAffine(inputs, outputs, householder, bias=bias)
    return EqualizedLinear((inputs, outputs), bias=bias)
