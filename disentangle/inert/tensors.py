"""Storages, and tensors as bounded views of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disentangle.inert.budget import Budget
from disentangle.inert.dtypes import STORAGES
from disentangle.inert.nodes import DamagedError, Name
from disentangle.text import shown

__all__ = ["Storage", "bytes_of", "is_shape", "rebuild_tensor", "storage_of"]

_TENSOR = 1024  # bytes of a tensor object, without its numbers
_MOST = 2**48
_DIMENSIONS = 32


@dataclass(eq=False, repr=False, slots=True)
class Storage:
    """Numbers in a row.

    Attributes:
        dtype: their type; uint8 where the file leaves the type to the tensors.
        numel: how many.
        values: (numel,) tensor, None until the file's data have been read.
    """

    dtype: torch.dtype
    numel: int
    values: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return self.numel * self.dtype.itemsize

    def fill(self, raw: memoryview | bytes, budget: Budget, *, big_endian: bool = False, copied: bool = False) -> None:
        """Take the numbers from their bytes, as a view where these may be written to and lie at a fitting address.

        Args:
            raw: the bytes.
            budget: of the file.
            big_endian: whether the first byte of a number is the highest.
            copied: whether to make no view in any case.

        Raises:
            DamagedError: if they are not as many as announced.
        """
        if len(raw) != self.nbytes:
            raise DamagedError(
                f"a storage of {self.numel:,} {_short(self.dtype)} has {len(raw):,} bytes; it is damaged or was cut off"
            )
        budget.memory(_TENSOR)
        if not self.numel:
            self.values = torch.empty(0, dtype=self.dtype)
            return
        if not copied and not memoryview(raw).readonly:
            values = torch.frombuffer(raw, dtype=torch.uint8)
            if values.data_ptr() % self.dtype.itemsize == 0 and not (big_endian and self.dtype.itemsize > 1):
                self.values = values.view(self.dtype)
                return
        own = torch.empty(len(raw), dtype=torch.uint8)
        budget.memory(len(raw))
        bytes_of(own)[:] = memoryview(raw).cast("B")
        self.take(own, big_endian=big_endian)

    def take(self, own: Tensor, *, big_endian: bool = False) -> None:
        """Take the numbers over: ``own`` is a (bytes,) uint8 tensor that nothing else has."""
        width = self.dtype.itemsize // 2 if self.dtype.is_complex else self.dtype.itemsize
        if big_endian and width > 1:
            own.numpy().view(f"u{width}").byteswap(inplace=True)
        self.values = own.view(self.dtype)


def bytes_of(own: Tensor) -> memoryview:
    """The memory of a (bytes,) uint8 tensor."""
    array: Any = own.numpy()
    return memoryview(array)


def storage_of(kind: Any, numel: Any) -> Storage:
    """An empty storage of the class a file names."""
    name = kind.path.rpartition(".")[2] if isinstance(kind, Name) else ""
    if name not in STORAGES:
        raise DamagedError(f"it has a storage of an unknown type {shown(getattr(kind, 'path', kind), most=80)}")
    if not _is_count(numel):
        raise DamagedError("it has a storage of a size that is no number; it is damaged")
    return Storage(STORAGES[name], numel)


def rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, budget: Budget, dtype: torch.dtype | None = None
) -> Tensor:
    """A view of a storage, refused unless all of it lies inside and no number in it is counted twice.

    Args:
        storage: a :class:`Storage`.
        offset, size, stride: in numbers, as the file has them.
        budget: of the file.
        dtype: in place of the storage's type.

    Raises:
        DamagedError: if it does not, or the arguments are no geometry.
    """
    if not isinstance(storage, Storage):
        raise DamagedError("it has a tensor without a storage; it is damaged")
    if (
        not _is_count(offset) or not is_shape(size) or not isinstance(stride, tuple) or len(size) != len(stride)
        or not all(map(_is_count, stride))
    ):  # fmt: skip
        raise DamagedError("it has a tensor of an impossible shape; it is damaged")
    budget.memory(_TENSOR)
    dtype = storage.dtype if dtype is None else dtype
    held = storage.nbytes // dtype.itemsize
    numel, last = 1, offset
    for length, step in zip(size, stride, strict=True):
        numel *= length
        last += (length - 1) * step
    if numel and (last >= held or numel > held):
        raise DamagedError(f"it has a tensor of shape {_shape(size)} that does not fit its storage of {held:,} numbers")
    values = storage.values
    if values is None:  # the data follow later in the file: a place holder of the shape, without memory
        return torch.empty(size, dtype=dtype, device="meta")
    if dtype != storage.dtype:
        values = values.view(torch.uint8)[: held * dtype.itemsize].view(dtype)
    return values.as_strided(size, stride, min(offset, held))  # wherever nothing lies, it is nothing


def is_shape(value: Any) -> bool:
    """Whether it is a shape whose numbers can be counted."""
    if not isinstance(value, tuple) or len(value) > _DIMENSIONS or not all(map(_is_count, value)):
        return False
    product = 1
    for length in value:
        product *= max(length, 1)
    return product < 2**62  # torch multiplies them even where one of them is zero


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _shape(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size)) or "()"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
