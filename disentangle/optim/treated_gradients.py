"""Gradients that a treatment has changed in place, so that they can be put back if the step raises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["TreatedGradients", "largest_entries"]


class TreatedGradients:
    """The gradients of one step as they were, by the position of their weight."""

    def __init__(self) -> None:
        self._changed: dict[int, tuple[Tensor, int, Tensor]] = {}  # changed in place, its version since, before

    def change(self, position: int, gradient: Tensor, value: Tensor) -> None:
        """Give ``gradient`` another value, in place: other code, such as DistributedDataParallel, holds it too."""
        before = gradient.clone()
        gradient.copy_(value)
        self._changed[position] = gradient, gradient._version, before

    def put_back(self, params: Sequence[Tensor]) -> None:
        """Undo the changes of gradients that nothing has written to since, and forget them."""
        for position, (gradient, version, before) in self._changed.items():
            if params[position].grad is gradient and gradient._version == version:
                gradient.copy_(before)
        self.forget()

    def forget(self) -> None:
        """The step is taken."""
        self._changed = {}


def largest_entries(tensors: list[Tensor]) -> list[float]:
    """The largest absolute entry of each tensor, NaN or infinity included, with one transfer from the device."""
    largest = [t.abs().amax().double() if t.numel() else t.new_zeros(()).double() for t in tensors]
    return torch.stack([size.to(largest[0].device) for size in largest]).tolist() if largest else []
