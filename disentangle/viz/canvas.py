"""Figures of matplotlib: names in them are plain text, and files are written whole."""

from __future__ import annotations

import os
import warnings
from typing import Any

from disentangle.files import write_atomically
from disentangle.text import escaped
from disentangle.viz.lettering import drawable, fallback_fonts
from disentangle.viz.stamps import png_texts

__all__ = ["plain_label", "save_figure"]


def plain_label(text: str, *, most: int = 60) -> str:
    r"""A name as matplotlib prints it: no formula between dollars, no character without a font, of bounded length.

    >>> print(plain_label("$x^$"))
    \$x^\$
    """
    text = drawable(escaped(text, most=most)).replace("$", r"\$")
    return f" {text}" if text.startswith("_") or not text else text  # a legend leaves such names out


def save_figure(figure: Any, path: str | os.PathLike[str], *, dpi: int = 120, made_by: str = "") -> None:
    """Write a figure as .png, atomically.

    Raises:
        OutputError: if it cannot be written.
    """

    _letter(figure)

    def write(temporary: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(temporary, format="png", dpi=dpi, metadata=png_texts(made_by))

    write_atomically(path, write)


def _letter(figure: Any) -> None:
    """Give each text of a figure fonts of this machine for the characters that matplotlib's own lacks."""
    from matplotlib import font_manager
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        files = fallback_fonts(text.get_text())
        names = []
        for path in files:
            if all(entry.fname != str(path) for entry in font_manager.fontManager.ttflist):
                font_manager.fontManager.addfont(path)
            names.append(font_manager.get_font(str(path)).family_name)
        if names:
            text.set_fontfamily(["DejaVu Sans", *names])
