"""Texts from files are bounded, and nothing in them drives a terminal."""

from __future__ import annotations

import collections
import tracemalloc

import pytest

from disentangle.errors import DisentangleError, InputError, OutputError, reason, unknown_name
from disentangle.text import escaped, quoted, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Fréchet, 距離, 🙂", "Fréchet, 距離, 🙂"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b2J", r"\x9b2J"),  # the one-byte form of ESC [
        ("two\nlines\r", r"two\nlines\r"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("\udcff.png", r"\udcff.png"),  # a byte of a file name that is no UTF-8
        ("\u2028", r"\u2028"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_escaped(text, expected):
    assert escaped(text) == expected
    assert escaped(expected) == expected


@pytest.mark.parametrize("most", [0, 1, 2, 7])
def test_escaped_keeps_its_bound(most):
    for text in ("abcdefghij", "\x1b" * 10, "\U000e0001"):
        assert len(escaped(text, most=most)) <= max(most, 1)
        assert escaped(text, most=most).isprintable()
    assert escaped("ab", most=2) == "ab"


def doubled(times: int, kind=tuple):
    """A value of which a file holds ``times`` small pieces, and whose text has 2 ** times."""
    value = kind(["lol"])
    for _ in range(times):
        value = kind([value, value])
    return value


class Named(tuple):
    pass


@pytest.mark.parametrize(
    "value",
    [
        doubled(60),
        doubled(60, list),
        doubled(60, Named),
        doubled(40, lambda pair: collections.OrderedDict(enumerate(pair))),
        doubled(40, lambda pair: collections.defaultdict(list, enumerate(pair))),
        bytearray(10**7),
        b"\x1b" * 10**7,
        10**100_000,
        ["a" * 10**7] * 3,
        {"a" * 10**7: 1},
        "\x1b" * 10**7,
    ],
    ids=lambda value: type(value).__name__,
)
def test_shown_reads_no_further_than_it_prints(value):
    tracemalloc.start()
    try:
        text = shown(value)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert 0 < len(text) <= 120
    assert text.isprintable()


def test_shown_of_ordinary_values():
    assert shown("a.b") == "a.b"
    assert shown(None) == "None"
    assert shown((1, 2.5, "x")) == "(1, 2.5, 'x')"
    assert shown({"a": [1]}) == "{'a': [1]}"
    assert shown(b"\x00ab") == r"b'\x00ab'"
    assert shown(10**200) == "an integer of 665 bits"


def test_quoted():
    assert quoted("a") == "'a'"
    assert quoted(3) == "3"
    assert len(quoted("x" * 10**6)) <= 120
    assert quoted("\x1b") == r"'\x1b'"


def test_shown_survives_a_value_that_cannot_be_printed():
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Broken" in shown(Broken())


# ------------------------------------------------------------------------------------------------------- errors


def test_every_error_is_one_bounded_line():
    for kind in (DisentangleError, InputError, OutputError):
        text = str(kind("\x1b[2Jforged\n" + "x" * 10**6))
        assert text.startswith(r"\x1b[2Jforged\n")
        assert len(text) <= 4000
        assert text.isprintable()


def test_an_output_error_is_an_error_of_the_operating_system():
    error = OutputError("walk.png cannot be written.")
    assert isinstance(error, OSError)
    assert str(error) == "walk.png cannot be written."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(28, "No space left on device", "x.png"), "No space left on device"),
        (KeyError("kind"), "'kind'"),
        (MemoryError(), "MemoryError"),
        (ValueError("  first\nsecond"), "first"),
        (ValueError("\n"), "ValueError"),
        (ValueError("a\x1bb."), r"a\x1bb"),
    ],
)
def test_reason(error, expected):
    assert reason(error) == expected


def test_reason_is_bounded():
    assert len(reason(ValueError("x" * 10**6))) <= 160


def test_a_long_name_is_neither_searched_nor_printed_whole():
    assert len(str(unknown_name("metric", "m" * 10**7, ["mig", "sap"]))) < 300
    assert r"\x1b" in str(unknown_name("metric", "\x1bmig", ["mig"]))
