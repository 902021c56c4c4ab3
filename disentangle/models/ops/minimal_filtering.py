"""Convolution by filters of three taps with fewer multiplications: minimal filtering along one axis or both.

Source: Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016. F(2, 3) gives two neighbouring outputs of a filter of three taps by four products in
place of six::

    y0 = m0 + m1 + m2        m0 = (x0 - x2) g0           m1 = (x1 + x2) (g0 + g1 + g2) / 2
    y1 = m1 - m2 - m3        m3 = (x1 - x3) g2           m2 = (x2 - x1) (g0 - g1 + g2) / 2

Each product is a convolution by all channels at once. Along both axes that is 4/9 of the multiplications, along one
2/3. Rounding errors stay at those of the direct way, whose sums are longer; tiles larger than two would multiply less
and lose digits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["minimal_conv2d", "minimal_filters", "worthwhile_axes"]


def worthwhile_axes(weight: Tensor, size: int) -> int:
    """Along how many axes it pays for (out, in, k, k) filters on square maps: 0, 1 or 2, as measured on CPUs.

    What is saved grows with the channels, what the sums around the products cost does not.
    """
    channels = min(weight.shape[:2])
    if weight.shape[-1] != 3 or size < 16 or size % 2 or channels < 128:
        return 0
    return 2 if channels >= 256 else 1


def minimal_filters(weight: Tensor, axes: int) -> Tensor:
    """What :func:`minimal_conv2d` multiplies by: (out, in, k, 3) filters to (4, out, in, k, 1), with ``axes`` 1, or
    (out, in, 3, 3) to (4, 4, out, in, 1, 1) with 2; rows first.
    """
    filters = _combined(weight, -1).unsqueeze(-1)
    if axes == 2:
        filters = _combined(filters, -2).unsqueeze(-2)
    # Each in channels_last, as the convolutions want them.
    return filters.movedim(-3, -1).contiguous().movedim(-1, -3)


def _combined(weight: Tensor, axis: int) -> Tensor:
    g0, g1, g2 = weight.unbind(axis)
    ends = (g0 + g2) / 2
    return torch.stack([g0, ends + g1 / 2, ends - g1 / 2, g2])


def minimal_conv2d(x: Tensor, filters: Tensor) -> Tensor:
    """Convolve without padding: (n, in, H, W) by :func:`minimal_filters` to (n, out, H - k + 1, W - 2).

    The sizes of the output must be even along the axes that the filters were made for. No derivative.

    >>> image, weight = torch.arange(8.0).reshape(1, 1, 1, 8), torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> minimal_conv2d(image, minimal_filters(weight, 1)).flatten()
    tensor([ 8., 14., 20., 26., 32., 38.])
    """
    if filters.ndim == 4:
        return F.conv2d(x, filters)
    axis = 8 - filters.ndim  # rows and then columns, or columns only
    x0, x1, x2, x3 = (_every_other(x, axis, start, x.shape[axis] - 2) for start in range(4))
    m0 = minimal_conv2d(x0 - x2, filters[0])
    m1 = minimal_conv2d(x1 + x2, filters[1])
    m2 = minimal_conv2d(x2 - x1, filters[2])
    m3 = minimal_conv2d(x1 - x3, filters[3])
    n, channels, height, width = m0.shape
    height, width = (2 * height, width) if axis == 2 else (height, 2 * width)
    y = m0.new_empty(n, height, width, channels).permute(0, 3, 1, 2)
    torch.add(m0.add_(m1), m2, out=_every_other(y, axis, 0, y.shape[axis]))
    torch.sub(m1.sub_(m2), m3, out=_every_other(y, axis, 1, y.shape[axis]))
    return y


def _every_other(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """Every other row or column of the ``length`` from ``start`` on."""
    chosen = slice(start, start + length, 2)
    return x[:, :, chosen] if axis == 2 else x[..., chosen]
