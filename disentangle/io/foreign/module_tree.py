"""Networks that were pickled whole: their tensors by name, their attributes, their class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node

__all__ = ["attribute", "class_name", "is_module", "state_dict"]


def is_module(value: Any) -> bool:
    """Whether it is an object with the attributes of a torch module."""
    return isinstance(value, Node) and isinstance(value.attributes.get("_parameters"), dict) and isinstance(
        value.attributes.get("_modules"), dict
    )  # fmt: skip


def class_name(value: Any) -> str:
    """The class of a node without its module, e.g. ``"Generator"``."""
    return value.path.rpartition(":")[2].rpartition(".")[2] if isinstance(value, Node) else type(value).__name__


def state_dict(module: Node) -> dict[str, Tensor]:
    """Parameters and persistent buffers by dotted name. Tensors are the file's own, not copies.

    Raises:
        CheckpointError: if modules contain themselves.
    """
    found: dict[str, Tensor] = {}
    for prefix, part in _walk(module):
        attributes = part.attributes
        transient = attributes.get("_non_persistent_buffers_set")
        transient = transient if isinstance(transient, (set, frozenset)) else set()
        for group in ("_parameters", "_buffers"):
            named = attributes.get(group)
            for name, tensor in (named if isinstance(named, dict) else {}).items():
                if (
                    isinstance(tensor, Tensor)
                    and isinstance(name, str)
                    and not (group == "_buffers" and name in transient)
                ):
                    found[prefix + name] = tensor
    return found


def _walk(module: Node) -> Iterator[tuple[str, Node]]:
    """(prefix, module) of every module below; a module that hangs in two places counts in both."""
    waiting: list[tuple[str, Node, frozenset[int]]] = [("", module, frozenset())]
    visited = 0
    while waiting:
        prefix, part, above = waiting.pop()
        visited += 1
        if id(part) in above or len(above) > 64 or visited > 20_000:
            raise CheckpointError("The network in the file contains itself, or is nested without end; it is damaged.")
        yield prefix, part
        children = part.attributes.get("_modules")
        if isinstance(children, Mapping):
            for name, child in children.items():
                if isinstance(child, Node) and isinstance(name, str):
                    waiting.append((f"{prefix}{name}.", child, above | {id(part)}))


def attribute(module: Node, path: str, default: Any = None) -> Any:
    """``module.a.b.c``: submodules, parameters, buffers or plain attributes; ``default`` if there is none."""
    value: Any = module
    for name in path.split("."):
        if not isinstance(value, Node):
            return default
        attributes = value.attributes
        groups = [attributes, *(attributes.get(g) for g in ("_modules", "_parameters", "_buffers"))]
        for group in groups:
            if isinstance(group, Mapping) and name in group:
                value = group[name]
                break
        else:
            return default
    return value
