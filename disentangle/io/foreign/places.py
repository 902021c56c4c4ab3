"""Where in a file networks may lie: inside containers, and behind prefixes of a list of names.

Formats know names of tensors, and of a few dictionaries around them. Training scripts put these into dictionaries of
their own, and frameworks write one list of names in which each network has a prefix. Here a file is laid out as all the
dictionaries that a format could have written.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Node
from disentangle.io.foreign.module_tree import is_module, state_dict
from disentangle.io.foreign.network import counters_of
from disentangle.tensor_files import without_wrappers

__all__ = ["Place", "is_opponent", "places_in", "standing"]

_DEEPEST = 8  # containers in containers, and parts of a name
_MOST = 64  # entries of a list that are looked at
_LONGEST = 500  # letters of a name
_WRAPPERS = ("module", "_orig_mod")
_NAME = 200  # bytes of an entry in a dictionary that is made here, with its shortened name
_AVERAGED = {"ema", "avg", "average", "averaged", "shadow", "smooth", "swa"}
_GENERATORS = {"g", "gen", "generator", "gs"}
_CODERS = {"encoder", "decoder", "vae", "autoencoder", "ae"}
_OPTIMISERS = {"optim", "optimizer", "optimizers", "optimiser"}
_OPPONENTS = _OPTIMISERS | {"d", "disc", "discriminator", "critic", "optim", "optimizer", "opt"}


@dataclass(frozen=True)
class Place:
    """A dictionary that a format may recognise.

    Attributes:
        path: of keys from the file's top to it, joined by dots; empty for the top.
        data: the dictionary; names in it have no prefixes of wrappers.
        whole: whether it is all that its container holds of tensors, and not one of several prefixes' part.
        dropped: names of counters that a wrapper kept beside the tensors, which nothing is made of.
        module: of a network that was pickled whole, the object; its class and settings are in the file.
    """

    path: str
    data: Mapping[Any, Any]
    whole: bool = True
    dropped: tuple[str, ...] = ()
    module: Node | None = None


def places_in(data: Any, budget: Budget) -> list[Place]:
    """All places of a file, those nearest its top first.

    Args:
        data: what was read from it.
        budget: of the file; each entry of each place is taken from it.
    """
    found: list[Place] = []
    seen: set[int] = set()
    waiting: deque[tuple[str, Any, int]] = deque([("", data, 0)])
    while waiting:
        path, value, depth = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (list, tuple)):
            value = dict(enumerate(value[:_MOST]))
        elif isinstance(value, Node) and _is_foreign_module(value):
            found += _of_module(path, value, budget)
            continue
        elif not isinstance(value, Mapping):
            continue
        budget.steps(len(value) + 1)
        found += _laid_out(path, value, budget)
        if depth < _DEEPEST:
            for key, part in value.items():
                inner = isinstance(part, (Mapping, list, tuple, Node)) and isinstance(key, (str, int))
                if inner and not _is_optimiser(key):
                    waiting.append((_joined(path, key, budget), part, depth + 1))
    return found


def _is_optimiser(key: Any) -> bool:
    """Whether a state of an optimiser lies under this key: a dictionary for each tensor, and no network."""
    return isinstance(key, str) and len(key) <= _LONGEST and bool(_words(key) & _OPTIMISERS)


def _is_foreign_module(value: Node) -> bool:
    """Whether it is a torch module; those of NVIDIA's container have a format of their own."""
    return is_module(value) and not value.path.startswith("torch_utils.persistence:")


def _of_module(path: str, module: Node, budget: Budget) -> Iterator[Place]:
    """The places of a network that was pickled whole, as those of its tensors by name."""
    try:
        state = state_dict(module, budget)
    except CheckpointError:  # one that contains itself
        return
    for place in _laid_out(path, state, budget):
        inside = place.path[len(path) :].strip(".")
        part = module
        for name in inside.split(".") if inside else ():
            part = _part(part, name)
        yield replace(place, module=part)


def _part(module: Node, name: str) -> Node:
    """A module inside of another, behind wrappers that have no name in a place's path."""
    for _ in range(_DEEPEST):
        below = module.attributes.get("_modules")
        inner = below.get(name) if isinstance(below, Mapping) else None
        if isinstance(inner, Node) and is_module(inner):
            return inner
        wrapped = next((below[key] for key in _WRAPPERS if is_module(below.get(key))), None) if below else None
        if wrapped is None:
            break
        module = wrapped
    return module


def _joined(path: str, key: Any, budget: Budget) -> str:
    name = str(key)[:_LONGEST] if isinstance(key, str) or abs(key) < 10**9 else "?"
    budget.text(len(path) + len(name) + 1)
    return f"{path}.{name}" if path else name


def _laid_out(path: str, held: Mapping[Any, Any], budget: Budget) -> Iterator[Place]:
    """A dictionary itself, without counters and wrappers' prefixes, and what the prefixes of its names make of it."""
    tensors = {
        key: value
        for key, value in held.items()
        if isinstance(value, Tensor) and isinstance(key, str) and len(key) <= _LONGEST
    }
    if not tensors:
        yield Place(path, held)
        return
    budget.memory(_NAME * len(tensors))
    dropped = counters_of(tensors)
    named = {without_wrappers(key): tensor for key, tensor in tensors.items() if key not in dropped}
    if len(named) + len(dropped) < len(tensors):  # two of one name: left to be refused
        yield Place(path, held)
        return
    others = {key: value for key, value in held.items() if key not in tensors}
    yield Place(path, {**named, **others}, dropped=dropped)
    yield from _split(path, named, budget, whole=True, dropped=dropped, depth=0)


def _split(
    path: str, named: Mapping[str, Tensor], budget: Budget, *, whole: bool, dropped: tuple[str, ...], depth: int
) -> Iterator[Place]:
    """By the first part of each name: all parts side by side, as a dictionary of networks, and each part alone."""
    if depth >= _DEEPEST:
        return
    budget.steps(len(named))
    budget.memory(_NAME * len(named))
    parts: dict[str, Any] = {}
    for name, tensor in named.items():
        first, dot, rest = name.partition(".")
        part = parts.setdefault(first, {}) if dot else parts
        short = without_wrappers(rest) if dot else name
        if not isinstance(part, dict) or short in part:  # two of one name: left to be refused
            return
        part[short] = tensor
    inner = {first: part for first, part in parts.items() if isinstance(part, dict) and len(part) > 1}
    if inner and len(parts) > 1:
        yield Place(path, parts, whole=whole, dropped=dropped)
    for first, part in inner.items():
        alone = whole and len(parts) == 1
        below = _joined(path, first, budget)
        yield Place(below, part, whole=alone, dropped=dropped)
        yield from _split(below, part, budget, whole=alone, dropped=dropped, depth=depth + 1)


def _words(path: str) -> set[str]:
    """``{"net", "g", "state", "dict"}`` of "netG_state_dict"."""
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path).lower()))


def is_opponent(path: str) -> bool:
    """Whether names on a path are those of what generators are trained with."""
    return bool(_words(path) & _OPPONENTS)


def standing(path: str) -> int:
    """By the names on its path: 0 of an averaged network, 1 of a generator, 2 of any other, 3 of what is none.

    None are discriminators, optimisers and both halves of an autoencoder.
    """
    if is_opponent(path) or _words(path) & _CODERS:
        return 3
    words = _words(path)
    return 0 if words & _AVERAGED else 1 if words & _GENERATORS else 2
