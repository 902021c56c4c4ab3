"""Results on standard output and messages on standard error: one way of printing each.

Names and texts of files pass through here, so nothing in them is markup, drives the terminal, or breaks a line.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from disentangle.errors import OutputError, reason
from disentangle.text import escaped

__all__ = [
    "EscapedMessages",
    "console",
    "deliver",
    "forget_standard_output",
    "open_standard_streams",
    "print_json",
    "print_line",
    "print_table",
    "print_text",
    "standard_output",
]


def print_line(text: str = "") -> None:
    """One line of a result."""
    _print(escaped(text))


def print_text(text: str) -> None:
    """Several lines of a result; only newlines divide them."""
    _print("\n".join(escaped(line) for line in text.split("\n")))


def print_json(value: Any) -> None:
    """A result as JSON, all of it ASCII; NaN and infinities, which JSON lacks, as words."""
    _print(json.dumps(_finite(value), indent=2, allow_nan=False, default=str))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", whole: int = 0) -> None:
    """A result as a table; rows have a cell for each of the header, and the first ``whole`` columns are not wrapped."""
    from rich.table import Column, Table

    # What does not fit is continued below: an ellipsis would lose it, in files and pipes too.
    columns = [
        Column(escaped(name, most=_LONGEST), no_wrap=i < whole, overflow="fold") for i, name in enumerate(header)
    ]
    table = Table(*columns, title=escaped(title, most=_LONGEST) or None)
    for row in rows:
        table.add_row(*(escaped(cell, most=_LONGEST) for cell in row))
    with standard_output():
        console().print(table)


_LONGEST = 300  # characters of a cell


def console(*, stderr: bool = False) -> Any:
    """A terminal that takes brackets and colons in names for what they are."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@contextmanager
def standard_output() -> Iterator[None]:
    """Turns the errors of writing there into a sentence; a reader that has left, as ``head`` does, is none.

    Raises:
        OutputError: if it is closed or its disk is full.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"Standard output cannot be written ({reason(error)}).") from error


def deliver(*steps: Callable[[], object]) -> None:
    """Bring what was computed to every place it was asked for: one that fails does not keep it from the others.

    Raises:
        OutputError: of all that failed, when all were tried.
        BrokenPipeError: if that of standard output was all.
    """
    failed: list[OSError] = []
    for step in steps:
        try:
            step()
        except (OutputError, BrokenPipeError) as error:
            failed.append(error)
    if not failed:
        return
    told = [error for error in failed if isinstance(error, OutputError)]
    if len(told) <= 1:
        raise (told or failed)[0]
    raise OutputError(" ".join(map(str, told))) from told[0]


class EscapedMessages(logging.Formatter):
    """A log record on one line, with a traceback below it where it has one."""

    def format(self, record: logging.LogRecord) -> str:
        lines = [escaped(record.getMessage(), most=4000)]
        if record.exc_info:
            lines += map(escaped, self.formatException(record.exc_info).split("\n"))
        return "\n".join(lines)


def open_standard_streams() -> None:
    """Make streams that were closed into ones that fail when they are written to, and let all take any character.

    A closed stream's number would go to the next file that is opened, and what is printed into that.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            # What is written to standard output is a result: it must be seen to fail. Messages are only lost.
            device = os.open(os.devnull, os.O_RDWR if name == "stderr" else os.O_RDONLY)
            if device != number:
                os.dup2(device, number)
                os.close(device)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
        elif number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def forget_standard_output() -> None:
    """Let what is still in its buffer go nowhere: the interpreter would fail on it once more when it ends."""
    try:
        number = sys.stdout.fileno()
        device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(device, number)
        os.close(device)
    except (OSError, ValueError, AttributeError):  # no file of the operating system
        return


def _print(text: str) -> None:
    with standard_output():
        click.echo(text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
