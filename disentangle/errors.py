"""The toolkit's exceptions.

Every message is one sentence (or one sentence and a list) that says what was given, what was
expected and what to do. The command line prints the message without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from disentangle.text import escaped

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DisentangleError",
    "FieldError",
    "InputError",
    "OutputError",
    "reason",
    "unknown_name",
]

_LONGEST_NAME = 100  # characters of a name that is looked for and printed
_LONGEST = 4000  # characters of a message; what a file says of itself is not printed without end


class DisentangleError(Exception):
    """Base of every error the toolkit raises on purpose.

    Its text is one line of bounded length: names and texts of files in it cannot drive a terminal.

    Attributes:
        exit_status: what a command that ends with it returns: 1 for a run that failed, 2 for wrong usage.
    """

    exit_status = 1

    def __str__(self) -> str:
        return escaped(super().__str__(), most=_LONGEST)


class InputError(DisentangleError, ValueError):
    """An argument does not fit: its value, shape, dtype or range."""


class ArgumentError(InputError):
    """An argument that is wrong whatever the data: a name that does not exist, a number out of bounds, an option that
    nothing reads, arguments that exclude each other."""

    exit_status = 2


class ConfigError(DisentangleError, ValueError):
    """A configuration does not validate, or does not fit the run it is used with."""


class FieldError(ConfigError):
    """A field was given that a configuration has not, or a value that it does not take.

    Attributes:
        problems: dotted path of each field, and what is wrong with it.
    """

    exit_status = 2

    def __init__(self, message: str, problems: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class DataError(DisentangleError, ValueError):
    """A data set is missing, empty, unreadable or of another shape than expected."""


class CheckpointError(DisentangleError, ValueError):
    """A model or state file is missing, damaged or of another kind than expected."""


class OutputError(DisentangleError, OSError):
    """A file or folder cannot be written: no space, no permission, a folder in its place. What was there is kept.

    ``errno`` and ``strerror`` are the system's where it had any.
    """

    def __str__(self) -> str:
        return escaped(str(self.args[0]) if self.args else "", most=_LONGEST)  # not OSError's form of the two


def reason(error: BaseException) -> str:
    """Why something failed, from an exception of the operating system or a library: a bounded half sentence.

    >>> reason(FileNotFoundError(2, "No such file or directory"))
    'No such file or directory'
    >>> reason(EOFError())
    'EOFError'
    """
    text = getattr(error, "strerror", None) or next(iter(str(error).strip().splitlines()), "")
    return escaped(str(text), most=160).rstrip(".") or type(error).__name__


def unknown_name(what: str, given: str, known: Iterable[str], *, hint: str = "") -> ArgumentError:
    """An error for a name that is not in ``known``, with the nearest names suggested.

    >>> print(unknown_name("data set", "room", ["rooms", "sprites"]))
    Unknown data set 'room'; did you mean 'rooms'? Known: rooms, sprites.
    """
    names, given = sorted(known), given[:_LONGEST_NAME]
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    suggestion = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else "."
    tail = f" {hint}" if hint else ""
    return ArgumentError(f"Unknown {what} {given!r}{suggestion} Known: {', '.join(names) or 'none'}.{tail}")
