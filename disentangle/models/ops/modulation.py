"""Modulated convolution: the style scales the input channels, demodulation brings the outputs back to unit variance.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, equations 1 to 3:
``w'_oik = s_i w_oik / sqrt(sum_ik (s_i w_oik)^2 + eps)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.models.ops.fir import smooth, upfirdn_reference

__all__ = ["demodulation", "half_range", "modulated_conv2d", "modulated_conv2d_reference", "modulated_pointwise",
           "squared_filters"]  # fmt: skip

_EPS = 1e-8


def squared_filters(weight: Tensor) -> Tensor:
    """(out, in): squares of (out, in, k, k) filters, summed over their taps."""
    return weight.square().sum(dim=(2, 3))


def demodulation(weight: Tensor, styles: Tensor, *, squares: Tensor | None = None) -> Tensor:
    """(n, out): one over the norm of each sample's modulated filters, by one product with the squared weights.

    Args:
        weight: (out, in, k, k).
        styles: (n, in).
        squares: :func:`squared_filters` of the weight, where the caller has them.

    >>> demodulation(torch.ones(1, 4, 1, 1), torch.ones(1, 4))
    tensor([[0.5000]])
    """
    squares = squared_filters(weight) if squares is None else squares
    return torch.rsqrt(styles.square() @ squares.mT + _EPS)


def half_range(weight: Tensor, styles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Filters, styles and (n, out) demodulation, rescaled so that no sum in half precision overflows.

    Their product with the demodulation is what it was: the largest style of each sample becomes one, the largest
    filter tap one over the root of the taps summed. Computed in float32, returned in the type of ``weight``.
    """
    filters, scaled = weight.float(), styles.float()
    filters = filters / (filters.abs().amax() * math.sqrt(filters[0].numel()) + _EPS)
    scaled = scaled / (scaled.abs().amax(dim=1, keepdim=True) + _EPS)
    scale = demodulation(filters, scaled)
    return filters.to(weight), scaled.to(weight), scale.to(weight)


def smoothing_margins(weight: Tensor, taps: Sequence[float]) -> tuple[int, int]:
    """Zeros (above and on the left, below and on the right) before a transposed convolution of odd filters is smoothed.

    Equal for an even number of taps; negative where rows are cropped instead.
    """
    kernel, count = weight.shape[-1], len(taps)
    return (count + 1) // 2 - (kernel - 1) // 2, (count - 2) // 2 + 1 - (kernel - 1) // 2


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *, up: int = 1, taps: Sequence[float] = (1, 3, 3, 1),
    scale: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Convolve each sample with its own modulated filters: ``scale * conv(styles * x, weight)``. Differentiable.

    Scaling what goes in and what comes out, in place of the filters, needs one convolution for the whole batch where
    a filter for each sample needs as many as there are samples.

    Args:
        x: (n, in, H, W).
        weight: (out, in, k, k).
        styles: (n, in).
        up: 1, or 2 for a transposed convolution that doubles the size and is smoothed by ``taps``.
        taps: 1-D taps of the smoothing filter.
        scale: (n, out) what the outputs are multiplied by, :func:`demodulation` or None.

    Returns:
        (n, out, up * H, up * W).
    """
    x = x * styles[:, :, None, None]
    if up == 2:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        # The gain of 4 makes up for the zeros that a transposed convolution skips.
        before, after = smoothing_margins(weight, taps)
        x = smooth(x, taps, padding=(before, before), after=after, gain=4.0)
    else:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return x if scale is None else x * scale[:, :, None, None]


def modulated_pointwise(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """Modulated 1x1 convolution to few outputs: (n, in, H, W), (out, in), (n, in) to (n, out, H, W).

    Here the modulated filters are the small part, so that they are made for each sample, and the picture is read once.
    """
    filters = weight * styles[:, None, :]
    n, channels, height, width = x.shape
    y = x.permute(0, 2, 3, 1).reshape(n, height * width, channels) @ filters.mT
    return y.reshape(n, height, width, -1).permute(0, 3, 1, 2)


def modulated_conv2d_reference(
    x: Tensor, weight: Tensor, styles: Tensor, *, up: int = 1, taps: Sequence[float] = (1, 3, 3, 1),
    demodulate: bool = True,
) -> Tensor:  # fmt: skip
    """The definition, one sample after the other: modulate the filters, demodulate them, convolve."""
    outputs = []
    for image, style in zip(x, styles, strict=True):
        filters = weight * style[None, :, None, None]
        if demodulate:
            filters = filters * torch.rsqrt(filters.square().sum(dim=(1, 2, 3), keepdim=True) + _EPS)
        if up == 2:
            stuffed = F.conv_transpose2d(image[None], filters.transpose(0, 1), stride=2)
            outputs.append(upfirdn_reference(stuffed, taps, padding=smoothing_margins(weight, taps), gain=4.0))
        else:
            outputs.append(F.conv2d(image[None], filters, padding=weight.shape[-1] // 2))
    return torch.cat(outputs)
