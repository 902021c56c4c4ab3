"""Columns of Parquet files, by pyarrow (extra ``tables``).

A column of texts is stored as a dictionary of those that differ and a position for each row, and a position can be a
millionth of its text: the dictionary alone is made texts, and the rows stay positions.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.data.allowance import NUMBER, TEXT, Allowance
from disentangle.data.factor_table import FactorColumn, numbered_column, present
from disentangle.data.places import decoding
from disentangle.errors import DataError
from disentangle.text import shown

__all__ = ["ParquetTable", "open_table"]

_MOST_COLUMNS = 100_000
_ROWS = 1 << 16  # read at a time
_NAME = 128  # bytes of memory of the name of a row that is made from a number
# Of texts; the others write a text by what it shares with the one before, and unpack to any size.
_ENCODINGS = frozenset({"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "DELTA_LENGTH_BYTE_ARRAY"})


class ParquetTable:
    """The columns of a Parquet file: numbers, truth values, texts, categories.

    Attributes:
        names: of the columns.
        index: the column that pandas wrote its index to; None where there is none, or where it counts rows.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._allowance = Allowance(path)
        with _reading(path):
            schema = file.schema_arrow
            if len(schema.names) > _MOST_COLUMNS:
                raise DataError(f"{path} has {len(schema.names):,} columns; expected at most {_MOST_COLUMNS:,}.")
            self.names = [str(name) for name in schema.names]
            told = (schema.pandas_metadata or {}).get("index_columns", [])
        if len(set(self.names)) < len(self.names):
            raise DataError(f"{path} has two columns of one name; expected names that all differ.")
        self.index = next((name for name in told if isinstance(name, str) and name in self.names), None)

    def is_text(self, name: str) -> bool:
        """Whether a column holds texts."""
        import pyarrow as pa

        kind = self._file.schema_arrow.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def texts(self, name: str) -> list[str]:
        """A column as texts, for the names of rows.

        Raises:
            DataError: it is of another type, too large or damaged.
        """
        import pyarrow as pa

        with _reading(self._path):
            if self.is_text(name):
                places, texts = self._numbered(name)
                named = [*texts, ""]  # the last for what is missing
                return [named[place] for place in places]
            if not pa.types.is_primitive(self._file.schema_arrow.field(name).type):
                raise self._odd(name)
            self._allowance.take(self._file.metadata.num_rows * _NAME, name)
            return [
                "" if value is None else str(value) for part in self._parts(self._file, name)
                for value in part.to_pylist()
            ]  # fmt: skip

    def column(self, name: str) -> FactorColumn:
        """A column; a null is a missing value.

        Raises:
            DataError: it is of another type, too large or damaged.
        """
        import pyarrow as pa

        with _reading(self._path):
            if self.is_text(name):
                places, texts = self._numbered(name)
                return numbered_column(name, places, [present(text) for text in texts])
            kind = self._file.schema_arrow.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                raise self._odd(name)
            count = self._file.metadata.num_rows
            self._allowance.take(count * NUMBER, name)
            values, at = np.empty(count), 0
            for part in self._parts(self._file, name):
                found = part.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
                values[at : at + len(found)] = found
                at += len(found)
            if at != count:
                raise ValueError(f"{at:,} of {count:,} rows")
            if np.isinf(values).any():
                raise DataError(f"{self._path}: the column {shown(name)!r} holds infinity; expected finite numbers.")
            return FactorColumn(name, values)

    def _odd(self, name: str) -> DataError:
        kind = self._file.schema_arrow.field(name).type
        return DataError(
            f"{self._path}: the column {shown(name)!r} is of the type {shown(str(kind), most=60)}; expected numbers, "
            "texts or categories."
        )

    def _numbered(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """Of each row the position of its text, negative where there is none; and the texts that differ."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        self._check_texts(name)
        self._allowance.take(self._file.metadata.num_rows * NUMBER, name)
        places: dict[str, int] = {}
        rows = array("i")
        known: Any = None
        moved = np.array([], np.int32)
        # opened anew: which columns are read as dictionaries is settled then
        with parquet.ParquetFile(self._path, memory_map=False, read_dictionary=[name]) as file:
            for part in self._parts(file, name):
                if not pa.types.is_dictionary(part.type):
                    self._allowance.check(part.nbytes, name)
                    part = part.dictionary_encode()
                texts = part.dictionary
                if known is None or not texts.equals(known):
                    self._allowance.check(2 * texts.nbytes + TEXT * len(texts), name)
                    before = len(places)
                    found = ["" if text is None else text for text in texts.to_pylist()]
                    moved = np.array([*(places.setdefault(text, len(places)) for text in found), -1], np.int32)
                    new = [text for text in found if places[text] >= before]
                    self._allowance.take(sum(4 * len(text) + TEXT for text in new), name)
                    known = texts
                rows.frombytes(moved[part.indices.fill_null(len(moved) - 1).to_numpy()].tobytes())
        return np.frombuffer(rows, np.int32) if rows else np.array([], np.int32), list(places)

    def _check_texts(self, name: str) -> None:
        """That what is stored of a column of texts unpacks to no more than is allowed."""
        metadata, unpacked = self._file.metadata, 0
        place = self._file.schema_arrow.get_field_index(name)
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                if chunk.path_in_schema != name:
                    continue
                unpacked += chunk.total_uncompressed_size
                unknown = set(chunk.encodings) - _ENCODINGS
                if unknown:
                    raise DataError(
                        f"{self._path}: the column {shown(self.names[place])!r} is written in the encoding "
                        f"{shown(sorted(unknown)[0], most=40)}; expected plain texts or a dictionary: write it again "
                        "without column_encoding."
                    )
        self._allowance.check(unpacked, name)

    def _parts(self, file: Any, name: str) -> Iterator[Any]:
        """A column, some rows at a time."""
        for batch in file.iter_batches(batch_size=_ROWS, columns=[name], use_threads=False):
            yield batch.column(0)


def open_table(path: Path) -> ParquetTable:
    """The table of a Parquet file; what is in it is not read yet.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(
            f"Reading {path} needs the package pyarrow, which is not installed; run pip install "
            "'disentangle-toolkit[tables]', or save the table as .csv."
        ) from error
    with _reading(path):
        return ParquetTable(path, parquet.ParquetFile(path, memory_map=False))


def _reading(path: Path) -> AbstractContextManager[None]:
    return decoding(path, "a Parquet file", "write it again")
