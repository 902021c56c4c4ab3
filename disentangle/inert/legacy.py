"""torch's older files: five pickles, then the numbers."""

from __future__ import annotations

from typing import Any

from disentangle.inert.arrays import Array
from disentangle.inert.budget import Budget
from disentangle.inert.container import is_legacy
from disentangle.inert.handlers import Handlers
from disentangle.inert.machine import Machine
from disentangle.inert.nodes import DamagedError
from disentangle.inert.tensors import Storage, storage_of
from disentangle.text import shown

__all__ = ["read_legacy", "read_nested"]

_NESTED = 3  # torch files inside a torch file; real ones have one: the storages of a module that was pickled whole
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGE = 256  # bytes of one that is announced, without its numbers


def read_nested(raw: memoryview, budget: Budget, *, copied: bool = False) -> Any:
    """A torch file inside a pickle: how a storage that was pickled by itself is written.

    Raises:
        DamagedError: if it is none, or holds others without end.
    """
    if not is_legacy(bytes(raw[:64])):
        raise DamagedError("the bytes of a storage in it are no torch file; it is damaged")
    if budget.nested >= _NESTED:
        raise DamagedError(f"it has torch files inside torch files more than {_NESTED} deep")
    budget.nested += 1
    try:
        return read_legacy(raw, budget, copied=copied)
    finally:
        budget.nested -= 1


def read_legacy(view: memoryview, budget: Budget, *, copied: bool = False) -> Any:
    """Magic number, protocol, facts about the machine, the object, the keys of its storages, and their numbers.

    The object refers to storages whose numbers come after it, so it is read twice: first for what storages there are,
    then, with the numbers at hand, for itself.

    Raises:
        DamagedError: if it is damaged.
    """
    storages: dict[str, Storage] = {}
    views: dict[str, tuple[Storage, int, Storage]] = {}

    def persistent(identity: Any) -> Any:
        if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or not _is(identity[0], "storage"):
            raise DamagedError("it refers to something that is no storage; it is damaged")
        _, kind, key, _, numel, *rest = identity
        if not isinstance(key, str):
            raise DamagedError("it has a storage without a name; it is damaged")
        budget.memory(_STORAGE)
        announced = storage_of(kind, numel)
        storage = storages.setdefault(key, announced)
        if storage.dtype != announced.dtype or storage.numel != announced.numel:
            raise DamagedError(f"its storage {shown(key, most=40)} is announced in two sizes; it is damaged")
        return _view(storage, rest[0], views) if rest and rest[0] is not None else storage

    def one(position: int) -> tuple[Any, int]:
        handlers = Handlers(budget, lambda raw: read_nested(raw, budget, copied=copied))
        machine = Machine(
            view, position=position, call=handlers.call, build=handlers.build, persistent=persistent, replaced=Array,
            budget=budget, copied=copied,
        )  # fmt: skip
        return machine.run(), machine.position

    magic, position = one(0)
    protocol, position = one(position)
    if type(magic) is not int or type(protocol) is not int or (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise DamagedError("its version is not one that is read; expected a file of torch 0.4 or later")
    facts, position = one(position)
    big_endian = isinstance(facts, dict) and facts.get("little_endian") is False
    start = position
    _, position = one(start)
    keys, position = one(position)
    if not isinstance(keys, list) or any(not isinstance(key, str) or key not in storages for key in keys):
        raise DamagedError("its list of storages does not fit the object; it is damaged")
    if len(set(keys)) != len(keys):
        raise DamagedError("its list of storages names one twice; it is damaged")
    for key in keys:
        storage = storages[key]
        count = view[position : position + 8]
        if len(count) < 8 or int.from_bytes(count, "big" if big_endian else "little") != storage.numel:
            raise DamagedError("a storage in it has another size than announced; it is damaged or was cut off")
        end = position + 8 + storage.nbytes
        if end > len(view):
            raise DamagedError(f"it ends at byte {len(view):,} in the middle of a storage; it was cut off")
        storage.fill(view[position + 8 : end], budget, big_endian=big_endian, copied=copied)
        position = end
    if any(storage.values is None for storage in storages.values()):
        raise DamagedError("numbers of a storage are missing; it was cut off")
    views.clear()
    return one(start)[0]


def _is(value: Any, text: str) -> bool:
    return isinstance(value, str) and value == text


def _view(base: Storage, description: Any, views: dict[str, tuple[Storage, int, Storage]]) -> Storage:
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
        views[key] = (base, offset, Storage(base.dtype, numel, part))
    of, at, found = views[key]
    if of is not base or at != offset or found.numel != numel:
        raise DamagedError("a part of a storage in it is announced twice, differently; it is damaged")
    return found
