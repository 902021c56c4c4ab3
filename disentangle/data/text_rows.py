"""Cells of tables of text, .csv and .tsv, read a row at a time and held in little more memory than their letters."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from disentangle.errors import DataError, reason
from disentangle.text import shown

__all__ = ["LARGEST_TABLE", "MOST_TEXTS", "Cell", "Column", "Rows", "read_rows"]

LARGEST_TABLE = 32 << 20  # bytes

_MOST_COLUMNS = 1_000
# A table is held as its letters, 4 bytes a cell and 4 a row; its columns are 8 bytes a cell, twice where they are
# joined, and the texts that differ some 200 each beside their letters: with these limits at most 512 MiB and 8 times
# the file.
_MOST_ROWS = 1 << 22
_MOST_CELLS = 1 << 25
MOST_TEXTS = 1 << 21
_LARGEST_ROW = 1 << 24  # letters, before they are divided into cells

Cell = tuple[int, str]
"""A line and what is in it."""


class Rows:
    """Cells of a table, row by row, in little more memory than their letters: a Python text takes fifty bytes more.

    Args:
        width: cells of a row.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._letters, self._ends, self._lines = bytearray(), array("I", [0]), array("I")

    def add(self, line: int, cells: Sequence[str]) -> None:
        """A row, and the line that it ends in."""
        encoded = [cell.encode() for cell in cells]
        self._ends.extend(list(accumulate(map(len, encoded), initial=len(self._letters)))[1:])
        self._letters += b"".join(encoded)
        self._lines.append(line)

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, row: int) -> int:
        return self._lines[row]

    def cell(self, row: int, column: int) -> str:
        place = row * self._width + column
        return self._letters[self._ends[place] : self._ends[place + 1]].decode()

    def cells(self, column: int) -> Iterator[Cell]:
        starts, stops = (self._ends[column + side :: self._width] for side in (0, 1))
        for line, start, stop in zip(self._lines, starts, stops, strict=False):  # what is last ends, but begins nothing
            yield line, self._letters[start:stop].decode()

    def column(self, column: int) -> Column:
        """A column's cells with their lines, to be gone through any number of times."""
        return Column(self, column)


@dataclass(frozen=True)
class Column:
    """A column of rows."""

    rows: Rows
    place: int

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Cell]:
        return self.rows.cells(self.place)


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
        DataError: if it is no such table, or one of more than 4,194,304 rows or 33,554,432 cells.
    """
    if len(content) >= most:
        raise DataError(f"{source} has {most:,} bytes or more; expected {what} of fewer.")
    first = content[:_LARGEST_ROW].decode("utf-8-sig", "replace").lstrip("\r\n").split("\n", 1)[0]
    marks = {mark: first.count(mark) for mark in "\t,;"}
    mark = "\t" if tabs else max(marks, key=lambda each: marks[each])
    found = _cells(content, source, mark)
    top, under = next(found, None), next(found, None)
    if top is None or under is None:
        each = "picture" if least > 1 else "point"
        raise DataError(f"{source} has no rows; expected a header, and a row for each {each}.")
    header = [cell.strip() for cell in top[1][: _MOST_COLUMNS + 1]]
    named = header if least > 1 else header[1:]
    if not least <= len(header) <= _MOST_COLUMNS or "" in named or len(set(header)) < len(header):
        raise DataError(
            f"{source} has the header {shown(header)}; expected names that all differ"
            + (", of the file and of a factor or more, divided by commas." if least > 1 else ", divided by commas.")
        )
    rows = Rows(len(header))
    for line, cells in chain([under], found):
        if len(cells) != len(header):
            raise DataError(f"{source}: line {line} has {len(cells)} cells; expected {len(header)}, as in its header.")
        if len(rows) >= min(_MOST_ROWS, _MOST_CELLS // len(header)):
            raise DataError(
                f"{source} has more than {len(rows):,} rows of {len(header)} cells; expected at most {_MOST_ROWS:,} "
                f"rows and {_MOST_CELLS:,} cells: save it as .npy or .npz, or split it."
            )
        rows.add(line, [cell.strip() for cell in cells])
    return header, rows


def _cells(content: bytes, source: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the line that they end in, one at a time."""
    length = 0

    def lines() -> Iterator[str]:
        nonlocal length
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
            while line := text.readline(_LARGEST_ROW):
                length += len(line)
                if length >= _LARGEST_ROW:  # a row may be of many lines
                    raise DataError(
                        f"{source}: line {reader.line_num + 1} belongs to a row of {_LARGEST_ROW:,} letters or more; "
                        "expected cells divided by commas, and a line for each row."
                    )
                yield line

    reader = csv.reader(lines(), delimiter=mark, strict=True)
    try:
        for row in reader:
            length = 0
            if any(map(str.strip, row)):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{source} is no readable table: line {reader.line_num}: {reason(error)}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is no text in UTF-8 ({reason(error)}); save it as that.") from None
