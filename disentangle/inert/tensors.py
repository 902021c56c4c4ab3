"""Storages, and tensors as bounded views of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disentangle.inert.nodes import DamagedError, Name

__all__ = ["STORAGE_TYPES", "Storage", "rebuild_tensor", "storage_of"]

STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


@dataclass(eq=False, repr=False)
class Storage:
    """Numbers in a row.

    Attributes:
        dtype: their type; uint8 where the file leaves the type to the tensors.
        numel: how many.
        values: (numel,) tensor, None until the file's data have been read.
        untyped: whether the tensors give the type.
    """

    dtype: torch.dtype
    numel: int
    values: Tensor | None = None
    untyped: bool = False

    def fill(self, raw: memoryview | bytes | bytearray, *, big_endian: bool = False) -> None:
        """Take the numbers from their bytes, which must be as many as announced.

        Raises:
            DamagedError: if they are not.
        """
        itemsize = self.dtype.itemsize
        if len(raw) != self.numel * itemsize:
            raise DamagedError(
                f"a storage of {self.numel:,} {_short(self.dtype)} has {len(raw):,} bytes; it is damaged or was cut off"
            )
        if not self.numel:
            self.values = torch.empty(0, dtype=self.dtype)
            return
        if big_endian and itemsize > 1:
            width = itemsize // 2 if self.dtype.is_complex else itemsize
            raw = swapped = bytearray(raw)
            for offset in range(width // 2):  # swap byte by byte, over all numbers at once
                low, high = swapped[offset::width], swapped[width - 1 - offset :: width]
                swapped[offset::width], swapped[width - 1 - offset :: width] = high, low
        elif memoryview(raw).readonly:
            raw = bytearray(raw)
        self.values = torch.frombuffer(raw, dtype=self.dtype)


def storage_of(kind: Any, numel: Any) -> Storage:
    """An empty storage of the class a file names."""
    name = kind.path.rpartition(".")[2] if isinstance(kind, Name) else ""
    if name not in STORAGE_TYPES:
        raise DamagedError(f"it has a storage of an unknown type {getattr(kind, 'path', type(kind).__name__)!s:.80}")
    if not _is_count(numel):
        raise DamagedError("it has a storage of a size that is no number; it is damaged")
    return Storage(STORAGE_TYPES[name], numel, untyped=name == "UntypedStorage")


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None = None) -> Tensor:
    """A view of a storage, refused unless all of it lies inside and no number in it is counted twice.

    Raises:
        DamagedError: if it does not, or the arguments are no geometry.
    """
    if not isinstance(storage, Storage):
        raise DamagedError("it has a tensor without a storage; it is damaged")
    if (
        not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride) or len(size) > 32
        or not all(map(_is_count, (offset, *size, *stride)))
    ):  # fmt: skip
        raise DamagedError("it has a tensor of an impossible shape; it is damaged")
    values = storage.values
    numel, last = 1, offset
    for length, step in zip(size, stride, strict=True):
        numel *= length
        last += (length - 1) * step
    if values is None:  # the data follow later in the file: a place holder of the shape, without memory
        if numel > storage.numel:
            raise DamagedError(f"it has a tensor of shape {_shape(size)} on a storage of {storage.numel:,} numbers")
        return torch.empty(size, dtype=storage.dtype, device="meta")
    if storage.untyped and dtype is not None:
        if len(values) % dtype.itemsize:
            raise DamagedError("it has a storage whose bytes do not make whole numbers; it is damaged")
        values = values.view(dtype)
    if numel and (last >= len(values) or numel > len(values)):
        raise DamagedError(
            f"it has a tensor of shape {_shape(size)} that does not fit its storage of {len(values):,} numbers"
        )
    return values.as_strided(size, stride, offset) if numel else values.new_empty(size)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def _shape(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size)) or "()"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
