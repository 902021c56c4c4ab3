"""Files of codes and factors, by their content: arrays, tables of text, Parquet, HDF5, AnnData, safetensors.

No file can make this module run code, follow a link to another file, or take more memory than is said.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.array_files import ArrayFile
from disentangle.checks import read_array
from disentangle.data import anndata_file, parquet_file
from disentangle.data.allowance import NUMBER, Allowance
from disentangle.data.factor_table import FactorColumn, number_of, read_column
from disentangle.data.hdf5 import hdf5_headers, item_in, opened_hdf5
from disentangle.data.places import PathLike, expanded
from disentangle.data.text_rows import MOST_TEXTS, Column, read_rows
from disentangle.errors import DataError, reason
from disentangle.files import open_regular
from disentangle.tensor_files import read_tensors, tensor_shapes
from disentangle.text import shown

__all__ = ["Found", "names_told", "read_parts"]

LARGEST_TEXT = 128 << 20  # bytes of a .csv or .tsv; text_rows says how many rows and cells, which memory goes by
_ID_NAMES = frozenset(
    {"", "unnamed: 0", "id", "index", "sample", "cell", "barcode", "name", "file", "filename", "path", "image"}
)  # of a first column, in small letters
_NAME = 96  # bytes of memory of the name of a row that is made from a number
_EXPECTED = "an .npy, .npz, .csv, .tsv, .parquet, .h5, .h5ad or .safetensors file"


@dataclass(frozen=True)
class Found:
    """Arrays and columns by name, and what the rows are called."""

    parts: list[tuple[str, FactorColumn | NDArray[Any]]]
    ids: tuple[str, ...] | None = None


def read_parts(place: PathLike, id_column: str | None, *, codes: bool) -> tuple[Path, Found]:
    """What a path, or a path with names after a colon, stands for.

    Args:
        place: a path or ``PATH:NAMES``.
        id_column: the column that names the rows; None to find it.
        codes: whether codes are looked for, which are numbers, or factors.

    Raises:
        DataError: no such file or names, damaged, or too large.
    """
    path, names = _parted(place)
    return path, _read(path, names, id_column, codes=codes)


def _parted(place: PathLike) -> tuple[Path, str | None]:
    """The path, which may have colons itself, and the names after it."""
    text = os.fspath(place)
    cut = len(text)
    while cut > 0:
        path = expanded(text[:cut])
        try:
            there = path.is_file()
        except (OSError, ValueError):
            there = False
        if there:
            return path, text[cut + 1 :] if cut < len(text) else None
        cut = text.rfind(":", 0, cut)
    path = expanded(text)
    what = "is no file" if path.exists() else "does not exist"
    raise DataError(f"{path} {what}; expected {_EXPECTED}, and after a colon the names of arrays or columns.")


def _read(path: Path, names: str | None, id_column: str | None, *, codes: bool) -> Found:
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({reason(error)}); expected {_EXPECTED}.") from None
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_hdf5(path, names, id_column, codes=codes)
    if start.startswith((b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")):
        return _read_arrays(path, names)
    if start.startswith(b"PAR1"):
        table = parquet_file.open_table(path)
        return _read_columns(path, table, names, id_column)
    if start[8:9] == b"{" and path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return _read_safetensors(path, names)
    if path.suffix.lower() in (".npy", ".npz"):
        raise DataError(f"{path} is not a readable .npy or .npz file; expected an array saved by numpy.save.")
    if b"\x00" in start:
        raise DataError(f"{path} is no file of a known kind (it starts with {start.hex(' ')}); expected {_EXPECTED}.")
    return _read_columns(path, _TextTable(path, codes), names, id_column)


def _chosen(path: Path, held: Sequence[str], names: str | None) -> list[str]:
    """The names asked for, in their order, of those that there are.

    Raises:
        DataError: one that there is not.
    """
    if names is None:
        return list(held)
    if names in held:  # a name with commas
        return [names]
    found: list[str] = []
    for name in (part.strip() for part in names.split(",")):
        here = [name] if name in held else [each for each in held if "*" in name and fnmatch.fnmatchcase(each, name)]
        if not here:
            raise DataError(
                f"{path} has no {shown(name, most=60)!r} (it has: {names_told(held)}); name arrays or columns after "
                "the colon, divided by commas."
            )
        found += [each for each in here if each not in found]
    return found


def _read_arrays(path: Path, names: str | None) -> Found:
    with ArrayFile(
        path, what="an array saved by numpy.save", fault="is not a readable .npy array of numbers", error=DataError
    ) as file:
        chosen = [""] if file.names == ("",) and names is None else _chosen(path, file.names, names)
        if names is None and len(chosen) != 1:
            raise DataError(
                f"{path} holds {len(chosen)} arrays ({names_told(chosen)}); name one or more, as in {path.name}:"
                f"{shown(chosen[0], most=40) if chosen else 'z'}."
            )
        return Found([(name, file.read(name, texts=True)) for name in chosen])


def _read_safetensors(path: Path, names: str | None) -> Found:
    held = sorted(tensor_shapes(path))
    chosen = _chosen(path, held, names)
    if names is None and len(chosen) != 1:
        raise DataError(f"{path} holds {len(chosen)} tensors ({names_told(chosen)}); name one or more after a colon.")
    tensors = read_tensors(path)
    return Found([(name, read_array(tensors[name], "values", finite=False)) for name in chosen])


def _read_hdf5(path: Path, names: str | None, id_column: str | None, *, codes: bool) -> Found:
    with opened_hdf5(path) as file:
        obs = item_in(path, file, "obs")
        if obs is None or hasattr(obs, "dtype") or not anndata_file.is_table(obs):
            return _read_plain_hdf5(path, file, names, codes=codes)
        names = ("X" if codes else "obs") if names is None else names
        parts: list[tuple[str, FactorColumn | NDArray[Any]]] = []
        allowance = Allowance(path)
        ids = anndata_file.index_of(path, obs, allowance)
        if id_column is not None:
            called = anndata_file.column_in(path, obs, id_column, allowance)
            allowance.take(0 if called.categories else len(called.values) * _NAME, id_column)
            ids = _called(called)
        whole = item_in(path, file, names)
        wanted = [names] if whole is not None else [part.strip() for part in names.split(",")]
        group = ""
        for name in wanted:
            if "/" in name:
                group, _, name = name.rpartition("/")
            full = f"{group}/{name}" if group else name
            table = item_in(path, file, group) if group else None
            item = item_in(path, file, full)
            if table is not None and not hasattr(table, "dtype") and anndata_file.is_table(table):
                for each in _chosen(path, anndata_file.columns_of(table), name):
                    parts.append((each, anndata_file.column_in(path, table, each, allowance)))
            elif item is None:
                held = [*(f"obsm/{key}" for key in _keys(path, file, "obsm")), "X", "obs"]
                held += [f"layers/{key}" for key in _keys(path, file, "layers")]
                raise DataError(
                    f"{path} has no {shown(full, most=60)!r} (it has: {names_told(held)}); name a matrix, as "
                    "obsm/X_pca, or columns, as obs/cell_type,batch."
                )
            elif not codes and not hasattr(item, "dtype") and anndata_file.is_table(item):
                for each in anndata_file.columns_of(item):
                    parts.append((each, anndata_file.column_in(path, item, each, allowance)))
            else:
                parts.append((name, _matrix(path, item, allowance, alone=codes and len(wanted) == 1)))
        if not parts:
            raise DataError(f"{path}: {shown(names, most=60)!r} has no columns; name some.")
        return Found(parts, ids)


def _matrix(path: Path, item: Any, allowance: Allowance, *, alone: bool) -> NDArray[Any]:
    """A matrix, which becomes columns or is joined to others, if it does not stand alone."""
    found = anndata_file.matrix_in(path, item, allowance)
    allowance.take(0 if alone else found.size * (NUMBER // 2), item.name)
    return found


def _called(column: FactorColumn) -> tuple[str, ...]:
    """A column as names of rows."""
    if not column.categories:
        return tuple(f"{value:.17g}" for value in column.values)
    return tuple("" if np.isnan(place) else column.categories[int(place)] for place in column.values)


def _keys(path: Path, file: Any, name: str) -> list[str]:
    group = item_in(path, file, name)
    return [] if group is None or hasattr(group, "dtype") else list(group)[:20]


def _read_plain_hdf5(path: Path, file: Any, names: str | None, *, codes: bool) -> Found:
    held = list(hdf5_headers(path))
    chosen = _chosen(path, held, names)
    if names is None and len(chosen) != 1:
        raise DataError(f"{path} holds {len(chosen)} arrays ({names_told(chosen)}); name one or more after a colon.")
    parts: list[tuple[str, FactorColumn | NDArray[Any]]] = []
    allowance = Allowance(path)
    for name in chosen:
        item = item_in(path, file, name)
        assert item is not None
        if item.dtype.kind in "OS":
            group, _, last = name.rpartition("/")
            table = item_in(path, file, group) if group else file
            parts.append((name, anndata_file.column_in(path, table, last, allowance)))
        else:
            alone = codes and len(chosen) == 1
            parts.append((name, _matrix(path, item, allowance, alone=alone) if item.ndim < 3 else _flat(path, item)))
    return Found(parts)


def _flat(path: Path, item: Any) -> Any:
    raise DataError(f"{path}: {item.name.lstrip('/')!r} has the shape {item.shape}; expected a row a point.")


class _TextTable:
    """The columns of a .csv or .tsv file."""

    def __init__(self, path: Path, codes: bool) -> None:
        with open_regular(path) as file:
            content = file.read(LARGEST_TEXT)
        what = "a table of codes" if codes else "a table of factors"
        tabs = path.suffix.lower() == ".tsv"
        self.names, self._rows = read_rows(content, str(path), tabs=tabs, most=LARGEST_TEXT, what=what, least=1)
        self._path, self._codes, self._most_texts = path, codes, MOST_TEXTS
        self.index: str | None = None

    def texts(self, name: str) -> list[str]:
        place = self.names.index(name)
        return [cell for _, cell in self._rows.column(place)]

    def is_text(self, name: str) -> bool:
        place = self.names.index(name)
        return all(number_of(cell) is None for _, cell in self._rows.column(place))

    def column(self, name: str) -> FactorColumn:
        place = self.names.index(name)
        cells = self._rows.column(place)
        try:
            found = read_column(name, cells, str(self._path), missing=not self._codes, most_texts=self._most_texts)
        except DataError:
            self._check_codes(name, cells)
            raise
        if found.categories:
            self._check_codes(name, cells)
        self._most_texts -= len(found.categories)  # of all columns together
        return found

    def _check_codes(self, name: str, cells: Column) -> None:
        """That a column of codes holds no text, if codes are read."""
        odd = ((line, cell) for line, cell in cells if cell and number_of(cell) is None)
        for line, cell in odd if self._codes else ():
            raise DataError(
                f"{self._path}: line {line} has {shown(cell, most=60)!r} in the column {shown(name)!r}; codes are "
                f"numbers: mend it, or name the columns of codes, as in {self._path.name}:z1,z2 or "
                f"{self._path.name}:z*."
            )


def _read_columns(path: Path, table: Any, names: str | None, id_column: str | None) -> Found:
    """Columns of a table, and the names of its rows."""
    held = list(table.names)
    asked = [] if names is None else _chosen(path, held, names)
    index: str | None = None
    if id_column is not None:
        (index,) = _chosen(path, held, id_column)[:1]
    elif table.index is not None:
        index = table.index
    elif held and held[0] not in asked and len(held) > 1:
        called = held[0].lower() in _ID_NAMES or held[0].lower().endswith("_id")
        if called or table.is_text(held[0]):
            texts = table.texts(held[0])
            index = held[0] if len(set(texts)) == len(texts) else None
    chosen = asked or [name for name in held if name != index]
    if not chosen:
        raise DataError(f"{path} has no column beside {shown(index or '')!r}, which names its rows; expected some.")
    ids = None if index is None else tuple(table.texts(index))
    return Found([(name, table.column(name)) for name in chosen], ids)


def names_told(names: Iterable[str]) -> str:
    """The first of some names, for messages."""
    listed = list(names)
    told = ", ".join(shown(name, most=40) or "''" for name in listed[:20])
    return f"{told}, ..." if len(listed) > 20 else told or "none"
