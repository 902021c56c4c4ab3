"""Batch statistics over all processes of a distributed training, inside autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["pooled_moments", "world_size"]


def world_size() -> int:
    """Processes in the default group; 1 where none was initialised."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def pooled_moments(mean: Tensor, covariance: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Moments of the union of every process's samples, the same on every process.

    Args:
        mean: (groups, c) over this process's samples.
        covariance: (groups, c, c), biased.
        count: number of this process's samples; processes may differ.

    Returns:
        mean (groups, c), biased covariance (groups, c, c) and the number of samples, a 0-d tensor.

    The sums of the samples are reduced first and the second moments about the common mean after that (Chan, Golub,
    LeVeque 1979), so nothing cancels when the mean is large. The gradient reaches every process's samples: it is that
    of the sum of the processes' losses, which DistributedDataParallel divides by their number.
    """
    own = mean.new_full((1,), float(count))
    sums = _AllReduce.apply(torch.cat([own, (mean * count).flatten()]))
    total = sums[0].detach()
    common = (sums[1:] / total).view_as(mean)
    offset = (mean - common).unsqueeze(-1)
    second = _AllReduce.apply((covariance + offset @ offset.mT) * count)
    return common, second / total, total


class _AllReduce(torch.autograd.Function):
    """The sum over processes. Each process's input reaches every process's output, so the gradients are summed too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _AllReduce.apply(grad)
