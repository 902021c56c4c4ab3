"""From the bytes of a PNG, JPEG or other picture file to a square array of the wanted size.

The pixels are those of :func:`disentangle.images.decode_picture`; here margins are cut off and the rest is brought to a
square and resized with Lanczos' filter (which averages when it makes a picture smaller, and enlarges one that is too
small).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disentangle.errors import ArgumentError, InputError, unknown_name
from disentangle.images import BACKGROUNDS, PictureError, decode_picture, fit_picture
from disentangle.text import shown

__all__ = ["BACKGROUNDS", "RESIZES", "PictureDecoder"]

_LARGEST = 65_536  # pixels of a side
RESIZES = ("center-crop", "squash", "pad")


@dataclass(frozen=True)
class PictureDecoder:
    """A function from the bytes of a picture file to a (channels, resolution, resolution) uint8 array.

    Attributes:
        resolution: height and width of the result, in pixels.
        channels: 3 for RGB, 1 for grey (ITU-R 601-2 luma).
        resize: ``"center-crop"`` takes the largest central square, ``"squash"`` changes the aspect, ``"pad"`` keeps the
            whole picture and fills up with the background.
        background: ``"white"`` or ``"black"``, behind transparent pixels and beside a padded picture.
        source_size: (width, height) that every picture must have; None takes any.
        margins: pixels to cut off first: left, top, right, bottom.
        max_pixels: up to how many pixels a file is decoded, whatever memory that takes; None for as many as
            :func:`~disentangle.images.decode_picture` takes by default.

    Raises:
        InputError: by the constructor, on an unknown value.
    """

    resolution: int
    channels: int = 3
    resize: str = "center-crop"
    background: str = "white"
    source_size: tuple[int, int] | None = None
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.resolution <= _LARGEST or isinstance(self.resolution, bool):
            raise ArgumentError(
                f"resolution is {shown(self.resolution)}; expected a number of pixels, 1 to {_LARGEST:,}."
            )
        if self.channels not in (1, 3):
            raise InputError(f"channels is {self.channels}; expected 3 (RGB) or 1 (grey).")
        if self.resize not in RESIZES:
            raise unknown_name("resize", self.resize, RESIZES)
        if self.background not in BACKGROUNDS:
            raise unknown_name("background", self.background, BACKGROUNDS)
        if self.max_pixels is not None and self.max_pixels < 1:
            raise InputError(f"max_pixels is {self.max_pixels}; expected a number of pixels, 1 or more.")

    def __call__(self, data: bytes) -> NDArray[np.uint8]:
        """Decode one picture.

        Raises:
            PictureError: whatever is wrong with the file, as half a sentence.
        """
        return decode_picture(
            data,
            channels=self.channels,
            background=self.background,
            max_pixels=self.max_pixels,
            finish=self._square,
        ).transpose(2, 0, 1)

    def _square(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        if self.source_size is not None and (width, height) != self.source_size:
            raise PictureError(f"it has {width}x{height} pixels instead of {self.source_size[0]}x{self.source_size[1]}")
        if any(self.margins):
            left, top, right, bottom = self.margins
            pixels = pixels[top : height - bottom, left : width - right]
        return fit_picture(pixels, (self.resolution, self.resolution), self.resize, background=self.background)
