"""Resolutions that a discriminator can be built for."""

from __future__ import annotations

from typing import Any

__all__ = ["check_halvings", "check_levels", "published_channels"]


def check_halvings(resolution: int, halvings: int) -> None:
    if resolution != 4 * 2**halvings:
        raise ValueError(
            f"{halvings} halvings end at 4 pixels from {4 * 2**halvings}, but resolution is {resolution}; "
            "give one entry of channels per halving"
        )


def check_levels(resolution: int, channels: tuple[int, ...]) -> None:
    """A ValueError unless ``channels`` has an entry for each of 4, 8, ..., ``resolution`` pixels."""
    if resolution != 4 << (len(channels) - 1):
        raise ValueError(
            f"channels has {len(channels)} entries, which fits {4 << (len(channels) - 1)} pixels, but resolution is "
            f"{resolution}; expected a power of two from 4 on, and one entry for each of 4, 8, ... pixels"
        )


def published_channels(record: Any, base: int, most: int) -> Any:
    """A configuration's record with ``channels`` of ``min(base / resolution, most)``, where it gives none."""
    resolution = record.get("resolution") if isinstance(record, dict) else None
    if not isinstance(resolution, int) or resolution < 4 or record.get("channels"):
        return record
    return {**record, "channels": tuple(min(base >> i, most) for i in range(2, resolution.bit_length()))}
