"""AnnData's files of cells (.h5ad): annotations, embeddings and matrices, read through h5py alone.

Source: "AnnData on-disk format" (anndata's documentation), encodings ``dataframe``, ``categorical``, ``array``,
``string-array``, ``nullable-*``, ``csr_matrix`` and ``csc_matrix``; and the older form, in which the texts of
categories lie in ``obs/__categories``. Everything is bounded as in :mod:`disentangle.data.hdf5`, and all that is
read of a file by one :class:`~disentangle.data.allowance.Allowance`.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.data.allowance import NUMBER, TEXT, Allowance
from disentangle.data.factor_table import FactorColumn, looked_up, numbered_column, present, text_column
from disentangle.data.hdf5 import all_numbers, all_texts, item_in
from disentangle.errors import DataError
from disentangle.text import shown

__all__ = ["column_in", "columns_of", "index_of", "is_table", "matrix_in"]

_MOST = 1 << 30  # bytes of an array as it is stored, however large its file
_MOST_TEXTS = 512 << 20  # bytes of the texts of an array, each with 64 of its own, however large its file
_HELD = 8  # bytes that a number of a matrix is counted as, whatever its type: what is made of it are float64
_OLD = "__categories"


def is_table(item: Any) -> bool:
    """Whether a group is one of named columns."""
    return _attribute(item, "encoding-type") == "dataframe" or _attribute(item, "_index") is not None


def columns_of(item: Any) -> list[str]:
    """The names of a table's columns, in the order of the alphabet, without its index."""
    index = _attribute(item, "_index")
    return [name for name in item if name not in (index, _OLD)]


def index_of(path: Path, item: Any, allowance: Allowance) -> tuple[str, ...] | None:
    """The names of a table's rows; None where they are numbers or there are none.

    Raises:
        DataError: they are damaged, or more than is allowed.
    """
    name = _attribute(item, "_index")
    dataset = item_in(path, item, name) if isinstance(name, str) else None
    if dataset is None or not _is_dataset(dataset) or dataset.dtype.kind not in "OS":
        return None
    return tuple(_texts(path, dataset, allowance))


def column_in(path: Path, table: Any, name: str, allowance: Allowance) -> FactorColumn:
    """A column of a table.

    Raises:
        DataError: there is none, of another encoding, or larger than is allowed.
    """
    item = item_in(path, table, name)
    if item is None:
        held = ", ".join(shown(key, most=40) for key in columns_of(table)[:20]) or "none"
        raise DataError(f"{path} has no column {name!r} in {table.name.lstrip('/')!r} (its columns: {held}); name one.")
    if _is_dataset(item):
        if item.ndim != 1:
            raise _odd(path, item, f"has the shape {item.shape}")
        old = item_in(path, table, f"{_OLD}/{name}")
        if old is not None and _is_dataset(old):
            return _categories(path, name, item, old, allowance)
        if item.dtype.kind in "OS":
            return text_column(name, map(present, _texts(path, item, allowance)))
        return FactorColumn(name, _finite(path, item, _floats(path, item, allowance)))
    encoding = _attribute(item, "encoding-type")
    if encoding == "categorical":
        return _categories(path, name, _part(path, item, "codes"), _part(path, item, "categories"), allowance)
    if isinstance(encoding, str) and encoding.startswith("nullable-"):
        values, gaps = _part(path, item, "values"), _part(path, item, "mask")
        allowance.take(gaps.size * _HELD, gaps.name)
        mask = all_numbers(path, gaps, most=_MOST).astype(bool, copy=False)
        if mask.shape != values.shape or mask.ndim != 1:
            raise _odd(path, item, "has a mask of another length than its values")
        if values.dtype.kind in "OS":
            texts = _texts(path, values, allowance)
            return text_column(name, (None if gap else present(text) for text, gap in zip(texts, mask, strict=True)))
        found = _floats(path, values, allowance)
        found[mask] = np.nan
        return FactorColumn(name, _finite(path, item, found))
    raise _odd(path, item, f"is encoded as {shown(encoding, most=40)}")


def matrix_in(path: Path, item: Any, allowance: Allowance) -> NDArray[Any]:
    """A matrix of an .h5ad file, (n, d): an array, a table of numbers, or a sparse one, which is filled with zeros.

    Raises:
        DataError: it is none, or would take more than is allowed, or than 1 GiB.
    """
    if _is_dataset(item):
        allowance.take(item.size * _HELD, item.name)
        found = all_numbers(path, item, most=_MOST)
        return found[:, None] if found.ndim == 1 else found
    encoding = _attribute(item, "encoding-type")
    if encoding in ("csr_matrix", "csc_matrix"):
        return _dense(path, item, allowance, by_rows=encoding == "csr_matrix")
    if not is_table(item):
        raise _odd(path, item, "holds no matrix")
    columns = [column_in(path, item, name, allowance) for name in columns_of(item)]
    texts = next((column.name for column in columns if column.categories), None)
    if texts is not None or not columns:
        raise _odd(path, item, f"has texts in the column {shown(texts)}" if texts else "has no columns")
    return np.stack([column.values for column in columns], axis=1)


def _categories(path: Path, name: str, codes: Any, categories: Any, allowance: Allowance) -> FactorColumn:
    """Whole numbers that say which category; negative ones are missing."""
    allowance.take(codes.size * NUMBER, codes.name)
    places = all_numbers(path, codes, most=_MOST)
    if places.ndim != 1 or places.dtype.kind not in "iu":
        raise _odd(path, codes, f"is {shown(str(places.dtype))} of the shape {places.shape}")
    texts = _texts(path, categories, allowance) if categories.dtype.kind in "OS" else None
    numbers = _floats(path, categories, allowance) if texts is None else np.empty(len(texts or ()))
    if numbers.ndim != 1:
        raise _odd(path, categories, f"has the shape {numbers.shape}")
    if len(places) and int(places.max()) >= len(numbers):
        raise _odd(path, codes, f"names the category {int(places.max())} of {len(numbers)}")
    if texts is not None:
        return numbered_column(name, places, [present(text) for text in texts])
    return FactorColumn(name, _finite(path, categories, looked_up(numbers, places)))


def _floats(path: Path, dataset: Any, allowance: Allowance) -> NDArray[np.float64]:
    """All of a dataset's numbers."""
    allowance.take(dataset.size * NUMBER, dataset.name)
    return all_numbers(path, dataset, most=_MOST).astype(np.float64, copy=False)


def _texts(path: Path, dataset: Any, allowance: Allowance) -> list[str]:
    """All of a dataset's texts, which while they are read are there twice, and are numbered then."""
    allowance.check(dataset.size * TEXT, dataset.name)
    found = all_texts(path, dataset, most=min(_MOST_TEXTS, allowance.left // 2))
    allowance.take(sum(map(sys.getsizeof, found)) + len(found) * NUMBER, dataset.name)
    return found


def _dense(path: Path, item: Any, allowance: Allowance, *, by_rows: bool) -> NDArray[Any]:
    shape = _attribute(item, "shape")
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(isinstance(n, int) and n >= 0 for n in shape)):
        raise _odd(path, item, "states no shape")
    stored = [_part(path, item, part) for part in ("data", "indices", "indptr")]
    size = math.prod(shape) * _HELD
    if size > min(_MOST, allowance.left):
        raise DataError(
            f"{path}: {item.name.lstrip('/')!r} is sparse, {shape[0]:,} x {shape[1]:,}, and would take {size:,} bytes; "
            f"the limit is {min(_MOST, allowance.left):,}: name an embedding of fewer columns, such as obsm/X_pca."
        )
    allowance.take(size, item.name)
    for part in stored:  # as they are stored, and as positions
        allowance.take(part.size * 2 * NUMBER, part.name)
    values, places, bounds = (all_numbers(path, part, most=_MOST) for part in stored)
    bounds = bounds.astype(np.int64)
    lines, across = shape if by_rows else shape[::-1]
    counts = np.diff(bounds)
    fits = (
        bounds.shape == (lines + 1,) and values.shape == places.shape and values.ndim == 1 and places.dtype.kind in "iu"
        and (not len(bounds) or (bounds[0] == 0 and bounds[-1] == len(values))) and (counts >= 0).all()
    )  # fmt: skip
    if not fits or (len(places) and not (int(places.min()) >= 0 and int(places.max()) < across)):
        raise _odd(path, item, "is a damaged sparse matrix")
    dense = np.zeros(shape, values.dtype)
    by_line = dense if by_rows else dense.T
    np.add.at(by_line, (np.repeat(np.arange(lines), counts), places.astype(np.int64)), values)
    return dense


def _part(path: Path, item: Any, name: str) -> Any:
    found = item_in(path, item, name)
    if found is None or not _is_dataset(found):
        raise _odd(path, item, f"lacks its part {name!r}")
    return found


def _is_dataset(item: Any) -> bool:
    return hasattr(item, "dtype")


def _attribute(item: Any, name: str) -> Any:
    """A text, or a few whole numbers as a tuple; None for anything else."""
    if name not in item.attrs:
        return None
    stored = item.attrs.get_id(name)
    if stored.shape == () and stored.dtype.kind in "OS":
        value = item.attrs[name]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if stored.dtype.kind in "iu" and len(stored.shape) == 1 and stored.shape[0] <= 4:
        return tuple(int(number) for number in item.attrs[name])
    return None


def _finite(path: Path, item: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.isinf(values).any():
        raise _odd(path, item, "holds infinity")
    return values


def _odd(path: Path, item: Any, why: str) -> DataError:
    return DataError(
        f"{path}: {item.name.lstrip('/')!r} {why}; expected a column or matrix as anndata writes it: numbers, texts or "
        "categories."
    )
