"""The bundled models: registered, unharmed, small, and good enough to show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import disentangle
from disentangle.errors import CheckpointError, InputError
from disentangle.evaluations import encode_dataset, mig
from disentangle.files import sha256_of
from disentangle.io import find_model, model_info, zoo_entries, zoo_entry

NAMES = [entry.name for entry in zoo_entries()]


def test_both_models_are_there():
    assert {"vae-rooms", "eigengan-rooms"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_entry_fits_its_file(name):
    entry = zoo_entry(name)
    assert entry.path.stat().st_size == entry.bytes <= 1_000_000
    assert sha256_of(entry.path) == entry.sha256
    info = model_info(entry.path)
    assert info["kind"] == entry.kind
    assert entry.command.startswith("disentangle ")
    assert entry.card.startswith(f"# {name}\n")
    assert entry.command in entry.card
    assert entry.sha256 in entry.card
    model = disentangle.load(name)
    images = model(model.sample_latents(4, generator=torch.Generator().manual_seed(0)))
    assert images.shape[0] == 4
    assert float(images.std()) > 0.1


def test_vae_scores_what_its_card_says():
    """The registered MIG on fresh pictures, and each of the three hues with a best code of its own."""
    entry = zoo_entry("vae-rooms")
    model = disentangle.load("vae-rooms")
    codes, factors = encode_dataset(model.encode, disentangle.data.Rooms(model.config.resolution), n=4000, seed=1)
    score = mig(codes, factors)
    assert score.value > 0.3
    assert score.value == pytest.approx(entry.scores["mig"], abs=0.03)
    best, gaps = np.asarray(score.parts["best_code"])[:3], np.asarray(score.parts["per_factor"])[:3]
    assert len(set(best.tolist())) == 3
    assert gaps.min() > 0.5


def test_eigengan_is_turned_to_its_jacobian_and_its_subspaces_stay_orthonormal():
    """Turned rows of ``diag(L) U`` lean on one another; ``L^2`` of the training are the eigenvalues of their products.

    A base that its training kept orthonormal, and a rotation of its coordinates, leave the singular values of
    ``U^T diag(L)`` what L was: falling by about 3 from one to the next.
    """
    model = disentangle.load("eigengan-rooms")
    assert model.config.turned is not None
    for projection in model.projections().values():
        lengths = projection.parameter.norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-3)  # in half precision
        values = torch.linalg.svdvals(projection.matrix())
        assert 2 < values.diff().neg().min() <= values.diff().neg().max() < 4


def test_a_damaged_bundled_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    entry = zoo_entry("vae-rooms")
    (tmp_path / "weights").mkdir()
    broken = bytearray(entry.path.read_bytes())
    broken[-1] ^= 1
    (tmp_path / "weights" / entry.file).write_bytes(bytes(broken))
    (tmp_path / "registry.json").write_text(json.dumps([entry.model_dump(mode="json")]))
    (tmp_path / "published.json").write_text("[]")
    monkeypatch.setattr("disentangle.io.zoo._folder", lambda: tmp_path)
    with pytest.raises(CheckpointError, match="'vae-rooms' is damaged"):
        find_model("vae-rooms")


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(InputError, match="did you mean 'vae-rooms'"):
        zoo_entry("vae-room")
