"""Pictures of any kind as three channels: what networks that look at pictures take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from disentangle.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CHANNELS", "coloured", "how_coloured"]

CHANNELS = {1: "grey", 3: "colour", 4: "colour and transparency"}


def coloured(images: Tensor, name: str = "images") -> Tensor:
    """(n, 3, H, W) pictures in [-1, 1]: grey is repeated, a fourth channel is how opaque a pixel is, over white.

    Transparency is from -1, nothing of the pixel is seen, to 1; the ends of its range are kept to.

    Args:
        images: (n, C, H, W) floats in [-1, 1] with 1, 3 or 4 channels.
        name: in the message.

    Raises:
        InputError: on another shape.
    """
    if images.ndim != 4 or images.shape[1] not in CHANNELS:
        raise InputError(
            f"{name} of shape {tuple(images.shape)}; expected (n, C, H, W) with C = 1 (grey), 3 (colour) or 4 (colour "
            "and transparency)."
        )
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if images.shape[1] == 3:
        return images
    opaque = (images[:, 3:].clamp(-1, 1) + 1) / 2
    return 1 + (images[:, :3] - 1) * opaque


def how_coloured(channels: int) -> str:
    """What :func:`coloured` does to pictures of so many channels, as a note of a score; empty for nothing."""
    return {1: "grey images, repeated to three channels", 4: "transparent images, laid over white"}.get(channels, "")
