"""Model files and training states: round trips, and every way a file can be wrong."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

import disentangle
from disentangle.errors import CheckpointError, InputError
from disentangle.io import find_model, load_state, model_info, save_state
from disentangle.models import build_model

SMALL = {"kind": "gan", "resolution": 16, "latent_dim": 6, "channels": [8, 6, 4]}


@pytest.fixture
def saved(tmp_path):
    model = build_model(SMALL, seed=0)
    path = tmp_path / "model.safetensors"
    disentangle.save(model, path, provenance={"step": 12})
    return model, path


def rewrite(path, *, tensors=None, header=None):
    """The file with some tensors or header fields changed."""
    content = load_file(path) if tensors is None else tensors
    record = {**model_info(path), **(header or {})}
    save_file(content, path, {"format": "pt", "disentangle": json.dumps(record)})


def test_one_file_is_a_complete_model(saved):
    model, path = saved
    loaded = disentangle.load(path)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    z = torch.randn(2, 6)
    with torch.no_grad():
        assert torch.equal(loaded(z), model.eval()(z))
    info = model_info(path)
    assert (info["format"], info["version"], info["kind"]) == ("disentangle-model", 1, "gan")
    assert info["provenance"] == {"step": 12}


def test_a_compiled_or_data_parallel_model_is_saved_as_itself(saved, tmp_path):
    model, path = saved
    for number, wrapped in enumerate((torch.compile(model), torch.nn.DataParallel(model))):
        disentangle.save(wrapped, tmp_path / f"{number}.safetensors", provenance={"step": 12})
        assert (tmp_path / f"{number}.safetensors").read_bytes() == path.read_bytes()


def test_half_precision_file(saved, tmp_path):
    model, path = saved
    small = tmp_path / "half.safetensors"
    disentangle.save(model, small, dtype=torch.float16)
    assert small.stat().st_size < 0.6 * path.stat().st_size
    loaded = disentangle.load(small)
    assert next(loaded.parameters()).dtype == torch.float32
    assert torch.allclose(loaded.first.weight, model.first.weight, atol=1e-4)


def test_found_by_folder_and_run(saved, tmp_path):
    _, path = saved
    run = tmp_path / "run"
    (run / "checkpoints" / "000010").mkdir(parents=True)
    path.rename(run / "checkpoints" / "000010" / "model.safetensors")
    (run / "latest").write_text("000010\n")
    file = run / "checkpoints" / "000010" / "model.safetensors"
    assert find_model(run) == find_model(file.parent) == find_model(file) == file


def test_unknown_name_suggests(tmp_path):
    with pytest.raises(InputError, match="Unknown model 'vae-room'.*run folder or a .safetensors file"):
        disentangle.load("vae-room")
    with pytest.raises(CheckpointError, match="holds no model"):
        disentangle.load(tmp_path)


def test_damaged_files(saved, tmp_path):
    _, path = saved
    content = path.read_bytes()
    for cut in (0, 4, 100, len(content) - 10):
        path.write_bytes(content[:cut])
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            disentangle.load(path)
    path.write_bytes(pickle.dumps({"state": 1}))
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        disentangle.load(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        model_info(tmp_path / "none.safetensors")


def test_other_safetensors_and_versions(saved, tmp_path):
    _, path = saved
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(2)}, foreign)
    with pytest.raises(CheckpointError, match="holds tensors but no disentangle-model header"):
        disentangle.load(foreign)
    rewrite(path, header={"version": 9})
    with pytest.raises(CheckpointError, match="format version 9; this toolkit reads version 1"):
        disentangle.load(path)


def test_header_and_tensors_must_fit(saved):
    _, path = saved
    original = load_file(path)
    rewrite(path, header={"kind": "ganz"})
    with pytest.raises(CheckpointError, match="did you mean 'gan'"):
        disentangle.load(path)
    rewrite(path, header={"kind": "gan", "latent_dim": 7})
    with pytest.raises(CheckpointError, match=r"first.weight has shape \(6, 8, 4, 4\), expected \(7, 8, 4, 4\)"):
        disentangle.load(path)
    tensors = {name: tensor for name, tensor in original.items() if name != "first.bias"}
    rewrite(path, header={"latent_dim": 6}, tensors={**tensors, "extra": torch.ones(1)})
    with pytest.raises(CheckpointError, match="missing first.bias; unexpected extra"):
        disentangle.load(path)


def test_a_module_without_configuration_is_not_saved(tmp_path):
    with pytest.raises(InputError, match="Linear has no model configuration"):
        disentangle.save(torch.nn.Linear(2, 2), tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("disentangle.tensor_files.save_file", full)
    with pytest.raises(OSError, match="No space"):
        disentangle.save(model, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_state_round_trip_and_refusals(tmp_path):
    path = tmp_path / "state.pt"
    state = {"step": 3, "parts": {"a": {"w": torch.ones(2), "rate": float("nan"), "shape": (1, 2)}}}
    save_state(path, state)
    loaded = load_state(path)
    assert loaded["step"] == 3
    assert torch.equal(loaded["parts"]["a"]["w"], torch.ones(2))

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("ran",))

    torch.save({"trap": Trap()}, path)
    with pytest.raises(CheckpointError, match="it holds an object of the class __builtin__.print"):
        load_state(path)
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(CheckpointError, match="looks like a torch zip file, but"):
        load_state(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_state(tmp_path / "none.pt")
