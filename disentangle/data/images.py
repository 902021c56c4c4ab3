"""Sources of pictures: what every one offers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["ImageSource", "LabelledImageSource"]


@runtime_checkable
class ImageSource(Protocol):
    """Pictures of one size, by position. Every :class:`~disentangle.data.factors.FactorDataset` is one too."""

    image_shape: tuple[int, int, int]
    """(channels, height, width)."""

    def __len__(self) -> int:
        """The number of pictures."""

    def images(self, indices: Tensor) -> Tensor:
        """(n,) int64 positions to (n, *image_shape) float32 in [0, 1]."""


@runtime_checkable
class LabelledImageSource(ImageSource, Protocol):
    """Pictures with a class each. A source that may have classes has ``labels = None`` where there are none."""

    labels: Tensor
    """(n,) int64, position in ``class_names``."""
    class_names: tuple[str, ...]
