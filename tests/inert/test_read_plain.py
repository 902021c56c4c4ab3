"""Files of tensors and plain containers: what ``torch.load(weights_only=True)`` gives, and no more."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.errors import CheckpointError
from disentangle.inert import Limits, read_plain

# Quantised types need a scale to mean anything, and torch itself saves none of less than a byte.
NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
READ = [
    dtype for name, dtype in sorted(TYPES.items())
    if ("int" not in name or name.removeprefix("torch.") in NUMBERS) and name != "torch.bit"
]  # fmt: skip


def same(found: Any, expected: Any) -> None:
    """Equal, of the same type, to the last bit and stride."""
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        for what in ("dtype", "shape", "device", "layout"):
            assert getattr(found, what) == getattr(expected, what)
        assert found.stride() == expected.stride()
        assert found.storage_offset() == expected.storage_offset() or not found.numel()  # nothing lies nowhere
        assert (found.is_conj(), found.is_neg()) == (expected.is_conj(), expected.is_neg())
        assert raw(found) == raw(expected)
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        assert [type(key) for key in found] == [type(key) for key in expected]
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert isinstance(found, list if isinstance(expected, list) else tuple)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert found == expected or (found != found and expected != expected)
        assert type(found) is (bytes if isinstance(expected, bytearray) else type(expected))


def raw(tensor: torch.Tensor) -> bytes:
    """The bytes of its whole storage."""
    storage = tensor.untyped_storage()
    return bytes(torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,)).tolist())


def numbers(dtype: torch.dtype) -> torch.Tensor:
    """24 of them, of random bits."""
    draw = torch.Generator().manual_seed(0)
    count = 2 if dtype == torch.bool else 256
    return torch.randint(0, count, (24 * dtype.itemsize,), generator=draw, dtype=torch.uint8).view(dtype)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
@pytest.mark.parametrize("dtype", READ, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_tensors_of_every_type(dtype, zipped, tmp_path):
    values = numbers(dtype)
    data = {"all": values, "part": values[3:15].view(4, 3).t(), "one": values[5], "none": values[:0], "type": dtype}
    torch.save(data, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_plain(tmp_path / "x.pt")
    same(found, data)
    assert found["all"].untyped_storage().data_ptr() == found["part"].untyped_storage().data_ptr()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
def test_everything_that_a_training_state_holds(zipped, tmp_path):
    random.seed(0)
    shared = torch.arange(10.0)
    data = {
        "random": {"torch": torch.get_rng_state(), "python": random.getstate(), "step": 3},
        "odd": [None, True, 2**70, -(2**70), float("inf"), float("nan"), "\ud800 \N{GRINNING FACE}", b"", b"x" * 9000],
        "bytes": bytearray(b"abc"), "complex": 1 + 2j, "set": {1, "two", 3.5}, "ordered": OrderedDict(b=1, a=2),
        "counted": Counter("abca"), "shape": torch.Size([1, 2]), "device": torch.device("cuda", 1),
        "cpu": torch.device("cpu"),
        "dtype": torch.bfloat16, "layout": torch.strided, "nested": ((), [], {}, ((1,), [2])), 3: "three",
        (1, "a"): "pair",
        "views": [shared, shared[2:5], shared.view(2, 5).t()], "parameter": torch.nn.Parameter(torch.ones(2)),
        "conjugate": torch.tensor([1 + 2j]).conj(), "negative": torch._neg_view(torch.ones(3)),
        "empty": torch.zeros(3, 0, 5),
        "number": torch.tensor(3.5), "channels last": torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }  # fmt: skip
    torch.save(data, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_plain(tmp_path / "x.pt")
    # Without its restrictions, which do not let empty bytes through.
    same(found, torch.load(tmp_path / "x.pt", weights_only=False))
    one, two, three = found["views"]
    one[2] = 99.0
    assert two[0] == 99.0
    assert three[2, 0] == 99.0


def test_numbers_of_numpy_are_numbers(tmp_path):
    data = {"f": np.float64(2.5), "i": np.int64(-3), "u": np.uint64(2**64 - 1), "b": np.bool_(True), "s": np.str_("x")}
    arrays = {
        "u4": np.array([2**32 - 1], dtype=np.uint32),
        "big": np.array([1, 2], dtype=">f8"),
        "text": np.array(["é", "b"]),
    }
    torch.save({**data, **arrays}, tmp_path / "x.pt")
    found = read_plain(tmp_path / "x.pt")
    same({name: found[name] for name in data}, {"f": 2.5, "i": -3, "u": 2**64 - 1, "b": True, "s": "x"})
    assert found["u4"].dtype == torch.uint32
    assert found["u4"].tolist() == [2**32 - 1]
    assert found["big"].tolist() == [1.0, 2.0]
    assert found["text"] == ["é", "b"]


OPTIMIZERS = sorted(
    name for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
)  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
def test_states_of_optimizers(name, zipped, tmp_path):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = getattr(torch.optim, name)([weight], lr=0.01)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = weight.square().sum()
        value.backward()
        if name == "SparseAdam":
            weight.grad = weight.grad.to_sparse()
        return value

    for _ in range(3):
        optimizer.step(loss)
    torch.save(optimizer.state_dict(), tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    same(read_plain(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt", weights_only=True))


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**100), 2**100), st.floats(), st.text(), st.binary(max_size=6000),
    st.complex_numbers(), st.sampled_from([torch.float32, torch.int8, torch.device("cpu"), torch.Size([2, 3])]),
)  # fmt: skip
shapes = st.lists(st.integers(0, 3), max_size=4)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    tensor = torch.zeros(
        draw(shapes), dtype=draw(st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]))
    )
    if tensor.ndim and draw(st.booleans()):
        tensor = tensor.transpose(0, -1)
    return tensor[1:] if tensor.ndim and len(tensor) > 1 and draw(st.booleans()) else tensor


keys = st.one_of(
    st.text(), st.integers(-(2**40), 2**40), st.booleans(), st.binary(), st.tuples(st.integers(0, 9), st.text())
)
plain = st.recursive(
    st.one_of(scalars, tensors()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.lists(inner, max_size=4).map(tuple), st.dictionaries(keys, inner, max_size=5),
        st.sets(keys, max_size=4), st.lists(st.tuples(keys, inner), max_size=4).map(OrderedDict),
        inner.map(lambda shared: [shared, shared, {"again": shared}]),
    ),
    max_leaves=25,
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=plain, zipped=st.booleans(), protocol=st.sampled_from([2, 4]))
def test_random_structures(data, zipped, protocol, tmp_path):
    torch.save(data, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    same(read_plain(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt", weights_only=False))


# -------------------------------------------------------------------------------------------------- what is refused


class Thing:
    pass


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"a": Thing()}, "an object of the class"),
        ({"a": [Thing]}, "the name"),
        ({"a": {Thing}}, "as a key"),
        ({Thing: 1}, "as a key"),
        ({(1, Thing): 1}, "as a key"),
        (((os.system,),), "the name"),
        (torch.zeros(2).untyped_storage(), "a Storage"),
        ({"a": torch.eye(2).to_sparse()}, "expected dense tensors"),
        ({"a": range(3)}, "an object of the class"),
    ],
)
def test_anything_else_is_refused(data, said, tmp_path):
    torch.save(data, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=said):
        read_plain(tmp_path / "x.pt")


def test_what_is_shared_counts_in_each_place(tmp_path):
    """A list of lists of ... of one list is small here, and whoever walks it never comes back."""
    data: Any = [1]
    for _ in range(60):
        data = [data, data]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(CheckpointError, match="few things in very many places"):
        read_plain(tmp_path / "x.pkl")
    data = torch.zeros(2**20)
    torch.save([data] * 1000, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="few things in very many places"):
        read_plain(tmp_path / "x.pt")
    assert len(read_plain(tmp_path / "x.pt", limits=Limits().times(20))) == 1000
    data = []
    data.append(data)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(CheckpointError, match="holds itself"):
        read_plain(tmp_path / "x.pkl")


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    """A file of torch.save has a checksum of each part."""
    data = {"weight": torch.arange(5.0), "step": 7, "name": "x"}
    path = tmp_path / "x.pt"
    torch.save(data, path)
    content = path.read_bytes()
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            same(read_plain(path), data)
        except CheckpointError:
            refused += 1
    parts = sum(info.file_size for info in zipfile.ZipFile(_as(tmp_path, content)).infolist())
    assert refused >= parts


def _as(folder: Path, content: bytes) -> Path:
    (folder / "whole.pt").write_bytes(content)
    return folder / "whole.pt"


def test_nothing_is_a_view_of_the_file(tmp_path):
    for zipped in (True, False):
        path = tmp_path / "x.pt"
        torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=zipped)
        found = read_plain(path)
        with path.open("r+b") as file:
            file.truncate(0)
        assert found["a"].sum() == 1000


@pytest.mark.faults
def test_mutated_files(tmp_path):
    """Five hundred random changes of torch's files: data, or one sentence."""
    source = random.Random(0)
    contents, said = [], []
    for zipped in (True, False):
        data = {"w": [torch.randn(3, 4), torch.ones(2).bfloat16()], "s": {1, 2}, "n": (1.5, None, "x")}
        torch.save(data, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        contents.append((tmp_path / "x.pt").read_bytes())
    for index in range(500):
        changed = bytearray(contents[index % 2])
        for _ in range(source.choice([1, 1, 2, 8])):
            place = source.randrange(len(changed))
            match source.randrange(3):
                case 0:
                    changed[place] = source.randrange(256)
                case 1:
                    del changed[place : place + source.randrange(1, 20)]
                case 2:
                    changed[place:place] = source.randbytes(source.randrange(1, 9))
        (tmp_path / "x.pt").write_bytes(changed)
        try:
            read_plain(tmp_path / "x.pt")
        except CheckpointError as error:
            said.append(str(error))
    assert all(message.isprintable() and len(message) < 600 for message in said)
    assert len(said) > 100
