"""Small files of further kinds that once asked for the machine, hung a command or ended in a traceback."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import disentangle
from disentangle.cli import main
from disentangle.data.arrays import array_headers
from disentangle.errors import CheckpointError, DataError, DisentangleError, InputError
from disentangle.evaluations import load_scores
from disentangle.evaluations.generation import FeatureStatistics
from disentangle.images import PictureError, decode_picture
from disentangle.io import read_weights
from disentangle.io.runs import read_stats
from disentangle.latents import Directions, Latents, read_ganspace
from disentangle.models import build_model
from tests.resources import cost, within_bounds

MODEL = {"kind": "gan", "resolution": 16, "latent_dim": 6, "channels": [8, 6, 4]}


def test_components_without_numbers(tmp_path: Path) -> None:
    arrays = {"lat_comp": np.zeros((10**9, 0), np.float32), "lat_stdev": np.zeros(0, np.float32)}
    np.savez(tmp_path / "g.npz", **arrays)
    with pytest.raises(CheckpointError, match="1,000,000,000 components of 0 numbers"):
        read_ganspace(tmp_path / "g.npz")


@pytest.mark.faults
def test_packed_zeros_that_grow_with_their_type(tmp_path: Path) -> None:
    comps = {"lat_comp": np.zeros((200, 640_000), np.uint8), "lat_stdev": np.zeros(200, np.uint8)}
    np.savez_compressed(tmp_path / "g.npz", **comps)
    np.savez_compressed(tmp_path / "s.npz", mu=np.zeros(11_000, np.uint8), sigma=np.zeros((11_000, 11_000), np.uint8))
    np.savez_compressed(tmp_path / "f.npz", mu=np.zeros(2_000, "f2"), sigma=np.zeros((2_000, 2_000), "f2"))
    for name, read in (("g", read_ganspace), ("s", FeatureStatistics.load), ("f", FeatureStatistics.load)):
        path = tmp_path / f"{name}.npz"
        found = cost(lambda read=read, path=path: read(path))
        assert within_bounds(found, path.stat().st_size), (name, found)


def test_a_group_that_hangs_in_itself(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        for number in range(900):
            file[f"g{number}"] = file["/"]
    found = cost(lambda: array_headers(tmp_path / "c.h5"), seconds=30)
    assert found.outcome == "sentence", found
    assert within_bounds(found, (tmp_path / "c.h5").stat().st_size), found


def segments(count: int) -> bytes:
    return b"\xff\xd8" + b"\xff\xe1\x00\x02" * count + b"\xff\xd9"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (segments(20_000), "segments; it is damaged"),
        (b"\xff\xd8\xff\xca\x00\x0b\x08" + struct.pack(">HHB", 8, 8, 1) + b"\x01\x11\x00" + b"\xff\xda", "arithmetic"),
        (b"P2\n" + b"#\n" * 2_000 + b"1 1\n255\n0\n", "comments; it is damaged"),
    ],
)
def test_pictures_that_take_time(content: bytes, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        decode_picture(content)


def test_json_and_logs_whose_lists_grow_in_memory(tmp_path: Path) -> None:
    text = "[" + "{}," * 6_000_000 + "{}]"
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match="has more than 16,777,216 bytes"):
        load_scores(tmp_path / "s.json")
    save_file({"a": torch.ones(1)}, tmp_path / "m.safetensors", {"disentangle": text})
    with pytest.raises(CheckpointError, match="expected a JSON text of at most 16,777,216"):
        disentangle.load(tmp_path / "m.safetensors")
    (tmp_path / "stats.jsonl").write_text('{"step": 1}\n{"step": 2, "x": ' + text + '}\n{"step": 3}\n')
    assert [line["step"] for line in read_stats(tmp_path)] == [1, 3]


def test_very_many_empty_tensors(tmp_path: Path) -> None:
    table = {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(120_000)}
    text = json.dumps(table).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(CheckpointError, match="holds 120,000 tensors"):
        read_weights(tmp_path / "m.safetensors")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_of_another_kind_of_number(dtype: torch.dtype, tmp_path: Path) -> None:
    disentangle.save(build_model(MODEL, seed=0), tmp_path / "m.safetensors")
    tensors = {
        name: t.to(dtype) if t.is_floating_point() else t for name, t in load_file(tmp_path / "m.safetensors").items()
    }
    header = json.dumps({"format": "disentangle-model", "version": 1, **MODEL})
    save_file(tensors, tmp_path / "m.safetensors", {"disentangle": header})
    with pytest.raises(CheckpointError, match="first.bias is of .*, expected floating point"):
        disentangle.load(tmp_path / "m.safetensors")


def written(path: Path, kind: str, header: dict[str, object], tensors: dict[str, tuple[str, list[int], bytes]]) -> Path:
    """A safetensors file of any types of numbers."""
    table: dict[str, object] = {
        "__metadata__": {"disentangle": json.dumps({"format": f"disentangle-{kind}", "version": 1, **header})}
    }
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_directions_and_latents_of_odd_numbers(tmp_path: Path) -> None:
    header = {"space": "w", "labels": ["a", "b"], "method": "x", "layers": [[float("inf")], [0]]}
    floats = {"vectors": ("F32", [2, 2], bytes(16)), "scale": ("F32", [2], bytes(8))}
    with pytest.raises(CheckpointError, match="not a readable file of directions"):
        Directions.load(written(tmp_path / "d.safetensors", "directions", header, floats))
    eighths = {"vectors": ("F8_E4M3", [2, 2], bytes(4)), "scale": ("F32", [2], bytes(8))}
    with pytest.raises(CheckpointError, match="expected .* floating point"):
        Directions.load(written(tmp_path / "d.safetensors", "directions", {**header, "layers": None}, eighths))
    with pytest.raises(CheckpointError, match="expected .* floating point|readable"):
        Latents.load(
            written(tmp_path / "l.safetensors", "latent", {"space": "z"}, {"latents": ("F8_E4M3", [1, 4], bytes(4))})
        )


def test_what_waits_for_a_writer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("disentangle.json_files._PATIENCE", 0.1)
    for name in ("s.json", "stats.jsonl", "SHA256SUMS"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="nobody writes into this pipe"):
        load_scores(tmp_path / "s.json")
    with pytest.raises(DataError, match="FIFO"):
        read_stats(tmp_path)
    disentangle.save(build_model(MODEL, seed=0), tmp_path / "model.safetensors")
    with pytest.raises(DisentangleError, match="FIFO"):
        disentangle.load(tmp_path)


def test_a_log_without_anything_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "stats.jsonl").write_text('{"step": 3}\n')
    with pytest.raises(SystemExit, match="0"):
        main(["report", str(tmp_path)])
    assert "there are no curves" in capsys.readouterr().err
    assert (tmp_path / "report.html").is_file()


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"m\xff.safetensors")
    model = build_model(MODEL, seed=0)
    disentangle.save(model, os.fsdecode(path))
    loaded = disentangle.load(os.fsdecode(path))
    assert torch.equal(loaded.first.weight, model.first.weight)
    with pytest.raises(InputError, match="Unknown model"):
        disentangle.load("x" * 5000)


def test_notes_that_json_has_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no plain JSON"):
        disentangle.save(build_model(MODEL, seed=0), tmp_path / "m.safetensors", provenance={"a": float("nan")})
    assert not list(tmp_path.iterdir())
