"""What stands in the place of our layers in a network that was baked, see :mod:`disentangle.nn.baking`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.linalg.differentiable import autocast_off
from disentangle.linalg.products import log_by_products, power_by_products, root_by_products
from disentangle.nn.pooling import CovariancePool2d
from disentangle.nn.skew_conv import SkewConv2d

__all__ = ["BakedCovariancePool2d", "ChannelMap", "ConstantSkewConv2d"]


class BakedCovariancePool2d(nn.Module):
    """What a :class:`~disentangle.nn.CovariancePool2d` computes in evaluation mode, by sums and products in float64.

    The result is the exact function's to 1e-9 of its norm (a logarithm's, or a small power's, to 1e-7 up to a condition
    number of 1e10), far below the rounding of a float32 output; float32 inside would not do, see
    :mod:`disentangle.linalg.products`. Methods that are iterations themselves are repeated step by step.

    Args:
        pool: the layer, whose reduction and norm are taken over.
    """

    def __init__(self, pool: CovariancePool2d) -> None:
        super().__init__()
        self.in_channels, self.out_features = pool.in_channels, pool.out_features
        self.power, self.eps, self.flatten = pool.power, pool.eps, pool.flatten
        self.method, self.steps = pool.method, pool.steps
        self.reduction, self.norm = pool.reduction, pool.norm
        size = pool.in_channels if pool.reduction is None else pool.reduction.out_channels
        rows, columns = torch.triu_indices(size, size)
        kept = size * rows + columns if pool.upper_triangle else torch.arange(size * size)
        weight = next(pool.parameters(), torch.empty(0))
        self.register_buffer("kept", kept.to(weight.device), persistent=False)
        self.training = pool.training

    kept: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) to (n, out_features), or (n, out_features, 1, 1) if not ``flatten``."""
        if not torch.jit.is_tracing() and (x.ndim != 4 or x.shape[1] != self.in_channels):
            raise InputError(
                f"BakedCovariancePool2d({self.in_channels}) got an input of shape {tuple(x.shape)}; expected "
                f"(n, {self.in_channels}, H, W)."
            )
        if self.reduction is not None:
            x = self.norm(self.reduction(x))
        with autocast_off(x):
            wide = x.flatten(2).double()
            centred = wide - wide.mean(-1, keepdim=True)
            second = centred @ centred.transpose(1, 2) / wide.shape[-1]  # the older exporter knows no mT
            identity = torch.eye(second.shape[-1], dtype=second.dtype, device=second.device)
            pooled = self._function(second + self.eps * identity).flatten(1)
            pooled = pooled.index_select(1, self.kept).to(x.dtype)
            return pooled if self.flatten else pooled[:, :, None, None]

    def _function(self, ridged: Tensor) -> Tensor:
        if ridged.is_meta:  # no numbers: the result is a matrix of this shape and dtype
            return ridged
        if self.power == "log":
            return log_by_products(ridged)
        if self.power == 0.5:
            return root_by_products(ridged, self.method, self.steps)
        return ridged if self.power == 1 else power_by_products(ridged, float(self.power))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, power={self.power}, eps={self.eps}, out_features={self.out_features}"


class ChannelMap(nn.Conv2d):
    """A 1x1 convolution of inputs (n, C), (n, C, H, W) or any (n, C, *)."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        if input.ndim == 4:
            return super().forward(input)
        flat = input.flatten(2) if input.ndim > 2 else input.unsqueeze(-1)
        return super().forward(flat.unsqueeze(-1)).reshape(input.shape)


class ConstantSkewConv2d(SkewConv2d):
    """Whose ``weight`` is the filter itself."""

    def __init__(self, layer: SkewConv2d) -> None:
        nn.Module.__init__(self)
        for name in ("in_channels", "out_channels", "kernel_size", "stride", "terms", "norm", "padding_mode"):
            setattr(self, name, getattr(layer, name))
        with torch.no_grad():
            self.weight = nn.Parameter(layer.filter().detach().clone(), requires_grad=layer.weight.requires_grad)
        self.bias = layer.bias
        self.training = layer.training

    def filter(self) -> Tensor:
        return self.weight
