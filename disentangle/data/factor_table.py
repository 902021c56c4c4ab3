"""Tables of text, .csv and .tsv: their columns of factors, and which picture has which values."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.data.text_rows import MOST_TEXTS, Cell, Column, Rows, read_rows
from disentangle.errors import DataError, InputError
from disentangle.text import shown

__all__ = [
    "MISSING",
    "FactorColumn",
    "FactorTable",
    "factor_values",
    "looked_up",
    "number_of",
    "numbered_column",
    "present",
    "read_column",
    "read_kinds",
    "read_table",
    "text_column",
]

MISSING = frozenset({"", "nan", "na", "n/a", "<na>", "null"})
"""What a cell holds where there is no value, in small letters, if missing values are taken."""

_MOST_COLUMNS = 1_000
_BLOCK = 1 << 20  # rows looked up at a time


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
        line, cell = rows.line(missing[0]), rows.cell(missing[0], column)
        raise DataError(
            f"{source} has {len(missing):,} of {len(rows):,} rows about pictures that are not in {place}, line {line} "
            f"({shown(cell, most=80)}) for one; add the pictures or remove the rows."
        )
    taken = Counter(position for position in positions if position is not None)
    twice = next((i for i, position in enumerate(positions) if taken[position or 0] > 1), None)
    if twice is not None:
        line, cell = rows.line(twice), rows.cell(twice, column)
        raise DataError(
            f"{source} has several rows about {shown(cell, most=80)}, line {line} for one; expected one row a picture."
        )
    factors = tuple(read_column(name, rows.column(i), source) for i, name in enumerate(header) if i != column)
    return FactorTable(np.array(positions, dtype=np.int64), factors)


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
            names = (cell.replace("\\", "/").removeprefix("./") for _, cell in rows.column(column))
            found = [known.get(name.rpartition("/")[2] if short else name) for name in names]
            count = sum(position is not None for position in found)
            if count > best[0]:
                best = count, column, found
        if best[0]:
            return best[1], best[2]
    cells = ", ".join(shown(rows.cell(0, column), most=40) for column in range(min(5, len(header))))
    raise DataError(
        f"{source} names no picture in {place}: its first row is {cells}, and the first picture is "
        f"{shown(paths[0], most=80)}; expected a column of file names."
    )


def read_column(
    name: str, cells: Sequence[Cell] | Column, source: str, *, missing: bool = False, most_texts: int = MOST_TEXTS
) -> FactorColumn:
    """A column of factors from its cells: numbers, or texts, which are numbered in the order of the alphabet.

    Args:
        name: of the column.
        cells: with their lines.
        source: the table's name, for messages.
        missing: whether cells may be empty, or one of the words of :data:`MISSING`.
        most_texts: how many texts may differ.

    Raises:
        DataError: a cell is empty though it may not be, a text among numbers or a number among texts, not finite, or
            there are more texts.
    """
    values = np.full(len(cells), np.nan)
    texts = numbers = 0
    first_text: Cell | None = None
    first_number: Cell | None = None
    endless: Cell | None = None
    for place, (line, cell) in enumerate(cells):
        if missing and cell.lower() in MISSING:
            continue
        if not cell:
            raise DataError(f"{source}: line {line} has nothing in the column {shown(name)!r}; expected a value.")
        number = number_of(cell)
        if number is None:
            texts, first_text = texts + 1, first_text or (line, cell)
            continue
        numbers, first_number = numbers + 1, first_number or (line, cell)
        values[place] = number
        if endless is None and not math.isfinite(number):
            endless = line, cell
    if first_text and first_number:
        mostly = texts > numbers  # what most of them are, the column is
        line, cell = first_number if mostly else first_text
        what = "a number among texts" if mostly else "a text among numbers"
        raise DataError(
            f"{source}: line {line} has {shown(cell, most=60)!r} in the column {shown(name)!r}, {what}; expected one "
            "kind in a column."
        )
    if texts:
        held = (None if missing and cell.lower() in MISSING else cell for _, cell in cells)
        return text_column(name, held, source, most=most_texts)
    if endless is not None:
        line, cell = endless
        raise DataError(f"{source}: line {line} has {cell} in the column {shown(name)!r}; expected finite numbers.")
    return FactorColumn(name, values)


def text_column(name: str, texts: Iterable[str | None], source: str = "", *, most: int | None = None) -> FactorColumn:
    """Texts as a factor: numbered in the order of the alphabet, NaN where there is none.

    Args:
        name: of the column.
        texts: gone through once.
        source: the table's name, for messages.
        most: how many may differ.

    Raises:
        DataError: there are more.
    """
    known: dict[str, int] = {}
    places = array("i")
    for text in texts:
        places.append(-1 if text is None else known.setdefault(text, len(known)))
        if most is not None and len(known) > most:
            raise DataError(
                f"{source}: the column {shown(name)!r} has more than {most:,} texts that differ; expected at most "
                f"{MOST_TEXTS:,} in the columns of a table: leave it out, or name the rows by it."
            )
    return numbered_column(name, np.frombuffer(places, np.int32) if places else np.array([], np.int32), list(known))


def numbered_column(name: str, places: NDArray[Any], texts: Sequence[str | None]) -> FactorColumn:
    """Texts as a factor, from their distinct ones.

    Args:
        name: of the column.
        places: (n,) whole numbers, the position of each row's text; negative where there is none.
        texts: None where a text means that there is none; those that no row has are left out.
    """
    used = np.zeros(len(texts) + 1, dtype=bool)
    for start in range(0, len(places), _BLOCK):
        used[np.maximum(places[start : start + _BLOCK].astype(np.int64), -1)] = True
    held = {text for text, here in zip(texts, used[:-1], strict=True) if here and text is not None}
    categories = tuple(sorted(held))
    ranks = {text: float(rank) for rank, text in enumerate(categories)}
    table = np.array([math.nan if text is None else ranks.get(text, math.nan) for text in texts], dtype=np.float64)
    return FactorColumn(name, looked_up(table, places), categories)


def looked_up(table: NDArray[np.float64], places: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) entries of a table by their positions, whole numbers of any width; NaN where they are negative.

    Some at a time: numpy makes positions of eight bytes of them all, and those of a file may have one.
    """
    ended = np.append(table, np.nan)
    found = np.empty(len(places))
    for start in range(0, len(places), _BLOCK):
        found[start : start + _BLOCK] = ended[np.maximum(places[start : start + _BLOCK].astype(np.int64), -1)]
    return found


def present(text: str | None) -> str | None:
    """A text of a typed file, None where it is empty, or what a missing number becomes as a text."""
    return text if text and text.strip().lower() not in ("", "nan") else None


def number_of(cell: str) -> float | None:
    """The number in a cell; None where there is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
