"""From the bytes of a picture file to its pixels, the same ones for every use.

What is done: the picture is turned upright (EXIF orientation); 16-bit greys become 8-bit ones (divided by 257); a
transparent picture is laid over the background; any other colour mode is converted to RGB or grey (ITU-R 601-2 luma).
Of an animation the first picture is taken. Nothing is resized here.

Files come from strangers. Only the formats offered are tried, whatever a name says: Pillow knows others, some of which
start programs. The size is compared with the length of the file before memory is taken for it, and threads that decode
at the same time share a budget, so that a file of n bytes costs at most 512 MiB + 8 n.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from disentangle.errors import reason
from disentangle.images.budget import Budget
from disentangle.images.headers import jpeg_parts, plain_comments, tiff_parts, webp_size

__all__ = ["BACKGROUNDS", "FORMATS", "PictureError", "PictureInfo", "decode_picture", "inspect_picture"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that are read, by Pillow's names; phones' JPEG files of several pictures are JPEG's."""
BACKGROUNDS = {"white": 255, "black": 0}

_BUDGET = Budget(384 << 20)  # for the pixels that are being decoded, of all threads together
_FREE = 384 << 20  # bytes of pixels for whatever file; beyond, seven for each of its bytes
_EACH = 7
_BAND = 1 << 20  # pixels converted at a time
_MOST_SCANS = 500
_MOST_SEGMENTS = 10_000  # of a JPEG, before its first scan
_MOST_COMMENTS = 1_000
_MOST_PARTS = 1 << 16
_MOST_BANDS = 64

_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow opens 16-bit greys in one of these modes
_ONE_BYTE = ("1", "L", "P")
# What a decoder holds for a pixel besides the picture itself: WebP two canvases and a copy, libtiff a strip that may be
# all of it, the plain forms of PPM and BMP a copy.
_BESIDES = {"WEBP": 12, "TIFF": 8, "PPM": 8, "BMP": 2, "GIF": 1}
_TURNS = {2: (False, 1, -1), 3: (False, -1, -1), 4: (False, -1, 1), 5: (True, 1, 1), 6: (True, 1, -1),
          7: (True, -1, -1), 8: (True, -1, 1)}  # fmt: skip


class PictureError(ValueError):
    """A picture file is damaged, of another format, or too large; half a sentence."""


@dataclass(frozen=True)
class PictureInfo:
    """What the header of a picture file says.

    Attributes:
        size: (width, height) in pixels, as stored.
        turned: whether its EXIF orientation is another than upright.
        transparent: whether it may have transparent pixels.
        sixteen_bits: whether it is a grey picture of 16 bits.
    """

    size: tuple[int, int]
    turned: bool
    transparent: bool
    sixteen_bits: bool


def decode_picture(
    data: bytes,
    *,
    channels: int = 3,
    background: str = "white",
    max_pixels: int | None = None,
    room: int = 0,
    finish: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda pixels: pixels,
) -> NDArray[np.uint8]:
    """The pixels of a picture file.

    Args:
        data: the bytes of the file.
        channels: 3 for RGB, 1 for grey, 4 for RGB and how opaque a pixel is.
        background: ``"white"`` or ``"black"``, behind transparent pixels where the result has no transparency.
        max_pixels: up to how many pixels it is decoded, whatever memory that takes; by default as many as
            fit 384 MiB and seven bytes for each of the file's.
        room: bytes a pixel that the caller is going to take besides, counted with the decoder's.
        finish: makes the result of the pixels, while their memory is still counted, and with it four bytes a pixel.

    Returns:
        (height, width, channels) uint8, upright; or what ``finish`` makes of it.

    Raises:
        PictureError: whatever is wrong with the file.
        MemoryError: if the machine has less memory than that, which is not the file's fault.
    """
    level = BACKGROUNDS[background]
    with _opened(data, channels, room, max_pixels) as picture:
        with _decoding():
            picture.load()
            turn = _TURNS.get(_orientation(picture))
            pixels = _pixels(picture, channels, level)
        picture.close()
        if turn is not None:
            swap, down, right = turn
            pixels = (pixels.swapaxes(0, 1) if swap else pixels)[::down, ::right]
        return finish(pixels)


def inspect_picture(data: bytes) -> PictureInfo:
    """What the header of a picture file says; no pixel is decoded.

    Raises:
        PictureError: if it is no picture file of a known format.
    """
    with _opened(data, 3, 0, None) as picture, _decoding():
        known = picture.format != "PNG" or "exif" in picture.info  # else Pillow decodes it all to find an orientation
        turned = known and _orientation(picture) in _TURNS
        return PictureInfo(picture.size, turned, _is_transparent(picture), picture.mode in _SIXTEEN_BITS)


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a decoder makes of a damaged file, as a :class:`PictureError`."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise many kinds on damaged files, SyntaxError among them
        raise PictureError(reason(error).replace("_io.BytesIO object", "file")) from None


@contextmanager
def _opened(data: bytes, channels: int, room: int, max_pixels: int | None) -> Iterator[Image.Image]:
    """The picture, its header read, with the memory reserved that decoding it takes."""
    kind = data[:4]
    if kind == b"RIFF":  # its decoder takes the memory upon opening
        size = webp_size(data)
        if size is None:
            raise PictureError("its header tells no size; it is damaged, or no picture of a known format")
        with _BUDGET.reserve(_total(size, _largest(4, _BESIDES["WEBP"], channels, room), len(data), max_pixels)):
            with _decoding():
                picture = Image.open(io.BytesIO(data), formats=["WEBP"])
            with picture:
                if picture.size != size:
                    raise PictureError("its header tells another size than its decoder")
                yield picture
        return
    if kind in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        parts, longest, bands = tiff_parts(data)
        if parts > _MOST_PARTS or max(longest, bands) > _MOST_BANDS:
            raise PictureError(f"its header lists {parts:,} strips and {max(longest, bands):,} channels; it is damaged")
    elif kind[:2] == b"\xff\xd8":
        jpeg = jpeg_parts(data)
        if jpeg.scans > _MOST_SCANS or jpeg.segments > _MOST_SEGMENTS:
            raise PictureError(f"it has more than {_MOST_SCANS} scans or {_MOST_SEGMENTS:,} segments; it is damaged")
        if jpeg.arithmetic:
            raise PictureError("it is in the arithmetic code, which is not read; save it as a baseline JPEG")
    elif plain_comments(data) > _MOST_COMMENTS:
        raise PictureError(f"it has more than {_MOST_COMMENTS:,} comments; it is damaged")
    with _decoding():
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    with picture, _BUDGET.reserve(_total(picture.size, _cost(picture, data, channels, room), len(data), max_pixels)):
        yield picture


def _total(size: tuple[int, int], cost: int, length: int, max_pixels: int | None) -> int:
    """The bytes that ``cost`` for each pixel takes, if that is allowed."""
    width, height = size
    pixels = width * height
    if pixels <= 0:
        raise PictureError(f"it states {width}x{height} pixels")
    allowed = (_FREE + _EACH * length) // cost if max_pixels is None else max_pixels
    if pixels > allowed:
        raise PictureError(
            f"it has {width}x{height} pixels, {pixels:,}; of a file of {length:,} bytes up to {allowed:,} are decoded, "
            f"more with max_pixels={pixels}"
        )
    return cost * pixels


def _cost(picture: Image.Image, data: bytes, channels: int, room: int) -> int:
    """Bytes that a pixel takes at the worst moment."""
    stored = 1 if picture.mode in _ONE_BYTE else 2 if picture.mode.startswith("I;16") else 4
    kind = picture.format or ""
    if kind in ("JPEG", "MPO"):
        besides = 2 * len(picture.getbands()) if jpeg_parts(data).keeps_all else 0
    else:
        besides = _BESIDES.get(kind, 0)
    return _largest(stored, besides, channels, room)


def _largest(stored: int, besides: int, channels: int, room: int) -> int:
    """Bytes a pixel: decoded and copied to an array; or later that array, and what is made of it."""
    return max(stored + besides + channels, channels + max(room, 4))


def _orientation(picture: Image.Image) -> int:
    """As EXIF counts it: 1 is upright. A TIFF has been turned by its decoder once it is loaded."""
    found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return found if isinstance(found, int) else 1


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def _pixels(picture: Image.Image, channels: int, background: int) -> NDArray[np.uint8]:
    """(height, width, channels), converted by bands: whole copies in between would multiply the memory."""
    width, height = picture.size
    pixels = np.empty((height, width, channels), np.uint8)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = picture if rows >= height else picture.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(_eight_bit(band, channels, background)).reshape(bottom - top, width, channels)
    return pixels


def _eight_bit(picture: Image.Image, channels: int, background: int) -> Image.Image:
    """Any Pillow mode as ``L`` (one channel), ``RGB`` (three) or ``RGBA`` (four)."""
    if picture.mode in _SIXTEEN_BITS:
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise PictureError("it holds 32-bit values outside 0 to 65535, not colours of 8 or 16 bits")
        levels = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        clear = picture.info.get("transparency")
        if isinstance(clear, int):  # one value, of 16 bits, that stands for nothing
            levels[values == clear] = background
        picture = Image.fromarray(levels)
    elif picture.mode == "F":
        raise PictureError("it holds floating-point values, whose white is not known, not colours of 8 or 16 bits")
    if channels == 4:
        return picture.convert("RGBA")
    if _is_transparent(picture):
        picture = picture.convert("RGBA")
        sheet = Image.new("RGBA", picture.size, (background, background, background, 255))
        picture = Image.alpha_composite(sheet, picture)
    return picture.convert("L" if channels == 1 else "RGB")
