"""Lines of ``stats.jsonl`` from anybody's run folder: those that have the form of a training's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["well_formed"]

_FURTHEST = 2**53  # steps that a figure's axis can tell apart
_LARGEST = 1e100  # of a number that is drawn


def well_formed(lines: Iterable[Any]) -> tuple[list[Mapping[str, Any]], int]:
    """Lines that figures and tables can be made of, and the number of those left out.

    A line is an object with a ``step``, and perhaps ``losses``, ``validation`` and ``learning_rate``, numbers for each
    of the ``projections``, and condition numbers, rank and spectrum of the ``spectral`` layers. A null is a number that
    was not finite.
    """
    every = list(lines)
    kept = [line for line in every if _is_line(line)]
    return kept, len(every) - len(kept)


def _is_line(line: Any) -> bool:
    if not isinstance(line, Mapping) or not _is_count(line.get("step")):
        return False
    return all(name not in line or has(line[name]) for name, has in _PARTS.items())


def _is_number(value: Any) -> bool:
    if value is None:
        return True
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and (abs(value) <= _LARGEST or (isinstance(value, float) and not math.isfinite(value)))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _FURTHEST


def _each(has: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(has, value.values()))


def _is_layer(row: Any) -> bool:
    numbers = ("effective_condition_number", "condition_number", "ridged_condition_number")
    return (
        isinstance(row, Mapping)
        and all(name in row and _is_number(row[name]) for name in numbers)
        and all(_is_count(row.get(name)) for name in ("rank", "size"))
        and isinstance(row.get("spectrum"), list)
        and all(map(_is_number, row["spectrum"]))
    )


def _numbers_among(value: Any) -> bool:
    """Statistics of a projection: numbers, and perhaps others that no figure shows."""
    drawn = ("orthogonality_error", "condition_number", "row_error", "row_length", "olr_acceptance")
    return isinstance(value, Mapping) and all(_is_number(value.get(name)) for name in drawn)


_PARTS: dict[str, Callable[[Any], bool]] = {
    "losses": _each(_is_number),
    "validation": _each(_is_number),
    "learning_rate": _is_number,
    "projections": _each(_numbers_among),
    "spectral": _each(_is_layer),
}
