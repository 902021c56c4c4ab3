"""AnnData's files of cells (.h5ad): annotations, embeddings and matrices, read through h5py alone.

Source: "AnnData on-disk format" (anndata's documentation), encodings ``dataframe``, ``categorical``, ``array``,
``string-array``, ``nullable-*``, ``csr_matrix`` and ``csc_matrix``; and the older form, in which the texts of
categories lie in ``obs/__categories``. Everything is bounded as in :mod:`disentangle.data.hdf5`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle.data.factor_table import FactorColumn, present, text_column
from disentangle.data.hdf5 import all_numbers, all_texts, item_in
from disentangle.errors import DataError
from disentangle.text import shown

__all__ = ["column_in", "columns_of", "index_of", "is_table", "matrix_in"]

_MOST = 1 << 30  # bytes of an array
_MOST_TEXTS = 512 << 20  # bytes of the texts of an array, each with 64 of its own
_OLD = "__categories"


def is_table(item: Any) -> bool:
    """Whether a group is one of named columns."""
    return _attribute(item, "encoding-type") == "dataframe" or _attribute(item, "_index") is not None


def columns_of(item: Any) -> list[str]:
    """The names of a table's columns, in the order of the alphabet, without its index."""
    index = _attribute(item, "_index")
    return [name for name in item if name not in (index, _OLD)]


def index_of(path: Path, item: Any) -> tuple[str, ...] | None:
    """The names of a table's rows; None where they are numbers or there are none.

    Raises:
        DataError: they are damaged.
    """
    name = _attribute(item, "_index")
    dataset = item_in(path, item, name) if isinstance(name, str) else None
    if dataset is None or not _is_dataset(dataset) or dataset.dtype.kind not in "OS":
        return None
    return tuple(all_texts(path, dataset, most=_MOST_TEXTS))


def column_in(path: Path, table: Any, name: str) -> FactorColumn:
    """A column of a table.

    Raises:
        DataError: there is none, or of another encoding.
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
            return _categories(path, name, item, old)
        if item.dtype.kind in "OS":
            return text_column(name, _present(all_texts(path, item, most=_MOST_TEXTS)))
        return FactorColumn(name, _finite(path, item, all_numbers(path, item, most=_MOST).astype(np.float64)))
    encoding = _attribute(item, "encoding-type")
    if encoding == "categorical":
        return _categories(path, name, _part(path, item, "codes"), _part(path, item, "categories"))
    if isinstance(encoding, str) and encoding.startswith("nullable-"):
        values, gaps = _part(path, item, "values"), _part(path, item, "mask")
        mask = all_numbers(path, gaps, most=_MOST).astype(bool)
        if mask.shape != values.shape or mask.ndim != 1:
            raise _odd(path, item, "has a mask of another length than its values")
        if values.dtype.kind in "OS":
            texts = _present(all_texts(path, values, most=_MOST_TEXTS))
            return text_column(name, [None if gap else text for text, gap in zip(texts, mask, strict=True)])
        found = all_numbers(path, values, most=_MOST).astype(np.float64)
        found[mask] = np.nan
        return FactorColumn(name, _finite(path, item, found))
    raise _odd(path, item, f"is encoded as {shown(encoding, most=40)}")


def matrix_in(path: Path, item: Any) -> NDArray[Any]:
    """A matrix of an .h5ad file, (n, d): an array, a table of numbers, or a sparse one, which is filled with zeros.

    Raises:
        DataError: it is none, or would take more than 1 GiB.
    """
    if _is_dataset(item):
        found = all_numbers(path, item, most=_MOST)
        return found[:, None] if found.ndim == 1 else found
    encoding = _attribute(item, "encoding-type")
    if encoding in ("csr_matrix", "csc_matrix"):
        return _dense(path, item, by_rows=encoding == "csr_matrix")
    if not is_table(item):
        raise _odd(path, item, "holds no matrix")
    columns = [column_in(path, item, name) for name in columns_of(item)]
    texts = next((column.name for column in columns if column.categories), None)
    if texts is not None or not columns:
        raise _odd(path, item, f"has texts in the column {shown(texts)}" if texts else "has no columns")
    return np.stack([column.values for column in columns], axis=1)


def _categories(path: Path, name: str, codes: Any, categories: Any) -> FactorColumn:
    """Whole numbers that say which category; negative ones are missing."""
    places = all_numbers(path, codes, most=_MOST)
    if places.ndim != 1 or places.dtype.kind not in "iu":
        raise _odd(path, codes, f"is {shown(str(places.dtype))} of the shape {places.shape}")
    places = places.astype(np.int64)
    texts = categories.dtype.kind in "OS"
    read = _present(all_texts(path, categories, most=_MOST_TEXTS)) if texts else None
    held: Any = all_numbers(path, categories, most=_MOST) if read is None else read
    if len(places) and int(places.max()) >= len(held):
        raise _odd(path, codes, f"names the category {int(places.max())} of {len(held)}")
    missing = places < 0
    if texts:
        return text_column(name, [None if gap else held[place] for place, gap in zip(places, missing, strict=True)])
    values = np.full(len(places), np.nan)
    values[~missing] = np.asarray(held, np.float64)[places[~missing]]
    return FactorColumn(name, _finite(path, categories, values))


def _present(texts: list[str]) -> list[str | None]:
    return [present(text) for text in texts]


def _dense(path: Path, item: Any, *, by_rows: bool) -> NDArray[Any]:
    shape = _attribute(item, "shape")
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(isinstance(n, int) and n >= 0 for n in shape)):
        raise _odd(path, item, "states no shape")
    values = all_numbers(path, _part(path, item, "data"), most=_MOST)
    places = all_numbers(path, _part(path, item, "indices"), most=_MOST)
    bounds = all_numbers(path, _part(path, item, "indptr"), most=_MOST).astype(np.int64)
    size = math.prod(shape) * values.dtype.itemsize
    if size > _MOST:
        raise DataError(
            f"{path}: {item.name.lstrip('/')!r} is sparse, {shape[0]:,} x {shape[1]:,}, and would take {size:,} bytes; "
            f"the limit is {_MOST:,}: name an embedding of fewer columns, such as obsm/X_pca."
        )
    lines, across = shape if by_rows else shape[::-1]
    counts = np.diff(bounds)
    fits = (
        bounds.shape == (lines + 1,) and values.shape == places.shape and values.ndim == 1 and places.dtype.kind in "iu"
        and (not len(bounds) or (bounds[0] == 0 and bounds[-1] == len(values))) and (counts >= 0).all()
    )  # fmt: skip
    if not fits or (len(places) and not (int(places.min()) >= 0 and int(places.max()) < across)):
        raise _odd(path, item, "is a damaged sparse matrix")
    dense = np.zeros((lines, across), values.dtype)
    np.add.at(dense, (np.repeat(np.arange(lines), counts), places.astype(np.int64)), values)
    return dense if by_rows else np.ascontiguousarray(dense.T)


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
