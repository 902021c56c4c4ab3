"""An interpreter of pickles that makes data only.

A pickle is a program for a stack machine (documented in the standard library's ``pickletools``). This one has the same
instructions, protocols 0 to 5, but no way out of itself: names stay strings, and a call makes a record of the call,
unless its name is one of those in ``handlers.py``, which make tensors and plain containers.

The standard unpickler is not used: written in C, it looks names up, calls what it finds, and is not made for hostile
input.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

from disentangle.inert.budget import Budget
from disentangle.inert.dtypes import DTYPES
from disentangle.inert.instructions import INSTRUCTIONS, MEMORY
from disentangle.inert.keys import key_of
from disentangle.inert.nodes import DamagedError, Name, Node

__all__ = ["Machine"]

_SMALL = 4096  # bytes objects up to here are copied, larger ones stay views of the file
_PAIR = 112  # bytes that an entry of a dictionary takes at most, while it grows
_MEMBER = 144  # of a set


class Machine:
    """Reads one pickle from ``data`` at ``position``.

    Args:
        data: the bytes; large parts of the result are views of them.
        position: of the first instruction.
        call: ``call(path, args, kwargs)`` makes the value of a call.
        build: ``build(value, state)`` makes the value of a state given to one.
        persistent: makes the value of a persistent id.
        replaced: the class of values that ``build`` may replace by others, in the memo too.
        budget: what is left.
        copied: whether large bytes are copied, so that the result does not depend on ``data``.
    """

    def __init__(
        self, data: memoryview, *, position: int = 0, call: Callable[[str, tuple[Any, ...], dict[Any, Any]], Any],
        build: Callable[[Any, Any], Any], persistent: Callable[[Any], Any], replaced: type, budget: Budget,
        copied: bool = False,
    ) -> None:  # fmt: skip
        self.data, self.position, self.end = data, position, len(data)
        self.call, self.build, self.budget = call, build, budget
        self.persistent: Callable[[Any], Any] = persistent
        self.replaced, self.copied = replaced, copied
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}
        self.memo_keys: dict[int, list[int]] = {}  # of values that a state may replace

    def run(self) -> Any:
        """The value at the end of the pickle; ``position`` is then behind it."""
        data, end, count = self.data, self.end, self.budget.instruction
        while self.position < end:
            code = data[self.position]
            self.position += 1
            instruction = INSTRUCTIONS.get(code)
            if instruction is None:
                if code == 0x2E:  # STOP
                    return self.pop()
                raise DamagedError(f"it has an unknown instruction 0x{code:02x} at byte {self.position - 1}")
            count(MEMORY[code])
            instruction(self)
        raise self._cut_off()

    # ------------------------------------------------------------------------------------------------ reading

    def _cut_off(self) -> DamagedError:
        return DamagedError(f"it ends at byte {self.end:,} in the middle of an object; it was cut off")

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > self.end:
            raise self._cut_off()
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, code: struct.Struct) -> Any:
        start = self.position
        self.position += code.size
        if self.position > self.end:
            raise self._cut_off()
        return code.unpack_from(self.data, start)[0]

    def line(self) -> bytes:
        window = 256  # most hold a name or a number
        while True:
            taken = bytes(self.data[self.position : self.position + window])
            end = taken.find(b"\n")
            if end >= 0:
                self.position += end + 1
                self.budget.memory(end)
                return taken[:end].rstrip(b"\r")
            if len(taken) < window:
                raise DamagedError("a line of text in it does not end; it was cut off or is no pickle")
            window *= 16

    def raw(self, count: int) -> bytes | memoryview:
        taken = self.take(count)
        if count > _SMALL and not self.copied:
            return taken
        self.budget.memory(count)
        return bytes(taken)

    def charged(self, text: str) -> str:
        self.budget.memory(sys.getsizeof(text))
        return text

    # ------------------------------------------------------------------------------------------------ stack

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            what = "it has a mark" if self.marks else "its stack is empty"
            raise DamagedError(f"{what} where a value is needed; it is damaged")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def to_mark(self) -> list[Any]:
        if not self.marks:
            raise DamagedError("it lacks a mark; it is damaged")
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def remember(self, key: int) -> None:
        value = self.top()
        self.memo[key] = value
        if isinstance(value, self.replaced):
            self.memo_keys.setdefault(id(value), []).append(key)

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise DamagedError("it refers to an object that it does not hold; it is damaged")
        self.stack.append(self.memo[key])

    # ------------------------------------------------------------------------------------------------ objects

    def name_of_class(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 1000:
            raise DamagedError("it names a class by something else than a short text; it is damaged")
        path = self.charged(f"{module}.{name}")
        self.stack.append(DTYPES.get(path) or Name(path))

    def make(self, callee: Any, args: Any, kwargs: Any = None) -> Any:
        if not isinstance(args, tuple):
            raise DamagedError("it calls something with arguments that are no tuple; it is damaged")
        if isinstance(callee, Name):
            return self.call(callee.path, args, kwargs if isinstance(kwargs, dict) else {})
        return Node("call", (callee, args))

    def built(self) -> None:
        state, value = self.pop(), self.pop()
        result = self.build(value, state)
        if result is not value:
            for key in self.memo_keys.pop(id(value), ()):
                if self.memo.get(key) is value:
                    self.memo[key] = result
        self.stack.append(result)

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Node):
            if isinstance(target.items, tuple):
                target.items = []
            target.items.extend(values)
        else:
            raise DamagedError(f"it appends to a {type(target).__name__}; it is damaged")

    def set_pairs(self, values: list[Any]) -> None:
        target = self.top()
        if len(values) % 2:
            raise DamagedError("it sets a key without a value; it is damaged")
        self.budget.memory(_PAIR * (len(values) // 2))
        pairs = zip(values[::2], values[1::2], strict=True)
        if isinstance(target, dict):
            target.update((key_of(key, self.budget), value) for key, value in pairs)
        elif isinstance(target, Node):
            if isinstance(target.pairs, tuple):
                target.pairs = []
            target.pairs.extend(pairs)
        else:
            raise DamagedError(f"it sets keys of a {type(target).__name__}; it is damaged")

    def add(self, values: list[Any]) -> None:
        target = self.top()
        self.budget.memory(_MEMBER * len(values))
        if isinstance(target, set):
            target.update(key_of(value, self.budget) for value in values)
        else:
            self.extend(values)

    def frozen(self) -> frozenset[Any]:
        values = self.to_mark()
        self.budget.memory(_MEMBER * len(values))
        return frozenset(key_of(value, self.budget) for value in values)

    def dictionary(self) -> dict[Any, Any]:
        values = self.to_mark()
        self.stack.append({})
        self.set_pairs(values)
        made: dict[Any, Any] = self.stack.pop()
        return made
