"""Animations of traversals: GIF and animated WebP, written by Pillow, and MP4, written by PyAV."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from PIL import Image
from torch import Tensor

from disentangle.checks import check_number
from disentangle.errors import InputError
from disentangle.files import write_bytes
from disentangle.signatures import checks_arguments
from disentangle.viz.grid import image_grid, on_white, save_picture

__all__ = ["animation_frames", "check_animation", "save_animation"]

_FORMATS = (".gif", ".webp", ".png", ".mp4")


@checks_arguments
def animation_frames(
    walks: Tensor, *, row_labels: Sequence[str] = (), column_labels: Sequence[str] = (), scale: int | None = None
) -> list[Image.Image]:
    """Frames that move all walks at once, there and back.

    Args:
        walks: (seeds, directions, steps, C, H, W) in [-1, 1], as :func:`disentangle.traverse` returns.
        row_labels: one a direction.
        column_labels: one a seed.
        scale: enlargement, see :func:`disentangle.viz.image_grid`.

    Returns:
        ``2 * steps - 2`` grids of directions by seeds, transparent ones laid over white.
    """
    if walks.ndim != 6:
        raise InputError(f"walks have shape {tuple(walks.shape)}; expected (seeds, directions, steps, C, H, W).")
    steps = walks.shape[2]
    there = [
        on_white(
            image_grid(
                walks[:, :, step].transpose(0, 1), row_labels=row_labels, column_labels=column_labels, scale=scale
            )
        )
        for step in range(steps)
    ]
    return there + there[-2:0:-1]


@checks_arguments
def save_animation(frames: Sequence[Image.Image], path: str | os.PathLike[str], *, fps: float = 12.0) -> None:
    """Write an endless animation, ``.gif``, ``.webp`` or ``.png`` (APNG), or a film of one round, ``.mp4``.

    Raises:
        InputError: on another ending, no frames, a rate that is not positive, or ``.mp4`` without the extra "video".
    """
    check_animation(path)
    fps = check_number("fps", fps)
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
