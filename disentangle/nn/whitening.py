"""Decorrelated batch normalisation: BatchNorm with the whole covariance in place of the variances."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from disentangle.errors import InputError, unknown_name
from disentangle.linalg import cholesky_whitening, matrix_inverse_sqrt
from disentangle.linalg.differentiable import autocast_off
from disentangle.linalg.pca_whitening import pca_whitening
from disentangle.nn.batch_moments import moments, shifted_product
from disentangle.nn.derived import Derived
from disentangle.nn.synchronized import pooled_moments, world_size

__all__ = ["DecorrelatedBatchNorm2d"]

Whitening = Literal["zca", "pca", "cholesky"]
Running = Literal["covariance", "matrix"]

_HALF = (torch.float16, torch.bfloat16)


class DecorrelatedBatchNorm2d(nn.Module):
    """Whitens channels over a batch: ``y = gamma (S + eps I)^(-1/2) (x - mean) + beta`` for each group of channels.

    ``S`` is the biased covariance of the group's channels over batch and positions. Takes the place of
    ``nn.BatchNorm2d``, whose arguments and attributes it has; one channel a group is BatchNorm itself.

    Source: Huang, Yang, Lang, Deng, "Decorrelated Batch Normalization", CVPR 2018, equations 2 to 5; whitening by
    the exact root of Song, Sebe, Wang, TPAMI 2023.

    Args:
        num_features: channels C of the input (N, C), (N, C, H, W) or (N, C, *).
        eps: added to the diagonal of the covariance; absolute, as BatchNorm's. Covariances of rank-deficient features
            (a 3x3 convolution from 3 to 64 channels has rank 27) are as ill-conditioned as eps makes them.
        momentum: weight of the new value in the running statistics; None for the cumulative average.
        affine: learn ``weight`` (gamma, ones at the start) and ``bias`` (beta, zeros), (C,) each.
        track_running_stats: keep statistics for eval mode; without them a batch's own are used there too.
        device, dtype: of the parameters, and of ``running_mean`` unless that is half precision.
        groups: number of groups of consecutive channels, each whitened by itself.
        channels_per_group: the same as a size, for layers of different widths; in place of ``groups``.
        whitening: ``"zca"`` the symmetric root, nearest to the input; ``"pca"`` the principal axes, largest first,
            sign-fixed, whose gradient leaves out turns between equal eigenvalues; ``"cholesky"`` the inverse of the
            lower factor, the cheapest, which depends on the order of channels.
        method: of :func:`disentangle.linalg.matrix_inverse_sqrt`, for ``"zca"``. ``"isqrt_cov"`` with
            ``running="matrix"`` is iterative normalisation (Huang et al., CVPR 2019).
        steps: of that method, for those that take some; None for its default.
        running: ``"covariance"`` averages the unbiased covariance, as BatchNorm averages the unbiased variance, and
            takes its root in eval mode; ``"matrix"`` averages the whitening matrices (the paper's code), which lags
            behind and is no root of any covariance.
        synchronize: statistics over all processes of ``torch.distributed`` in training, with exact gradients.

    Attributes:
        running_mean: (C,).
        running_covariance: (groups, c, c) float64 of ``running="covariance"``, at the start the identity.
        running_matrix: (groups, c, c) float64 of ``running="matrix"``, at the start the identity.
        num_batches_tracked: batches that have entered the running statistics.
        covariance: (groups, c, c) float64, detached: that of the last training batch without eps; None before.

    Statistics are accumulated in float64, also for half precision and under autocast, where the input's own values are
    whitened in float32; the output has the input's dtype. When the module is cast, its running covariance or matrix
    stays in float64 and its running mean at least in float32: rounded to half precision it is no longer positive.

    On the meta device a forward gives shape and dtype; after ``to_empty`` call :meth:`reset_parameters`.

    A batch with NaN or infinity raises nothing: the outputs of its groups are NaN, and the running statistics keep
    their last good values. Constant channels and all-zero batches give finite outputs and gradients.

    Raises:
        InputError: if the channels do not divide into the groups or an option is unknown; in ``forward``, if the input
            is not floating point, has another number of channels, or only one value a channel in training.

    >>> layer = DecorrelatedBatchNorm2d(2, eps=0.0)
    >>> y = layer(torch.tensor([[2.0, 2.0], [-2.0, -2.0], [1.0, -1.0], [-1.0, 1.0]]))
    >>> torch.round(y.detach().T @ y.detach() / 4, decimals=5)
    tensor([[1., 0.],
            [0., 1.]])
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        groups: int = 1,
        channels_per_group: int | None = None,
        whitening: Whitening = "zca",
        method: str = "eigh",
        steps: int | None = None,
        running: Running = "covariance",
        synchronize: bool = False,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.groups = _group_count(num_features, groups, channels_per_group)
        if not eps >= 0:
            raise InputError(f"eps is {eps!r}; expected a number of at least 0.")
        if whitening not in ("zca", "pca", "cholesky"):
            raise unknown_name("whitening", str(whitening), ["zca", "pca", "cholesky"])
        if running not in ("covariance", "matrix"):
            raise unknown_name("running statistic", str(running), ["covariance", "matrix"])
        if whitening == "zca":
            # Raises here, not in the first batch, if they do not fit; on the CPU also under torch.device("meta").
            matrix_inverse_sqrt(torch.eye(1, device="cpu"), method, steps=steps)
        elif method != "eigh":
            raise InputError(f"method {method!r} is for whitening='zca'; whitening={whitening!r} takes no method.")
        elif steps is not None:
            raise InputError(f"steps is {steps}, which is for whitening='zca'; whitening={whitening!r} takes no steps.")
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.whitening = whitening
        self.method, self.steps = method, steps
        self.running = running
        self.synchronize = synchronize
        self.covariance: Tensor | None = None
        self._built = Derived()
        for name in ("weight", "bias"):
            empty = torch.empty(num_features, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(empty) if affine else None)
        size = num_features // self.groups
        tracked = {
            "running_mean": torch.empty(num_features, device=device, dtype=None if dtype in _HALF else dtype),
            f"running_{running}": torch.empty(self.groups, size, size, device=device, dtype=torch.float64),
            "num_batches_tracked": torch.empty((), device=device, dtype=torch.long),
        }
        for name, buffer in tracked.items():
            self.register_buffer(name, buffer if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Zero mean, identity covariance or matrix, no batches."""
        if not self.track_running_stats:
            return
        with torch.no_grad():
            for name in ("running_mean", "num_batches_tracked"):
                getattr(self, name).zero_()
            second = self._second()
            second.copy_(torch.eye(second.shape[-1], dtype=second.dtype, device=second.device))

    def reset_parameters(self) -> None:
        """Ones and zeros, and :meth:`reset_running_stats`."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C), (N, C, H, W) or any (N, C, *) to the same shape, dtype and memory format."""
        self._check(x)
        with autocast_off(x):
            wide = x.float() if x.dtype in _HALF else x
            values = x.shape[0] * math.prod(x.shape[2:])
            data = wide.transpose(0, 1).reshape(self.groups, self.num_features // self.groups, values)
            if self.training or not self.track_running_stats:
                centred, matrix, offset = self._batch_statistics(data)
            else:
                centred, matrix, offset = data - self._running_mean(), self._running_whitening(), None
            matrix = self._scaled(matrix)
            shift = matrix.new_zeros(matrix.shape[:2]) if self.bias is None else self.bias.view(matrix.shape[:2])
            if offset is not None:
                shift = shift + (matrix @ offset.unsqueeze(-1)).squeeze(-1)
            y = shifted_product(matrix, centred, shift)
            y = y.reshape(self.num_features, x.shape[0], *x.shape[2:]).transpose(0, 1)
        return y.to(x.dtype).contiguous(memory_format=_memory_format(x))

    @torch.no_grad()
    def constant(self) -> tuple[Tensor, Tensor]:
        """What this layer does in eval mode to each group of channels: ``matrix x + shift``.

        Returns:
            matrix (groups, c, c) and shift (C,), both float64.

        Raises:
            InputError: if there are no running statistics.
        """
        if self.running_mean is None:
            raise InputError("bake() needs running statistics; this layer has track_running_stats=False.")
        matrix = self._scaled(self._running_whitening()).double()
        shift = -(matrix @ self.running_mean.double().view(self.groups, -1, 1)).flatten()
        return matrix, shift if self.bias is None else shift + self.bias

    def bake(self) -> nn.Conv2d:
        """The 1x1 convolution that equals this layer in eval mode, to fold into its neighbours or to export.

        Raises:
            InputError: if there are no running statistics.
        """
        matrix, shift = self.constant()
        with torch.no_grad():
            assert self.running_mean is not None
            dtype = self.running_mean.dtype if self.weight is None else self.weight.dtype
            conv = nn.Conv2d(
                self.num_features, self.num_features, 1, groups=self.groups, device=matrix.device, dtype=dtype
            )
            conv.weight.copy_(matrix.reshape(self.num_features, -1, 1, 1))
            assert conv.bias is not None
            conv.bias.copy_(shift)
        return conv.train(self.training)

    def extra_repr(self) -> str:
        text = (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}, groups={self.groups}, whitening={self.whitening}"
        )
        others = {"method": "eigh", "steps": None, "running": "covariance", "synchronize": False}
        return text + "".join(f", {k}={getattr(self, k)}" for k, usual in others.items() if getattr(self, k) != usual)

    # ------------------------------------------------------------------------------------------------ statistics

    def _batch_statistics(self, data: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of (groups, c, n): centred data, whitening matrix (groups, c, c) float64, and what the data's own mean is off
        the mean of all processes, (groups, c). Updates what runs."""
        mean, second, centred = moments(data)
        count: int | Tensor = data.shape[-1]
        offset = None
        if self._is_synchronized():
            own = mean
            mean, second, count = pooled_moments(mean, second, data.shape[-1])
            offset = own - mean
        matrix = self._whitening_matrix(second, data.dtype)
        if self.training:
            with torch.no_grad():
                self.covariance = second.detach()
                self._update(mean, second * (count / (count - 1)), matrix)
        return centred, matrix, offset

    def _whitening_matrix(self, second: Tensor, dtype: torch.dtype) -> Tensor:
        """Of covariances (groups, c, c) float64 without eps, estimated from data of the given dtype."""
        if second.is_meta:  # no numbers: the result is a matrix of this shape and dtype
            return second
        size = second.shape[-1]
        ridged = second + self.eps * torch.eye(size, dtype=second.dtype, device=second.device)
        if self.whitening == "pca":
            # Axes are as uncertain as the data's rounding makes them, whatever the covariance is computed in.
            return pca_whitening(ridged, gap=min(size * torch.finfo(dtype).eps, 1e-2))
        if self.whitening == "cholesky":
            return cholesky_whitening(ridged)
        return matrix_inverse_sqrt(ridged, self.method, steps=self.steps)

    def _update(self, mean: Tensor, unbiased: Tensor, matrix: Tensor) -> None:
        if not self.track_running_stats:
            return
        assert self.running_mean is not None
        assert self.num_batches_tracked is not None
        new = unbiased if self.running == "covariance" else matrix
        good = torch.isfinite(mean.sum() + new.sum())  # one bad entry makes the sum bad; no synchronisation
        self.num_batches_tracked.add_(good)
        factor: float | Tensor
        if self.momentum is None:
            factor = self.num_batches_tracked.clamp_min(1).double().reciprocal()
        else:
            factor = self.momentum
        for buffer, value in ((self.running_mean, mean.flatten()), (self._second(), new)):
            old = buffer.to(value.dtype)
            buffer.copy_(torch.where(good, old + factor * (value - old), old))

    def _running_whitening(self) -> Tensor:
        """The whitening matrix of eval mode, kept until the statistics change."""
        second = self._second()
        if self.running == "matrix":
            return second
        assert self.running_mean is not None
        dtype = self.running_mean.dtype
        settings = (self.eps, self.whitening, self.method, self.steps, dtype)
        return self._built(lambda second: self._whitening_matrix(second, dtype), second, settings=settings)

    def _running_mean(self) -> Tensor:
        assert self.running_mean is not None
        return self.running_mean.view(self.groups, -1, 1)

    def _second(self) -> Tensor:
        buffer: Tensor = getattr(self, f"running_{self.running}")
        return buffer

    def _scaled(self, matrix: Tensor) -> Tensor:
        return matrix if self.weight is None else self.weight.view(self.groups, -1, 1) * matrix

    def _is_synchronized(self) -> bool:
        return self.synchronize and self.training and world_size() > 1

    def _check(self, x: Tensor) -> None:
        name = type(self).__name__
        if not x.is_floating_point():
            raise InputError(f"{name} got dtype {x.dtype}; expected a floating point tensor: convert it with .float().")
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise InputError(
                f"{name}({self.num_features}) got an input of shape {tuple(x.shape)}; "
                f"expected (N, {self.num_features}) or (N, {self.num_features}, *)."
            )
        if self.training or not self.track_running_stats:
            values = x.shape[0] * math.prod(x.shape[2:])
            if values < (1 if self._is_synchronized() else 2):
                raise InputError(
                    f"{name} got an input of shape {tuple(x.shape)}, {values} value a channel; statistics of a batch "
                    f"need at least 2: use a larger batch or eval mode."
                )

    # --------------------------------------------------------------------------------------------------- module

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DecorrelatedBatchNorm2d:
        """Moves and casts as every module does, but the running statistics keep the precision they need."""
        before = {name: buffer for name, buffer in self.named_buffers(recurse=False) if buffer.is_floating_point()}
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            now = getattr(self, name)
            if now.dtype != buffer.dtype and (name != "running_mean" or now.dtype in _HALF):
                setattr(self, name, buffer.to(now.device))
        return self


def _group_count(num_features: int, groups: int, channels_per_group: int | None) -> int:
    if channels_per_group is not None:
        if groups != 1:
            raise InputError(f"got groups={groups} and channels_per_group={channels_per_group}; give one of them.")
        if channels_per_group < 1 or num_features % channels_per_group:
            raise InputError(
                f"{num_features} channels do not divide into groups of channels_per_group={channels_per_group}; "
                f"choose a divisor of {num_features}."
            )
        return num_features // channels_per_group
    if groups < 1 or num_features < 1 or num_features % groups:
        raise InputError(
            f"{num_features} channels do not divide into groups={groups}; choose a divisor of {num_features}."
        )
    return groups


def _memory_format(x: Tensor) -> torch.memory_format:
    if x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
