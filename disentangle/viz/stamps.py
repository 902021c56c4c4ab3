"""Which command made a picture, kept in the picture itself: what a command may replace is what it made."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["maker_of", "png_options"]

_KEY, _SOFTWARE = "Comment", "disentangle"


def png_options(made_by: str) -> dict[str, Any]:
    """Options of Pillow's writer of .png files; none where ``made_by`` is empty."""
    from PIL.PngImagePlugin import PngInfo

    if not made_by:
        return {}
    info = PngInfo()
    for key, text in png_texts(made_by).items():
        info.add_text(key, text)
    return {"pnginfo": info}


def png_texts(made_by: str) -> dict[str, str]:
    """The same as texts by keyword, as matplotlib takes them."""
    return {"Software": _SOFTWARE, _KEY: f"made by `{made_by}`"} if made_by else {"Software": _SOFTWARE}


def maker_of(path: str | os.PathLike[str]) -> str | None:
    """The command that made a .png file, as in "disentangle invert"; None of any other file."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            info = dict(picture.info)
    except Exception:  # whatever Pillow makes of a file that is none of ours
        return None
    text = info.get(_KEY)
    if info.get("Software") != _SOFTWARE or not isinstance(text, str):
        return None
    return text.removeprefix("made by `").removesuffix("`")
