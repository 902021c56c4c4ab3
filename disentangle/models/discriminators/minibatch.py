"""A statistic of several pictures at once, by which a discriminator notices that they are all alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["with_minibatch_deviation"]

_EPS = 1e-8


def with_minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """(n, C, H, W) features with one more map, the same in each: how much the pictures of a group differ.

    The standard deviation over the group, averaged over features and positions. Groups are consecutive pictures, so
    that a batch divided among processes, or into pieces, has the same ones. Where the group does not divide n, the
    largest common divisor takes its place.

    Source: Karras et al., "Progressive Growing of GANs", ICLR 2018, section 3.

    >>> with_minibatch_deviation(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1), 4)[:, 1].flatten()
    tensor([1., 1.])
    """
    n, _, height, width = x.shape
    group = math.gcd(group, n)
    grouped = x.reshape(n // group, group, -1)
    deviation = (grouped.var(dim=1, unbiased=False) + _EPS).sqrt().mean(dim=1)
    maps = deviation.repeat_interleave(group).reshape(n, 1, 1, 1).expand(n, 1, height, width)
    return torch.cat([x, maps], dim=1)
