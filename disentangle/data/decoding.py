"""From the bytes of a PNG, JPEG or other picture file to a square array of the wanted size.

What is done, in this order: the EXIF orientation is applied; 16-bit greys become 8-bit ones (divided by 257); a
transparent picture is laid over the background colour; any other colour mode is converted to RGB or grey; margins are
cut off; the rest is brought to a square and resized with Lanczos' filter (which averages when it makes a picture
smaller, and enlarges one that is too small). Of an animation the first picture is taken.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from disentangle.errors import InputError, unknown_name

__all__ = ["BACKGROUNDS", "RESIZES", "PictureDecoder"]

RESIZES = ("center-crop", "squash", "pad")
BACKGROUNDS = {"white": 255, "black": 0}

_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow opens 16-bit greys in one of these modes


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

    Raises:
        InputError: by the constructor, on an unknown value.
    """

    resolution: int
    channels: int = 3
    resize: str = "center-crop"
    background: str = "white"
    source_size: tuple[int, int] | None = None
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        if self.resolution < 1:
            raise InputError(f"resolution is {self.resolution}; expected a number of pixels, 1 or more.")
        if self.channels not in (1, 3):
            raise InputError(f"channels is {self.channels}; expected 3 (RGB) or 1 (grey).")
        if self.resize not in RESIZES:
            raise unknown_name("resize", self.resize, RESIZES)
        if self.background not in BACKGROUNDS:
            raise unknown_name("background", self.background, BACKGROUNDS)

    def __call__(self, data: bytes) -> NDArray[np.uint8]:
        """Decode one picture; Pillow's own exceptions pass through, and a ValueError says what does not fit."""
        with Image.open(io.BytesIO(data)) as opened:
            picture = _eight_bit(ImageOps.exif_transpose(opened), self.channels, BACKGROUNDS[self.background])
        if self.source_size is not None and picture.size != self.source_size:
            raise ValueError(
                f"it has {picture.width}x{picture.height} pixels instead of {self.source_size[0]}x{self.source_size[1]}"
            )
        left, top, right, bottom = self.margins
        if any(self.margins):
            picture = picture.crop((left, top, picture.width - right, picture.height - bottom))
        array = np.asarray(self._square(picture), dtype=np.uint8)
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)

    def _square(self, picture: Image.Image) -> Image.Image:
        width, height = picture.size
        size = (self.resolution, self.resolution)
        if self.resize == "center-crop":
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            picture = picture.crop((left, top, left + side, top + side))
        elif self.resize == "pad" and width != height:
            scale = self.resolution / max(width, height)
            inner = max(1, round(width * scale)), max(1, round(height * scale))
            level = BACKGROUNDS[self.background]
            sheet = Image.new(picture.mode, size, level if picture.mode == "L" else (level,) * 3)
            corner = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
            sheet.paste(picture.resize(inner, Image.Resampling.LANCZOS), corner)
            return sheet
        # A picture that has the size already is left as it is, to the last bit.
        return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _eight_bit(picture: Image.Image, channels: int, background: int) -> Image.Image:
    """Any Pillow mode as ``L`` (one channel) or ``RGB`` (three)."""
    if picture.mode in _SIXTEEN_BITS:
        values = np.asarray(picture)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("it holds 32-bit values outside 0 to 65535, not colours of 8 or 16 bits")
        picture = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    elif picture.mode == "F":
        raise ValueError("it holds floating-point values, whose white is not known, not colours of 8 or 16 bits")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        sheet = Image.new("RGBA", picture.size, (background, background, background, 255))
        picture = Image.alpha_composite(sheet, picture)
    return picture.convert("L" if channels == 1 else "RGB")
