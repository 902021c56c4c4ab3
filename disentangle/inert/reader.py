"""Checkpoint files as plain data: pickles, torch's zip files and torch's older files, with nothing imported or run."""

from __future__ import annotations

import mmap
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from disentangle.errors import CheckpointError
from disentangle.inert.container import LEGACY_MAGIC, sniff
from disentangle.inert.handlers import Handlers
from disentangle.inert.machine import Budget, Machine
from disentangle.inert.nodes import DamagedError, Limits, Node
from disentangle.inert.tensors import Storage, storage_of

__all__ = ["read_inert"]

_NESTED = 3  # torch files inside a torch file; real ones have one: the storages of a module that was pickled whole
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_RATIO = 20  # unpacked to packed bytes of a zip entry; torch packs nothing


def read_inert(path: str | os.PathLike[str], *, limits: Limits = Limits()) -> Any:  # noqa: B008 (frozen)
    """What a pickle or torch file holds: containers, numbers, texts, CPU tensors, and nodes for everything else.

    Tensors may be views of the file, which stays mapped as long as they live.

    Args:
        path: the file.
        limits: see :class:`Limits`.

    Raises:
        CheckpointError: if it is none, is damaged, was cut off, or asks for more than its limits.
    """
    path = Path(path)
    container = sniff(path)
    if container not in ("pickle", "torch-zip", "torch-legacy"):
        raise CheckpointError(f"{path} is a {container}; expected a pickle or a torch file.")
    size = path.stat().st_size
    try:
        if size > limits.bytes:
            raise DamagedError(f"it has {size:,} bytes, more than the limit of {limits.bytes:,}")
        budget = Budget(limits, size=size)
        if container == "torch-zip":
            data = _read_zip(path, budget)
        else:
            with path.open("rb") as file:
                # A private copy: torch wants memory it could write to, and the file must stay as it is.
                view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
            data = _read_legacy(view, budget) if container == "torch-legacy" else _read_pickle(view, budget)
        _check_depth(data, limits.depth)
        return data
    except DamagedError as error:
        kind = {"pickle": "a pickle", "torch-zip": "a torch zip file", "torch-legacy": "an older torch file"}[container]
        raise CheckpointError(f"{path} looks like {kind}, but {error}. Get the file anew.") from None
    except (
        OSError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, MemoryError, RuntimeError, ValueError,
        OverflowError,
    ) as error:  # fmt: skip
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({first}). Get the file anew.") from None


def _read_pickle(view: memoryview, budget: Budget) -> Any:
    handlers = Handlers(budget, lambda raw: _read_nested(raw, budget))

    def persistent(identity: Any) -> Any:
        return Node("persistent id", (identity,))

    return Machine(view, call=handlers.call, build=handlers.build, persistent=persistent, budget=budget).run()


# ---------------------------------------------------------------------------------------------------- older torch files


def _read_nested(raw: memoryview, budget: Budget) -> Any:
    if bytes(raw[: len(LEGACY_MAGIC)]) != LEGACY_MAGIC:
        raise DamagedError("the bytes of a storage in it are no torch file; it is damaged")
    if budget.nested >= _NESTED:
        raise DamagedError(f"it has torch files inside torch files more than {_NESTED} deep")
    budget.nested += 1
    try:
        return _read_legacy(raw, budget)
    finally:
        budget.nested -= 1


def _read_legacy(view: memoryview, budget: Budget) -> Any:
    """Magic number, protocol, facts about the machine, the object, the keys of its storages, and their numbers.

    The object refers to storages whose numbers come after it, so it is read twice: first for what storages there are,
    then, with the numbers at hand, for itself.
    """
    storages: dict[str, Storage] = {}
    views: dict[str, Storage] = {}

    def persistent(identity: Any) -> Any:
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise DamagedError("it refers to something that is no storage; it is damaged")
        _, kind, key, _, numel, *rest = identity
        if key not in storages if isinstance(key, str) else True:
            if not isinstance(key, str):
                raise DamagedError("it has a storage without a name; it is damaged")
            storages[key] = storage_of(kind, numel)
        if rest and rest[0] is not None:
            return _view(storages[key], rest[0], views)
        return storages[key]

    def one(position: int) -> tuple[Any, int]:
        handlers = Handlers(budget, lambda raw: _read_nested(raw, budget))
        machine = Machine(
            view, position=position, call=handlers.call, build=handlers.build, persistent=persistent, budget=budget
        )
        return machine.run(), machine.position

    magic, position = one(0)
    protocol, position = one(position)
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise DamagedError("its version is not one that is read; expected a file of torch 0.4 or later")
    facts, position = one(position)
    big_endian = isinstance(facts, dict) and facts.get("little_endian") is False
    start = position
    _, position = one(start)
    keys, position = one(position)
    if not isinstance(keys, list) or any(not isinstance(key, str) or key not in storages for key in keys):
        raise DamagedError("its list of storages does not fit the object; it is damaged")
    for key in keys:
        storage = storages[key]
        count = view[position : position + 8]
        if len(count) < 8 or int.from_bytes(count, "big" if big_endian else "little") != storage.numel:
            raise DamagedError("a storage in it has another size than announced; it is damaged or was cut off")
        end = position + 8 + storage.numel * storage.dtype.itemsize
        if end > len(view):
            raise DamagedError(f"it ends at byte {len(view):,} in the middle of a storage; it was cut off")
        storage.fill(view[position + 8 : end], big_endian=big_endian)
        position = end
    if any(storage.values is None for storage in storages.values()):
        raise DamagedError("numbers of a storage are missing; it was cut off")
    views.clear()
    return one(start)[0]


def _view(base: Storage, description: Any, views: dict[str, Storage]) -> Storage:
    """A part of a storage, as files of torch before 1.0 have them: (key, offset, numel)."""
    if (
        not isinstance(description, tuple) or len(description) != 3 or not isinstance(description[0], str)
        or not all(isinstance(n, int) and 0 <= n <= base.numel for n in description[1:])
        or description[1] + description[2] > base.numel
    ):  # fmt: skip
        raise DamagedError("a part of a storage in it lies outside of it; it is damaged")
    key, offset, numel = description
    if key not in views:
        part = None if base.values is None else base.values[offset : offset + numel]
        views[key] = Storage(base.dtype, numel, part, base.untyped)
    return views[key]


# ---------------------------------------------------------------------------------------------------- zip files


def _read_zip(path: Path, budget: Budget) -> Any:
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        roots = [name for name in entries if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
        if not roots:
            listed = ", ".join(list(entries)[:4]) or "nothing"
            raise DamagedError(f"it is a zip of other things ({listed:.120}); expected a file written by torch.save")
        prefix = roots[0].removesuffix("data.pkl")
        if any(name.startswith(f"{prefix}code/") for name in entries):
            raise DamagedError("it is a TorchScript program; expected weights saved by torch.save(model.state_dict())")
        big_endian = False
        if f"{prefix}byteorder" in entries:
            big_endian = _entry(archive, entries[f"{prefix}byteorder"], budget, most=64).strip() == b"big"
        storages: dict[str, Storage] = {}

        def persistent(identity: Any) -> Any:
            if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
                raise DamagedError("it refers to something that is no storage; it is damaged")
            _, kind, key, _, numel = identity
            if not isinstance(key, str):
                raise DamagedError("it has a storage without a name; it is damaged")
            if key not in storages:
                storage = storage_of(kind, numel)
                info = entries.get(f"{prefix}data/{key}")
                if info is None:
                    raise DamagedError(f"the numbers of storage {key:.40} are missing; it is damaged")
                expected = storage.numel * storage.dtype.itemsize
                if info.file_size != expected:
                    raise DamagedError(
                        f"storage {key:.40} has {info.file_size:,} bytes where {expected:,} were announced"
                    )
                storage.fill(_entry(archive, info, budget, most=expected), big_endian=big_endian)
                storages[key] = storage
            return storages[key]

        handlers = Handlers(budget, lambda raw: _read_nested(raw, budget))
        pickle = memoryview(_entry(archive, entries[roots[0]], budget, most=2**30))
        return Machine(pickle, call=handlers.call, build=handlers.build, persistent=persistent, budget=budget).run()


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget, *, most: int) -> bytes:
    if info.file_size > most or info.file_size > _RATIO * info.compress_size + 4096:
        raise DamagedError(
            f"its part {info.filename[:80]} would unpack from {info.compress_size:,} to {info.file_size:,} bytes"
        )
    budget.spend_bytes(info.file_size)
    return archive.read(info)


# ---------------------------------------------------------------------------------------------------- depth


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
