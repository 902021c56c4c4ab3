"""An interpreter of pickles that makes data only.

A pickle is a program for a stack machine (documented in the standard library's ``pickletools``). This one has the same
instructions, protocols 0 to 5, but no way out of itself: names stay strings, and a call makes a record of the call,
unless its name is one of those in ``handlers.py``, which make tensors and plain containers.

The standard unpickler is not used: written in C, it looks names up, calls what it finds, and is not made for hostile
input.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from disentangle.inert.nodes import DamagedError, Limits, Name, Node

__all__ = ["Budget", "Machine"]

_MARK = object()
_SMALL = 4096  # bytes objects up to here are copied, larger ones stay views of the file
_SCALARS = (str, int, float, bytes, type(None), Name, Node)


class Budget:
    """What is left for a file and all pickles nested in it: instructions, and bytes that are copied or unpacked.

    Args:
        limits: of the file.
        size: bytes of the file. A file may unpack to four times its size, so that one small part of it that is asked
            for a million times does not fill the memory.
    """

    def __init__(self, limits: Limits, *, size: int) -> None:
        self.limits, self.left, self.nested = limits, limits.objects, 0
        self.bytes_allowed = min(limits.bytes, 4 * size + 64 * 2**20)
        self.bytes_left = self.bytes_allowed

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise DamagedError(f"it holds more than {self.limits.objects:,} objects, the limit of a file")

    def spend_bytes(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise DamagedError(f"it unpacks to more than {self.bytes_allowed:,} bytes, the limit of a file of its size")


class Machine:
    """Reads one pickle from ``data`` at ``position``.

    Args:
        data: the bytes; large parts of the result are views of them.
        position: of the first instruction.
        call: ``call(path, args, kwargs)`` makes the value of a call.
        build: ``build(value, state)`` makes the value of a state given to one.
        persistent: makes the value of a persistent id.
        budget: instructions left.
    """

    def __init__(
        self, data: memoryview, *, position: int = 0, call: Callable[[str, tuple[Any, ...], dict[Any, Any]], Any],
        build: Callable[[Any, Any], Any], persistent: Callable[[Any], Any], budget: Budget,
    ) -> None:  # fmt: skip
        self.data, self.position = data, position
        self.call, self.build, self.persistent, self.budget = call, build, persistent, budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.memo_keys: dict[int, list[int]] = {}  # of nodes, which a state may replace

    def run(self) -> Any:
        """The value at the end of the pickle; ``position`` is then behind it."""
        while True:
            self.budget.spend()
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                return self._pop()
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise DamagedError(f"it has an unknown instruction 0x{code:02x} at byte {self.position - 1}")
            instruction(self)

    # ------------------------------------------------------------------------------------------------ reading

    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise DamagedError(f"it ends at byte {len(self.data):,} in the middle of an object; it was cut off")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _number(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _line(self) -> bytes:
        # Lines hold names and numbers; the longest real ones are a few hundred bytes.
        window = bytes(self.data[self.position : self.position + 65536])
        end = window.find(b"\n")
        if end < 0:
            raise DamagedError("a line of text in it does not end; it was cut off or is no pickle")
        self.position += end + 1
        return window[:end].rstrip(b"\r")

    def _bytes(self, count: int) -> bytes | memoryview:
        taken = self._take(count)
        return bytes(taken) if count <= _SMALL else taken

    # ------------------------------------------------------------------------------------------------ stack

    def _pop(self) -> Any:
        if not self.stack:
            raise DamagedError("its stack is empty where a value is needed; it is damaged")
        value = self.stack.pop()
        if value is _MARK:
            raise DamagedError("it has a mark where a value is needed; it is damaged")
        return value

    def _top(self) -> Any:
        value = self._pop()
        self.stack.append(value)
        return value

    def _to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise DamagedError("it lacks a mark; it is damaged")

    def _remember(self, key: int) -> None:
        value = self._top()
        self.memo[key] = value
        if isinstance(value, Node):
            self.memo_keys.setdefault(id(value), []).append(key)

    def _recall(self, key: int) -> None:
        if key not in self.memo:
            raise DamagedError(f"it refers to an object {key} that it does not hold; it is damaged")
        self.stack.append(self.memo[key])

    # ------------------------------------------------------------------------------------------------ objects

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 1000:
            raise DamagedError("it names a class by something else than a short text; it is damaged")
        self.stack.append(Name(f"{module}.{name}"))

    def _make(self, callee: Any, args: Any, kwargs: Any = None) -> Any:
        if not isinstance(args, tuple):
            raise DamagedError("it calls something with arguments that are no tuple; it is damaged")
        if isinstance(callee, Name):
            return self.call(callee.path, args, kwargs if isinstance(kwargs, dict) else {})
        return Node("call", (callee, *args))

    def _built(self) -> None:
        state, value = self._pop(), self._pop()
        result = self.build(value, state)
        if result is not value:
            for key in self.memo_keys.pop(id(value), ()):
                if self.memo.get(key) is value:
                    self.memo[key] = result
        self.stack.append(result)

    def _extend(self, values: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Node):
            target.items.extend(values)
        else:
            raise DamagedError(f"it appends to a {type(target).__name__}; it is damaged")

    def _set(self, values: list[Any]) -> None:
        target = self._top()
        if len(values) % 2:
            raise DamagedError("it sets a key without a value; it is damaged")
        pairs = list(zip(values[::2], values[1::2], strict=True))
        if isinstance(target, dict):
            target.update((key_of(key), value) for key, value in pairs)
        elif isinstance(target, Node):
            target.pairs.extend(pairs)
        else:
            raise DamagedError(f"it sets keys of a {type(target).__name__}; it is damaged")

    def _add(self, values: list[Any]) -> None:
        target = self._top()
        if isinstance(target, set):
            target.update(key_of(value) for value in values)
        elif isinstance(target, Node):
            target.items.extend(values)
        else:
            raise DamagedError(f"it adds to a {type(target).__name__}; it is damaged")


def key_of(value: Any) -> Any:
    """A value as a key. Tuples are admitted if flat: hashing deep ones recurses in C."""
    if isinstance(value, memoryview):
        return bytes(value[:_SMALL])
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, tuple) and all(isinstance(part, _SCALARS) for part in value):
        return value
    raise DamagedError(f"it has a {type(value).__name__} as a key; expected text or a number")


# ---------------------------------------------------------------------------------------------------- instructions


def _pushing(value: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def instruction(machine: Machine) -> None:
        machine.stack.append(value(machine))

    return instruction


def _integer(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    return _decimal(line)


def _decimal(line: bytes) -> int:
    text = line.decode("ascii", "replace").removesuffix("L")
    if len(text) > 300:
        raise DamagedError("it has an integer of more than 300 digits")
    try:
        return int(text)
    except ValueError:
        raise DamagedError("it has a number that is none; it is damaged") from None


def _real(line: bytes) -> float:
    try:
        return float(line)
    except ValueError:
        raise DamagedError("it has a number that is none; it is damaged") from None


def _long(machine: Machine, count: int) -> int:
    if not 0 <= count <= 128:
        raise DamagedError("it has an integer of more than 128 bytes")
    return int.from_bytes(machine._take(count), "little", signed=True)


def _text(machine: Machine, count: int) -> str:
    try:
        return str(machine._take(count), "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise DamagedError("a text in it is not UTF-8; it is damaged") from None


def _escaped(line: bytes) -> str:
    text = line.decode("latin1")
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise DamagedError("a text in it lacks its quotes; it is damaged")
    try:
        return text[1:-1].encode("latin1").decode("unicode_escape")
    except UnicodeDecodeError:
        raise DamagedError("a text in it has a broken escape; it is damaged") from None


def _raw_unicode(line: bytes) -> str:
    try:
        return line.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise DamagedError("a text in it has a broken escape; it is damaged") from None


def _refused(what: str) -> Callable[[Machine], None]:
    def instruction(machine: Machine) -> None:
        raise DamagedError(f"it uses {what}, which no checkpoint needs")

    return instruction


def _dictionary(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise DamagedError("it sets a key without a value; it is damaged")
    return {key_of(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _reduce(m: Machine) -> None:
    args, callee = m._pop(), m._pop()
    m.stack.append(m._make(callee, args))


def _new_with_keywords(m: Machine) -> None:
    kwargs, args, callee = m._pop(), m._pop(), m._pop()
    m.stack.append(m._make(callee, args, kwargs))


def _obj(m: Machine) -> None:
    values = m._to_mark()
    if not values:
        raise DamagedError("it makes an object of no class; it is damaged")
    m.stack.append(m._make(values[0], tuple(values[1:])))


def _inst(m: Machine) -> None:
    module, name = m._line().decode("latin1"), m._line().decode("latin1")
    values = tuple(m._to_mark())
    m._global(module, name)
    m.stack.append(m._make(m._pop(), values))


def _stack_global(m: Machine) -> None:
    name, module = m._pop(), m._pop()
    m._global(module, name)


def _set_one(m: Machine) -> None:
    value, key = m._pop(), m._pop()
    m._set([key, value])


def _append_one(m: Machine) -> None:
    value = m._pop()
    m._extend([value])


def _tuple(count: int) -> Callable[[Machine], None]:
    def instruction(m: Machine) -> None:
        values = [m._pop() for _ in range(count)]
        m.stack.append(tuple(reversed(values)))

    return instruction


def _pop_one(m: Machine) -> None:
    if not m.stack:
        raise DamagedError("its stack is empty where a value is needed; it is damaged")
    m.stack.pop()


_INSTRUCTIONS: dict[int, Callable[[Machine], Any]] = {
    ord("("): lambda m: m.stack.append(_MARK),
    ord("0"): _pop_one,
    ord("1"): lambda m: m._to_mark(),
    ord("2"): lambda m: m.stack.append(m._top()),
    ord("F"): _pushing(lambda m: _real(m._line())),
    ord("I"): _pushing(lambda m: _integer(m._line())),
    ord("J"): _pushing(lambda m: m._number("<i")),
    ord("K"): _pushing(lambda m: m._number("<B")),
    ord("M"): _pushing(lambda m: m._number("<H")),
    ord("L"): _pushing(lambda m: _decimal(m._line())),
    0x8A: _pushing(lambda m: _long(m, m._number("<B"))),
    0x8B: _pushing(lambda m: _long(m, m._number("<i"))),
    ord("N"): lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    ord("G"): _pushing(lambda m: m._number(">d")),
    ord("P"): _pushing(lambda m: m.persistent(m._line().decode("latin1"))),
    ord("Q"): _pushing(lambda m: m.persistent(m._pop())),
    ord("S"): _pushing(lambda m: _escaped(m._line())),
    ord("T"): _pushing(lambda m: str(m._take(m._number("<i")), "latin1")),
    ord("U"): _pushing(lambda m: str(m._take(m._number("<B")), "latin1")),
    ord("V"): _pushing(lambda m: _raw_unicode(m._line())),
    ord("X"): _pushing(lambda m: _text(m, m._number("<I"))),
    0x8C: _pushing(lambda m: _text(m, m._number("<B"))),
    0x8D: _pushing(lambda m: _text(m, m._number("<Q"))),
    ord("B"): _pushing(lambda m: m._bytes(m._number("<I"))),
    ord("C"): _pushing(lambda m: m._bytes(m._number("<B"))),
    0x8E: _pushing(lambda m: m._bytes(m._number("<Q"))),
    0x96: _pushing(lambda m: m._bytes(m._number("<Q"))),
    ord("]"): lambda m: m.stack.append([]),
    ord("l"): _pushing(lambda m: m._to_mark()),
    ord("a"): _append_one,
    ord("e"): lambda m: m._extend(m._to_mark()),
    ord("}"): lambda m: m.stack.append({}),
    ord("d"): _pushing(lambda m: _dictionary(m._to_mark())),
    ord("s"): _set_one,
    ord("u"): lambda m: m._set(m._to_mark()),
    ord(")"): lambda m: m.stack.append(()),
    ord("t"): _pushing(lambda m: tuple(m._to_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    0x8F: lambda m: m.stack.append(set()),
    0x90: lambda m: m._add(m._to_mark()),
    0x91: _pushing(lambda m: frozenset(key_of(value) for value in m._to_mark())),
    ord("c"): lambda m: m._global(m._line().decode("latin1"), m._line().decode("latin1")),
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _reduce,
    0x92: _new_with_keywords,
    ord("o"): _obj,
    ord("i"): _inst,
    ord("b"): lambda m: m._built(),
    ord("g"): lambda m: m._recall(_decimal(m._line())),
    ord("h"): lambda m: m._recall(m._number("<B")),
    ord("j"): lambda m: m._recall(m._number("<I")),
    ord("p"): lambda m: m._remember(_decimal(m._line())),
    ord("q"): lambda m: m._remember(m._number("<B")),
    ord("r"): lambda m: m._remember(m._number("<I")),
    0x94: lambda m: m._remember(len(m.memo)),
    0x80: lambda m: m._take(1),
    0x95: lambda m: m._take(8),
    0x82: _refused("the extension registry"),
    0x83: _refused("the extension registry"),
    0x84: _refused("the extension registry"),
    0x97: _refused("buffers outside the file"),
    0x98: _refused("buffers outside the file"),
}
