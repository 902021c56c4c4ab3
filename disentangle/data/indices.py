"""Positions in a data set, checked before use."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError

__all__ = ["check_indices"]


def check_indices(indices: Tensor, length: int) -> Tensor:
    """``indices`` as (n,) int64 on the CPU, all in ``range(length)``, or an InputError that says what is wrong."""
    indices = torch.as_tensor(indices)
    if indices.ndim != 1:
        raise InputError(f"indices have shape {tuple(indices.shape)}; expected one dimension (n,).")
    if indices.numel() == 0:
        return torch.zeros(0, dtype=torch.int64)
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise InputError(
            f"indices have dtype {indices.dtype}; expected integers (for a mask, use mask.nonzero()[:, 0])."
        )
    indices = indices.to("cpu", torch.int64)
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= length:
        raise InputError(f"indices lie in [{low}, {high}]; this data set has positions 0 to {length - 1}.")
    return indices
