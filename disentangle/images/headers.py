"""What a picture file's own header says, read by hand before a decoder takes memory for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["JPEGParts", "jpeg_parts", "plain_comments", "tiff_parts", "webp_size"]

_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers of a JPEG without a length
_LONG_VALUES = {258, 277, 338, 339}  # of a TIFF's tags those that count its channels
_PLACES = {273, 279, 324, 325}  # and those that list its strips and tiles


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP file, whose decoder takes memory for all of it when it is opened; None if unknown.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<2H", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


@dataclass(frozen=True)
class JPEGParts:
    """What a JPEG's decoder has to do.

    Attributes:
        keeps_all: whether it keeps the coefficients of all pixels: the frame is progressive, or the first scan holds
            fewer components than the frame.
        scans: at most so many, each of which may visit every pixel again.
        segments: before the first scan.
        arithmetic: whether the scans are in the arithmetic code, which takes a hundred times as long as Huffman's.
    """

    keeps_all: bool
    scans: int
    segments: int
    arithmetic: bool


def jpeg_parts(data: bytes) -> JPEGParts:
    """The parts of a JPEG file.

    Source: ITU-T T.81, annex B.
    """
    place, components, progressive, arithmetic, segments = 2, 0, False, False, 0
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF or marker in _STANDALONE:
            place += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA:
            first = data[place + 4] if place + 4 < len(data) else 0
            scans = data.count(b"\xff\xda", place)
            return JPEGParts(progressive or first < components, scans, segments, arithmetic)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and place + 9 < len(data):
            progressive, components = marker in (0xC2, 0xC6, 0xCA, 0xCE), data[place + 9]
            arithmetic = marker >= 0xC9
        place += 2 + max(length, 2)
        segments += 1
    return JPEGParts(True, data.count(b"\xff\xda"), segments, arithmetic)


def plain_comments(data: bytes) -> int:
    """How many comments a PNM file in plain text may have, whose reader goes over all that follow for each of them."""
    return data.count(b"#") if data[:2] in (b"P1", b"P2", b"P3") else 0


def tiff_parts(data: bytes) -> tuple[int, int, int]:
    """How many strips or tiles a TIFF's first picture lists, how many values its other lists have, and its channels.

    A list is read into memory by whoever opens the file, at many times its size there.

    Source: TIFF 6.0, section 2; for the eight-byte form, the BigTIFF design of libtiff.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = len(data) >= 16 and struct.unpack(order + "H", data[2:4])[0] == 43
    try:
        if big:
            (start,) = struct.unpack_from(order + "Q", data, 8)
            (count,) = struct.unpack_from(order + "Q", data, start)
            step, place, form = 20, start + 8, order + "HHQ"
        else:
            (start,) = struct.unpack_from(order + "L", data, 4)
            (count,) = struct.unpack_from(order + "H", data, start)
            step, place, form = 12, start + 2, order + "HHL"
        parts, longest, channels = 0, 0, 1
        for at in range(place, min(place + step * count, len(data) - step + 1), step):
            tag, _, values = struct.unpack_from(form, data, at)
            if tag in _PLACES:
                parts = max(parts, values)
            elif tag in _LONG_VALUES:
                longest = max(longest, values)
            if tag == 258:
                channels = max(channels, values)
    except (struct.error, OverflowError):
        return 0, 0, 1
    return parts, longest, channels
