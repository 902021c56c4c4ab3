"""numpy's arrays in a pickle, as tensors of the same numbers; arrays of texts as lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from disentangle.inert.budget import Budget
from disentangle.inert.dtypes import numpy_type
from disentangle.inert.nodes import DamagedError, Node
from disentangle.inert.tensors import is_shape
from disentangle.text import shown

__all__ = ["Array", "DType", "array_of", "dtype_of", "with_state"]

_ARRAY = 1024  # bytes of a tensor object, without its numbers
_TEXT = 80  # bytes of a text object and its place in a list, without its letters


class Array(Node):
    """An array whose state has not come yet."""

    __slots__ = ()


class DType(Node):
    """A type of plain numbers or texts."""

    __slots__ = ("value",)
    value: np.dtype[Any]


def dtype_of(code: Any) -> DType:
    """The type behind a code in a pickle.

    Raises:
        DamagedError: if it is none that is read.
    """
    if isinstance(code, (bytes, memoryview)):
        code = bytes(code[:16]).decode("latin1")
    if not isinstance(code, str):
        raise DamagedError(f"it has an array of the type {shown(code, most=20)}; expected plain numbers")
    made = DType("numpy.dtype")
    made.value = numpy_type(code)
    return made


def with_state(value: DType, state: Any) -> DType:
    """A type with what its state says: the order of its bytes."""
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
    if isinstance(state, tuple) and len(state) > 4 and state[3] is not None:
        raise DamagedError("it has an array of records; expected plain numbers")
    if isinstance(order, str) and order in ("<", ">"):
        value.value = value.value.newbyteorder("<" if order == "<" else ">")
    return value


def array_of(raw: Any, dtype: Any, shape: Any, budget: Budget, *, column_major: bool) -> Any:
    """A tensor of the bytes of an array; texts as a list, or one text.

    Raises:
        DamagedError: if they are no such array.
    """
    if not isinstance(dtype, DType):
        raise DamagedError("it has an array without a type; it is damaged")
    if isinstance(shape, int):
        shape = (shape,)
    if not is_shape(shape):
        raise DamagedError("it has an array of an impossible shape; it is damaged")
    if isinstance(raw, str):
        budget.memory(len(raw))
        try:
            raw = raw.encode("latin1")  # how Python 2 wrote bytes
        except UnicodeEncodeError:
            raise DamagedError("it has an array made of a text with other letters; it is damaged") from None
    if not isinstance(raw, (bytes, memoryview)):
        raise DamagedError("it has an array of Python objects; expected numbers")
    kind, numel = dtype.value, 1
    for length in shape:
        numel *= length
    if numel * kind.itemsize != len(raw):
        raise DamagedError(f"it has an array of {numel:,} numbers in {len(raw):,} bytes; it is damaged")
    if kind.kind in "SU":
        found = _texts(raw, kind, numel, budget)
        return found if shape else found[0]
    budget.memory(_ARRAY)
    array = np.frombuffer(raw, dtype=kind) if numel else np.zeros(0, kind)
    native = kind.newbyteorder("=")
    if native != kind or not array.flags.writeable or not array.flags.aligned:
        budget.memory(len(raw))
        array = array.astype(native)
    tensor = torch.from_numpy(array)
    if not column_major:
        return tensor.reshape(shape)
    return tensor.reshape(tuple(reversed(shape))).permute(*range(len(shape) - 1, -1, -1))


def _texts(raw: bytes | memoryview, kind: np.dtype[Any], numel: int, budget: Budget) -> list[str]:
    """Fixed widths, filled up with zeros; U has four bytes a letter, S one."""
    width = kind.itemsize
    budget.memory(_TEXT * numel + 2 * len(raw))
    code = "latin1" if kind.kind == "S" else "utf-32-be" if kind.str[0] == ">" else "utf-32-le"
    held = bytes(raw)
    try:
        return [held[at : at + width].decode(code).rstrip("\0") for at in range(0, len(held), width)]
    except UnicodeDecodeError:
        raise DamagedError("it has an array of texts with impossible letters; it is damaged") from None
