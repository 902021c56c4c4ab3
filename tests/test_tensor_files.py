"""Files of tensors: what is written, what is refused, and that nothing of a file is believed before it is compared."""

from __future__ import annotations

import json
import os
import stat
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from disentangle.errors import CheckpointError, OutputError
from disentangle.tensor_files import (
    FileKind,
    read_header,
    read_state,
    read_tensors,
    read_weights,
    tensor_shapes,
    without_wrappers,
    write_state,
    write_tensors,
)

KIND = FileKind("disentangle-test", "a test file", "this test", version=2)


def with_header(path: Path, text: str) -> Path:
    save_file({"a": torch.ones(1)}, path, {"format": "pt", "disentangle": text})
    return path


def test_what_is_written_is_read_by_the_library_itself(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    tensors = {"whole": base, "part": base[2:4], "turned": base.reshape(2, 3).T, "again": base, "none": torch.ones(0)}
    write_tensors(tmp_path / "t.safetensors", tensors, kind=KIND, header={"note": "ü\x7f\n"})
    found = load_file(tmp_path / "t.safetensors")
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert read_header(tmp_path / "t.safetensors", kind=KIND) == {
        "format": "disentangle-test", "version": 2, "note": "ü\x7f\n",
    }  # fmt: skip
    assert tensor_shapes(tmp_path / "t.safetensors")["turned"] == (3, 2)
    assert torch.equal(read_tensors(tmp_path / "t.safetensors")["part"], base[2:4])


def test_equal_content_gives_equal_bytes_and_the_usual_permissions(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    before = os.umask(0o027)
    try:
        for file in files:
            write_tensors(file, {"b": torch.ones(3), "a": torch.zeros(2)}, kind=KIND, header={"x": 1})
    finally:
        os.umask(before)
    assert len({file.read_bytes() for file in files}) == 1
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}
    files[0].chmod(0o604)
    write_tensors(files[0], {"a": torch.ones(1)})
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o604


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null", "holds tensors but no disentangle-test header"),
        ("[1]", "holds tensors but no disentangle-test header"),
        ('{"format": ["disentangle-test"]}', "holds tensors but no"),
        ('{"format": "disentangle-model", "version": 1}', "holds a model; expected a test file written by this test"),
        ('{"format": "disentangle-test"}', "has format version None; this toolkit reads version 1 to 2"),
        ('{"format": "disentangle-test", "version": 3}', "has format version 3"),
        ('{"format": "disentangle-test", "version": true}', "has format version True"),
        ('{"format": "disentangle-test", "version": -1}', "has format version -1"),
        ('{"format"', "is damaged: its header is not valid JSON"),
        ("[" * 100_000, "is damaged: its header is not valid JSON"),
        ("9" * 5_000, "is damaged: its header is not valid JSON"),
    ],
)
def test_headers_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(with_header(tmp_path / "t.safetensors", text), kind=KIND)
    assert len(str(caught.value)) < 500


def test_what_is_no_ordinary_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_bytes(b"")
    for read in (read_tensors, read_state, read_weights, tensor_shapes, lambda path: read_header(path, kind=KIND)):
        for name, message in (
            ("none", "does not exist"),
            ("file/below", "does not exist"),
            ("a\0b", "cannot be read"),
            ("loop", "cannot be read"),
            (".", "is a folder"),
            ("fifo", "is no ordinary file"),
        ):
            with pytest.raises(CheckpointError, match=message):
                read(tmp_path / name)


def test_safetensors_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"

    def written(table: object, data: bytes = bytes(8), length: int | None = None) -> Path:
        text = json.dumps(table).encode()
        path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
        return path

    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    assert set(read_tensors(written({"a": tensor}))) == {"a"}
    for table, length in (
        ({"a": {**tensor, "shape": [2**40]}}, None),
        ({"a": {**tensor, "shape": [2**63, 2]}}, None),
        ({"a": {**tensor, "shape": [-2]}}, None),
        ({"a": {**tensor, "dtype": "F99"}}, None),
        ({"a": tensor, "b": tensor}, None),  # two in one place
        ({"a": {**tensor, "data_offsets": [0, 2**62]}}, None),
        ({"a": tensor}, 2**62),
        ({"a": tensor}, 1),
        ([], None),
    ):
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            read_tensors(written(table, length=length))
        with pytest.raises(CheckpointError):
            tensor_shapes(path)


def test_a_state_with_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    write_state(path, {"step": 1, "w": torch.zeros(4096)})
    content = bytearray(path.read_bytes())
    assert torch.equal(read_state(path)["w"], torch.zeros(4096))
    content[len(content) // 2] ^= 0x10  # in the numbers, where nothing but the checksum can tell
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["w"].any()  # torch does not look
    with pytest.raises(CheckpointError, match="checksum"):
        read_state(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds list, not named parts"):
        read_state(path)


def test_weights_under_wrappers_and_prefixes(tmp_path: Path) -> None:
    layer = nn.Linear(2, 3)
    expected = layer.state_dict()
    for number, content in enumerate(
        [
            expected,
            {"state_dict": expected},
            {"model": {"state_dict": expected}} | {"epoch": 3},
            {f"module.{name}": tensor for name, tensor in expected.items()},
            {f"_orig_mod.module.{name}": tensor for name, tensor in expected.items()},
            nn.DataParallel(layer).state_dict(),
        ]
    ):
        torch.save(content, tmp_path / f"{number}.pth")
        found = read_weights(tmp_path / f"{number}.pth")
        assert list(found) == ["weight", "bias"]
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    save_file(expected, tmp_path / "named.pth")  # told by its content, not by its name
    assert set(read_weights(tmp_path / "named.pth")) == {"weight", "bias"}
    torch.save({"weight": torch.ones(1), "module.weight": torch.ones(1)}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match="two weights of the same name"):
        read_weights(tmp_path / "two.pth")
    assert without_wrappers("module._orig_mod.module.a.module.b") == "a.module.b"


def test_a_bytearray_in_a_few_bytes_takes_no_memory(tmp_path: Path) -> None:
    """``bytearray(8 * 10**9)``, which torch's own restricted reader makes."""
    source = b"\x80\x02}X\x01\x00\x00\x00wc__builtin__\nbytearray\n\x8a\x05\x00\x50\xd6\xdc\x01\x85Rs."
    (tmp_path / "w.pkl").write_bytes(source)
    for read in (read_state, read_weights):
        with pytest.raises(CheckpointError):
            read(tmp_path / "w.pkl")


def test_a_destination_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, message in (("file/t.safetensors", "cannot be written"), (".", "it is a folder")):
        with pytest.raises(OutputError, match=message):
            write_tensors(tmp_path / name, {"a": torch.ones(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
