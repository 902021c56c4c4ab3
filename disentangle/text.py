"""Text that came from somewhere else, made safe to print: bounded, and without characters that a terminal obeys."""

from __future__ import annotations

import itertools
import reprlib
from typing import Any

__all__ = ["escaped", "lasting", "quoted", "rounded", "shown"]


def escaped(text: str, *, most: int | None = None) -> str:
    r"""``text`` on one line, with control characters, lone surrogates and direction marks written out as in Python.

    Args:
        text: from a file, a file's name, or another program's message.
        most: characters after which it is cut off with an ellipsis; None keeps all.

    >>> print(escaped("all is \x1b[2Jwell\n"))
    all is \x1b[2Jwell\n
    >>> escaped("a" * 100, most=8)
    'aaaaaaa…'
    """
    text = _cut(text, most)
    if text.isprintable():
        return text
    return _cut("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text), most)


def _cut(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else text[: max(most - 1, 0)] + "…"


def lasting(seconds: float) -> str:
    """A length of time in one or two units, as one says it.

    >>> lasting(0.4), lasting(95), lasting(5 * 3600 + 120), lasting(100 * 3600)
    ('0.4 s', '1 min 35 s', '5 h 2 min', '4 days 4 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = (("day", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (finer, part) in itertools.pairwise(units):
        if whole >= size:
            # Rounded to the finer unit first: never 60 of it, and no minutes beside days.
            counted, rest = divmod(round(whole / part), size // part)
            days = "s" if name == "day" and counted > 1 else ""
            return f"{counted:,} {name}{days}" + (f" {rest} {finer}" if rest else "")
    return f"{whole} s"


def rounded(value: float) -> str:
    """A positive number in three digits or more, without an exponent where it is no giant.

    >>> rounded(0.12345), rounded(12.345), rounded(1620.4)
    ('0.123', '12.3', '1,620')
    """
    return f"{value:,.0f}" if 99.95 <= value < 1e9 else f"{value:.3g}"


class _Bounded(reprlib.Repr):
    """Reads only as far into a value as is shown of it: a small file can hold a text or a list without end."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 120
        self.maxlevel = 3

    def repr1(self, x: Any, level: int) -> str:
        # reprlib goes by the type's name, so that of an OrderedDict or a bytearray it would ask for the whole text
        for kind, name in _BOUNDED.items():
            if isinstance(x, kind):
                text: str = getattr(self, f"repr_{name}")(x, level)
                return text
        return super().repr1(x, level)

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 400 else f"an integer of {x.bit_length():,} bits"

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[:60]) if len(x) <= 60 else f"{x[:60]!r}…"


_BOUNDED: dict[type, str] = {
    str: "str", bytes: "bytes", bytearray: "bytes", dict: "dict", list: "list", tuple: "tuple", set: "set",
    frozenset: "frozenset",
}  # fmt: skip


def shown(value: Any, *, most: int = 120) -> str:
    """What a value of a file looks like in a message: texts without quotes, containers by their first entries.

    >>> shown("conv1.weight"), shown([1, 2, 3, 4, 5, 6, 7, 8])
    ('conv1.weight', '[1, 2, 3, 4, 5, 6, ...]')
    """
    return escaped(value, most=most) if isinstance(value, str) else quoted(value, most=most)


def quoted(value: Any, *, most: int = 120) -> str:
    """As :func:`shown`, with quotes around texts.

    >>> quoted("dlib-2018"), quoted(20)
    ("'dlib-2018'", '20')
    """
    return escaped(_Bounded().repr(value), most=most)
