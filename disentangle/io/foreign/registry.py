"""All formats, in the order in which a file is tried."""

from __future__ import annotations

from collections.abc import Iterator

from disentangle.io.foreign import (
    chains,
    diffusers,
    eigengan,
    gan_zoo,
    ganspace_stylegan1,
    genforce,
    nvidia,
    nvidia_states,
    pro_gan_pytorch,
    pythae,
    rosinality,
    simple_gan,
    tensorflow,
)
from disentangle.io.foreign.formats import ForeignFormat
from disentangle.plugins import Registry

__all__ = ["FORMATS", "formats", "register"]


def _builtin() -> Iterator[ForeignFormat]:
    for module in (
        nvidia,
        nvidia_states,
        tensorflow,
        rosinality,
        genforce,
        gan_zoo,
        pro_gan_pytorch,
        eigengan,
        simple_gan,
        ganspace_stylegan1,
        pythae,
        diffusers,
        chains,
    ):
        yield module.FORMAT


FORMATS = Registry("format", ForeignFormat, _builtin)


def formats(*, general: bool = False) -> tuple[ForeignFormat, ...]:
    """Those that are told by names, or those that are told by shapes alone."""
    return tuple(family for family in FORMATS.values() if family.general == general)


def register(family: ForeignFormat) -> ForeignFormat:
    """Add a format of your own to those that a file is tried by; it comes after the toolkit's own.

    Raises:
        InputError: its name is taken, or a part is missing.
    """
    return FORMATS.register(family)
