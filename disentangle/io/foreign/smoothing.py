"""The smoothing filter that a file's network was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import CheckpointError

__all__ = ["PUBLISHED", "filter_in", "said_of_filter", "taps_of", "taps_of_channels"]

PUBLISHED = (1.0, 3.0, 3.0, 1.0)
_MOST = 64  # taps
_MOST_CHANNELS = 1 << 14


def taps_of_channels(kernel: Tensor) -> tuple[float, ...]:
    """The 1-D taps behind the filters (channels, ..., k, k) of a depthwise convolution, one for all channels.

    Raises:
        CheckpointError: if they differ, or are no filters.
    """
    if kernel.ndim < 2 or kernel.numel() > _MOST_CHANNELS * _MOST**2:
        raise CheckpointError("its smoothing filter is no filter; expected one as [1, 3, 3, 1].")
    kernels = kernel.reshape(-1, *kernel.shape[-2:])
    if not torch.equal(kernels, kernels[:1].expand_as(kernels)):
        raise CheckpointError("its smoothing filter differs from channel to channel; expected one for all.")
    return taps_of(kernels[0])


def taps_of(kernel: Any) -> tuple[float, ...]:
    """The 1-D taps behind a filter, whatever gain it has; those of the papers, (1, 3, 3, 1), where there is none.

    Args:
        kernel: (taps,) or (taps, taps), the outer product of such, or a list of taps; anything else is none.

    Raises:
        CheckpointError: if it is no such filter.
    """
    if isinstance(kernel, (list, tuple)):
        if not 1 <= len(kernel) <= _MOST or not all(isinstance(tap, (int, float)) for tap in kernel):
            raise CheckpointError("its smoothing filter is no filter; expected one as [1, 3, 3, 1].")
        kernel = torch.tensor([float(tap) for tap in kernel], dtype=torch.float64)
    if not isinstance(kernel, Tensor):
        return PUBLISHED
    if kernel.ndim not in (1, 2) or not 1 <= min(kernel.shape) <= max(kernel.shape) <= _MOST or kernel.is_complex():
        raise CheckpointError("its smoothing filter is no filter; expected one as [1, 3, 3, 1].")
    kernel = kernel.to(torch.float64)
    total = kernel.sum()
    if not torch.isfinite(total) or total == 0:
        raise CheckpointError("its smoothing filter is no filter; expected one as [1, 3, 3, 1].")
    kernel = kernel / total
    taps = kernel.sum(0) if kernel.ndim == 2 else kernel
    if kernel.ndim == 2 and (
        kernel.shape[0] != kernel.shape[1] or (torch.outer(taps, taps) - kernel).abs().max() > 1e-6
    ):
        raise CheckpointError("its smoothing filter is not separable; expected one as [1, 3, 3, 1].")
    eighths = (taps * 8).round()
    return tuple(eighths.tolist()) if (taps * 8 - eighths).abs().max() < 1e-5 else tuple(taps.tolist())


def filter_in(tensors: Mapping[str, Tensor], suffix: str) -> Tensor | None:
    """The filter that layers of a file keep under names with this end, each its own copy; None if none does.

    Raises:
        CheckpointError: if they differ by more than a gain.
    """
    found = [tensor for name, tensor in tensors.items() if name.endswith(suffix)]
    if len({taps_of(tensor) for tensor in found}) > 1:
        raise CheckpointError("its layers have different smoothing filters; expected the same in all.")
    return found[0] if found else None


def said_of_filter(kernel: Any) -> list[str]:
    """A sentence where a file lacks its filter, and :func:`taps_of` puts the papers' in its place."""
    if isinstance(kernel, Tensor):
        return []
    return ["The file has no smoothing filter, which is made and not learnt: that of the papers, [1, 3, 3, 1]."]
