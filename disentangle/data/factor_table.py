"""Tables of text, .csv and .tsv: their cells, their columns of factors, and which picture has which values."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.errors import DataError, InputError, reason
from disentangle.text import shown

__all__ = [
    "LARGEST_TABLE",
    "MISSING",
    "Cell",
    "FactorColumn",
    "FactorTable",
    "factor_values",
    "number_of",
    "present",
    "read_column",
    "read_kinds",
    "read_rows",
    "read_table",
    "text_column",
]

LARGEST_TABLE = 32 << 20  # bytes
MISSING = frozenset({"", "nan", "na", "n/a", "<na>", "null"})
"""What a cell holds where there is no value, in small letters, if missing values are taken."""

_MOST_COLUMNS = 1_000

Cell = tuple[int, str]
"""A line and what is in it."""


@dataclass(frozen=True)
class FactorColumn:
    """One factor of each picture.

    Attributes:
        name: as its makers call it.
        values: (n,) float64; of texts, the position in ``categories``; NaN where the value is missing.
        categories: the texts in the order of the alphabet; empty for numbers.
    """

    name: str
    values: NDArray[np.float64]
    categories: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``"discrete"`` or ``"continuous"``.

        Texts are discrete. So are whole numbers where a value is had by two pictures or more in the mean, and other
        numbers where by four or more; at most 256 values, and 64 of other numbers.
        """
        known = self.values[~np.isnan(self.values)]
        distinct, count = len(np.unique(known)), len(known)
        whole = bool(np.all(known == np.rint(known)))
        few = distinct <= min(256, count // 2) if whole else distinct <= min(64, count // 4)
        return "discrete" if self.categories or few or distinct < 2 else "continuous"

    @property
    def missing(self) -> int:
        """How many values are missing."""
        return int(np.isnan(self.values).sum())

    def take(self, rows: NDArray[np.int64]) -> FactorColumn:
        """The column of some pictures; categories that none of them has stay."""
        return FactorColumn(self.name, self.values[rows], self.categories)

    def __str__(self) -> str:
        distinct = len(np.unique(self.values[~np.isnan(self.values)]))
        named = f" ({', '.join(shown(text, most=20) for text in self.categories[:4])}" if self.categories else ""
        named += (", ...)" if len(self.categories) > 4 else ")") if named else ""
        gaps = f", {self.missing:,} missing" if self.missing else ""
        return f"{shown(self.name, most=60)}: {distinct} values{named}, {self.kind}{gaps}"


@dataclass(frozen=True)
class FactorTable:
    """The rows of a table, each about one picture.

    Attributes:
        positions: (n,) of the pictures, one a row.
        columns: the factors.
    """

    positions: NDArray[np.int64]
    columns: tuple[FactorColumn, ...]


def read_table(content: bytes, paths: Sequence[str], *, source: str, place: str, tabs: bool = False) -> FactorTable:
    """The factors of pictures, from a table with a header, in which one column names the files.

    Args:
        content: of the file, UTF-8; cells are divided by commas, tabs or semicolons, as its header is.
        paths: of the pictures, relative, with forward slashes.
        source: the table's name, for messages.
        place: where the pictures are, for messages.
        tabs: whether it is known to be divided by tabs.

    Returns:
        ``positions`` in ``paths`` of the rows, and the other columns.

    Raises:
        DataError: if it is no such table; a cell is empty, or a text among numbers or a number among texts; a row names
            no picture, or one that another row names.
    """
    header, rows = read_rows(content, source, tabs=tabs)
    column, positions = _files(header, rows, paths, source, place)
    missing = [i for i, position in enumerate(positions) if position is None]
    if missing:
        line, cells = rows[missing[0]]
        raise DataError(
            f"{source} has {len(missing):,} of {len(rows):,} rows about pictures that are not in {place}, line {line} "
            f"({shown(cells[column], most=80)}) for one; add the pictures or remove the rows."
        )
    taken = Counter(position for position in positions if position is not None)
    twice = next((i for i, position in enumerate(positions) if taken[position or 0] > 1), None)
    if twice is not None:
        line, cells = rows[twice]
        raise DataError(
            f"{source} has several rows about {shown(cells[column], most=80)}, line {line} for one; expected one row a "
            "picture."
        )
    factors = tuple(
        read_column(name, [(line, cells[i]) for line, cells in rows], source)
        for i, name in enumerate(header)
        if i != column
    )
    return FactorTable(np.array(positions, dtype=np.int64), factors)


Rows = list[tuple[int, list[str]]]


def factor_values(
    columns: Sequence[FactorColumn], factor_kinds: str | Sequence[str] | None = None
) -> tuple[NDArray[Any], list[str]]:
    """Factors as the metrics take them.

    Args:
        columns: k factors of n points.
        factor_kinds: other kinds than the columns' own: one for all, or one for each.

    Returns:
        (n, k) values, of discrete factors the position among their values, int64 where all are and none is missing,
        else float64 with NaN where a value is missing; and the kinds.

    Raises:
        InputError: if kinds do not fit.
    """
    k = len(columns)
    kinds = [factor_kinds] * k if isinstance(factor_kinds, str) else list(factor_kinds or [c.kind for c in columns])
    if len(kinds) != k:
        raise InputError(f"factor_kinds has {len(kinds)} entries, but there are {k} factors; expected one for each.")
    values = []
    for column, kind in zip(columns, kinds, strict=True):
        if column.categories and kind != "discrete":
            raise InputError(f"The factor {column.name!r} holds texts, which are discrete, not {shown(kind)}.")
        found: NDArray[Any] = column.values
        if kind == "discrete":
            known = ~np.isnan(found)
            labels = np.unique(found[known], return_inverse=True)[1]
            if not column.missing:
                found = labels
            else:
                found = np.full(len(known), np.nan)
                found[known] = labels
        values.append(found)
    return np.stack(values, axis=1), kinds


def read_kinds(given: str, names: Sequence[str], told: Sequence[str]) -> list[str]:
    """Kinds of factors from a text.

    Args:
        given: one kind for all; one for each, divided by commas; or ``NAME=KIND`` of some, divided by commas.
        names: of the factors.
        told: the kinds of those that are not named.

    Raises:
        InputError: names that no factor has, or another number of kinds.
    """
    parts, kinds = [part.strip() for part in given.split(",")], list(told)
    if not any("=" in part for part in parts):
        if len(parts) not in (1, len(names)):
            raise InputError(
                f"factor_kinds has {len(parts)} entries but factors have {len(names)} columns; expected one a column, "
                "one for all, or NAME=KIND of some."
            )
        return parts * len(names) if len(parts) == 1 else parts
    for part in parts:
        name, equals, kind = part.rpartition("=")
        if not equals or name not in names:
            known = ", ".join(shown(each, most=40) for each in names[:20])
            raise InputError(
                f"factor_kinds names {shown(name or part, most=60)!r}, which is no factor (the factors: {known}); "
                "expected NAME=KIND."
            )
        kinds[list(names).index(name)] = kind
    return kinds


def read_rows(
    content: bytes, source: str, *, tabs: bool = False, most: int = LARGEST_TABLE, what: str = "a table of factors",
    least: int = 2,
) -> tuple[list[str], Rows]:  # fmt: skip
    """The header, and the cells of each row with its line.

    Args:
        content: of the file, UTF-8; cells are divided by commas, tabs or semicolons, as its header is.
        source: the table's name, for messages.
        tabs: whether it is known to be divided by tabs.
        most: bytes that it may have less than.
        what: it should be, for messages.
        least: columns that it has at least; with one, the first may be without a name, as pandas writes its index.

    Raises:
        DataError: if it is no such table.
    """
    if len(content) >= most:
        raise DataError(f"{source} has {most:,} bytes or more; expected {what} of fewer.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is no text in UTF-8 ({reason(error)}); save it as that.") from None
    first = text.lstrip("\r\n").split("\n", 1)[0]
    marks = {mark: first.count(mark) for mark in "\t,;"}
    mark = "\t" if tabs else max(marks, key=lambda each: marks[each])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        found = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{source} is no readable table: line {reader.line_num}: {reason(error)}.") from None
    if len(found) < 2:
        each = "picture" if least > 1 else "point"
        raise DataError(f"{source} has no rows; expected a header, and a row for each {each}.")
    header = found[0][1]
    named = header if least > 1 else header[1:]
    if not least <= len(header) <= _MOST_COLUMNS or "" in named or len(set(header)) < len(header):
        raise DataError(
            f"{source} has the header {shown(header)}; expected names that all differ"
            + (", of the file and of a factor or more, divided by commas." if least > 1 else ", divided by commas.")
        )
    for line, cells in found[1:]:
        if len(cells) != len(header):
            raise DataError(f"{source}: line {line} has {len(cells)} cells; expected {len(header)}, as in its header.")
    return header, found[1:]


def _files(
    header: list[str], rows: Rows, paths: Sequence[str], source: str, place: str
) -> tuple[int, list[int | None]]:
    """The column that names pictures, by its content, and the positions of those that it names.

    A file is named by its path from where the pictures are, or by its last part, where all of these differ.
    """
    whole = {path: i for i, path in enumerate(paths)}
    last = {PurePosixPath(path).name: i for i, path in enumerate(paths)}
    best: tuple[int, int, list[int | None]] = (0, -1, [])
    for known, short in ((whole, False), (last if len(last) == len(paths) else {}, True)):
        for column in range(len(header)):
            names = [cells[column].replace("\\", "/").removeprefix("./") for _, cells in rows]
            found = [known.get(name.rpartition("/")[2] if short else name) for name in names]
            count = sum(position is not None for position in found)
            if count > best[0]:
                best = count, column, found
        if best[0]:
            return best[1], best[2]
    cells = ", ".join(shown(cell, most=40) for cell in rows[0][1][:5])
    raise DataError(
        f"{source} names no picture in {place}: its first row is {cells}, and the first picture is "
        f"{shown(paths[0], most=80)}; expected a column of file names."
    )


def read_column(name: str, cells: Sequence[Cell], source: str, *, missing: bool = False) -> FactorColumn:
    """A column of factors from its cells: numbers, or texts, which are numbered in the order of the alphabet.

    Args:
        name: of the column.
        cells: with their lines.
        source: the table's name, for messages.
        missing: whether cells may be empty, or one of the words of :data:`MISSING`.

    Raises:
        DataError: a cell is empty though it may not be, a text among numbers or a number among texts, or not finite.
    """
    gaps = [missing and cell.lower() in MISSING for _, cell in cells]
    held = [each for each, gap in zip(cells, gaps, strict=True) if not gap]
    numbers = [number_of(cell) for _, cell in held]
    for line, cell in held:
        if not cell:
            raise DataError(f"{source}: line {line} has nothing in the column {shown(name)!r}; expected a value.")
    odd = [number is None for number in numbers]
    if any(odd) and not all(odd):
        texts = sum(odd) * 2 > len(odd)  # what most of them are, the column is
        line, cell = held[odd.index(not texts)]
        what = "a number among texts" if texts else "a text among numbers"
        raise DataError(
            f"{source}: line {line} has {shown(cell, most=60)!r} in the column {shown(name)!r}, {what}; expected one "
            "kind in a column."
        )
    if odd and all(odd):
        return text_column(name, [None if gap else cell for (_, cell), gap in zip(cells, gaps, strict=True)])
    for (line, cell), number in zip(held, numbers, strict=True):
        if number is None or not math.isfinite(number):
            raise DataError(f"{source}: line {line} has {cell} in the column {shown(name)!r}; expected finite numbers.")
    values = np.full(len(cells), np.nan)
    values[~np.array(gaps, dtype=bool)] = numbers
    return FactorColumn(name, values)


def text_column(name: str, texts: Sequence[str | None]) -> FactorColumn:
    """Texts as a factor: numbered in the order of the alphabet, NaN where there is none."""
    categories = sorted({text for text in texts if text is not None})
    places = {text: i for i, text in enumerate(categories)}
    values = np.array([np.nan if text is None else places[text] for text in texts], dtype=np.float64)
    return FactorColumn(name, values, tuple(categories))


def present(text: str | None) -> str | None:
    """A text of a typed file, None where it is empty, or what a missing number becomes as a text."""
    return text if text and text.strip().lower() not in ("", "nan") else None


def number_of(cell: str) -> float | None:
    """The number in a cell; None where there is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
