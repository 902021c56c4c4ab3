"""Animations of traversals: GIF and animated WebP, written by Pillow, and MP4, written by PyAV."""

from __future__ import annotations

import importlib.util
import io
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from disentangle.checks import check_number
from disentangle.errors import InputError
from disentangle.files import write_bytes
from disentangle.signatures import checks_arguments
from disentangle.text import escaped
from disentangle.viz.grid import image_grid, on_white, save_picture
from disentangle.viz.lettering import Lettering

__all__ = ["animation_frames", "check_animation", "save_animation"]

_FORMATS = (".gif", ".webp", ".png", ".mp4")


@checks_arguments
def animation_frames(
    walks: Tensor, *, row_labels: Sequence[str] = (), column_labels: Sequence[str] = (), scale: int | None = None
) -> list[Image.Image]:
    """Frames that move all walks at once, there and back, laid out as square as possible.

    Each direction has its pictures of all seeds beside one another, and its name above them.

    Args:
        walks: (seeds, directions, steps, C, H, W) in [-1, 1], as :func:`disentangle.traverse` returns.
        row_labels: one a direction.
        column_labels: one a seed.
        scale: enlargement; by default to about 64 pixels, or 128 where the frame stays small.

    Returns:
        ``2 * steps - 2`` frames of one size, transparent pictures laid over white.

    Raises:
        InputError: on another shape, or a number of labels that does not fit.
    """
    if walks.ndim != 6 or not walks.numel():
        raise InputError(
            f"walks have shape {tuple(walks.shape)}; expected (seeds, directions, steps, C, H, W), none 0."
        )
    directions, steps = walks.shape[1:3]
    if row_labels and len(row_labels) != directions:
        raise InputError(f"row_labels has {len(row_labels)} entries; expected {directions} or none.")
    names = [escaped(name, most=_LONGEST_NAME) for name in row_labels]
    letters = Lettering(_LETTERS)

    usual = max(1, 64 // walks.shape[-1]) if scale is None else scale

    def block(direction: int, step: int, scale: int) -> Image.Image:
        return on_white(image_grid(walks[None, :, direction, step], column_labels=column_labels, scale=scale))

    for chosen in (2 * usual, usual) if scale is None else (usual,):
        width, height = block(0, 0, chosen).size
        above = int(1.7 * letters.size) if names else 0
        wide, high = width + _APART, height + above + _APART
        across = min(range(1, directions + 1), key=lambda n: _unevenness(n * wide, -(-directions // n) * high))
        size = (across * wide - _APART, -(-directions // across) * high - _APART)
        if max(size) <= _SMALL:
            break
    names = [letters.cut(name, wide - 2) for name in names]

    def frame(step: int) -> Image.Image:
        sheet = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(sheet)
        for direction in range(directions):
            x, y = direction % across * wide, direction // across * high
            if names:
                letters.draw(draw, (x, y + above / 2), names[direction], anchor="l", fill=_INK)
            sheet.paste(block(direction, step, chosen), (x, y + above))
        return sheet

    there = [frame(step) for step in range(steps)]
    return there + there[-2:0:-1]


_LETTERS, _LONGEST_NAME = 13, 80  # pixels, characters
_SMALL = 720  # pixels of a frame's longer side that small pictures are enlarged to
_APART = 8  # pixels between the pictures of two directions
_INK = (40, 40, 40)
_SHORTEST = 2.0  # seconds of a round, so that a few frames can be followed
_USUAL = 12.0  # frames a second


def _unevenness(width: int, height: int) -> float:
    """How far a sheet is from square; one that is as much too high is worse than one too wide."""
    return abs(math.log(width / height)) if width >= height else 1.3 * math.log(height / width)


@checks_arguments
def save_animation(frames: Sequence[Image.Image], path: str | os.PathLike[str], *, fps: float | None = None) -> None:
    """Write an endless animation, ``.gif``, ``.webp`` or ``.png`` (APNG), or a film of one round, ``.mp4``.

    Args:
        frames: pictures of one size.
        path: the file.
        fps: frames a second; 12 by default, fewer where a round would take less than two seconds.

    Raises:
        InputError: on another ending, no frames, a rate that is not positive, or ``.mp4`` without the extra "video".
    """
    check_animation(path)
    fps = min(_USUAL, max(1.0, len(frames) / _SHORTEST)) if fps is None else check_number("fps", fps)
    if not frames or not 0.01 <= fps <= 1000:
        raise InputError(f"{len(frames)} frames at {fps} a second; expected at least one frame, and 0.01 to 1000.")
    if Path(path).suffix.lower() == ".mp4":
        _save_film(frames, Path(path), fps)
        return
    options: dict[str, object] = {
        "save_all": True,
        "append_images": list(frames[1:]),
        "duration": round(1000 / fps),
        "loop": 0,
    }
    if Path(path).suffix.lower() == ".webp":
        options |= {"quality": 90, "method": 4}
    save_picture(frames[0], path, **options)


def check_animation(path: str | os.PathLike[str]) -> None:
    """Whether an animation can be written to a file of this name here, before its frames are drawn.

    Raises:
        InputError: on an ending that holds no animation, or ``.mp4`` without the extra "video".
    """
    name, suffix = Path(path).name, Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(f"{name!r} cannot hold an animation; expected one of {', '.join(_FORMATS)}.")
    if suffix == ".mp4" and importlib.util.find_spec("av") is None:
        raise InputError(
            f"{name!r} is a film, which needs PyAV; install disentangle-toolkit[video], or write a .gif or .webp."
        )


def _save_film(frames: Sequence[Image.Image], path: Path, fps: float) -> None:
    import av

    width, height = (size + size % 2 for size in frames[0].size)  # H.264 halves its colours' resolution
    film = io.BytesIO()  # FFmpeg takes no name that is not UTF-8, and tells a full disk from nothing else
    with av.open(film, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18"}
        for frame in frames:
            canvas = Image.new("RGB", (width, height))
            canvas.paste(frame.convert("RGB"))
            for packet in stream.encode(av.VideoFrame.from_image(canvas)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    write_bytes(path, film.getvalue())
