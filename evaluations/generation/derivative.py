"""Derivatives along a direction, in forward mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["directional_derivative"]


def directional_derivative(function: Callable[[Tensor], Tensor], point: Tensor, direction: Tensor) -> Tensor:
    """d function(point + t direction) / dt at t = 0, exactly, in the shape of the function's result.

    By dual numbers and not ``torch.func.jvp``, which forbids a network to write to its own buffers, as one does that
    counts its calls.
    """
    import torch
    from torch.autograd import forward_ad

    with torch.no_grad(), forward_ad.dual_level():
        result, tangent = forward_ad.unpack_dual(function(forward_ad.make_dual(point, direction)))
    return torch.zeros_like(result) if tangent is None else tangent
