"""Global covariance pooling: a picture's features are summed up by a power of their covariance over positions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from disentangle.errors import InputError, unknown_name
from disentangle.linalg import covariance, matrix_log, matrix_power, matrix_sqrt
from disentangle.linalg.differentiable import autocast_off

__all__ = ["CovariancePool2d"]

NormAfter = Literal["bn_relu", "bn", "none"]


class CovariancePool2d(nn.Module):
    """``f(S + eps I)`` of each picture's channel covariance ``S`` over positions, flattened: global covariance pooling.

    ``S = (X - mean)(X - mean)^T / (H W)`` for features X (C, H W), and ``f`` the square root, another power or the
    logarithm. Takes the place of global average pooling. Each picture is pooled by itself; with fewer positions than
    channels S is singular and the root of eps stands for what is missing.

    Source: Li, Xie, Wang, Zuo, "Is Second-order Information Helpful for Large-scale Visual Recognition?", ICCV 2017
    (matrix power 1/2); the exact root with its closed-form derivative: Song, Sebe, Wang, TPAMI 2023. The logarithm:
    Ionescu, Vantzos, Sminchisescu, ICCV 2015.

    Args:
        in_channels: channels C of the input (n, C, H, W).
        reduction: channels after a 1x1 convolution in front, whose weight is then the pre-SVD weight; None for none.
        power: exponent in (0, 1], or ``"log"``.
        upper_triangle: give the upper triangle with the diagonal, row by row, entries as they are (off-diagonal ones
            are not scaled by sqrt 2); False gives the whole matrix.
        eps: added to the diagonal of the covariance; absolute.
        method: of :func:`disentangle.linalg.matrix_sqrt`, for power 1/2. ``"isqrt_cov"`` with ``eps=0`` and 3 or 5
            ``steps`` is fast MPN-COV (Li, Xie, Wang, Gao, CVPR 2018), ``"newton_schulz"`` the same iteration with
            another scaling.
        steps: of that method, for those that take some; None for its default.
        norm_after: what stands between the reduction and the covariance: ``"bn_relu"`` as in the paper's networks,
            ``"bn"`` or ``"none"``. Without a reduction there is nothing.
        flatten: give (n, out_features); False gives (n, out_features, 1, 1), the shape that ``nn.AdaptiveAvgPool2d(1)``
            has, for forwards that flatten or index it themselves.

    Attributes:
        reduction: the 1x1 convolution without bias, or None.
        out_features: width of the output, known before the first batch.
        covariance: (n, C, C) float64, detached: the last training batch's, without eps; None before.

    Covariances are accumulated in float64, also for half precision and under autocast; the output has the dtype that
    the features have. A picture with NaN or infinity gives NaN in its own row only; no pictures (n = 0) give no rows,
    as in PyTorch's own layers. On the meta device a forward gives shape and dtype.

    Raises:
        InputError: if an option is out of range; in ``forward``, if the input has another shape or dtype or no
            positions.

    >>> pool = CovariancePool2d(8, upper_triangle=True)
    >>> pool.out_features
    36
    >>> pool(torch.randn(2, 8, 5, 5)).shape
    torch.Size([2, 36])
    """

    def __init__(
        self,
        in_channels: int,
        *,
        reduction: int | None = None,
        power: float | Literal["log"] = 0.5,
        upper_triangle: bool = True,
        eps: float = 1e-5,
        method: str = "eigh",
        steps: int | None = None,
        norm_after: NormAfter = "bn_relu",
        flatten: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("reduction", 1 if reduction is None else reduction)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected 1 or more.")
        if isinstance(power, str):
            if power != "log":
                raise unknown_name("power", power, ["log"], hint="Or a number above 0, at most 1.")
        elif not 0 < power <= 1:
            raise InputError(f"power is {power}; expected a number above 0, at most 1, or 'log'.")
        if not eps >= 0:
            raise InputError(f"eps is {eps!r}; expected a number of at least 0.")
        if norm_after not in ("bn_relu", "bn", "none"):
            raise unknown_name("norm_after", str(norm_after), ["bn_relu", "bn", "none"])
        if power == 0.5:
            # Raises here, not in the first batch, if they do not fit; on the CPU also under torch.device("meta").
            matrix_sqrt(torch.eye(1, device="cpu"), method, steps=steps)
        elif method != "eigh":
            raise InputError(f"method {method!r} is for power 0.5; power {power!r} takes no method.")
        elif steps is not None:
            raise InputError(f"steps is {steps}, which is for power 0.5; power {power!r} takes no steps.")
        self.in_channels = in_channels
        self.power = power
        self.upper_triangle = upper_triangle
        self.eps = eps
        self.method, self.steps = method, steps
        self.flatten = flatten
        self.reduction: nn.Conv2d | None = None
        self.norm: nn.Module = nn.Identity()
        if reduction is not None:
            self.reduction = nn.Conv2d(in_channels, reduction, 1, bias=False)
            if norm_after != "none":
                relu = [nn.ReLU(inplace=True)] if norm_after == "bn_relu" else []
                self.norm = nn.Sequential(nn.BatchNorm2d(reduction), *relu)
        size = in_channels if reduction is None else reduction
        self.out_features = size * (size + 1) // 2 if upper_triangle else size * size
        self.covariance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) features of any size to (n, out_features), or (n, out_features, 1, 1) if not ``flatten``."""
        if x.ndim != 4 or x.shape[1] != self.in_channels or not x.is_floating_point() or 0 in x.shape[2:]:
            raise InputError(
                f"CovariancePool2d({self.in_channels}) got an input of shape {tuple(x.shape)} and dtype {x.dtype}; "
                f"expected (n, {self.in_channels}, H, W) floating point with at least one position."
            )
        if self.reduction is not None:
            x = self.norm(self.reduction(x))
        with autocast_off(x):
            _, second = covariance(x.flatten(2))
            if self.training:
                self.covariance = second.detach()
            pooled = self._function(second)
            if self.upper_triangle:
                rows, columns = torch.triu_indices(*pooled.shape[-2:], device=pooled.device)
                pooled = pooled[:, rows, columns]
            pooled = pooled.flatten(1).to(x.dtype)
            return pooled if self.flatten else pooled[:, :, None, None]

    def _function(self, second: Tensor) -> Tensor:
        if second.is_meta:  # no numbers: the result is a matrix of this shape and dtype
            return second
        ridged = second + self.eps * torch.eye(second.shape[-1], dtype=second.dtype, device=second.device)
        if self.power == "log":
            return matrix_log(ridged)
        if self.power == 0.5:
            return matrix_sqrt(ridged, self.method, steps=self.steps)
        return matrix_power(ridged, float(self.power))

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, power={self.power}, upper_triangle={self.upper_triangle}, eps={self.eps}, "
            f"method={self.method}, out_features={self.out_features}"
            + ("" if self.steps is None else f", steps={self.steps}")
            + ("" if self.flatten else ", flatten=False")
        )
