"""Files of tensors and plain containers only: training states and weights."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from disentangle.inert.boundary import reading
from disentangle.inert.budget import Budget
from disentangle.inert.container import sniff
from disentangle.inert.nodes import DamagedError, Limits, Name, Node
from disentangle.inert.reader import KINDS, read_budgeted
from disentangle.text import shown

__all__ = ["read_plain"]

_VALUES = (str, int, float, bool, complex, bytes, type(None), torch.dtype, torch.device, torch.layout)


def read_plain(path: str | os.PathLike[str], *, limits: Limits = Limits()) -> Any:  # noqa: B008 (frozen)
    """What a file written by ``torch.save`` (or ``pickle``) holds, if that is tensors and plain containers only.

    It is what ``torch.load(weights_only=True)`` gives, with dictionaries for ordered ones, bytes for byte arrays,
    tuples for shapes, tensors for parameters, and numbers for numpy's. Tensors are dense, on the CPU, and share memory
    where they did; nothing is a view of the file. What stands in several places counts in each, so that whoever walks,
    copies or prints the result takes no more than the file's limits.

    Args:
        path: the file.
        limits: see :class:`Limits`.

    Raises:
        CheckpointError: as :func:`disentangle.inert.read_inert`, or if it holds anything else: an object, a class, a
            container in itself.
    """
    data, budget = read_budgeted(path, limits=limits, copied=True)
    with reading(path, KINDS[sniff(path)]):
        _check(data, budget)
    return data


def _check(data: Any, budget: Budget) -> None:
    """Every object once, those inside first; with how many there are and how many bytes if none were shared."""
    sizes: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()
    stack: list[tuple[Any, bool]] = [(data, False)]
    while stack:
        value, left = stack.pop()
        if left:
            inside = [sizes[id(part)] if id(part) in sizes else _size(part) for part in _parts(value)]
            inside += map(_size, value) if isinstance(value, dict) else ()
            entries, count = 1 + sum(size[0] for size in inside), sum(size[1] for size in inside)
            if entries > budget.limits.objects or count > 4 * budget.size + budget.limits.memory:
                raise DamagedError("it holds few things in very many places; it is no file of plain containers")
            sizes[id(value)] = entries, count
            open_.discard(id(value))
        elif id(value) in open_:
            raise DamagedError("a container in it holds itself")
        elif id(value) not in sizes:
            _check_one(value)
            if isinstance(value, (dict, list, tuple)):
                open_.add(id(value))
                stack.append((value, True))
                stack += [(part, False) for part in _parts(value) if not isinstance(part, _VALUES)]


def _parts(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def _size(value: Any) -> tuple[int, int]:
    """Entries and bytes of what is no dictionary, list or tuple."""
    if isinstance(value, Tensor):
        return 1, value.numel() * value.element_size()
    if isinstance(value, (set, frozenset)):
        return 1 + len(value), 64 * len(value)
    return 1, len(value) if isinstance(value, (str, bytes)) else 8


def _check_one(value: Any) -> None:
    members = value if isinstance(value, (set, frozenset)) else value.keys() if isinstance(value, dict) else ()
    for member in members:
        for part in member if isinstance(member, tuple) else (member,):
            if not isinstance(part, _VALUES):
                raise DamagedError(f"it has {_described(part)} as a key; expected text or a number")
    if not isinstance(value, (*_VALUES, Tensor, dict, list, tuple, set, frozenset)):
        raise DamagedError(f"it holds {_described(value)}; expected tensors and plain containers only")


def _described(value: Any) -> str:
    if isinstance(value, Node):
        return f"an object of the class {shown(value.path, most=80)}"
    return f"the name {shown(value.path, most=80)}" if isinstance(value, Name) else f"a {type(value).__name__}"
