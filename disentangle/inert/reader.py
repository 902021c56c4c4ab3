"""Checkpoint files as plain data: pickles, torch's zip files and torch's older files, with nothing imported or run."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

from disentangle.archives import ArchiveError
from disentangle.errors import CheckpointError
from disentangle.inert.arrays import Array
from disentangle.inert.boundary import reading
from disentangle.inert.budget import Budget
from disentangle.inert.container import sniff
from disentangle.inert.handlers import Handlers
from disentangle.inert.legacy import read_legacy, read_nested
from disentangle.inert.machine import Machine
from disentangle.inert.nodes import DamagedError, Limits, Node
from disentangle.inert.zipped import read_zip

__all__ = ["KINDS", "read_budgeted", "read_inert"]

KINDS = {"pickle": "a pickle", "torch-zip": "a torch zip file", "torch-legacy": "an older torch file"}


def read_inert(path: str | os.PathLike[str], *, limits: Limits = Limits()) -> Any:  # noqa: B008 (frozen)
    """What a pickle or torch file holds: containers, numbers, texts, CPU tensors, and nodes for everything else.

    Tensors of pickles and older torch files may be views of the file, which stays mapped as long as they live.

    Args:
        path: the file.
        limits: see :class:`Limits`.

    Raises:
        CheckpointError: if it is none, is damaged, was cut off, or asks for more than its limits.
    """
    return read_budgeted(path, limits=limits)[0]


def read_budgeted(
    path: str | os.PathLike[str],
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    copied: bool = False,
) -> tuple[Any, Budget]:
    """As :func:`read_inert`, with what is left of the file's limits, for whoever goes on with its content.

    Args:
        path: the file.
        limits: see :class:`Limits`.
        copied: whether nothing may be a view of the file.
    """
    path = Path(path)
    container = sniff(path)
    if container not in KINDS:
        raise CheckpointError(f"{path} is a {container}; expected a pickle or a torch file.")
    with reading(path, KINDS[container]):
        size = path.stat().st_size
        if size > limits.bytes:
            raise DamagedError(f"it has {size:,} bytes, more than the limit of {limits.bytes:,}")
        budget = Budget(limits, size=size)
        try:
            data = _read(path, container, budget, copied)
        except ArchiveError as error:
            raise DamagedError(f"it cannot be read: {error}") from None
        _check_depth(data, limits.depth)
        return data, budget


def _read(path: Path, container: str, budget: Budget, copied: bool) -> Any:
    if container == "torch-zip":
        return read_zip(path, budget, copied=copied)
    with path.open("rb") as file:
        # A private copy: torch wants memory it could write to, and the file must stay as it is.
        view = memoryview(mmap.mmap(file.fileno(), budget.size, access=mmap.ACCESS_COPY))
    if container == "torch-legacy":
        return read_legacy(view, budget, copied=copied)
    return _read_pickle(view, budget, copied)


def _read_pickle(view: memoryview, budget: Budget, copied: bool) -> Any:
    handlers = Handlers(budget, lambda raw: read_nested(raw, budget, copied=copied))

    def persistent(identity: Any) -> Any:
        return Node("persistent id", (identity,))

    return Machine(
        view, call=handlers.call, build=handlers.build, persistent=persistent, replaced=Array, budget=budget,
        copied=copied,
    ).run()  # fmt: skip


def _check_depth(data: Any, most: int) -> None:
    """Level by level, each object once: neither recursion nor shared parts cost more than the file is long."""
    level, seen, depth = [data], {id(data)}, 0
    while level:
        if depth > most:
            raise DamagedError(f"its containers are nested more than {most} deep, the limit")
        below: list[Any] = []
        for value in level:
            for part in _parts(value):
                if isinstance(part, (dict, list, tuple, Node)) and id(part) not in seen:
                    seen.add(id(part))
                    below.append(part)
        level, depth = below, depth + 1


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Node):
        return [value.args, value.kwargs, value.state, value.items, *(part for pair in value.pairs for part in pair)]
    return []
