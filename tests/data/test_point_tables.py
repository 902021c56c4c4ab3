"""Codes and factors from the files that people keep them in."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from disentangle.data import matched, read_codes, read_factors
from disentangle.data.hdf5 import _from_lzf
from disentangle.errors import DataError, DisentangleError, InputError
from tests.resources import MIB, cost, within_bounds

TEXT = "cell,z1,z2,kind,age\na,0.5,1,T cell,31.5\nb,1.5,2,B cell,\nc,2.5,3,T cell,40\nd,-1,4,,12\n"
TEXTS = h5py.string_dtype()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TEXT)
    return path


def annotated(path: Path, *, index: list[str] | None = None) -> Path:
    """A file as anndata lays it out: an embedding, two columns of cells, a sparse matrix."""
    with h5py.File(path, "w") as file:
        obs = file.create_group("obs")
        obs.attrs.update({"encoding-type": "dataframe", "_index": "_index"})
        obs.create_dataset("_index", data=index or ["a", "b", "c", "d"], dtype=TEXTS)
        kind = obs.create_group("kind")
        kind.attrs["encoding-type"] = "categorical"
        kind.create_dataset("codes", data=np.array([1, 0, 1, -1], np.int8))
        kind.create_dataset("categories", data=["B cell", "T cell"], dtype=TEXTS)
        obs.create_dataset("age", data=[31.5, np.nan, 40, 12])
        file.create_dataset("obsm/X_pca", data=np.arange(8, dtype=np.float32).reshape(4, 2))
        sparse = file.create_group("X")
        sparse.attrs.update({"encoding-type": "csr_matrix", "shape": [4, 3]})
        sparse.create_dataset("data", data=[5.0, 6.0, 7.0])
        sparse.create_dataset("indices", data=[0, 2, 1])
        sparse.create_dataset("indptr", data=[0, 2, 2, 3, 3])
    return path


def test_columns_of_a_text_table(table: Path):
    codes = read_codes(f"{table}:z1,z2")
    assert codes.values.tolist() == [[0.5, 1], [1.5, 2], [2.5, 3], [-1, 4]]
    assert (codes.names, codes.ids) == (("z1", "z2"), ("a", "b", "c", "d"))
    assert read_codes(f"{table}:z*").names == ("z1", "z2")
    factors = read_factors(f"{table}:kind,age")
    assert factors.columns[0].categories == ("B cell", "T cell")
    assert np.array_equal(factors.columns[0].values, [1, 0, 1, np.nan], equal_nan=True)
    assert np.array_equal(factors.columns[1].values, [31.5, np.nan, 40, 12], equal_nan=True)
    assert read_factors(table).names == ("z1", "z2", "kind", "age")  # the names of rows are no factor
    assert "kind: 2 values (B cell, T cell), discrete, 1 missing" in factors.description(factors.kinds())


def test_a_text_in_a_numbers_place_names_row_and_column(table: Path):
    with pytest.raises(DataError, match="line 2 has 'T cell' in the column 'kind'; codes are numbers"):
        read_codes(table)
    table.write_text("z1,z2\n1,2\n3,oops\n")
    with pytest.raises(DataError, match="line 3 has 'oops' in the column 'z2'"):
        read_codes(table)
    table.write_text("z1,z2\n1,2\n3,\n")
    with pytest.raises(DataError, match="line 3 has nothing in the column 'z2'"):
        read_codes(table)
    with pytest.raises(DataError, match="has no 'z9' \\(it has: z1, z2\\)"):
        read_codes(f"{table}:z9")


def test_tables_are_joined_by_the_names_of_their_rows(table: Path, tmp_path: Path):
    other = tmp_path / "y.tsv"
    other.write_text("id\tkind\nd\tx\na\ty\nq\tx\n")
    codes, factors, note = matched(read_codes(f"{table}:z1,z2"), read_factors(other))
    assert codes.tolist() == [[0.5, 1], [-1, 4]]
    assert factors.columns[0].values.tolist() == [1, 0]
    assert note == "joined by name: 2 points in both, 2 with codes alone and 1 with factors alone left out."
    with pytest.raises(DataError, match=r"4 rows and .* 3; expected one row for each point in both"):
        matched(read_codes(f"{table}:z1,z2"), read_factors(other), by_id=False)
    other.write_text("id\tkind\nd\tx\nd\ty\n")
    with pytest.raises(DataError, match="several rows about 'd'"):
        matched(read_codes(f"{table}:z1,z2"), read_factors(other, id_column="id"))
    other.write_text("id\tkind\nu\tx\nv\ty\n")
    with pytest.raises(DataError, match="name no point in common"):
        matched(read_codes(f"{table}:z1,z2"), read_factors(other))


def test_arrays_and_tensors(tmp_path: Path):
    values = np.arange(6.0).reshape(3, 2)
    np.savez(tmp_path / "a.npz", z=values, y=np.array([3, 1, 3]), kind=np.array(["u", "v", ""]))
    save_file({"z": torch.tensor(values, dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/z"] = values
    for place in ("a.npz:z", "a.safetensors", "a.safetensors:z", "a.h5", "a.h5:deep/z"):
        assert read_codes(tmp_path / place).values.tolist() == values.tolist(), place
    factors = read_factors(tmp_path / "a.npz:y,kind")
    assert factors.names == ("y", "kind")
    assert np.array_equal(factors.values(factors.kinds()), [[3, 0], [1, 1], [3, np.nan]], equal_nan=True)
    assert factors.kinds("y=continuous") == ["continuous", "discrete"]
    with pytest.raises(InputError, match="names 'x', which is no factor"):
        factors.kinds("x=continuous")
    with pytest.raises(DataError, match=r"holds 3 arrays \(z, y, kind\); name one"):
        read_codes(tmp_path / "a.npz")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not of plain numbers"):
        read_codes(tmp_path / "o.npy")
    np.save(tmp_path / "t.npy", np.frombuffer(b"\xff\xff\xff\xff\0\0\0\0", "<U1"))  # no letter of Unicode
    with pytest.raises(DataError, match="holds texts that are damaged"):
        read_factors(tmp_path / "t.npy")


def test_whole_numbers_of_an_array_stay_what_they_are(tmp_path: Path):
    """Protocols that cut factors into bins see their values."""
    np.save(tmp_path / "y.npy", np.array([[10, 0], [40, 7], [10, 7]]))
    factors = read_factors(tmp_path / "y.npy")
    assert factors.kinds() == ["discrete", "discrete"]
    assert factors.values(factors.kinds()).tolist() == [[10, 0], [40, 7], [10, 7]]
    np.save(tmp_path / "y.npy", np.array([[0.25, 2**53 + 1], [0.5, 2**53]]))
    factors = read_factors(tmp_path / "y.npy")
    assert factors.values(["discrete", "continuous"]).tolist() == [[0, 2**53], [1, 2**53]]


def test_a_file_of_cells(tmp_path: Path):
    path = annotated(tmp_path / "c.h5ad")
    codes = read_codes(f"{path}:obsm/X_pca")
    assert codes.values.dtype == np.float32
    assert codes.values.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert read_codes(path).values.tolist() == [[5, 0, 6], [0, 0, 0], [0, 7, 0], [0, 0, 0]]
    factors = read_factors(f"{path}:obs/kind,age")
    assert (factors.names, factors.ids) == (("kind", "age"), ("a", "b", "c", "d"))
    assert np.array_equal(factors.columns[0].values, [1, 0, 1, np.nan], equal_nan=True)
    assert read_factors(path).names == ("age", "kind")
    with pytest.raises(DataError, match="it has: obsm/X_pca, X, obs"):
        read_codes(f"{path}:X_umap")


def test_a_file_that_anndata_wrote():
    """By anndata 0.12.19, compressed; see tests/reference/README.md for what was put into it."""
    path = Path(__file__).parents[1] / "reference" / "cells.h5ad"
    matrix = [[0, 2, 0], [1, 0, 0], [0, 0, 3], [0, 0, 0], [4, 0, 5], [0, 6, 0]]
    assert read_codes(f"{path}:X").values.tolist() == matrix
    assert read_codes(f"{path}:layers/columns").values.tolist() == matrix
    assert read_codes(f"{path}:obsm/X_pca").values.tolist() == np.arange(12).reshape(6, 2).tolist()
    factors = read_factors(f"{path}:obs/cell_type,age,stage,treated")
    assert factors.ids == tuple(f"AAAC-{i}" for i in range(6))
    assert factors.columns[0].categories == ("B cell", "NK", "T cell")
    gap = np.nan
    expected = [[2, 0, gap, 1, 2, 0], [31.5, gap, 40, 12, 7, 7.5], [1, 2, gap, 0, 1, 2], [1, 0, 1, 1, 0, 0]]
    assert np.array_equal([column.values for column in factors.columns], expected, equal_nan=True)


@pytest.mark.parametrize("damage", ["link", "external", "code", "pointer", "shape", "text"])
def test_hostile_files_of_cells(tmp_path: Path, damage: str):
    path = annotated(tmp_path / "c.h5ad")
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(path, "a") as file:
        if damage == "link":
            del file["obsm/X_pca"]
            file["obsm/X_pca"] = h5py.ExternalLink("other.h5", "/z")
        elif damage == "external":
            del file["obsm/X_pca"]
            file.create_dataset("obsm/X_pca", (4, 2), "f8", external=[(str(tmp_path / "secret"), 0, 64)])
        elif damage == "code":
            file["obs/kind/codes"][0] = 9
        elif damage == "pointer":
            file["X/indices"][0] = 3
        elif damage == "shape":
            file["X"].attrs["shape"] = [4, 2**40]
        else:  # the names of cells are longer, altogether, than is read
            del file["obs/_index"]
            file["obs"].create_dataset("_index", (2**24,), TEXTS, chunks=(2**20,))
    of_codes = damage in ("link", "external", "pointer", "shape")
    place = "X" if damage in ("pointer", "shape") else "obsm/X_pca" if of_codes else "obs/kind"
    with pytest.raises(DisentangleError):
        (read_codes if of_codes else read_factors)(f"{path}:{place}")


def test_many_references_to_one_long_text_are_counted_before_they_are_read(tmp_path: Path):
    """A file of a megabyte whose two thousand texts are one and the same would be gibibytes."""
    path = annotated(tmp_path / "c.h5ad", index=["x" * 2**20, "b", "c", "d"])
    with h5py.File(path, "r") as file:
        place = file["obs/_index"].id.get_offset()
    with h5py.File(path, "a") as file:
        names = file["obs"].create_dataset("many", (2000,), TEXTS)
        names[:] = "y"
        file["obs"].attrs["_index"] = "many"
        other = names.id.get_offset()
    raw = bytearray(path.read_bytes())
    raw[other : other + 2000 * 16] = raw[place : place + 16] * 2000
    path.write_bytes(raw)
    with pytest.raises(DataError, match="the texts of 'obs/many' would take 2,09"):
        read_factors(f"{path}:obs/kind")


def test_lzf_as_it_is_described():
    # "abc", then 6 letters copied from 3 back, which reach into themselves
    assert _from_lzf(bytes([2, *b"abc", (4 << 5) | 0, 2]), 100) == b"abcabcabc"
    assert _from_lzf(bytes([0, *b"a", 7 << 5, 1, 0]), 100) == b"a" * 11
    with pytest.raises(ValueError, match="before its beginning"):
        _from_lzf(bytes([0, *b"a", 1 << 5, 5]), 100)


def test_a_parquet_file(tmp_path: Path, table: Path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    held = pa.table({"z1": [0.5, 1.5], "n": [1, None], "kind": ["T", None], "when": pa.array([1, 2], pa.date32())})
    parquet.write_table(held, path)
    assert read_codes(f"{path}:z1").values.tolist() == [[0.5], [1.5]]
    factors = read_factors(f"{path}:n,kind")
    assert np.array_equal(factors.columns[0].values, [1, np.nan], equal_nan=True)
    assert (factors.columns[1].categories, factors.columns[1].missing) == (("T",), 1)
    with pytest.raises(DataError, match="of the type date32"):
        read_factors(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        read_factors(path)


def test_names_with_colons_and_files_that_are_none(tmp_path: Path):
    odd = tmp_path / "a:z1.csv"
    odd.write_text("z1,z:2\n1,2\n3,4\n")
    assert read_codes(odd).names == ("z1", "z:2")
    assert read_codes(f"{odd}:z:2").values.tolist() == [[2], [4]]
    with pytest.raises(DataError, match="does not exist"):
        read_codes(tmp_path / "none.csv:z1")
    (tmp_path / "x.bin").write_bytes(b"\x00\x01\x02\x03")
    with pytest.raises(DataError, match="no file of a known kind"):
        read_codes(tmp_path / "x.bin")


@pytest.mark.parametrize("slip", [5, None, b"codes.npy"])
def test_what_is_no_path_and_no_codes_ends_in_a_sentence(slip: object):
    for call in (read_codes, read_factors):
        with pytest.raises(InputError, match="place is .*; expected a name or a path"):
            call(slip)
    with pytest.raises(InputError, match="codes is .*; expected a Codes"):
        matched(slip, slip)


def test_one_long_text_in_many_rows_of_a_parquet_file(tmp_path: Path):
    """A dictionary of one text and a few bytes for all rows: no row may become a text of its own."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    texts = pa.array(["x" * MIB, None, "y"])
    rows = pa.array([0] * 600 + [1, 2], pa.int32())
    parquet.write_table(pa.table({"kind": texts.take(rows), "n": range(602)}), path, compression="zstd")
    found = cost(lambda: read_factors(path))
    assert found.outcome == "returned", found
    assert within_bounds(found, path.stat().st_size), found
    kind = read_factors(f"{path}:kind").columns[0]
    assert [text[0] for text in kind.categories] == ["x", "y"]
    assert np.array_equal(kind.values, [0] * 600 + [np.nan, 1], equal_nan=True)


def test_many_rows_in_a_small_parquet_file(tmp_path: Path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    zeros = pa.array(np.zeros(20_000_000, np.int8))
    parquet.write_table(pa.table({"a": zeros, "b": zeros, "c": zeros, "d": zeros}), path, compression="zstd")
    found = cost(lambda: read_factors(path))
    assert "would take 320,000,000 bytes of memory" in found.message, found
    assert within_bounds(found, path.stat().st_size), found
    assert within_bounds(cost(lambda: read_factors(f"{path}:a")), path.stat().st_size)


@pytest.mark.parametrize("count", [25_000_000, 2**27])
def test_many_cells_of_a_byte_each(tmp_path: Path, count: int):
    """Codes of categories are stored in 8 bits, and packed to nearly nothing; as a factor a cell is 8 bytes."""
    path = annotated(tmp_path / "c.h5ad", index=["a"])
    with h5py.File(path, "a") as file:
        for name in ("kind/codes", "age", "_index"):
            del file[f"obs/{name}"]
        zeros = {"shape": (count,), "dtype": np.int8, "chunks": (2**20,), "compression": "gzip"}
        file["obs"].create_dataset("kind/codes", **zeros)
        file["obs"].create_dataset("age", **zeros)
        for start in range(0, count, 2**20):
            for name in ("kind/codes", "age"):
                block = np.zeros(min(2**20, count - start), np.int8)
                file[f"obs/{name}"][start : start + len(block)] = block
    for name in ("kind", "age", "kind,age", "*"):
        found = cost(lambda name=name: read_factors(f"{path}:obs/{name}"))
        assert within_bounds(found, path.stat().st_size), (name, found)
        assert found.outcome == ("returned" if count < 2**25 and name in ("kind", "age") else "sentence"), (name, found)
    found = cost(lambda: read_codes(f"{path}:obs/age"))
    assert within_bounds(found, path.stat().st_size), found


@pytest.mark.parametrize(
    ("line", "count", "outcome"),
    [
        ("a\n", 2**20, "returned"),
        ("a\n", 2**22 + 1, "sentence"),
        ("1,\n", 2**20, "returned"),
        (f"1{',' * 900}\n", 1_000, "returned"),
    ],
)
def test_a_table_of_short_lines(tmp_path: Path, line: str, count: int, outcome: str):
    path = tmp_path / "t.csv"
    header = ",".join(f"c{i}" for i in range(line.count(",") + 1))
    path.write_text(f"{header}\n{line * count}")
    found = cost(lambda: read_factors(path))
    assert found.outcome == outcome, found
    assert outcome == "returned" or "expected at most 4,194,304 rows" in found.message
    assert found.bytes <= 64 * MIB + 16 * path.stat().st_size, found
    assert within_bounds(found, path.stat().st_size), found


def test_a_row_without_an_end(tmp_path: Path):
    for text in ("a,b\n" + "," * 2**25, 'a,b\n"' + '","\n' * 2**23):
        (tmp_path / "t.csv").write_text(text)
        found = cost(lambda: read_factors(tmp_path / "t.csv"))
        assert "belongs to a row of 16,777,216 letters or more" in found.message, found
        assert within_bounds(found, len(text)), found
