"""Independent directions in image generators: make, find, show and measure them.

Public names are loaded when first used, so ``import disentangle`` does not import torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from disentangle._version import __version__

# `evaluations/` and `pretrained/` are mapped into this package at installation. A Python started in the
# repository root meets the checkout's folder first, which lacks them; the installed part fills the gap.
__path__ = pkgutil.extend_path(__path__, __name__)

_MODULES = (
    "data", "errors", "evaluations", "io", "latents", "linalg", "models", "nn", "optim", "training", "viz",
)  # fmt: skip
_NAMES = {
    "load": "disentangle.io.checkpoint",
    "orthogonalize": "disentangle.optim.orthogonalize",
    "save": "disentangle.io.checkpoint",
    "traverse": "disentangle.latents.traversal",
    "wrap": "disentangle.models.wrapped",
}

if TYPE_CHECKING:
    from disentangle import data, errors, evaluations, io, latents, linalg, models, nn, optim, training, viz
    from disentangle.io.checkpoint import load, save
    from disentangle.latents.traversal import traverse
    from disentangle.models.wrapped import wrap
    from disentangle.optim.orthogonalize import orthogonalize

__all__ = [
    "__version__",
    "data",
    "errors",
    "evaluations",
    "io",
    "latents",
    "linalg",
    "load",
    "models",
    "nn",
    "optim",
    "orthogonalize",
    "save",
    "training",
    "traverse",
    "viz",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
