"""Layers that double the size, where they were trained as one transposed convolution."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

__all__ = ["turn_fused"]


def turn_fused(
    state: dict[str, Tensor], prefix: str, count: int, setting: Literal["auto", "always", "never"], *, first: int
) -> list[str]:
    """Turn the kernels ``b{8, 16, ...}.conv0.weight`` that were used in a transposed convolution, in place.

    Repeating pixels and convolving equals one transposed convolution with the kernel backwards, so a file does not show
    which of the two it was trained with.

    Args:
        state: tensors by the toolkit's names.
        prefix: "synthesis." or nothing.
        count: resolutions from 4 pixels on.
        setting: "auto" is from ``first`` pixels on.

    Returns:
        What was decided, in no or one sentence.
    """
    start = {"auto": first, "always": 8, "never": 8 << count}[setting]
    turned = [4 << index for index in range(1, count) if 4 << index >= start]
    for resolution in turned:
        name = f"{prefix}b{resolution}.conv0.weight"
        state[name] = state[name].flip(2, 3)
    if not turned:
        return []
    return [
        f"From {turned[0]} pixels on, upsampling and convolution are taken as fused (setting {setting}), which the "
        "file does not say."
    ]
