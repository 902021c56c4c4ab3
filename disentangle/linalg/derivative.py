"""Derivatives along a direction: exactly in forward mode, or by differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["difference_quotient", "directional_derivative"]


def directional_derivative(function: Callable[[Tensor], Tensor], point: Tensor, direction: Tensor) -> Tensor:
    """d function(point + t direction) / dt at t = 0, exactly, in the shape of the function's result.

    By dual numbers and not ``torch.func.jvp``, which forbids a network to write to its own buffers, as one does that
    counts its calls. Inside ``torch.inference_mode``, where dual numbers silently lose their derivative, that is
    switched off meanwhile.
    """
    with torch.inference_mode(False), torch.no_grad(), forward_ad.dual_level():
        # what was made in inference mode cannot carry a derivative, a copy can
        point, direction = (x.clone() if x.is_inference() else x for x in (point, direction))
        result, tangent = forward_ad.unpack_dual(function(forward_ad.make_dual(point, direction)))
    return torch.zeros_like(result) if tangent is None else tangent


def difference_quotient(function: Callable[[Tensor], Tensor], point: Tensor, direction: Tensor) -> Tensor:
    """The same by a central difference, at the step that balances truncation and rounding: about two thirds of the
    digits of ``point``'s type are right where the function bends on a scale of 1.

    >>> point, direction = torch.tensor([3.0], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    >>> abs(float(difference_quotient(torch.square, point, direction)) - 6) < 1e-8
    True
    """
    step = torch.finfo(point.dtype).eps ** (1 / 3)
    with torch.no_grad():
        return (function(point + step * direction) - function(point - step * direction)) / (2 * step)
