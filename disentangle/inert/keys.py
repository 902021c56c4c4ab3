"""What may be a key of a dictionary or a member of a set, so that hashing it costs nothing."""

from __future__ import annotations

from typing import Any

import torch

from disentangle.inert.budget import Budget
from disentangle.inert.nodes import DamagedError, Name, Node

__all__ = ["key_of"]

_LONGEST = 4096  # bytes
_WIDEST = 64  # parts of a tuple, which is hashed anew each time it is used
_ORDINARY = 2**61 - 1  # integers from here on share their hashes with others
_SIMPLE = (bool, type(None), Name, torch.dtype, torch.device)
_SCALARS = (str, int, float, complex, bytes, *_SIMPLE)


def key_of(value: Any, budget: Budget) -> Any:
    """A value as a key: text, a number, a name, or a flat tuple of these; a tensor as an object that has it.

    Raises:
        DamagedError: if it is anything else.
    """
    kind = type(value)
    if kind is str or kind in _SIMPLE or isinstance(value, Node):
        return value
    if kind is int and -_ORDINARY < value < _ORDINARY:
        return value
    if isinstance(value, (bytes, memoryview)):
        if len(value) > _LONGEST:
            raise DamagedError(f"it has a key of {len(value):,} bytes; expected {_LONGEST:,} at most")
        return bytes(value)
    budget.key()
    if kind in (int, float, complex):
        return value
    if isinstance(value, torch.Tensor):  # an optimiser, pickled whole, has its parameters as keys
        return Node("torch.Tensor", args=(value,))
    if kind is tuple and len(value) <= _WIDEST and all(isinstance(part, _SCALARS) for part in value):
        return value
    raise DamagedError(f"it has a {kind.__name__} as a key; expected text or a number")
