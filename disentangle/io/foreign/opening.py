"""A file or folder of another project, read inertly, whatever it holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from disentangle.errors import CheckpointError
from disentangle.inert.boundary import reading
from disentangle.inert.budget import Budget
from disentangle.inert.container import sniff
from disentangle.inert.nodes import Limits
from disentangle.inert.reader import read_budgeted
from disentangle.io.foreign.formats import Content
from disentangle.tensor_files import is_own, read_tensors

__all__ = ["open_content"]

_IN_FOLDERS = ("model*.safetensors", "pytorch_model*.bin")  # as accelerate writes the networks of a training
_MOST = 16  # of such files


def open_content(path: str | os.PathLike[str], *, limits: Limits = Limits()) -> Content:  # noqa: B008 (frozen)
    """Read a file inertly, whatever it holds. Of a folder, the networks that accelerate put into it by these names.

    Raises:
        CheckpointError: if it is no checkpoint or is damaged.
    """
    path = Path(path)
    container = sniff(path)
    if container == "directory":
        data, size = _networks_in(path, limits)
        return Content(path, container, data, Budget(limits, size=size), limits)
    if container == "safetensors":
        return Content(path, container, _tensors_in(path), Budget(limits, size=path.stat().st_size), limits)
    data, budget = read_budgeted(path, limits=limits)
    return Content(path, container, data, budget, limits)


def _tensors_in(path: Path) -> Any:
    """By name; None of a file of the toolkit's own."""
    return None if is_own(path) else read_tensors(path)


def _networks_in(folder: Path, limits: Limits) -> tuple[Any, int]:
    """By file, and their size; None where there are none, or the folder says that it is another format's."""
    with reading(folder, "a folder"):
        files = sorted(file for pattern in _IN_FOLDERS for file in folder.glob(pattern) if file.is_file())
        if not files or (folder / "model_config.json").exists() or (folder / "config.json").exists():
            return None, 0
        if len(files) > _MOST:
            raise CheckpointError(f"{folder} has {len(files)} files of networks; expected {_MOST} at most.")
        return {file.stem: open_content(file, limits=limits).data for file in files}, sum(
            file.stat().st_size for file in files
        )
