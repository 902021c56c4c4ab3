"""Letters of any script in pictures: fonts of this machine where our own lacks a character, else the character's name.

Pictures and figures are lettered in DejaVu Sans, which matplotlib brings: Latin, Greek, Cyrillic, Arabic and more, but
neither Chinese nor emoji. A font that lacks a character draws an empty box, which says nothing.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

__all__ = ["Lettering", "drawable", "fallback_fonts", "own_font"]

logger = logging.getLogger(__name__)

_MOST_FONTS = 1000  # that are looked into; the likely ones come first
_LIKELY = re.compile(
    r"cjk|droid|fallback|unifont|source ?han|wqy|pingfang|hiragino|yahei|gothic|emoji|symbol|noto", re.I
)
_UNSEEN = "\ufe0e\ufe0f"  # choose between two looks of the character before them
_OUTLINES = ("glyf", "CFF ", "CFF2")  # tables of a font whose letters can have any size; pictures of emoji have none


class Lettering:
    """Texts in one size, drawn with whichever fonts have their characters."""

    def __init__(self, size: int) -> None:
        self.size = size

    def width(self, text: str) -> float:
        """How long a text is, in pixels."""
        return sum(font.getlength(piece) for font, piece in self._pieces(text))

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        at: tuple[float, float],
        text: str,
        *,
        anchor: str,
        fill: tuple[int, int, int] | int,
    ) -> None:
        """Draw a text.

        Args:
            draw: the picture.
            at: where, in pixels.
            text: on one line.
            anchor: "l", "m" or "r": which part of the text stands at that place, whose height is the middle of a line.
            fill: its colour.
        """
        x = at[0] - {"l": 0.0, "m": 0.5, "r": 1.0}[anchor] * self.width(text)
        below = at[1] + 0.36 * self.size  # half a capital letter
        for font, piece in self._pieces(text):
            draw.text((x, below), piece, fill=fill, font=font, anchor="ls")
            x += font.getlength(piece)

    def cut(self, text: str, width: float) -> str:
        """As much of a text as fits into a width, with an ellipsis where something is left out."""
        if self.width(text) <= width:
            return text
        kept = len(text)
        while kept and self.width(text[:kept].rstrip() + "…") > width:
            kept -= 1
        return text[:kept].rstrip() + "…"

    def _pieces(self, text: str) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
        for path, piece in groupby(drawable(text), key=_font_of):
            yield _font(path, self.size), "".join(piece)


def drawable(text: str) -> str:
    """``text`` with every character that no font here has written out: ``[cat face]``, ``[U+8DDD]``. That is said once.

    >>> drawable("smile 37°")
    'smile 37°'
    """
    text = "".join(character for character in text if character not in _UNSEEN)
    missing = _without_font(text)
    if not missing:
        return text
    _say(missing)
    return "".join(_named(character) if character in missing else character for character in text)


def fallback_fonts(text: str) -> list[Path]:
    """Files of the fonts besides our own that a text needs."""
    own = own_font()
    return list(dict.fromkeys(path for path in map(_font_of, text) if path != own))


@functools.cache
def own_font() -> Path:
    """DejaVu Sans."""
    spec = importlib.util.find_spec("matplotlib")  # found, not imported: that would take half a second
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


@functools.lru_cache(maxsize=64)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def _font_of(character: str) -> Path:
    """The file of a font that has a character, our own where none does."""
    if character.isascii():
        return own_font()
    _find((character,))
    return _FOUND[character] or own_font()


def _without_font(text: str) -> frozenset[str]:
    if text.isascii():
        return frozenset()
    _find(text)
    return frozenset(character for character in text if not character.isascii() and _FOUND[character] is None)


_FOUND: dict[str, Path | None] = {}  # which font has a character; None where none has


def _find(characters: Iterable[str]) -> None:
    """Look for fonts that have characters which were not looked for before."""
    wanted = {character for character in characters if not character.isascii() and character not in _FOUND}
    for path in _fonts() if wanted else ():
        held = {character for character in wanted if ord(character) in _code_points(path)}
        _FOUND.update(dict.fromkeys(held, path))
        wanted -= held
        if not wanted:
            break
    _FOUND.update(dict.fromkeys(wanted))


@functools.cache
def _code_points(path: Path) -> frozenset[int]:
    """Those of the characters that a font has outlines of; none where it cannot be read."""
    from fontTools.ttLib import TTFont

    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            if not any(table in font for table in _OUTLINES):
                return frozenset()
            return frozenset(font.getBestCmap() or {})
    except Exception:  # whatever that package makes of a damaged file, which is nothing to us
        return frozenset()


def _fonts() -> Iterator[Path]:
    yield own_font()
    yield from _of_this_machine()


@functools.cache
def _of_this_machine() -> tuple[Path, ...]:
    """Files of fonts, those first that are likely to have many characters."""
    home = Path("~").expanduser()
    roots = {
        "darwin": [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"],
        "win32": [Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"],
    }.get(sys.platform, [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".fonts"])
    roots.append(home / ".local" / "share" / "fonts")
    found = [
        Path(folder) / name
        for root in roots
        for folder, _, names in os.walk(root)
        for name in names
        if name.lower().endswith((".ttf", ".otf", ".ttc"))
    ]
    upright = sorted(found, key=lambda path: (not _LIKELY.search(path.name), "Regular" not in path.name, path.name))
    return tuple(upright[:_MOST_FONTS])


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    if unicodedata.category(character) == "So" and name:
        return f"[{name.lower()}]"
    return f"[U+{ord(character):04X}]"


@functools.lru_cache(maxsize=256)
def _say(missing: frozenset[str]) -> None:
    shown = ", ".join(f"U+{ord(character):04X}" for character in sorted(missing)[:5])
    logger.warning(
        "No font of this machine has %s%s; such characters are written out in pictures. Install one that has them, "
        "such as Noto Sans CJK or Noto Emoji.",
        shown,
        "" if len(missing) <= 5 else f" and {len(missing) - 5} more",
    )
