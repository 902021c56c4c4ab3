"""What a checkpoint holds, without converting it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node
from disentangle.io.foreign.conversion import format_of, open_content
from disentangle.io.foreign.module_tree import class_name, is_module, state_dict
from disentangle.io.foreign.tensorflow import variables_of

__all__ = ["contents"]


def contents(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Container, format and parts of a file or folder, as plain data.

    Returns:
        ``"container"``, ``"format"`` (None if it is not known), and ``"parts"``: for each entry its ``"name"``,
        ``"class"`` and the shapes of its ``"tensors"`` by name. Of a folder, the entries of the checkpoints in it.

    Raises:
        CheckpointError: if it is no checkpoint or is damaged.
    """
    content = open_content(path)
    try:
        known: str | None = format_of(content).NAME
    except CheckpointError:
        known = None
    if content.container == "directory":
        parts = _parts_of_folder(content.path)
    elif content.container == "safetensors":
        parts = [{"name": "", "class": "safetensors", "tensors": _shapes(content.path)}]
    else:
        parts = _parts(content.data)
    return {"container": content.container, "format": known, "parts": parts}


def _parts_of_folder(folder: Path) -> list[dict[str, Any]]:
    """Those of each checkpoint in it or in its folder "vae", which diffusers' pipelines keep one in."""
    parts = []
    for path in sorted(path for path in (*folder.iterdir(), *folder.glob("vae/*")) if path.is_file()):
        try:
            held = contents(path)["parts"]
        except CheckpointError:
            continue
        file = str(path.relative_to(folder))
        parts += [{**part, "name": f"{file}: {part['name']}" if part["name"] else file} for part in held]
    return parts


def _parts(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, Node) or (isinstance(data, Mapping) and any(isinstance(v, Tensor) for v in data.values())):
        data = {"": data}
    elif isinstance(data, (list, tuple)):
        data = {str(index): part for index, part in enumerate(data)}
    elif not isinstance(data, Mapping):
        data = {"": data}
    return [
        {"name": str(name), "class": class_name(part), "tensors": {k: list(t.shape) for k, t in _tensors(part).items()}}
        for name, part in data.items()
    ]


def _shapes(path: Path) -> dict[str, list[int]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); it is damaged or cut off.") from None


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
