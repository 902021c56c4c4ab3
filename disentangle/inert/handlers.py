"""The names in a pickle that make plain data: tensors, arrays and the containers of Python, numpy and torch.

Every other name makes a :class:`~disentangle.inert.nodes.Node`, a record of the call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disentangle.inert.machine import Budget, key_of
from disentangle.inert.nodes import DamagedError, Name, Node
from disentangle.inert.tensors import Storage, rebuild_tensor

__all__ = ["Handlers"]

_DICTIONARIES = {
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict", "__builtin__.dict",
    "dnnlib.util.EasyDict", "dnnlib.EasyDict", "torch_utils.misc.EasyDict",
}  # fmt: skip
_RECONSTRUCTORS = {"copyreg._reconstructor", "copy_reg._reconstructor"}
_REFUSED_TENSORS = re.compile(r"torch\._utils\._rebuild_(qtensor|sparse\w*|nested\w*|meta\w*|wrapper\w*)")


class _Array(Node):
    """A numpy array whose state has not come yet."""


class _DType(Node):
    """A numpy data type: plain numbers only."""

    value: np.dtype[Any]


class Handlers:
    """What the machine calls.

    Args:
        budget: what the file has left.
        nested: reads the bytes of a storage that was saved as a torch file of its own.
    """

    def __init__(self, budget: Budget, nested: Callable[[memoryview], Any]) -> None:
        self.budget, self.nested = budget, nested

    def call(self, path: str, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> Any:
        """The value of ``path(*args, **kwargs)``."""
        if path in _DICTIONARIES:
            return self._dictionary(args)
        handler = _CALLS.get(path)
        if handler is not None:
            return handler(self, args)
        if _REFUSED_TENSORS.fullmatch(path):
            raise DamagedError(f"it has a tensor of a kind that is not read ({path}); expected dense tensors")
        if path in _RECONSTRUCTORS and len(args) == 3 and isinstance(args[0], Name):
            return Node(args[0].path, args[2:] if args[2] is not None else ())
        return Node(path, args, kwargs)

    def build(self, value: Any, state: Any) -> Any:
        """The value of an object that is given its state."""
        if isinstance(value, _Array):
            return self._array(state)
        if isinstance(value, _DType):
            return _with_byte_order(value, state)
        if isinstance(value, Node):
            # (dictionary, slots) is the state of a class with __slots__
            if isinstance(state, tuple) and len(state) == 2 and all(s is None or isinstance(s, dict) for s in state):
                state = {**(state[0] or {}), **(state[1] or {})}
            value.state = state
        # Of a dictionary the state is what hangs on the object beside its items, torch's _metadata; of a tensor, hooks.
        return value

    def _dictionary(self, args: tuple[Any, ...]) -> dict[Any, Any]:
        content = args[-1] if args else ()
        if isinstance(content, dict):
            self.budget.spend_bytes(64 * len(content))
            return dict(content)
        if isinstance(content, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in content):
            self.budget.spend_bytes(64 * len(content))
            return {key_of(key): value for key, value in content}
        return {}

    def _array(self, state: Any) -> Any:
        if not isinstance(state, tuple) or len(state) != 5:
            raise DamagedError("it has an array of an unknown layout; it is damaged")
        _, shape, dtype, column_major, raw = state
        return self.array(raw, dtype, shape, column_major=bool(column_major))

    def array(self, raw: Any, dtype: Any, shape: Any, *, column_major: bool) -> Any:
        """A tensor of the bytes of an array; a list of numbers if torch lacks the type."""
        if not isinstance(dtype, _DType):
            raise DamagedError("it has an array without a type; it is damaged")
        if isinstance(shape, int):
            shape = (shape,)
        if (
            not isinstance(shape, tuple)
            or len(shape) > 32
            or not all(isinstance(n, int) and 0 <= n < 2**48 for n in shape)
        ):
            raise DamagedError("it has an array of an impossible shape; it is damaged")
        if isinstance(raw, str):
            self.budget.spend_bytes(len(raw))
            raw = raw.encode("latin1", "replace")
        if not isinstance(raw, (bytes, memoryview)):
            raise DamagedError("it has an array of Python objects; expected numbers")
        numel = 1
        for length in shape:
            numel *= length
        if numel * dtype.value.itemsize != len(raw):
            raise DamagedError(f"it has an array of {numel:,} numbers in {len(raw):,} bytes; it is damaged")
        array = np.frombuffer(raw, dtype=dtype.value) if numel else np.zeros(0, dtype.value)
        if dtype.value.kind in "SU":
            self.budget.spend_bytes(64 * numel)
            return [str(text) for text in array] if shape else str(array[0])
        native = dtype.value.newbyteorder("=")
        if native.kind == "u" and native.itemsize > 1:
            native = np.dtype(np.int64)  # torch computes with no wider unsigned integers
        if native != dtype.value or not array.flags.writeable:
            self.budget.spend_bytes(numel * native.itemsize)
            array = array.astype(native)
        tensor = torch.from_numpy(array)
        return (
            tensor.reshape(tuple(reversed(shape))).permute(*range(len(shape) - 1, -1, -1))
            if column_major
            else tensor.reshape(shape)
        )


def _with_byte_order(value: _DType, state: Any) -> _DType:
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
    if isinstance(state, tuple) and len(state) > 4 and state[3] is not None:
        raise DamagedError("it has an array of records; expected plain numbers")
    if order in ("<", ">"):
        value.value = value.value.newbyteorder(order)
    return value


# ---------------------------------------------------------------------------------------------------- known calls


def _need(args: tuple[Any, ...], count: int, what: str) -> None:
    if len(args) < count:
        raise DamagedError(f"it makes {what} of {len(args)} arguments, {count} are needed; it is damaged")


def _tensor(handlers: Handlers, args: tuple[Any, ...]) -> Tensor:
    _need(args, 4, "a tensor")
    dtype = None
    if len(args) > 6 and isinstance(args[6], Name):  # the later form names the type
        dtype = getattr(torch, args[6].path.rpartition(".")[2], None) if args[6].path.startswith("torch.") else None
    tensor = rebuild_tensor(args[0], args[1], args[2], args[3], dtype if isinstance(dtype, torch.dtype) else None)
    return tensor


def _first(what: str) -> Callable[[Handlers, tuple[Any, ...]], Any]:
    def handler(handlers: Handlers, args: tuple[Any, ...]) -> Any:
        _need(args, 1, what)
        return args[0]

    return handler


def _from_type(handlers: Handlers, args: tuple[Any, ...]) -> Any:
    _need(args, 3, "a tensor")
    if not isinstance(args[0], Name) or not isinstance(args[2], tuple):
        raise DamagedError("it has a tensor of an unknown class; it is damaged")
    return handlers.call(args[0].path, args[2], {})


def _storage(handlers: Handlers, args: tuple[Any, ...]) -> Storage:
    _need(args, 1, "a storage")
    raw = args[0]
    if isinstance(raw, str):
        handlers.budget.spend_bytes(len(raw))
        raw = raw.encode("latin1", "replace")
    if not isinstance(raw, (bytes, memoryview)):
        raise DamagedError("it has a storage that is no bytes; it is damaged")
    storage = handlers.nested(memoryview(raw))
    if not isinstance(storage, Storage):
        raise DamagedError("it has a storage that holds something else; it is damaged")
    return storage


def _size(handlers: Handlers, args: tuple[Any, ...]) -> tuple[Any, ...]:
    content = args[0] if args else ()
    if not isinstance(content, (list, tuple)):
        raise DamagedError("it has a shape that is no list; it is damaged")
    handlers.budget.spend_bytes(8 * len(content))
    return tuple(content)


def _set(handlers: Handlers, args: tuple[Any, ...]) -> set[Any]:
    content = args[0] if args else ()
    if not isinstance(content, (list, tuple, set, frozenset)):
        raise DamagedError("it has a set of something that is no list; it is damaged")
    handlers.budget.spend_bytes(64 * len(content))
    return {key_of(value) for value in content}


def _encode(handlers: Handlers, args: tuple[Any, ...]) -> bytes:
    _need(args, 1, "bytes")
    if not isinstance(args[0], str):
        raise DamagedError("it has bytes made of something that is no text; it is damaged")
    handlers.budget.spend_bytes(len(args[0]))
    try:
        return args[0].encode("latin1")
    except UnicodeEncodeError:
        raise DamagedError("it has bytes made of a text with other letters; it is damaged") from None


def _bytearray(handlers: Handlers, args: tuple[Any, ...]) -> bytes | memoryview:
    if not args:
        return b""
    return args[0] if isinstance(args[0], (bytes, memoryview)) else _encode(handlers, args)


def _numpy_dtype(handlers: Handlers, args: tuple[Any, ...]) -> _DType:
    code = args[0] if args else None
    if isinstance(code, (bytes, memoryview)):
        code = bytes(code[:16]).decode("latin1")
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?([biufc][0-9]{1,2}|[SU][0-9]{1,4}|\?)", code):
        raise DamagedError(f"it has an array of the type {code!s:.20}; expected plain numbers")
    made = _DType("numpy.dtype")
    try:
        made.value = np.dtype(code)
    except TypeError:
        raise DamagedError(f"it has an array of the unknown type {code!s:.20}") from None
    if made.value.itemsize == 0:
        raise DamagedError("it has an array of empty texts; expected plain numbers")
    return made


def _numpy_scalar(handlers: Handlers, args: tuple[Any, ...]) -> Any:
    _need(args, 2, "a number")
    value = handlers.array(args[1], args[0], (), column_major=False)
    return value.item() if isinstance(value, Tensor) else value


def _numpy_frombuffer(handlers: Handlers, args: tuple[Any, ...]) -> Any:
    _need(args, 4, "an array")
    return handlers.array(args[0], args[1], args[2], column_major=args[3] == "F")


def _persistent_object(handlers: Handlers, args: tuple[Any, ...]) -> Node:
    """An object of NVIDIA's container: its class by name and source text, and its attributes. The text is left out."""
    meta = args[0] if args else None
    if isinstance(meta, Node):
        meta = (
            meta.state
            if isinstance(meta.state, dict)
            else {key: value for key, value in meta.pairs if isinstance(key, str)}
        )
    if not isinstance(meta, dict):
        raise DamagedError("it has an object of NVIDIA's container without a description; it is damaged")
    node = Node(f"torch_utils.persistence:{meta.get('class_name')!s:.200}")
    node.state = meta.get("state")
    node.kwargs = {key: value for key, value in meta.items() if key not in ("module_src", "state")}
    return node


_CALLS: dict[str, Callable[[Handlers, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _first("a parameter"),
    "torch._utils._rebuild_parameter_with_state": _first("a parameter"),
    "torch._utils._rebuild_device_tensor_from_numpy": _first("a tensor"),
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _first("a parameter"),
    "torch.storage._load_from_bytes": _storage,
    "torch.Size": _size,
    "collections.deque": lambda handlers, args: list(_size(handlers, args)),
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "__builtin__.set": _set,
    "__builtin__.frozenset": _set,
    "builtins.bytearray": _bytearray,
    "__builtin__.bytearray": _bytearray,
    "builtins.bytes": _bytearray,
    "__builtin__.bytes": _bytearray,
    "_codecs.encode": _encode,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "numpy.dtype": _numpy_dtype,
}
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _CALLS[f"{_core}._reconstruct"] = lambda handlers, args: _Array("numpy.ndarray")
    _CALLS[f"{_core}.scalar"] = _numpy_scalar
for _core in ("numpy.core.numeric", "numpy._core.numeric"):
    _CALLS[f"{_core}._frombuffer"] = _numpy_frombuffer
