"""Images as a network of features takes them, with a derivative: not rounded to 8 bits, as a score would have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["prepared"]


def prepared(images: Tensor, network: Any) -> Tensor:
    """Images (n, 3, H, W) in [-1, 1] at a network's ``size`` (bilinear, antialiased) and in its scale."""
    from torch.nn.functional import interpolate

    size = (network.size, network.size)
    if images.shape[-2:] != size:
        images = interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
    return ((images + 1) * 127.5 - network.centre) / network.spread
