"""Networks that were pickled whole: their tensors by name, their attributes, their class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Node
from disentangle.text import shown

__all__ = ["attribute", "class_name", "is_module", "number", "scalar", "state_dict", "stated_in", "unwrapped", "walk"]

_DEEPEST = 64  # modules inside modules
_ENTRY = 400  # bytes of a tensor's entry in a state and what is listed of it, without its name
_WRAPPERS = ("module", "_orig_mod")
_NOWHERE = "<none>"  # as the value of an attribute that is not there
_WALK = 16  # objects that a place of a module counts for: it takes about as long as reading so many


def is_module(value: Any) -> bool:
    """Whether it is an object with the attributes of a torch module."""
    return isinstance(value, Node) and isinstance(value.attributes.get("_parameters"), dict) and isinstance(
        value.attributes.get("_modules"), dict
    )  # fmt: skip


def class_name(value: Any) -> str:
    """The class of a node without its module, e.g. ``"Generator"``."""
    return value.path.rpartition(":")[2].rpartition(".")[2] if isinstance(value, Node) else type(value).__name__


def state_dict(module: Node, budget: Budget) -> dict[str, Tensor]:
    """Parameters and persistent buffers by dotted name. Tensors are the file's own, not copies.

    A module that hangs in many places counts in each, which the budget allows so often only.

    Raises:
        CheckpointError: if modules contain themselves.
    """
    found: dict[str, Tensor] = {}
    for prefix, part in walk(module, budget):
        attributes = part.attributes
        transient = attributes.get("_non_persistent_buffers_set")
        transient = transient if isinstance(transient, (set, frozenset)) else set()
        for group in ("_parameters", "_buffers"):
            named = attributes.get(group)
            named = named if isinstance(named, dict) else {}
            budget.steps(len(named))
            for name, tensor in named.items():
                if (
                    isinstance(tensor, Tensor)
                    and isinstance(name, str)
                    and not (group == "_buffers" and name in transient)
                ):
                    budget.memory(_ENTRY)
                    budget.text(len(prefix) + len(name))
                    found[prefix + name] = tensor
    return found


def walk(module: Node, budget: Budget) -> Iterator[tuple[str, Node]]:
    """(prefix, module) of every module below, depth first; a module that hangs in two places counts in both."""
    above = [id(module)]
    waiting = [_below("", module, budget)]
    yield "", module
    while waiting:
        for prefix, part in waiting[-1]:
            if id(part) in above or len(above) > _DEEPEST:
                raise CheckpointError("The network in the file contains itself, or is nested too deep; it is damaged.")
            yield prefix, part
            above.append(id(part))
            waiting.append(_below(prefix, part, budget))
            break
        else:
            waiting.pop()
            above.pop()


def _below(prefix: str, part: Node, budget: Budget) -> Iterator[tuple[str, Node]]:
    children = part.attributes.get("_modules")
    for name, child in children.items() if isinstance(children, Mapping) else ():
        budget.steps(_WALK)
        if isinstance(child, Node) and isinstance(name, str):
            budget.text(len(prefix) + len(name) + 1)
            yield f"{prefix}{name}.", child


def unwrapped(module: Node) -> Node:
    """The network behind data parallelism and ``torch.compile``."""
    for _ in range(_DEEPEST):
        below = module.attributes.get("_modules")
        inner = next((below[name] for name in _WRAPPERS if name in below), None) if isinstance(below, dict) else None
        if not isinstance(below, dict) or len(below) != 1 or not isinstance(inner, Node) or not is_module(inner):
            break
        module = inner
    return module


def stated_in(module: Node | None, names: Mapping[str, str]) -> dict[str, Any]:
    """What a network that was pickled whole says of settings.

    Args:
        module: the network; None says nothing.
        names: of its attributes, and what they are called here.

    Raises:
        CheckpointError: if one is neither a number nor a word.
    """
    network = None if module is None else unwrapped(module)
    if network is None:
        return {}
    found = [(ours, scalar(network, theirs, _NOWHERE)) for theirs, ours in names.items()]
    return {name: value for name, value in found if value != _NOWHERE}


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


def scalar(module: Node, path: str, default: Any = None) -> Any:
    """An attribute that is None, a number or a short text: what may be compared, printed and put into a set.

    Raises:
        CheckpointError: if it is anything else.
    """
    value = attribute(module, path, default)
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, str) and len(value) <= 100):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    raise CheckpointError(f"its {path} is {shown(value, most=60)}; expected a number or a word.")


def number(module: Node, path: str, default: Any = None) -> float:
    """An attribute that is a number.

    Raises:
        CheckpointError: if it is none.
    """
    value = scalar(module, path, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError(f"its {path} is {shown(value, most=60)}; expected a number.")
    return float(value)
