"""All formats, in the order in which a file is tried."""

from __future__ import annotations

from types import ModuleType

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
from disentangle.io.foreign.formats import Format

__all__ = ["FORMATS", "GENERAL"]

_MODULES: tuple[ModuleType, ...] = (
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
)
FORMATS: tuple[Format, ...] = _MODULES
GENERAL: tuple[Format, ...] = (chains,)  # what is told by shapes alone: asked where no format knows a name
