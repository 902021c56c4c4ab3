"""Codes and factors of anybody's points, from the files that people keep them in.

``table.csv``, ``codes.npz:z``, ``cells.h5ad:obsm/X_scVI``, ``cells.h5ad:obs/cell_type,batch``: a path, and after a
colon the names of arrays or columns, divided by commas; ``*`` stands for any letters of a name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.data.factor_table import FactorColumn, factor_values, present, read_kinds, text_column
from disentangle.data.places import PathLike, reads_files
from disentangle.data.point_files import names_told, read_parts
from disentangle.errors import DataError, reason
from disentangle.signatures import checks_arguments
from disentangle.text import shown

__all__ = ["Codes", "Factors", "matched", "read_codes", "read_factors"]

_MOST_COLUMNS = 1_000  # of factors
_EXACT = 2**53  # whole numbers up to here are floats too
_ROUND = ("angle", "azimuth", "orientation", "hue", "phase", "heading", "direction", "hour", "weekday", "month")


@dataclass(frozen=True)
class Codes:
    """Codes of points.

    Attributes:
        values: (n, d) numbers, in the file's own type.
        names: (d,) of the codes.
        ids: (n,) what each point is called; None where the file does not say.
        source: the file, and what of it.
    """

    values: NDArray[Any]
    names: tuple[str, ...]
    ids: tuple[str, ...] | None
    source: str


@dataclass(frozen=True)
class Factors:
    """What is known about points.

    Attributes:
        columns: the factors; a value that is missing is NaN.
        ids: (n,) what each point is called; None where the file does not say.
        source: the file, and what of it.
        matrix: (n, k) as it lies in the file, where it is a single array of numbers, else None.
        of_arrays: which columns are of arrays, whose whole numbers are labels, however many.
    """

    columns: tuple[FactorColumn, ...]
    ids: tuple[str, ...] | None
    source: str
    matrix: NDArray[Any] | None = None
    of_arrays: frozenset[int] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def kinds(self, given: str | None = None) -> list[str]:
        """The kind of each factor.

        Args:
            given: one kind for all; one for each, divided by commas; or ``NAME=KIND`` of some, divided by commas.
                None: as :attr:`FactorColumn.kind` tells it; whole numbers of an array are discrete.

        Raises:
            InputError: names that no factor has, or another number of kinds.
        """
        told = [self._told(i) for i in range(len(self.columns))]
        return told if given is None else read_kinds(given, self.names, told)

    def _told(self, column: int) -> str:
        labels = column in self.of_arrays and _whole(self.columns[column].values)
        return "discrete" if labels else self.columns[column].kind

    def values(self, kinds: Sequence[str]) -> NDArray[Any]:
        """(n, k) as the metrics take them, NaN where a value is missing; whole numbers of an array stay what they are.

        Raises:
            InputError: if kinds do not fit.
        """
        found, _ = factor_values(self.columns, kinds)
        stay = {i for i in self.of_arrays if _whole(self.columns[i].values) and not self.columns[i].categories}
        discrete = {i for i, kind in enumerate(kinds) if kind == "discrete"}
        if self.matrix is not None and discrete <= stay:
            return self.matrix
        for i in stay & discrete:
            found[:, i] = self.columns[i].values
        return found

    def take(self, rows: NDArray[np.int64]) -> Factors:
        """The factors of some points."""
        return Factors(
            tuple(column.take(rows) for column in self.columns),
            None if self.ids is None else tuple(self.ids[row] for row in rows),
            self.source,
            None if self.matrix is None else self.matrix[rows],
            self.of_arrays,
        )

    def description(self, kinds: Sequence[str]) -> str:
        """What was found, and how it is taken, in a line."""
        told = []
        for column, kind in zip(self.columns[:20], kinds, strict=False):
            told.append(str(column).replace(f", {column.kind}", f", {shown(kind, most=40)}", 1))
        more = "; ..." if len(self.columns) > 20 else ""
        source = shown(self.source, most=200)
        line = f"{len(self.columns[0].values):,} points with factors in {source}: {'; '.join(told)}{more}."
        odd = [
            column.name
            for column, kind in zip(self.columns, kinds, strict=True)
            if not kind.startswith("periodic") and not column.categories and column.name.lower().endswith(_ROUND)
        ]
        if odd:
            line += f" If {names_told(odd)} goes round, say so: {shown(odd[0], most=40)}=periodic:360."
        return line


@checks_arguments
@reads_files
def read_codes(place: PathLike, *, id_column: str | None = None) -> Codes:
    """Codes from a file.

    Args:
        place: a path, or ``PATH:NAMES``. Without names: the only array of the file; of an .h5ad file ``X``; of a table
            all columns.
        id_column: the column that names the points. None: of a table the first one, where it holds texts that all
            differ or is called ``id``, ``index``, ``cell`` or the like; of an .h5ad file the names of its cells.

    Raises:
        InputError: ``place`` is no path, or ``id_column`` no text.
        DataError: no such file or array, damaged, too large, or a text in a number's place, with its row and column.
    """
    path, found = read_parts(place, id_column, codes=True)
    source = os.fspath(place)
    parts, labels = [], []
    for name, part in found.parts:
        if isinstance(part, FactorColumn):
            if part.categories:
                raise DataError(
                    f"{path}: the column {shown(part.name)!r} holds texts ({shown(part.categories[0], most=40)} for "
                    "one); codes are numbers: name their columns, as in "
                    f"{path.name}:z1,z2, or {path.name}:z*."
                )
            parts.append(part.values[:, None])
            labels.append(part.name)
        else:
            matrix = part[:, None] if part.ndim == 1 else part
            if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
                raise DataError(
                    f"{path}: {shown(name) or 'the array'} is {shown(str(part.dtype), most=40)} of the shape "
                    f"{part.shape}; expected numbers, a row a point and a column a code."
                )
            parts.append(matrix)
            labels += [f"{name} {i}".strip() for i in range(matrix.shape[1])]
    _same_lengths(path, [len(part) for part in parts])
    values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return Codes(values, tuple(labels), _of_length(path, found.ids, len(values)), source)


@checks_arguments
@reads_files
def read_factors(place: PathLike, *, id_column: str | None = None) -> Factors:
    """Factors from a file; texts are numbered in the order of the alphabet and keep their names.

    Args:
        place: a path, or ``PATH:NAMES``. Without names: the only array of the file; of an .h5ad file all of ``obs``; of
            a table all columns.
        id_column: see :func:`read_codes`.

    Raises:
        InputError: ``place`` is no path, or ``id_column`` no text.
        DataError: no such file or column, damaged, too large, or numbers and texts in one column.
    """
    path, found = read_parts(place, id_column, codes=False)
    columns: list[FactorColumn] = []
    of_arrays: set[int] = set()
    matrix: NDArray[Any] | None = None
    for name, part in found.parts:
        if isinstance(part, FactorColumn):
            columns.append(part)
            continue
        matrix = part[:, None] if part.ndim == 1 else part
        if matrix.ndim != 2 or matrix.shape[1] > _MOST_COLUMNS:
            raise DataError(
                f"{path}: {shown(name) or 'the array'} has the shape {part.shape}; expected factors, a row a point and "
                f"a column a factor, at most {_MOST_COLUMNS:,}."
            )
        for i in range(matrix.shape[1]):
            label = name if part.ndim == 1 else f"{name} {i}" if len(found.parts) > 1 else ""
            of_arrays.add(len(columns))
            columns.append(_array_column(path, label or f"factor {i}", matrix[:, i]))
    _same_lengths(path, [len(column.values) for column in columns])
    if len({column.name for column in columns}) < len(columns):
        raise DataError(f"{path}: two factors have one name ({names_told(c.name for c in columns)}); name each once.")
    if matrix is not None and (len(found.parts) > 1 or matrix.dtype.kind not in "biuf"):
        matrix = None
    ids = _of_length(path, found.ids, len(columns[0].values))
    return Factors(tuple(columns), ids, os.fspath(place), matrix, frozenset(of_arrays))


@checks_arguments
def matched(codes: Codes, factors: Factors, *, by_id: bool = True) -> tuple[NDArray[Any], Factors, str]:
    """Codes (n, d) and factors of the same points, a row each.

    Where both files name their points, they are joined by the names, in the order of the codes, and points that only
    one of them has are left out. Otherwise they are taken as they stand.

    Args:
        codes, factors: of two files.
        by_id: whether names are used.

    Returns:
        Codes, factors, and what was done, in a sentence, "" for nothing.

    Raises:
        InputError: they are no codes and factors.
        DataError: another number of points, names that occur twice, or none that both have.
    """
    if not by_id or codes.ids is None or factors.ids is None:
        n, m = len(codes.values), len(factors.columns[0].values)
        if n != m:
            lacks = [one.source for one in (codes, factors) if one.ids is None]
            hint = (
                f"; to join them by names, both need a column of them, which {names_told(lacks)} has not"
                if lacks
                else ""
            )
            raise DataError(
                f"{codes.source} has {n:,} rows and {factors.source} {m:,}; expected one row for each point in both"
                f"{hint}."
            )
        return codes.values, factors, ""
    if codes.ids == factors.ids and len(set(codes.ids)) == len(codes.ids):
        return codes.values, factors, ""
    places: list[dict[str, int]] = []
    for one in (codes, factors):
        assert one.ids is not None
        found = {name: i for i, name in enumerate(one.ids)}
        if len(found) < len(one.ids):
            twice = next(name for i, name in enumerate(one.ids) if found[name] != i)
            raise DataError(
                f"{one.source} has several rows about {shown(twice, most=80)!r}; expected one a point, or rows in the "
                "same order in both files, taken with --id none (by_id=False)."
            )
        places.append(found)
    ours, theirs = places
    common = [name for name in codes.ids if name in theirs]
    if not common:
        raise DataError(
            f"{codes.source} and {factors.source} name no point in common ({shown(codes.ids[0], most=60)!r} in one, "
            f"{shown(factors.ids[0], most=60)!r} in the other); name the column with --id COLUMN (id_column=), or take "
            "rows as they stand with --id none (by_id=False)."
        )
    rows = np.array([ours[name] for name in common], dtype=np.int64)
    others = np.array([theirs[name] for name in common], dtype=np.int64)
    note = f"joined by name: {len(common):,} points in both"
    left = (len(ours) - len(common), len(theirs) - len(common))
    if any(left):
        note += f", {left[0]:,} with codes alone and {left[1]:,} with factors alone left out"
    return codes.values[rows], factors.take(others), f"{note}."


def _array_column(path: Path, name: str, values: NDArray[Any]) -> FactorColumn:
    """A column of an array: numbers or texts."""
    if values.dtype.kind in "US":
        try:
            texts = [str(text, "utf-8") if isinstance(text, bytes) else text for text in values.tolist()]
        except (ValueError, SystemError) as error:  # SystemError: letters that Unicode has not
            raise DataError(f"{path}: {shown(name)} holds texts that are damaged ({reason(error)}).") from None
        return text_column(name, [present(text) for text in texts])
    if values.dtype.kind in "iu" and len(values) and max(abs(int(values.max())), abs(int(values.min()))) > _EXACT:
        return FactorColumn(name, np.unique(values, return_inverse=True)[1].astype(np.float64))
    found = values.astype(np.float64)
    if np.isinf(found).any():
        raise DataError(f"{path}: {shown(name)} holds infinity; expected finite numbers.")
    return FactorColumn(name, found)


def _whole(values: NDArray[np.float64]) -> bool:
    known = values[~np.isnan(values)]
    return bool(np.all(known == np.rint(known)))


def _same_lengths(path: Path, lengths: Sequence[int]) -> None:
    if len(set(lengths)) > 1:
        raise DataError(f"{path}: what is named has {names_told(map(str, lengths))} rows; expected equally many.")
    if not lengths or not lengths[0]:
        raise DataError(f"{path} holds no points; expected a row for each.")


def _of_length(path: Path, ids: tuple[str, ...] | None, count: int) -> tuple[str, ...] | None:
    if ids is not None and len(ids) != count:
        raise DataError(f"{path} names {len(ids):,} rows and has {count:,}; expected a name for each.")
    return ids
