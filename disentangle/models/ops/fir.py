"""Small FIR filters on images: smoothing after a transposed convolution, and resampling by two.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, and Zhang, "Making
Convolutional Networks Shift-Invariant Again", ICML 2019. Filters here are given as their 1-D taps; the 2-D filter is
their outer product, of sum 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["fir_filter", "smooth", "upfirdn_reference", "upsample"]


def fir_filter(taps: Sequence[float], *, gain: float = 1.0, like: Tensor) -> Tensor:
    """(k, k) outer product of the taps, of sum ``gain``, with the type and device of ``like``."""
    row = torch.tensor(taps, dtype=torch.float64)
    kernel = torch.outer(row, row)
    return (kernel * (gain / kernel.sum())).to(like)


def smooth(
    x: Tensor, taps: Sequence[float], *, padding: tuple[int, int], after: int | None = None, gain: float = 1.0
) -> Tensor:
    """(n, C, H, W) filtered, with ``padding`` zeros (above and below, left and right).

    One depthwise convolution over channels, which keeps the layout of a channels_last input.

    Args:
        x: the pictures.
        taps: of the filter.
        padding: zeros above and below, left and right.
        after: zeros below and on the right, where they are others; fewer than none crops.
        gain: sum of the filter.
    """
    below, right = padding if after is None else (after, after)
    if (below, right) != padding or min(padding) < 0:
        x, padding = F.pad(x, (padding[1], right, padding[0], below)), (0, 0)
    kernel = fir_filter(taps, gain=gain, like=x).flip(0, 1)
    channels = x.shape[1]
    weight = kernel.expand(channels, 1, *kernel.shape)
    return F.conv2d(x, weight, padding=padding, groups=channels)


def upsample(x: Tensor, taps: Sequence[float]) -> Tensor:
    """(n, C, H, W) to (n, C, 2H, 2W): zeros between the pixels, then the filter with gain 4.

    Written as a depthwise transposed convolution, which never multiplies the zeros. Filters of an odd number of taps
    lie half a pixel late, as they do in the published networks' code.
    """
    kernel = fir_filter(taps, gain=4.0, like=x)
    channels, before = x.shape[1], (len(taps) - 2) // 2
    behind = len(taps) - 2 - before
    weight = kernel.expand(channels, 1, *kernel.shape)
    if before == behind:
        return F.conv_transpose2d(x, weight, stride=2, padding=before, groups=channels)
    # A negative padding crops; a filter of one tap lacks a row of zeros instead.
    return F.pad(F.conv_transpose2d(x, weight, stride=2, groups=channels), (-before, -behind, -before, -behind))


def upfirdn_reference(
    x: Tensor, taps: Sequence[float], *, up: int = 1, padding: tuple[int, int] = (0, 0), down: int = 1,
    gain: float = 1.0,
) -> Tensor:  # fmt: skip
    """The plain definition: stuff zeros, pad, convolve (with the flipped filter), keep every ``down``-th pixel."""
    n, channels, height, width = x.shape
    stuffed = x.new_zeros(n, channels, height * up, width * up)
    stuffed[:, :, ::up, ::up] = x
    before, after = padding
    padded = F.pad(stuffed, (before, after, before, after))
    kernel = fir_filter(taps, gain=gain, like=x).flip(0, 1)
    out = F.conv2d(padded.flatten(0, 1).unsqueeze(1), kernel[None, None])
    return out.reshape(n, channels, *out.shape[-2:])[:, :, ::down, ::down]
