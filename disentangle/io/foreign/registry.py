"""All formats, in the order in which a file is tried."""

from __future__ import annotations

from types import ModuleType

from disentangle.io.foreign import nvidia, rosinality, tensorflow
from disentangle.io.foreign.conversion import Format

__all__ = ["FORMATS"]

_MODULES: tuple[ModuleType, ...] = (nvidia, tensorflow, rosinality)
FORMATS: tuple[Format, ...] = _MODULES
