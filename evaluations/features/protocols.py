"""Named protocols of image features: how images are quantised, resized and scaled, and what n is divided by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from disentangle.checks import check_image_range
from disentangle.errors import InputError
from disentangle.evaluations.features.resize import resize_images

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PROTOCOLS", "ImageProtocol", "to_uint8"]

Rounding = Literal["round", "floor", "stylegan"]
_TENSORFLOW = (128.0, 128.0)  # centre and spread of the FID's Inception network


@dataclass(frozen=True)
class ImageProtocol:
    """What happens to an image before the network, under one name.

    Attributes:
        name: of the protocol.
        resize: how, see :data:`~disentangle.evaluations.features.resize.RESIZERS`.
        rounding: of floats in [-1, 1] to 8 bits: "round" to the nearest, "floor" (torchmetrics' cast of 255 x),
            "stylegan" (floor of 127.5 x + 128).
        ddof: taken from n in the covariance.
        about: whose it is.
        inception_scale: (centre, spread) with which its package feeds the FID's Inception network, where these are not
            the (128, 128) of the network as TensorFlow published it; other networks keep their own.
    """

    name: str
    resize: str
    rounding: Rounding
    ddof: int
    about: str
    inception_scale: tuple[float, float] = _TENSORFLOW

    def scale(self, centre: float, spread: float) -> tuple[float, float]:
        """Centre and spread for a network that is described by these two."""
        return self.inception_scale if (centre, spread) == _TENSORFLOW else (centre, spread)

    def prepare(self, images: Tensor, size: int, *, centre: float = 128.0, spread: float = 128.0) -> Tensor:
        """(n, 3, H, W) uint8 to the network's input, ``size`` pixels a side: (x - centre) / spread, of :meth:`scale`.

        Raises:
            InputError: if the images are no uint8 colour images.
        """
        import torch

        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise InputError(
                f"images have shape {tuple(images.shape)} and dtype {images.dtype}; expected (n, 3, H, W) of uint8."
            )
        if images.shape[-2:] != (size, size):  # by channels: a large photo in floating point is many times its size
            values = torch.cat([resize_images(images[:, c : c + 1].float(), size, self.resize) for c in range(3)], 1)
        else:
            values = images.float()
        centre, spread = self.scale(centre, spread)
        return (values - centre) / spread


def to_uint8(images: Tensor, rounding: Rounding = "round") -> Tensor:
    """Float images in [-1, 1] to 8 bits; values a little beyond are clipped.

    Raises:
        InputError: if the images are not finite, or so far beyond [-1, 1] that they must have another range.
    """
    import torch

    if not images.is_floating_point():
        raise InputError(f"images have dtype {images.dtype}; expected floating point in [-1, 1].")
    check_image_range(images, expected="[-1, 1], as generators return (divide 8-bit ones by 127.5 and take off 1)")
    scaled = images.float() * 127.5
    if rounding == "stylegan":
        return (scaled + 128).clamp(0, 255).to(torch.uint8)
    scaled = (scaled + 127.5).clamp(0, 255)
    return (scaled.round() if rounding == "round" else scaled).to(torch.uint8)


PROTOCOLS: dict[str, ImageProtocol] = {
    protocol.name: protocol
    for protocol in (
        ImageProtocol("clean", "pil-bicubic-float", "round", 1, "clean-fid's default"),
        ImageProtocol("tf1", "tf1", "stylegan", 1, "the original TensorFlow graph, torch-fidelity"),
        ImageProtocol("pytorch-fid", "bilinear", "round", 1, "pytorch-fid", (127.5, 127.5)),
        ImageProtocol("torchmetrics", "bilinear-antialias", "floor", 1, "torchmetrics since 1.8"),
        ImageProtocol("stylegan", "tf1", "stylegan", 0, "StyleGAN2-ADA, StyleGAN3"),
    )
}
