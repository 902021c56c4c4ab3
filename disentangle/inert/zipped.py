"""torch's zip files: a pickle, and one part for the numbers of each storage."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from disentangle.archives import Member, open_zip, unpack, unpack_into
from disentangle.inert.arrays import Array
from disentangle.inert.budget import Budget
from disentangle.inert.handlers import Handlers
from disentangle.inert.legacy import read_nested
from disentangle.inert.machine import Machine
from disentangle.inert.nodes import DamagedError
from disentangle.inert.tensors import Storage, bytes_of, storage_of
from disentangle.text import shown

__all__ = ["read_zip"]

_RATIO = 20  # unpacked to packed bytes of a part; torch packs nothing
_CONTENTS = 32 * 2**20  # bytes of the table of contents; half a million storages
_PICKLE = 2**30
_STORAGE = 1280  # bytes of one, without its numbers


def read_zip(path: Path, budget: Budget, *, copied: bool = False) -> Any:
    """What the pickle in it makes, with its storages. Checksums of all parts are compared.

    Raises:
        DamagedError: if it is damaged or no file of torch.
        ArchiveError: if zipfile cannot read it, or a part of it.
    """
    with open_zip(path, contents=_CONTENTS) as archive:
        parts = {info.filename: info for info in archive.infolist()}
        if len(parts) != len(archive.infolist()):
            raise DamagedError("two of its parts have one name; it is damaged")
        if sum(info.compress_size for info in parts.values()) > budget.size:
            raise DamagedError("its parts are together larger than the file; it is damaged")
        pickle = _root(parts)
        prefix = pickle.removesuffix("data.pkl")
        waiting = dict(parts)

        def part(name: str, most: int) -> bytearray:
            info = waiting.pop(name)
            _check_ratio(info)
            budget.memory(min(info.file_size, most))
            return unpack(archive, info, most=most)

        order = bytes(part(f"{prefix}byteorder", 64)) if f"{prefix}byteorder" in parts else b"little"
        storages: dict[str, Storage] = {}

        def persistent(identity: Any) -> Any:
            if not isinstance(identity, tuple) or len(identity) != 5 or not _is(identity[0], "storage"):
                raise DamagedError("it refers to something that is no storage; it is damaged")
            _, kind, key, _, numel = identity
            if not isinstance(key, str):
                raise DamagedError("it has a storage without a name; it is damaged")
            announced = storage_of(kind, numel)
            found = storages.get(key)
            if found is None:
                info = waiting.pop(f"{prefix}data/{key}", None)
                if info is None:
                    raise DamagedError(f"the numbers of storage {shown(key, most=40)} are missing; it is damaged")
                storages[key] = found = _filled(archive, info, announced, budget, big_endian=order.strip() == b"big")
            elif found.dtype != announced.dtype or found.numel != announced.numel:
                raise DamagedError(f"its storage {shown(key, most=40)} is announced in two sizes; it is damaged")
            return found

        handlers = Handlers(budget, lambda raw: read_nested(raw, budget, copied=copied))
        machine = Machine(
            memoryview(part(pickle, _PICKLE)), call=handlers.call, build=handlers.build, persistent=persistent,
            replaced=Array, budget=budget, copied=copied,
        )  # fmt: skip
        data = machine.run()
        for info in waiting.values():
            _check(archive, info)
        return data


_CHECKPOINTS = (".pth", ".pt", ".pkl", ".ckpt", ".bin", ".safetensors", ".tar")


def _root(parts: dict[str, zipfile.ZipInfo]) -> str:
    """The name of the pickle."""
    found = [name for name in parts if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
    if not found:
        listed = ", ".join(shown(name, most=40) for name in list(parts)[:4]) or "nothing"
        inside = next((name for name in parts if name.lower().endswith(_CHECKPOINTS)), None)
        advice = {} if inside is None else {"advice": f"Unpack it, and take {shown(inside, most=80)}."}
        if parts and all(name.endswith(".npy") for name in parts):
            advice = {"advice": "Make tensors of its arrays (torch.from_numpy), and save them by name with torch.save."}
        raise DamagedError(f"it is a zip of other things ({listed}); expected a file written by torch.save", **advice)
    if len(found) > 1:
        raise DamagedError("it has several pickles; expected a file written by torch.save")
    prefix = found[0].removesuffix("data.pkl")
    if any(name.startswith(f"{prefix}code/") for name in parts):
        raise DamagedError(
            "it is a TorchScript program; expected weights saved by torch.save(model.state_dict())",
            advice="Load it with torch.jit.load and save its state_dict().",
        )
    return found[0]


def _filled(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, storage: Storage, budget: Budget, *, big_endian: bool
) -> Storage:
    if info.file_size != storage.nbytes:
        raise DamagedError(
            f"storage {shown(info.filename, most=60)} has {info.file_size:,} bytes where {storage.nbytes:,} were "
            "announced"
        )
    _check_ratio(info)
    budget.memory(_STORAGE + storage.nbytes)
    own = torch.empty(storage.nbytes, dtype=torch.uint8)
    unpack_into(archive, info, bytes_of(own))
    storage.take(own, big_endian=big_endian)
    return storage


def _check_ratio(info: zipfile.ZipInfo) -> None:
    if info.file_size > _RATIO * info.compress_size + 4096:
        raise DamagedError(
            f"its part {shown(info.filename, most=60)} would unpack from {info.compress_size:,} to {info.file_size:,} "
            "bytes"
        )


def _check(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """The checksum of a part that nothing asks for."""
    _check_ratio(info)
    with Member(archive, info) as member:
        while member.read(2**20):
            pass


def _is(value: Any, text: str) -> bool:
    return isinstance(value, str) and value == text
