"""What a checkpoint holds, without converting it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.conversion import format_of, open_content
from disentangle.io.foreign.module_tree import class_name, is_module, state_dict
from disentangle.io.foreign.nodes import Node
from disentangle.io.foreign.tensorflow import variables_of

__all__ = ["contents"]


def contents(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Container, format and parts of a file, as plain data.

    Returns:
        ``"container"``, ``"format"`` (None if it is not known), and ``"parts"``: for each entry its ``"name"``,
        ``"class"`` and the shapes of its ``"tensors"`` by name.

    Raises:
        CheckpointError: if it is no checkpoint or is damaged.
    """
    content = open_content(path)
    try:
        known: str | None = format_of(content).NAME
    except CheckpointError:
        known = None
    data = content.data
    if content.container in ("directory", "safetensors"):
        data = {}
    elif isinstance(data, Node) or (isinstance(data, Mapping) and any(isinstance(v, Tensor) for v in data.values())):
        data = {"": data}
    elif isinstance(data, (list, tuple)):
        data = {str(index): part for index, part in enumerate(data)}
    elif not isinstance(data, Mapping):
        data = {"": data}
    parts = [
        {"name": str(name), "class": class_name(part), "tensors": {k: list(t.shape) for k, t in _tensors(part).items()}}
        for name, part in data.items()
    ]
    return {"container": content.container, "format": known, "parts": parts}


def _tensors(part: Any) -> dict[str, Tensor]:
    if isinstance(part, Tensor):
        return {"": part}
    if is_module(part):
        return state_dict(part)
    if isinstance(part, Node):
        return variables_of(part)
    if isinstance(part, Mapping):
        inner = part.get("state_dict")
        named = inner if isinstance(inner, Mapping) else part
        return {str(name): value for name, value in named.items() if isinstance(value, Tensor)}
    return {}
