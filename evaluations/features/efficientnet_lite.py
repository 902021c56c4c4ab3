"""EfficientNet-Lite0: a network whose ImageNet weights can be had without the web."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from disentangle.evaluations.features.weights import load_strictly

__all__ = ["EfficientNetLite0"]

# Tan and Le, "EfficientNet", ICML 2019, table 1 (B0): expansion, kernel, stride, channels, repeats. Lite: no squeeze
# and excitation, ReLU6 in place of swish, stem and head not scaled.
_BLOCKS = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class EfficientNetLite0(nn.Module):
    """Images (n, 3, 224, 224), scaled as (x - 127) / 128, to pooled features, stages or logits.

    Key names are those of the PyTorch port of the published weights.
    """

    name = "efficientnet-lite0"
    size = 224
    features = 1280
    centre, spread = 127.0, 128.0

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, stride=2, bias=False)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        before = 32
        self._stage_ends: list[int] = []  # the last block at each resolution
        for expansion, kernel, stride, after, repeats in _BLOCKS:
            for repeat in range(repeats):
                if repeat == 0 and stride == 2 and blocks:
                    self._stage_ends.append(len(blocks) - 1)
                blocks.append(_Block(before, after, expansion, kernel, stride if repeat == 0 else 1))
                before = after
        self._stage_ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _SameConv(before, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, 1000)
        self.eval()
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def load_weights(self, weights: Mapping[str, Tensor]) -> EfficientNetLite0:
        """Load the published weights, every key of which must be there.

        Raises:
            CheckpointError: if keys or shapes do not fit.
        """
        load_strictly(self, weights, "EfficientNet-Lite0's, 296 tensors")
        return self

    def stages(self, images: Tensor) -> list[Tensor]:
        """Feature maps before each halving of the resolution, and the last: five of (n, channels, height, width)."""
        x = torch.clamp(self._bn0(self._conv_stem(images.contiguous(memory_format=torch.channels_last))), 0, 6)
        found = []
        for position, block in enumerate(self._blocks):
            x = block(x)
            if position in self._stage_ends:
                found.append(x)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1280) pooled features."""
        x = self.stages(images)[-1]
        return torch.clamp(self._bn1(self._conv_head(x)), 0, 6).mean((2, 3))

    def logits(self, images: Tensor) -> Tensor:
        """(n, 1000) for ImageNet's classes."""
        return self._fc(self(images))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _SameConv(nn.Conv2d):
    """TensorFlow's "same" padding: at stride 2 the odd pixel is added after, not before."""

    def forward(self, x: Tensor) -> Tensor:
        margins = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            margins += [total // 2, total - total // 2]
        return super().forward(pad(x, margins) if any(margins) else x)


class _Block(nn.Module):
    """Inverted residual: 1x1 expansion, depthwise convolution, 1x1 projection, plus the input where shapes allow."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expands, self.residual = expansion != 1, stride == 1 and before == after
        if self.expands:
            self._expand_conv = _SameConv(before, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _SameConv(inner, inner, kernel, stride=stride, groups=inner, bias=False)
        self._bn1 = _norm(inner)
        self._project_conv = _SameConv(inner, after, 1, bias=False)
        self._bn2 = _norm(after)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.clamp(self._bn0(self._expand_conv(x)), 0, 6) if self.expands else x
        y = torch.clamp(self._bn1(self._depthwise_conv(y)), 0, 6)
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y
