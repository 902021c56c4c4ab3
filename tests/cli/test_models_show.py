"""What ``disentangle models show`` says of a name, a run, a model file and another project's checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import disentangle
from disentangle.io import published_entries, zoo_entries
from disentangle.models import build_model


def test_a_run_says_what_it_trained_and_how_far_it_is(run, vae_run):
    shown = json.loads(run("models", "show", vae_run, "--json"))
    assert shown["kind"] == "vae"
    assert shown["spaces"] == {"z": {"shape": [3], "prior": "normal"}}
    assert shown["run"]["steps"] == shown["run"]["steps_in_all"] == 4
    assert shown["run"]["data"] == "sprites"
    assert {"stats.jsonl", "samples"} <= set(shown["run"]["files"])
    assert shown["sha256"] == hashlib.sha256(Path(shown["file"]).read_bytes()).hexdigest()
    model = disentangle.load(vae_run)
    assert shown["parameters"] == sum(p.numel() for p in model.parameters())
    (name, layer), *_ = shown["projections"].items()
    assert layer["shape"] == list(model.projections()[name].matrix().shape)
    lines = run("models", "show", vae_run)
    assert "run: vae on sprites, 4 of 4 steps" in lines
    assert "space z: 3, normal" in lines
    assert f"sha256: {shown['sha256']}" in lines


def test_a_bundled_model_has_its_card_and_the_rest(run):
    lines = run("models", "show", "vae-rooms")
    assert lines.lstrip().startswith("#")
    assert "kind: vae" in lines
    assert "provenance, command: disentangle train vae" in lines
    record = json.loads(run("models", "show", "vae-rooms", "--json"))
    assert record["licence"] == "Apache-2.0"
    assert record["spaces"]["z"]["shape"] == [10]


def test_a_wrapped_module_is_shown_without_its_code(run, tmp_path):
    net = nn.Sequential(nn.Linear(5, 48), nn.Unflatten(1, (3, 4, 4)))
    generator = disentangle.wrap(net, built_by="somewhere:build")
    disentangle.nn.project(generator, rank=2, layers=["0"])
    disentangle.save(generator, tmp_path / "m.safetensors")
    lines = run("models", "show", tmp_path / "m.safetensors")
    assert "built by: somewhere:build, your own code" in lines
    assert "space z: 5, normal" in lines
    assert "orthogonal of rank 2, householder: 0" in lines


def test_checkpoints_of_others_and_files_that_are_none(run, fails, tmp_path):
    foreign = tmp_path / "net.pt"
    torch.save({"a.weight": torch.ones(3, 2)}, foreign)
    assert "a.weight: 3 x 2" in run("models", "show", foreign)
    assert json.loads(run("models", "show", foreign, "--json")) == json.loads(
        run("convert", foreign, "--list", "--json")
    )
    save_file({"b": torch.ones(2)}, tmp_path / "plain.safetensors")
    assert "b: 2" in run("models", "show", tmp_path / "plain.safetensors")
    run("directions", "find", "vae-rooms", "--method", "basis", "--out", tmp_path / "d.safetensors")
    assert "holds directions; expected a model file" in fails("models", "show", tmp_path / "d.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    assert "not a readable safetensors file" in fails("models", "show", tmp_path / "broken.safetensors")
    (tmp_path / "empty").mkdir()
    assert "holds no model; expected" in fails("models", "show", tmp_path / "empty")
    assert "Unknown model 'vae-rums'; did you mean 'vae-rooms'" in fails("models", "show", "vae-rums")


def test_a_run_without_a_checkpoint(fails, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "environment.json").write_text("{}")
    assert "holds no model" in fails("models", "show", tmp_path)


def test_the_list_has_no_column_of_sentences(run, monkeypatch):
    """On 80 columns one would be a word or two wide; what each model is stands below, in a line."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("models", "list").splitlines()
    entry = zoo_entries()[0]
    assert f"{entry.name}: {entry.summary}" in lines
    assert sum("│" in line for line in lines) == len(zoo_entries()) + len(published_entries())


@pytest.mark.parametrize("stated", [["a"], "abc", 3])
def test_a_provenance_that_is_no_object_is_a_sentence(fails, tmp_path, stated):
    from safetensors import safe_open

    model = build_model({"kind": "gan", "resolution": 8, "channels": (4, 4), "latent_dim": 3})
    disentangle.save(model, tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        header = json.loads(file.metadata()["disentangle"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header["provenance"] = stated
    save_file(tensors, tmp_path / "n.safetensors", {"format": "pt", "disentangle": json.dumps(header)})
    for command in (["models", "show"], ["turn", "--out", tmp_path / "t.safetensors"]):
        assert "states the provenance" in fails(*command, tmp_path / "n.safetensors")
