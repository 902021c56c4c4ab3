"""One style layer from features to features: modulated convolution, noise, bias and leaky relu.

Where no derivative is wanted, on the CPU, the layer runs band by band of rows: what lies between its steps then stays
in the cache and in memory that is used again, where whole maps of a large picture would be fetched from the system,
page by page, for every step. In StyleGAN2 at 256 pixels those fetches cost more than all arithmetic but the
convolutions'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.models.ops.derivatives import differentiated
from disentangle.models.ops.fir import smooth
from disentangle.models.ops.minimal_filtering import minimal_conv2d
from disentangle.models.ops.modulation import modulated_conv2d

__all__ = ["styled_conv2d"]

_BAND = 1 << 21  # numbers in the larger of a band's input and output


def styled_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *, scale: Tensor, bias: Tensor, noise: Tensor | None = None,
    up: int = 1, taps: Sequence[float] = (1, 3, 3, 1), clamp: float | None = None, filters: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """``clamp(leaky_relu(scale * conv(styles * x, weight) + noise + bias, 0.2))``.

    Args:
        x, weight, styles, up, taps, scale: see :func:`modulated_conv2d`.
        bias: (out,).
        noise: (n or 1, 1, up * H, up * W) or None.
        clamp: largest magnitude, None for any.
        filters: :func:`minimal_filters` of the weight where they pay, used where no derivative is wanted; H and W
            must be even then.

    Returns:
        (n, out, up * H, up * W), channels_last where it was computed in bands.
    """
    tensors = (x, weight, styles, scale, bias, noise)
    banded = x.device.type == "cpu" and not differentiated(*tensors) and x.dtype in (torch.float32, torch.float64)
    if banded and (up == 1 or (weight.shape[-1] == 3 and len(taps) == 4)):
        return _in_bands(x, weight, styles, scale, bias, noise, up, taps, clamp, filters)
    y = modulated_conv2d(x, weight, styles, up=up, taps=taps, scale=scale)
    y = y + bias[:, None, None] if noise is None else y + noise + bias[:, None, None]
    y = F.leaky_relu(y, 0.2)
    return y if clamp is None else y.clamp(-clamp, clamp)


def _in_bands(
    x: Tensor, weight: Tensor, styles: Tensor, scale: Tensor, bias: Tensor, noise: Tensor | None, up: int,
    taps: Sequence[float], clamp: float | None, filters: Tensor | None,
) -> Tensor:  # fmt: skip
    n, channels, height, width = x.shape
    outputs, kernel = weight.shape[0], weight.shape[-1]
    halo = 1 if up == 2 else kernel // 2
    sides = kernel // 2 if up == 1 else 0
    out = x.new_empty(n, up * height, up * width, outputs).permute(0, 3, 1, 2)
    per_row = width * max(channels, outputs * up * up)
    for samples, first, last in _bands(n, height, per_row):
        above, below = max(first - halo, 0), min(last + halo, height)
        count = samples.stop - samples.start
        band = x.new_empty(count, last - first + 2 * halo, width + 2 * sides, channels).permute(0, 3, 1, 2)
        _clear_edges(band, halo, sides)
        inner = band[:, :, above - first + halo : below - first + halo, sides : sides + width]
        torch.mul(x[samples, :, above:below], styles[samples, :, None, None], out=inner)
        if up == 2:
            # The padding crops the rows that only the neighbouring bands need.
            y = F.conv_transpose2d(band, weight.transpose(0, 1), stride=2, padding=(1, 0))
            y = smooth(y, taps, padding=(0, 1), gain=4.0)
        elif filters is not None:
            y = minimal_conv2d(band, filters)
        else:
            y = F.conv2d(band, weight)
        rows = slice(up * first, up * last)
        target = torch.addcmul(bias[:, None, None], y, scale[samples, :, None, None], out=y)
        if noise is not None:
            target.add_(noise[samples if len(noise) > 1 else slice(None), :, rows])
        F.leaky_relu_(target, 0.2)
        if clamp is not None:
            target.clamp_(-clamp, clamp)
        out[samples, :, rows] = target
    return out


def _clear_edges(band: Tensor, rows: int, columns: int) -> None:
    """Zeros in the outermost rows and columns; what lies inside is left as it is."""
    for edge, axis in ((rows, 2), (columns, 3)):
        if edge:
            band.narrow(axis, 0, edge).zero_()
            band.narrow(axis, band.shape[axis] - edge, edge).zero_()


def _bands(n: int, height: int, per_row: int) -> Iterator[tuple[slice, int, int]]:
    """Slices of samples and ranges of rows of about ``_BAND`` numbers at most; the ranges but the last are even."""
    together = max(1, _BAND // (height * per_row))
    rows = height if together > 1 else min(height, max(8, _BAND // per_row // 2 * 2))
    for sample in range(0, n, together):
        for first in range(0, height, rows):
            yield slice(sample, min(sample + together, n)), first, min(first + rows, height)
