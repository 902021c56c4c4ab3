"""Autocast switched off around what is computed in a layer's own precision."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

__all__ = ["no_autocast"]


def no_autocast(value: Tensor) -> contextlib.AbstractContextManager[Any]:
    """``torch.autocast(enabled=False)`` on the value's device; the meta device has no autocast and would refuse it."""
    if value.is_meta:
        return contextlib.nullcontext()
    return torch.autocast(value.device.type, enabled=False)
