"""Grids of pictures with labels."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from disentangle.colour import CHANNELS
from disentangle.errors import InputError
from disentangle.files import write_bytes
from disentangle.signatures import checks_arguments
from disentangle.text import escaped
from disentangle.viz.lettering import Lettering
from disentangle.viz.stamps import png_options

__all__ = ["image_grid", "on_white", "save_grid", "save_picture", "to_pil"]

_LONGEST_LABEL = 80  # characters
_LONGEST_SIDE = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535, "PNG": 500_000}  # pixels, of the formats and of sense
_MOST_PIXELS = 10**9  # 3 GB
_BACKGROUND, _INK, _MARK = (255, 255, 255), (40, 40, 40), (214, 90, 30)
_FRAME = 2  # pixels, of a marked picture
_TRANSPARENT = ("PNG", "WEBP", "TIFF")  # formats that keep it


@checks_arguments
def to_pil(image: Tensor, *, image_range: tuple[float, float] = (-1.0, 1.0), scale: int = 1) -> Image.Image:
    """One image (C, H, W) as an RGB picture, or of 4 channels as RGBA, enlarged ``scale`` times without smoothing.

    Values outside ``image_range`` are clipped. The fourth channel is how opaque a pixel is.
    """
    if image.ndim != 3 or image.shape[0] not in CHANNELS:
        raise InputError(
            f"image has shape {tuple(image.shape)}; expected (1, H, W) or (3, H, W), or (4, H, W) with transparency."
        )
    low, high = image_range
    if not low < high:
        raise InputError(f"image_range is {image_range}; expected (low, high) with low < high.")
    unit = ((image.detach().float().cpu() - low) / (high - low)).clamp(0, 1)
    array = (unit * 255).round().to(torch.uint8).expand(max(3, len(unit)), -1, -1).permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(array))
    return (
        picture
        if scale == 1
        else picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    )


@checks_arguments
def image_grid(
    images: Tensor,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    marked: Sequence[int | None] = (),
    image_range: tuple[float, float] = (-1.0, 1.0),
    scale: int | None = None,
    gap: int = 2,
) -> Image.Image:
    """Rows of pictures on white, with labels to the left and above; transparent pictures stay so, as RGBA.

    Labels may be in any script: where no font of this machine has a character, its name is written.

    Args:
        images: (rows, columns, C, H, W) with 1, 3 or 4 channels.
        row_labels: one a row, or none.
        column_labels: one a column, or none.
        title: a line above all.
        marked: a column of each row whose picture is framed, such as the one a walk starts from, or None.
        image_range: values that become black and white.
        scale: enlargement; by default small images are enlarged to about 64 pixels.
        gap: white pixels between pictures.

    Raises:
        InputError: on another shape, or a number of labels that does not fit.
    """
    if images.ndim != 5 or not images.numel():
        raise InputError(f"images have shape {tuple(images.shape)}; expected (rows, columns, C, H, W), none of them 0.")
    rows, columns = images.shape[:2]
    for name, given, count in (
        ("row_labels", row_labels, rows), ("column_labels", column_labels, columns), ("marked", marked, rows),
    ):  # fmt: skip
        if given and len(given) != count:
            raise InputError(f"{name} has {len(given)} entries; expected {count} or none.")
    for column in marked:
        if column is not None and not 0 <= column < columns:
            raise InputError(f"marked has the column {column}; expected 0 to {columns - 1}, or None.")
    gap = max(gap, 2 * _FRAME) if any(column is not None for column in marked) else gap
    row_labels, column_labels = (
        [escaped(label, most=_LONGEST_LABEL) for label in labels] for labels in (row_labels, column_labels)
    )
    if scale is None:
        scale = max(1, 64 // images.shape[-1])
    if scale < 1:
        raise InputError(f"scale is {scale}; expected 1 or more.")
    height, width = images.shape[-2] * scale, images.shape[-1] * scale
    letters = Lettering(max(11, min(16, height // 5)))
    left = max((int(letters.width(label)) for label in row_labels), default=0) + (10 if row_labels else 0)
    line = int(letters.size * 1.5)
    title = letters.cut(escaped(title, most=400), left + columns * (width + gap) - gap - 4) if title else ""
    above = line + 4 if title else 0
    top = above + (line if column_labels else 0)
    size = (left + columns * (width + gap) - gap, top + rows * (height + gap) - gap)
    if size[0] * size[1] > _MOST_PIXELS:
        raise InputError(
            f"the grid would have {size[0]:,} x {size[1]:,} pixels; draw fewer pictures, or enlarge them less."
        )
    sheet = Image.new("RGBA" if images.shape[2] == 4 else "RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        letters.draw(draw, (2, above / 2), title, anchor="l", fill=_INK)
    for row in range(rows):
        y = top + row * (height + gap)
        if row_labels:
            letters.draw(draw, (left - 6, y + height / 2), row_labels[row], anchor="r", fill=_INK)
        for column in range(columns):
            x = left + column * (width + gap)
            sheet.paste(to_pil(images[row, column], image_range=image_range, scale=scale), (x, y))
            if row == 0 and column_labels:
                letters.draw(draw, (x + width / 2, above + line / 2), column_labels[column], anchor="m", fill=_INK)
            if marked and marked[row] == column:  # within the picture where it stands at the edge
                box = (x - _FRAME, y - _FRAME, x + width + _FRAME - 1, y + height + _FRAME - 1)
                draw.rectangle(
                    (max(box[0], 0), max(box[1], 0), min(box[2], size[0] - 1), min(box[3], size[1] - 1)),
                    outline=_MARK, width=_FRAME,
                )  # fmt: skip
    return sheet


@checks_arguments
def save_grid(
    images: Tensor,
    path: str | os.PathLike[str],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    marked: Sequence[int | None] = (),
    image_range: tuple[float, float] = (-1.0, 1.0),
    scale: int | None = None,
    made_by: str = "",
) -> None:
    """Write :func:`image_grid` to a picture file (its ending decides the format), atomically.

    Args:
        images: as of :func:`image_grid`, like the other arguments.
        path: the file.
        row_labels: one a row, or none.
        column_labels: one a column, or none.
        title: a line above all.
        marked: a column of each row that is framed, or None.
        image_range: values that become black and white.
        scale: enlargement.
        made_by: command that is noted in a .png file, see :mod:`disentangle.viz.stamps`.
    """
    grid = image_grid(
        images, row_labels=row_labels, column_labels=column_labels, title=title, marked=marked,
        image_range=image_range, scale=scale,
    )  # fmt: skip
    options = png_options(made_by) if Path(path).suffix.lower() == ".png" else {}
    save_picture(grid, path, **options)


def save_picture(picture: Image.Image, path: str | os.PathLike[str], **options: object) -> None:
    """Write a picture to a temporary name, then rename it over ``path``.

    A transparent picture is laid over white where the format has no transparency, as JPEG.

    Raises:
        InputError: if the ending names no format that pictures can be written in, or one that has none so large.
        OutputError: if it cannot be written.
    """
    path = Path(path)
    known = Image.registered_extensions()
    kind = known.get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise InputError(f"{path.name!r} has no known picture ending; expected .png, .jpg, .webp or .gif.")
    most = _LONGEST_SIDE.get(kind, _LONGEST_SIDE["PNG"])
    if max(picture.size) > most:
        raise InputError(
            f"the picture has {picture.width:,} x {picture.height:,} pixels, and a {path.suffix.lower()} at most "
            f"{most:,} on a side; draw fewer or smaller pictures{'' if kind == 'PNG' else ', or a .png'}."
        )
    if kind not in _TRANSPARENT:
        picture = on_white(picture)
    # Into memory first: given a file, Pillow's encoders take a part written for the whole when the disk is full.
    encoded = io.BytesIO()
    picture.save(encoded, format=kind, **options)
    write_bytes(path, encoded.getvalue())


def on_white(picture: Image.Image) -> Image.Image:
    """The picture without transparency."""
    if picture.mode != "RGBA":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
