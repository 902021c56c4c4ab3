"""Modulated convolution: the style scales the input channels, demodulation brings the outputs back to unit variance.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, equations 1 to 3:
``w'_oik = s_i w_oik / sqrt(sum_ik (s_i w_oik)^2 + eps)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.models.ops.fir import smooth, upfirdn_reference

__all__ = ["demodulation", "modulated_conv2d", "modulated_conv2d_reference"]

_EPS = 1e-8


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """(n, out): one over the norm of each sample's modulated filters, by one product with the squared weights.

    >>> demodulation(torch.ones(1, 4, 1, 1), torch.ones(1, 4))
    tensor([[0.5000]])
    """
    return torch.rsqrt(styles.square() @ weight.square().sum(dim=(2, 3)).mT + _EPS)


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *, up: int = 1, taps: Sequence[float] = (1, 3, 3, 1),
    scale: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Convolve each sample with its own modulated filters: ``scale * conv(styles * x, weight)``.

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
        # From 2H + 1 to 2H pixels with four taps; the gain of 4 makes up for the zeros a transposed convolution skips.
        margin = len(taps) + 1 - weight.shape[-1]
        x = smooth(x, taps, padding=(margin - margin // 2, margin // 2), gain=4.0)
    else:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    if scale is None:
        return x
    factors = scale[:, :, None, None]
    return x * factors if x.requires_grad else x.mul_(factors)


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
            outputs.append(upfirdn_reference(stuffed, taps, padding=(1, 1), gain=4.0))
        else:
            outputs.append(F.conv2d(image[None], filters, padding=weight.shape[-1] // 2))
    return torch.cat(outputs)
