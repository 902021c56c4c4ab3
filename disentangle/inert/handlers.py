"""The names in a pickle that make plain data: tensors, arrays and the containers of Python, numpy and torch.

Every other name makes a :class:`~disentangle.inert.nodes.Node`, a record of the call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from disentangle.inert.arrays import Array, DType, array_of, dtype_of, with_state
from disentangle.inert.budget import Budget
from disentangle.inert.dtypes import DEVICES, LAYOUTS
from disentangle.inert.keys import key_of
from disentangle.inert.nodes import DamagedError, Name, Node
from disentangle.inert.tensors import Storage, rebuild_tensor
from disentangle.text import shown

__all__ = ["Handlers"]

_PAIR, _MEMBER, _PLACE = 112, 144, 16  # bytes of an entry of a dictionary, a set, a list, at most
_DICTIONARIES = {
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict", "__builtin__.dict",
    "dnnlib.util.EasyDict", "dnnlib.EasyDict", "torch_utils.misc.EasyDict",
}  # fmt: skip
_RECONSTRUCTORS = {"copyreg._reconstructor", "copy_reg._reconstructor"}
_REFUSED_TENSORS = re.compile(r"torch\._utils\._rebuild_(qtensor|sparse\w*|nested\w*|meta\w*|wrapper\w*)")


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
        return Node(path, args, kwargs) if kwargs else Node(path, args)

    def build(self, value: Any, state: Any) -> Any:
        """The value of an object that is given its state."""
        if isinstance(value, Array):
            return self._array(state)
        if isinstance(value, DType):
            return with_state(value, state)
        if isinstance(value, Node):
            # (dictionary, slots) is the state of a class with __slots__
            if isinstance(state, tuple) and len(state) == 2 and all(s is None or isinstance(s, dict) for s in state):
                state = self._merged(state[0], state[1])
            value.state = state
        # Of a dictionary the state is what hangs on the object beside its items, torch's _metadata; of a tensor, hooks.
        return value

    def _merged(self, attributes: dict[Any, Any] | None, slots: dict[Any, Any] | None) -> dict[Any, Any]:
        if not attributes or not slots:
            return attributes or slots or {}
        self.budget.memory(_PAIR * (len(attributes) + len(slots)))
        return {**attributes, **slots}

    def _dictionary(self, args: tuple[Any, ...]) -> dict[Any, Any]:
        content = args[-1] if args else ()
        if not isinstance(content, (dict, list, tuple)):
            return {}
        self.budget.memory(_PAIR * len(content))
        if isinstance(content, dict):
            return dict(content)
        if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in content):
            return {key_of(key, self.budget): value for key, value in content}
        return {}

    def _array(self, state: Any) -> Any:
        if not isinstance(state, tuple) or len(state) != 5:
            raise DamagedError("it has an array of an unknown layout; it is damaged")
        _, shape, dtype, column_major, raw = state
        return array_of(raw, dtype, shape, self.budget, column_major=bool(column_major))


# ---------------------------------------------------------------------------------------------------- known calls


def _need(args: tuple[Any, ...], count: int, what: str) -> None:
    if len(args) < count:
        raise DamagedError(f"it makes {what} of {len(args)} arguments, {count} are needed; it is damaged")


def _rebuilt(handlers: Handlers, args: tuple[Any, ...], dtype: torch.dtype | None = None) -> Tensor:
    return rebuild_tensor(args[0], args[1], args[2], args[3], handlers.budget, dtype)


def _tensor(handlers: Handlers, args: tuple[Any, ...]) -> Tensor:
    _need(args, 4, "a tensor")
    return _marked(_rebuilt(handlers, args), args[6] if len(args) > 6 else None)


def _tensor_of_type(handlers: Handlers, args: tuple[Any, ...]) -> Tensor:
    """The later form, for types that have no storage class of their own: it names the type."""
    _need(args, 7, "a tensor")
    if not isinstance(args[6], torch.dtype):
        raise DamagedError(f"it has a tensor of the type {_said(args[6])}, which is not known")
    return _marked(_rebuilt(handlers, args, args[6]), args[7] if len(args) > 7 else None)


def _marked(tensor: Tensor, marks: Any) -> Tensor:
    """A view that stands for the conjugate or the negative of its numbers, as torch notes in two bits."""
    if isinstance(marks, dict) and marks.get("conj") is True and tensor.is_complex():
        tensor = tensor.conj()
    if isinstance(marks, dict) and marks.get("neg") is True:
        tensor = torch._neg_view(tensor)
    return tensor


def _said(value: Any) -> str:
    return shown(value.path if isinstance(value, (Name, Node)) else value, most=80)


def _converted(handlers: Handlers, args: tuple[Any, ...]) -> Tensor:
    """(tensor, dtype, device, ...): of devices whose storages are not written."""
    _need(args, 2, "a tensor")
    tensor, dtype = args[:2]
    if not isinstance(tensor, Tensor) or not isinstance(dtype, torch.dtype):
        raise DamagedError("it has a tensor of an unknown class; it is damaged")
    if tensor.dtype != dtype:
        handlers.budget.memory(tensor.numel() * dtype.itemsize)
    return tensor.to(dtype)


def _first(what: str) -> Callable[[Handlers, tuple[Any, ...]], Any]:
    def handler(handlers: Handlers, args: tuple[Any, ...]) -> Any:
        _need(args, 1, what)
        return args[0]

    return handler


def _from_type(handlers: Handlers, args: tuple[Any, ...]) -> Any:
    _need(args, 3, "a tensor")
    if not isinstance(args[0], Name) or not isinstance(args[2], tuple):
        raise DamagedError("it has a tensor of an unknown class; it is damaged")
    if args[0].path == _FROM_TYPE:  # real ones are not one in the other, and these would be without end
        raise DamagedError("it has a tensor of an unknown class; it is damaged")
    return handlers.call(args[0].path, args[2], {})


def _storage(handlers: Handlers, args: tuple[Any, ...]) -> Storage:
    _need(args, 1, "a storage")
    raw = args[0]
    if isinstance(raw, str):
        raw = _encode(handlers, args)
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
    handlers.budget.memory(_PLACE * len(content))
    return tuple(content)


def _set(handlers: Handlers, args: tuple[Any, ...]) -> set[Any]:
    content = args[0] if args else ()
    if not isinstance(content, (list, tuple, set, frozenset)):
        raise DamagedError("it has a set of something that is no list; it is damaged")
    handlers.budget.memory(_MEMBER * len(content))
    return {key_of(value, handlers.budget) for value in content}


def _encode(handlers: Handlers, args: tuple[Any, ...]) -> bytes:
    _need(args, 1, "bytes")
    if not isinstance(args[0], str):
        raise DamagedError("it has bytes made of something that is no text; it is damaged")
    handlers.budget.memory(len(args[0]))
    try:
        return args[0].encode("latin1")
    except UnicodeEncodeError:
        raise DamagedError("it has bytes made of a text with other letters; it is damaged") from None


def _bytearray(handlers: Handlers, args: tuple[Any, ...]) -> bytes | memoryview:
    if not args:
        return b""
    return args[0] if isinstance(args[0], (bytes, memoryview)) else _encode(handlers, args)


def _complex(handlers: Handlers, args: tuple[Any, ...]) -> complex:
    if len(args) != 2 or not all(isinstance(part, float) for part in args):
        raise DamagedError("it has a complex number that is none; it is damaged")
    return complex(*args)


def _device(handlers: Handlers, args: tuple[Any, ...]) -> torch.device:
    kind, index = args[0] if args else None, args[1] if len(args) > 1 else None
    if not isinstance(kind, str) or kind not in DEVICES:
        raise DamagedError(f"it names a device of an unknown kind {_said(kind)}")
    if index is None:
        return torch.device(kind)
    if not isinstance(index, int) or not 0 <= index < 128:
        raise DamagedError(f"it names a device of the number {_said(index)}; it is damaged")
    return torch.device(kind, index)


def _layout(handlers: Handlers, args: tuple[Any, ...]) -> torch.layout:
    name = args[0] if args else None
    if not isinstance(name, str) or name not in LAYOUTS:
        raise DamagedError(f"it names an unknown layout {_said(name)}")
    return LAYOUTS[name]


def _numpy_dtype(handlers: Handlers, args: tuple[Any, ...]) -> DType:
    return dtype_of(args[0] if args else None)


def _numpy_scalar(handlers: Handlers, args: tuple[Any, ...]) -> Any:
    _need(args, 2, "a number")
    value = array_of(args[1], args[0], (), handlers.budget, column_major=False)
    return value.item() if isinstance(value, Tensor) else value


def _numpy_frombuffer(handlers: Handlers, args: tuple[Any, ...]) -> Any:
    _need(args, 4, "an array")
    return array_of(
        args[0], args[1], args[2], handlers.budget, column_major=isinstance(args[3], str) and args[3] == "F"
    )


def _persistent_object(handlers: Handlers, args: tuple[Any, ...]) -> Node:
    """An object of NVIDIA's container: its class by name and source text, and its attributes. The text is left out."""
    meta = args[0] if args else None
    said: Mapping[Any, Any] | None = meta if isinstance(meta, dict) else None
    if isinstance(meta, Node):
        handlers.budget.memory(_PAIR * len(meta.pairs))
        said = (
            meta.state
            if isinstance(meta.state, dict)
            else {key: value for key, value in meta.pairs if isinstance(key, str)}
        )
    if said is None:
        raise DamagedError("it has an object of NVIDIA's container without a description; it is damaged")
    name = said.get("class_name")
    if not isinstance(name, str) or len(name) > 200:
        raise DamagedError(f"it has an object of NVIDIA's container of the class {_said(name)}; it is damaged")
    handlers.budget.memory(_PAIR * len(said) + len(name))
    node = Node(f"torch_utils.persistence:{name}")
    node.state = said.get("state")
    node.kwargs = {key: value for key, value in said.items() if key not in ("module_src", "state")}
    return node


_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_CALLS: dict[str, Callable[[Handlers, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": _first("a parameter"),
    "torch._utils._rebuild_parameter_with_state": _first("a parameter"),
    "torch._utils._rebuild_device_tensor_from_numpy": _converted,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _converted,
    _FROM_TYPE: _from_type,
    "torch.nn.parameter.Parameter": _first("a parameter"),
    "torch.storage._load_from_bytes": _storage,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
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
    "builtins.complex": _complex,
    "__builtin__.complex": _complex,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "numpy.dtype": _numpy_dtype,
}
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _CALLS[f"{_core}._reconstruct"] = lambda handlers, args: Array("numpy.ndarray")
    _CALLS[f"{_core}.scalar"] = _numpy_scalar
for _core in ("numpy.core.numeric", "numpy._core.numeric"):
    _CALLS[f"{_core}._frombuffer"] = _numpy_frombuffer
