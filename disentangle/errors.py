"""The toolkit's exceptions.

Every message is one sentence (or one sentence and a list) that says what was given, what was
expected and what to do. The command line prints the message without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["CheckpointError", "ConfigError", "DataError", "DisentangleError", "InputError", "unknown_name"]


class DisentangleError(Exception):
    """Base of every error the toolkit raises on purpose."""


class InputError(DisentangleError, ValueError):
    """An argument does not fit: its value, shape, dtype or range."""


class ConfigError(DisentangleError, ValueError):
    """A configuration does not validate, or does not fit the run it is used with."""


class DataError(DisentangleError, ValueError):
    """A data set is missing, empty, unreadable or of another shape than expected."""


class CheckpointError(DisentangleError, ValueError):
    """A model or state file is missing, damaged or of another kind than expected."""


def unknown_name(what: str, given: str, known: Iterable[str], *, hint: str = "") -> InputError:
    """An error for a name that is not in ``known``, with the nearest names suggested.

    >>> print(unknown_name("data set", "room", ["rooms", "sprites"]))
    Unknown data set 'room'; did you mean 'rooms'? Known: rooms, sprites.
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    suggestion = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else "."
    tail = f" {hint}" if hint else ""
    return InputError(f"Unknown {what} {given!r}{suggestion} Known: {', '.join(names) or 'none'}.{tail}")
