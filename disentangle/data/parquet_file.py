"""Columns of Parquet files, by pyarrow (extra ``tables``)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.data.factor_table import FactorColumn, present, text_column
from disentangle.data.places import decoding
from disentangle.errors import DataError
from disentangle.text import shown

__all__ = ["ParquetTable", "open_table"]

_MOST_CELLS = 1 << 27  # numbers of a column, a gibibyte of them
_MOST_UNPACKED = 4 << 30  # bytes that a column says it unpacks to
_MOST_COLUMNS = 100_000


class ParquetTable:
    """The columns of a Parquet file: numbers, truth values, texts, categories.

    Attributes:
        names: of the columns.
        index: the column that pandas wrote its index to; None where there is none, or where it counts rows.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
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
        """A column as texts, for the names of rows."""
        with _reading(self._path):
            return ["" if value is None else str(value) for value in self._read(name).to_pylist()]

    def column(self, name: str) -> FactorColumn:
        """A column; a null is a missing value.

        Raises:
            DataError: it is of another type, too large or damaged.
        """
        import pyarrow as pa

        with _reading(self._path):
            found = self._read(name)
            if self.is_text(name):
                return text_column(name, [present(value) for value in found.to_pylist()])
            kind = found.type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                raise DataError(
                    f"{self._path}: the column {shown(name)!r} is of the type {shown(str(kind), most=60)}; expected "
                    "numbers, texts or categories."
                )
            values = np.array(found.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
            if np.isinf(values).any():
                raise DataError(f"{self._path}: the column {shown(name)!r} holds infinity; expected finite numbers.")
            return FactorColumn(name, values)

    def _read(self, name: str) -> Any:
        import pyarrow as pa

        metadata = self._file.metadata
        unpacked = cells = 0
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                if chunk.path_in_schema.split(".")[0] == name or chunk.path_in_schema == name:
                    unpacked, cells = unpacked + chunk.total_uncompressed_size, cells + chunk.num_values
        if max(cells, metadata.num_rows) > _MOST_CELLS or unpacked > _MOST_UNPACKED:
            raise DataError(
                f"{self._path}: the column {shown(name)!r} has {max(cells, metadata.num_rows):,} values in "
                f"{unpacked:,} bytes; the limits are {_MOST_CELLS:,} and {_MOST_UNPACKED:,}."
            )
        found = self._file.read(columns=[name], use_threads=False).column(name).combine_chunks()
        if isinstance(found, pa.ChunkedArray):  # of no rows
            found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
        return found


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
