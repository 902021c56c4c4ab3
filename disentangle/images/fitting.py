"""From pixels of any size to those of a wanted one: named ways to make both sides fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from disentangle.errors import unknown_name
from disentangle.images.decoding import BACKGROUNDS

__all__ = ["FITS", "fit_picture"]

_BAND = 1 << 20  # pixels

FITS = {
    "as-is": "every picture in its own size",
    "center-crop": "the largest part in the middle that has the aspect, then resized",
    "squash": "resized, whatever that does to the aspect",
    "pad": "resized to fit inside, the rest filled with the background",
}


def fit_picture(
    pixels: NDArray[np.uint8], size: tuple[int, int] | None, fit: str = "center-crop", *, background: str = "white"
) -> NDArray[np.uint8]:
    """A picture brought to a size, with Lanczos' filter, which averages when it makes a picture smaller.

    Args:
        pixels: (height, width, channels) uint8, of 1, 3 or 4 channels.
        size: the wanted (height, width); None with ``"as-is"``, or with ``"center-crop"`` for the largest square in
            the picture's own pixels.
        fit: a key of :data:`FITS`.
        background: beside a padded picture.

    Returns:
        (height, width, channels) uint8. A picture that has the size already is left as it is, to the last bit.

    Raises:
        InputError: if there is no such ``fit``.
    """
    if fit not in FITS:
        raise unknown_name("fit of pictures", fit, FITS)
    if fit == "as-is":
        return pixels
    height, width = pixels.shape[:2]
    if size is None:
        size = (min(height, width),) * 2
    if fit == "center-crop":
        pixels = _middle(pixels, size)
    elif fit == "pad" and width * size[0] != height * size[1]:
        scale = min(size[0] / height, size[1] / width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        sheet = np.full((*size, pixels.shape[2]), BACKGROUNDS[background], np.uint8)
        top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        sheet[top : top + inner[0], left : left + inner[1]] = _resized(pixels, inner)
        return sheet
    return _resized(pixels, size)


def _middle(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The largest part in the middle with the aspect of ``size``."""
    height, width = pixels.shape[:2]
    rows = min(height, max(1, round(width * size[0] / size[1])))
    columns = min(width, max(1, round(height * size[1] / size[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if pixels.shape[:2] == size:
        return pixels
    resized = np.asarray(_image(pixels).resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return resized.reshape(*size, pixels.shape[2])


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    """A Pillow image of an array that may be a view, made by bands: a whole copy in between would cost its memory."""
    height, width, channels = pixels.shape
    picture = Image.new({1: "L", 3: "RGB", 4: "RGBA"}[channels], (width, height))
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        band = np.ascontiguousarray(pixels[top : top + rows])
        picture.paste(Image.fromarray(band[..., 0] if channels == 1 else band), (0, top))
    return picture
