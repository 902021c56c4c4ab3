"""All formats, in the order in which a file is tried."""

from __future__ import annotations

from types import ModuleType

from disentangle.io.foreign import (
    diffusers,
    eigengan,
    gan_zoo,
    ganspace_stylegan1,
    genforce,
    nvidia,
    pro_gan_pytorch,
    pythae,
    rosinality,
    simple_gan,
    tensorflow,
)
from disentangle.io.foreign.formats import Format

__all__ = ["FORMATS"]

_MODULES: tuple[ModuleType, ...] = (
    nvidia,
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
)
FORMATS: tuple[Format, ...] = _MODULES
