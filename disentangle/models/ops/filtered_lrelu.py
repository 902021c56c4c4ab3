"""Leaky relu at a higher sampling rate: upsample, apply, downsample, each with a low-pass filter.

Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021, section 3 and appendix B. The
nonlinearity makes frequencies that the pixel grid cannot hold; at the higher rate they are still there, and the second
filter takes them out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["filtered_lrelu", "filtered_lrelu_reference", "low_pass"]

Padding = tuple[int, int, int, int]


def filtered_lrelu(
    x: Tensor, up_filter: Tensor | None, down_filter: Tensor | None, bias: Tensor, *, up: int = 1, down: int = 1,
    padding: Padding = (0, 0, 0, 0), gain: float = math.sqrt(2.0), slope: float = 0.2, clamp: float | None = None,
) -> Tensor:  # fmt: skip
    """``down(clamp(gain * leaky_relu(up(x + bias))))``, without a multiplication by the zeros between the pixels.

    Upsampling is a transposed depthwise convolution and downsampling a strided one, so that neither zeros nor pixels
    that are dropped are computed; in the channels_last layout both are fast.

    Args:
        x: (n, C, H, W).
        up_filter: taps (t,), or (t, t) if not separable; None for none.
        down_filter: likewise.
        bias: (C,).
        up, down: factors.
        padding: left, right, top, bottom, in pixels of the higher rate; negative numbers crop.
        gain: of the nonlinearity, by default the root of 2.
        slope: of the leaky relu below zero; 1 for none.
        clamp: largest magnitude after it.

    Returns:
        (n, C, H', W') with ``W' = (up W + left + right - t_up - t_down + 2 + down - 1) // down``, a missing filter
        counting as one tap.
    """
    x = x + bias[:, None, None]
    x = _upsample(x, up_filter, up, padding)
    if x.requires_grad:
        x = F.leaky_relu(x, slope) * gain
        x = x if clamp is None else x.clamp(-clamp, clamp)
    else:
        x = F.leaky_relu_(x, slope).mul_(gain)
        x = x if clamp is None else x.clamp_(-clamp, clamp)
    return _downsample(x, down_filter, down)


def _upsample(x: Tensor, taps: Tensor | None, up: int, padding: Padding) -> Tensor:
    left, right, top, bottom = padding
    if taps is None:
        assert up == 1
        return F.pad(x, (left, right, top, bottom))
    if taps.ndim == 2:
        weight = (taps * up**2).to(x)
        (crop_y, narrow_y), (crop_x, narrow_x) = (
            _window(len(taps), up, top, bottom),
            _window(len(taps), up, left, right),
        )
        x = _spread(x, weight, (up, up), (crop_y, crop_x))
        return _narrowed(_narrowed(x, 2, narrow_y), 3, narrow_x)
    row = (taps * up).to(x)
    crop, narrow = _window(len(row), up, top, bottom)
    x = _narrowed(_spread(x, row[:, None], (up, 1), (crop, 0)), 2, narrow)
    crop, narrow = _window(len(row), up, left, right)
    return _narrowed(_spread(x, row[None], (1, up), (0, crop)), 3, narrow)


def _spread(x: Tensor, kernel: Tensor, up: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    channels = x.shape[1]
    weight = kernel[None, None].expand(channels, 1, -1, -1)
    return F.conv_transpose2d(x, weight, stride=up, padding=crop, groups=channels)


def _window(taps: int, up: int, before: int, after: int) -> tuple[int, tuple[int, int]]:
    """What the padded definition keeps of a transposed convolution, which starts ``taps - 1`` pixels earlier.

    Returns:
        Pixels to crop on both sides, which the transposed convolution does not even compute, and those to crop
        (positive) or pad (negative) on each side after that.
    """
    start, stop = taps - 1 - before, taps - up - after
    both = max(0, min(start, stop))
    return both, (start - both, stop - both)


def _narrowed(x: Tensor, dim: int, crops: tuple[int, int]) -> Tensor:
    if crops == (0, 0):
        return x
    pads = (-crops[0], -crops[1])
    return F.pad(x, (0, 0, *pads) if dim == 2 else pads)


def _downsample(x: Tensor, taps: Tensor | None, down: int) -> Tensor:
    if taps is None:
        return x[:, :, ::down, ::down]
    channels = x.shape[1]
    if taps.ndim == 2:
        weight = taps.flip(0, 1).to(x)[None, None].expand(channels, 1, -1, -1)
        return F.conv2d(x, weight, stride=down, groups=channels)
    row = taps.flip(0).to(x)
    x = F.conv2d(x, row[None, None, None, :].expand(channels, 1, 1, -1), stride=(1, down), groups=channels)
    return F.conv2d(x, row[None, None, :, None].expand(channels, 1, -1, 1), stride=(down, 1), groups=channels)


def filtered_lrelu_reference(
    x: Tensor, up_filter: Tensor | None, down_filter: Tensor | None, bias: Tensor, *, up: int = 1, down: int = 1,
    padding: Padding = (0, 0, 0, 0), gain: float = math.sqrt(2.0), slope: float = 0.2, clamp: float | None = None,
) -> Tensor:  # fmt: skip
    """The definition: zeros between the pixels, padding, a convolution at every pixel, dropping pixels last.

    Arguments and result as of :func:`filtered_lrelu`.
    """
    x = x + bias[:, None, None]
    n, channels, height, width = x.shape
    stuffed = x.new_zeros(n, channels, height * up, width * up)
    stuffed[:, :, ::up, ::up] = x
    left, right, top, bottom = padding
    x = F.pad(stuffed, (left, right, top, bottom))
    x = _convolved(x, up_filter, float(up))
    x = F.leaky_relu(x, slope) * gain
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return _convolved(x, down_filter, 1.0)[:, :, ::down, ::down]


def _convolved(x: Tensor, taps: Tensor | None, gain: float) -> Tensor:
    if taps is None:
        return x
    channels = x.shape[1]
    if taps.ndim == 2:
        weight = (taps * gain**2).flip(0, 1).to(x)[None, None].repeat(channels, 1, 1, 1)
        return F.conv2d(x, weight, groups=channels)
    row = (taps * gain).flip(0).to(x)
    x = F.conv2d(x, row[None, None, None, :].repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(x, row[None, None, :, None].repeat(channels, 1, 1, 1), groups=channels)


def low_pass(taps: int, *, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor | None:
    """Taps of a Kaiser-windowed low-pass filter, of sum 1: appendix C of the paper.

    Args:
        taps: how many; 1 for no filter.
        cutoff: half width of the pass band, in cycles per image side.
        width: of the transition band.
        rate: sampling rate the filter runs at, in the same unit.
        radial: (taps, taps) filter round in frequency (a jinc), for networks that should not know directions; else
            (taps,) for each axis.
    """
    if taps == 1:
        return None
    import numpy as np
    from scipy.signal import firwin, kaiser_atten, kaiser_beta
    from scipy.special import j1

    if not radial:
        return torch.from_numpy(firwin(taps, cutoff, width=width, fs=rate)).to(torch.float32)
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(*np.meshgrid(x, x))
    kernel = j1(2 * cutoff * np.pi * radius) / (np.pi * radius)
    window = np.kaiser(taps, kaiser_beta(kaiser_atten(taps, width / (rate / 2))))
    kernel *= np.outer(window, window)
    return torch.from_numpy(kernel / kernel.sum()).to(torch.float32)
