"""``stats.jsonl``: one JSON object a logged step, appended while a run goes on.

A line that a crash or a disk has damaged costs that line only. Nothing that cannot be read is ever rewritten.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from disentangle.errors import DataError, reason
from disentangle.files import open_regular, write_atomically, writing
from disentangle.json_files import parse_json

__all__ = ["STATS", "append_stats", "forget_after", "logged_lines", "read_stats"]

logger = logging.getLogger(__name__)

STATS = "stats.jsonl"
_LONGEST = 2**20  # bytes of a line; the toolkit's have a few thousand
PathLike = str | os.PathLike[str]


def append_stats(run: PathLike, record: Mapping[str, Any], *, sync: bool = False) -> None:
    """Append one line; NaN and infinity become null, which JSON has.

    Args:
        run: the folder.
        record: with the ``step``.
        sync: flush it to the disk.

    Raises:
        OutputError: if it cannot be written.
    """
    path = Path(run) / STATS
    line = json.dumps({key: _finite(value) for key, value in record.items()}, allow_nan=False).encode() + b"\n"
    with writing(path), open(path, "ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a crash has cut the last line short: nothing is glued to it
                line = b"\n" + line
        file.write(line)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def read_stats(run: PathLike) -> list[dict[str, Any]]:
    """Logged lines of a run folder; damaged ones are left out, and their number is logged as a warning.

    Raises:
        DataError: if the file cannot be read.
    """
    records, damaged = logged_lines(run)
    if damaged:
        one = len(damaged) == 1
        logger.warning(
            "%s: %s damaged and left out.",
            Path(run) / STATS,
            f"line {damaged[0]} is" if one else f"{len(damaged)} lines, the first of them {damaged[0]}, are",
        )
    return records


def logged_lines(run: PathLike) -> tuple[list[dict[str, Any]], list[int]]:
    """Logged lines of a run folder, and the numbers of the damaged ones among all, from 1.

    Raises:
        DataError: if the file cannot be read.
    """
    records, damaged = [], []
    for number, line in enumerate(_lines(Path(run) / STATS), start=1):
        record = _record(line)
        if record is None:
            damaged.append(number)
        else:
            records.append(record)
    return records, damaged


def forget_after(run: PathLike, step: int) -> None:
    """Drop the lines beyond ``step``, which a run that continues from there logs again.

    All others, those that cannot be read included, stay as they are, byte for byte.

    Raises:
        OutputError: if the file cannot be written.
    """
    path = Path(run) / STATS

    def beyond(line: bytes) -> bool:
        record = _record(line)
        return record is not None and record["step"] > step

    if not any(beyond(line) for line in _lines(path)):
        return

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.writelines(line for line in _lines(path, whole=True) if not beyond(line))

    write_atomically(path, write)


def _lines(path: Path, *, whole: bool = False) -> Iterator[bytes]:
    """The lines of the file with their ends, those that are too long cut off unless ``whole`` is set."""
    try:
        with open_regular(path) as file:
            fresh = True
            while piece := file.readline(_LONGEST):
                if fresh or whole:
                    yield piece
                fresh = piece.endswith(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path} cannot be read ({reason(error)}); expected lines of JSON.") from None


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None if it is no record of a step."""
    try:
        record = parse_json(line, source="a line", error=DataError)
    except DataError:
        return None
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return None
    losses, projections = record.get("losses", {}), record.get("projections", {})
    if not isinstance(losses, dict) or not all(_number(value) for value in losses.values()):
        return None
    if not isinstance(projections, dict) or not all(isinstance(row, dict) for row in projections.values()):
        return None
    return record


def _number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
