"""Reading JSON that a user, another program or a crash has written: one list of what can go wrong."""

from __future__ import annotations

import errno
import json
import os
import select
import stat
from typing import Any

from disentangle.errors import DisentangleError, InputError, reason
from disentangle.files import open_regular

__all__ = ["parse_json", "read_json"]

_PATIENCE = 5.0  # seconds without a byte from a pipe
# Bytes. A list of empty lists takes twenty-four times its text in memory; the largest that the toolkit writes, scores
# with their parts, are a few megabytes.
_LARGEST = 16 * 2**20


def parse_json(
    text: str | bytes, *, source: str, error: type[DisentangleError] = InputError, most: int = _LARGEST
) -> Any:
    """The value of a JSON text.

    Args:
        text: the text, or its UTF-8 bytes.
        source: what it is, at the beginning of the message.
        error: the class of what is raised.
        most: characters or bytes that it may have.

    Raises:
        DisentangleError: of the class ``error``, if it is no JSON, too long, nested too deep, or holds a number too
            long.
    """
    if len(text) > most:
        raise error(f"{source} has {len(text):,} characters; expected a JSON text of at most {most:,}.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:  # JSONDecodeError, UnicodeDecodeError, integers of 5,000 digits
        raise error(f"{source} is not valid JSON ({reason(problem)}).") from None


def read_json(path: str | os.PathLike[str], *, what: str, error: type[DisentangleError] = InputError) -> Any:
    """The value in a JSON file.

    Args:
        path: the file.
        what: it should be, as in "a configuration".
        error: the class of what is raised.

    Raises:
        DisentangleError: of the class ``error``, if it is missing, cannot be read, is too large or no JSON.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # what a shell's `<(command)` is
            content = _piped(path)
        else:
            with open_regular(path) as file:
                content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise error(f"{path} does not exist; expected {what}, a JSON file.") from None
    except (OSError, ValueError) as problem:  # the latter of a name with a zero byte
        raise error(f"{path} cannot be read ({reason(problem)}); expected {what}, a JSON file.") from None
    if len(content) > _LARGEST:
        raise error(f"{path} has more than {_LARGEST:,} bytes; expected {what}, a JSON file of a smaller size.")
    return parse_json(content, source=str(path), error=error)


def _piped(path: str | os.PathLike[str]) -> bytes:
    """What somebody writes into a pipe, whom one would wait for without end if there is nobody."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        content = b""
        while len(content) <= _LARGEST:
            if not select.select([handle], [], [], _PATIENCE)[0]:
                raise OSError(errno.ETIMEDOUT, f"nobody writes into this pipe for {_PATIENCE:g} s")
            piece = os.read(handle, 1 << 16)
            if not piece:
                break
            content += piece
        return content
    finally:
        os.close(handle)
