"""What a checkpoint holds, without converting it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.boundary import reading
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Limits, Node
from disentangle.io.foreign.locating import format_of
from disentangle.io.foreign.module_tree import class_name, is_module, state_dict
from disentangle.io.foreign.opening import open_content
from disentangle.io.foreign.places import is_opponent
from disentangle.io.foreign.tensorflow import variables_of
from disentangle.io.foreign.unstated import Setting
from disentangle.signatures import checks_arguments
from disentangle.tensor_files import tensor_shapes
from disentangle.text import shown

__all__ = ["contents"]

_DEEPEST = 8  # dictionaries in dictionaries
_ENTRY = (
    800  # bytes of an entry of a list of what a file holds: its name, its shape, and the line that is printed of it
)


@checks_arguments
def contents(path: str | os.PathLike[str], *, limits: Limits = Limits()) -> dict[str, Any]:  # noqa: B008 (frozen)
    """Container, format and parts of a file or folder, as plain data.

    Args:
        path: the file or folder.
        limits: what a file may ask of the machine.

    Returns:
        ``"container"``, ``"format"`` (None if it is not known), ``"settings"`` that files of this format do not state
        (by name, the ``"default"`` and ``"meaning"``), and ``"parts"``: for each entry its ``"name"``, ``"class"`` and
        the shapes of its ``"tensors"`` by name. Of a folder, the entries of the checkpoints in it.

    Raises:
        CheckpointError: if it is no checkpoint or is damaged.
    """
    content = open_content(path, limits=limits)
    try:
        family = format_of(content)
        known: str | None = family.name
        settings: tuple[Setting, ...] = family.settings
    except CheckpointError:
        known, settings = None, ()
    if content.container == "directory":
        parts = _parts_of_folder(content.path, limits)
    elif content.container == "safetensors":
        shapes = {name: list(shape) for name, shape in tensor_shapes(content.path).items()}
        parts = [{"name": "", "class": "safetensors", "tensors": shapes}]
    else:
        with reading(content.path, known or "a checkpoint"):
            parts = _parts(content.data, content.budget)
    listed = {setting.name: {"default": setting.default, "meaning": setting.meaning} for setting in settings}
    return {"container": content.container, "format": known, "settings": listed, "parts": parts}


def _parts_of_folder(folder: Path, limits: Limits) -> list[dict[str, Any]]:
    """Those of each checkpoint in it or in its folder "vae", which diffusers' pipelines keep one in."""
    parts = []
    with reading(folder, "a folder"):
        files = sorted(path for path in (*folder.iterdir(), *folder.glob("vae/*")) if path.is_file())
    for path in files:
        try:
            held = contents(path, limits=limits)["parts"]
        except CheckpointError:
            continue
        file = str(path.relative_to(folder))
        parts += [{**part, "name": f"{file}: {part['name']}" if part["name"] else file} for part in held]
    return parts


def _parts(data: Any, budget: Budget) -> list[dict[str, Any]]:
    if isinstance(data, Node) or (isinstance(data, Mapping) and any(isinstance(v, Tensor) for v in data.values())):
        named: Iterable[tuple[Any, Any]] = [("", data)]
    elif isinstance(data, (list, tuple)):
        named = enumerate(data)
    elif isinstance(data, Mapping):
        named = data.items()
    else:
        named = [("", data)]
    parts = []
    for name, part in _unfolded(named, budget):
        listed = _listed(_tensors(part, budget), budget)
        parts.append({"name": _name(name, budget), "class": class_name(part), "tensors": listed})
    return parts


def _unfolded(named: Iterable[tuple[Any, Any]], budget: Budget) -> Iterator[tuple[Any, Any]]:
    """Entries, and in place of a dictionary of dictionaries its own, by path; none of them twice."""
    waiting = deque((name, part, 0) for name, part in named)
    seen: set[int] = set()
    while waiting:
        name, part, depth = waiting.popleft()
        optimiser = isinstance(name, str) and len(name) < 1000 and is_opponent(name)
        if id(part) in seen or depth == _DEEPEST or optimiser or not _holds_containers(part):
            yield name, part
            continue
        seen.add(id(part))
        budget.steps(2 * len(part))
        for key, value in part.items():
            if isinstance(value, (Mapping, Node)):
                waiting.append((f"{_name(name, budget)}.{_name(key, budget)}", value, depth + 1))


def _holds_containers(part: Any) -> bool:
    """Whether it is a dictionary of others and of no tensors: nothing would be listed of it."""
    if not isinstance(part, Mapping) or "state_dict" in part:
        return False
    inner = [key for key, value in part.items() if isinstance(value, (Mapping, Node))]
    tensors = any(isinstance(value, Tensor) for value in part.values())
    return bool(inner) and not tensors and all(isinstance(key, str) for key in inner)


def _listed(tensors: Iterable[tuple[Any, Tensor]], budget: Budget) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for key, tensor in tensors:
        budget.memory(64 * tensor.ndim)
        name = _name(key, budget)
        if name in found:  # a number and the same number as a text
            name = f"{name} ({len(found)})"
        found[name] = list(tensor.shape)
    return found


def _name(key: Any, budget: Budget) -> str:
    """A key of the file as a text, and what it takes to list it."""
    name = key if isinstance(key, str) else shown(key)
    budget.steps()
    budget.memory(_ENTRY)
    budget.text(len(name))
    return name


def _tensors(part: Any, budget: Budget) -> Iterable[tuple[Any, Tensor]]:
    if isinstance(part, Tensor):
        return [("", part)]
    if is_module(part):
        return state_dict(part, budget).items()
    if isinstance(part, Node):
        return variables_of(part, budget).items()
    if isinstance(part, Mapping):
        inner = part.get("state_dict")
        named = inner if isinstance(inner, Mapping) else part
        budget.steps(len(named))
        return ((name, value) for name, value in named.items() if isinstance(value, Tensor))
    return []
