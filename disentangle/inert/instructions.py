"""The instructions of pickles, protocols 0 to 5, and what memory each takes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from disentangle.inert.nodes import DamagedError

if TYPE_CHECKING:
    from disentangle.inert.machine import Machine

__all__ = ["INSTRUCTIONS", "MEMORY"]

_S32, _U8, _U16, _U32, _U64, _F64 = map(struct.Struct, ("<i", "<B", "<H", "<I", "<Q", ">d"))


def _pushing(value: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def instruction(machine: Machine) -> None:
        machine.stack.append(value(machine))

    return instruction


def _integer(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    return _decimal(line)


def _decimal(line: bytes) -> int:
    if len(line) > 300:
        raise DamagedError("it has an integer of more than 300 digits")
    try:
        return int(line.decode("ascii", "replace").removesuffix("L"))
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
    return int.from_bytes(machine.take(count), "little", signed=True)


def _latin1(machine: Machine, count: int) -> str:
    return machine.charged(str(machine.take(count), "latin1"))


def _utf8(machine: Machine, count: int) -> str:
    try:
        return machine.charged(str(machine.take(count), "utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        raise DamagedError("a text in it is not UTF-8; it is damaged") from None


def _quoted(machine: Machine) -> str:
    text = machine.line().decode("latin1")
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise DamagedError("a text in it lacks its quotes; it is damaged")
    try:
        return machine.charged(text[1:-1].encode("latin1").decode("unicode_escape"))
    except UnicodeDecodeError:
        raise DamagedError("a text in it has a broken escape; it is damaged") from None


def _raw_unicode(machine: Machine) -> str:
    try:
        return machine.charged(machine.line().decode("raw-unicode-escape"))
    except UnicodeDecodeError:
        raise DamagedError("a text in it has a broken escape; it is damaged") from None


def _refused(what: str) -> Callable[[Machine], None]:
    def instruction(machine: Machine) -> None:
        raise DamagedError(f"it uses {what}, which no checkpoint needs")

    return instruction


def _reduce(m: Machine) -> None:
    args, callee = m.pop(), m.pop()
    m.stack.append(m.make(callee, args))


def _new_with_keywords(m: Machine) -> None:
    kwargs, args, callee = m.pop(), m.pop(), m.pop()
    m.stack.append(m.make(callee, args, kwargs))


def _obj(m: Machine) -> None:
    values = m.to_mark()
    if not values:
        raise DamagedError("it makes an object of no class; it is damaged")
    m.stack.append(m.make(values[0], tuple(values[1:])))


def _inst(m: Machine) -> None:
    module, name = m.line().decode("latin1"), m.line().decode("latin1")
    values = tuple(m.to_mark())
    m.name_of_class(module, name)
    m.stack.append(m.make(m.pop(), values))


def _stack_global(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    m.name_of_class(module, name)


def _set_one(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.set_pairs([key, value])


def _append_one(m: Machine) -> None:
    value = m.pop()
    m.extend([value])


def _tuple(count: int) -> Callable[[Machine], None]:
    def instruction(m: Machine) -> None:
        values = [m.pop() for _ in range(count)]
        m.stack.append(tuple(reversed(values)))

    return instruction


def _pop_one(m: Machine) -> None:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.pop()


INSTRUCTIONS: dict[int, Callable[[Machine], Any]] = {
    ord("("): lambda m: m.marks.append(len(m.stack)),
    ord("0"): _pop_one,
    ord("1"): lambda m: m.to_mark(),
    ord("2"): lambda m: m.stack.append(m.top()),
    ord("F"): _pushing(lambda m: _real(m.line())),
    ord("I"): _pushing(lambda m: _integer(m.line())),
    ord("J"): _pushing(lambda m: m.number(_S32)),
    ord("K"): _pushing(lambda m: m.number(_U8)),
    ord("M"): _pushing(lambda m: m.number(_U16)),
    ord("L"): _pushing(lambda m: _decimal(m.line())),
    0x8A: _pushing(lambda m: _long(m, m.number(_U8))),
    0x8B: _pushing(lambda m: _long(m, m.number(_S32))),
    ord("N"): lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    ord("G"): _pushing(lambda m: m.number(_F64)),
    ord("P"): _pushing(lambda m: m.persistent(m.line().decode("latin1"))),
    ord("Q"): _pushing(lambda m: m.persistent(m.pop())),
    ord("S"): _pushing(_quoted),
    ord("T"): _pushing(lambda m: _latin1(m, m.number(_S32))),
    ord("U"): _pushing(lambda m: _latin1(m, m.number(_U8))),
    ord("V"): _pushing(_raw_unicode),
    ord("X"): _pushing(lambda m: _utf8(m, m.number(_U32))),
    0x8C: _pushing(lambda m: _utf8(m, m.number(_U8))),
    0x8D: _pushing(lambda m: _utf8(m, m.number(_U64))),
    ord("B"): _pushing(lambda m: m.raw(m.number(_U32))),
    ord("C"): _pushing(lambda m: m.raw(m.number(_U8))),
    0x8E: _pushing(lambda m: m.raw(m.number(_U64))),
    0x96: _pushing(lambda m: m.raw(m.number(_U64))),
    ord("]"): lambda m: m.stack.append([]),
    ord("l"): _pushing(lambda m: m.to_mark()),
    ord("a"): _append_one,
    ord("e"): lambda m: m.extend(m.to_mark()),
    ord("}"): lambda m: m.stack.append({}),
    ord("d"): _pushing(lambda m: m.dictionary()),
    ord("s"): _set_one,
    ord("u"): lambda m: m.set_pairs(m.to_mark()),
    ord(")"): lambda m: m.stack.append(()),
    ord("t"): _pushing(lambda m: tuple(m.to_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    0x8F: lambda m: m.stack.append(set()),
    0x90: lambda m: m.add(m.to_mark()),
    0x91: _pushing(lambda m: m.frozen()),
    ord("c"): lambda m: m.name_of_class(m.line().decode("latin1"), m.line().decode("latin1")),
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _reduce,
    0x92: _new_with_keywords,
    ord("o"): _obj,
    ord("i"): _inst,
    ord("b"): lambda m: m.built(),
    ord("g"): lambda m: m.recall(_decimal(m.line())),
    ord("h"): lambda m: m.recall(m.number(_U8)),
    ord("j"): lambda m: m.recall(m.number(_U32)),
    ord("p"): lambda m: m.remember(_decimal(m.line())),
    ord("q"): lambda m: m.remember(m.number(_U8)),
    ord("r"): lambda m: m.remember(m.number(_U32)),
    0x94: lambda m: m.remember(len(m.memo)),
    0x80: lambda m: m.take(1),
    0x95: lambda m: m.take(8),
    0x82: _refused("the extension registry"),
    0x83: _refused("the extension registry"),
    0x84: _refused("the extension registry"),
    0x97: _refused("buffers outside the file"),
    0x98: _refused("buffers outside the file"),
}

# Bytes that an instruction takes at most beside what it says to the budget itself: a place on the growing stack and in
# the container it ends in, the object, and what a walk that meets each container once notes about it.
_PLACE, _CONTAINER = 32, 120
MEMORY = dict.fromkeys(INSTRUCTIONS, _PLACE)
MEMORY |= dict.fromkeys(b"FIJLMG\x8a\x8b", _PLACE + 64)
MEMORY |= dict.fromkeys(b"BC\x8e\x96", _PLACE + 200)
MEMORY |= dict.fromkeys(b"]ldt\x85\x86\x87}c\x93", _PLACE + _CONTAINER + 64)
MEMORY |= dict.fromkeys(b"\x8f\x91", _PLACE + _CONTAINER + 224)
MEMORY |= dict.fromkeys(b"R\x81\x92oi", _PLACE + _CONTAINER + 80)
MEMORY |= dict.fromkeys(b"pqr\x94", 144)
MEMORY |= dict.fromkeys(b"(0", 40)
