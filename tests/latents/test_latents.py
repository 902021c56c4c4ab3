"""Directions, traversals, activity."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import disentangle
from disentangle.errors import CheckpointError, InputError
from disentangle.latents import Directions, activity, basis, most_active, traverse
from disentangle.models import build_model


class Paint(nn.Module):
    """Pixel i of the image is z_i / 10, so that a traversal can be read off."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z / 10).reshape(len(z), 1, 2, 2)


@pytest.fixture
def paint():
    return disentangle.wrap(Paint(), z_dim=4)


def test_absolute_walk_sets_one_coordinate_and_holds_the_rest(paint):
    walks = traverse(paint, seeds=[3, 4], extent=2.0, steps=5)
    assert walks.shape == (2, 4, 5, 1, 2, 2)
    pixels = 10 * walks.reshape(2, 4, 5, 4)
    for seed, number in enumerate((3, 4)):
        start = paint.sample_latents(1, generator=torch.Generator().manual_seed(number))[0]
        for direction in range(4):
            expected = start.repeat(5, 1)
            expected[:, direction] = torch.linspace(-2, 2, 5)
            assert torch.allclose(pixels[seed, direction], expected, atol=1e-5)


def test_relative_walk_adds_scaled_vectors(paint):
    vectors = torch.tensor([[3.0, 4.0, 0.0, 0.0]])
    directions = Directions(vectors, "z", ("slant",), "hand", torch.tensor([0.5]))
    pixels = 10 * traverse(paint, directions, extent=1.0, steps=3).reshape(3, 4)
    assert torch.allclose(pixels[2] - pixels[1], 0.5 * vectors[0], atol=1e-5)
    absolute = 10 * traverse(paint, directions, extent=1.0, steps=3, absolute=True).reshape(3, 4)
    assert float(absolute[1] @ vectors[0]) == pytest.approx(0, abs=1e-4)


def test_truncation_shrinks_the_start(paint):
    full, half = (traverse(paint, seeds=[0], steps=3, truncation=t) for t in (1.0, 0.5))
    assert torch.allclose(half[0, 0, :, 0, 1], 0.5 * full[0, 0, :, 0, 1], atol=1e-6)


def test_batches_change_nothing_and_progress_counts(paint):
    seen = []
    one = traverse(paint, seeds=[0, 1], steps=3, batch=5, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(one, traverse(paint, seeds=[0, 1], steps=3, batch=100))
    assert seen == [(5, 24), (10, 24), (15, 24), (20, 24), (24, 24)]


def test_most_active_directions_come_first(paint):
    vectors = torch.diag(torch.tensor([1.0, 3.0, 0.0, 2.0]))
    directions = Directions(vectors, "z", ("a", "b", "dead", "c"), "hand", torch.ones(4))
    measured = activity(paint, directions)
    assert float(measured[2]) == 0
    assert float(measured[1]) == pytest.approx(3 * float(measured[0]), rel=1e-4)
    assert most_active(paint, directions, top=2).labels == ("b", "c")


def test_eigengan_basis_leaves_the_noise_out():
    model = build_model(
        {"kind": "eigengan", "resolution": 16, "basis": 2, "noise_dim": 5, "channels": [8, 6, 4]}, seed=0
    )
    directions = basis(model)
    assert len(directions) == 4
    assert float(directions.vectors[:, :5].abs().max()) == 0
    assert directions.labels[2] == "block 1, 0"
    with pytest.raises(InputError, match="latent space 'w'"):
        basis(model, space="w")


def test_file_round_trip(tmp_path):
    directions = Directions(torch.eye(3)[:2], "w", ("smile", "age"), "sefa", torch.tensor([1.0, 2.0]), (2, 3))
    directions.save(tmp_path / "d.safetensors")
    loaded = Directions.load(tmp_path / "d.safetensors")
    assert torch.equal(loaded.vectors, directions.vectors)
    assert torch.equal(loaded.scale, directions.scale)
    assert (loaded.space, loaded.labels, loaded.method, loaded.layers) == ("w", ("smile", "age"), "sefa", (2, 3))
    assert loaded.label(1, "older").labels == ("smile", "older")
    assert loaded.select([1, 0]).labels == ("age", "smile")


def test_bad_files(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        Directions.load(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(CheckpointError, match="not a readable safetensors file .*expected a file of directions"):
        Directions.load(tmp_path / "broken.safetensors")
    model = build_model({"kind": "gan", "resolution": 16, "channels": [8, 6, 4]})
    disentangle.save(model, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds a model; expected a file of directions"):
        Directions.load(tmp_path / "model.safetensors")


def test_another_space_or_size_raises(paint):
    other = Directions(torch.eye(4), "w", ("a",) * 4, "hand", torch.ones(4))
    with pytest.raises(InputError, match="space 'w', which this generator lacks; it has 'z'"):
        traverse(paint, other)
    longer = Directions(torch.eye(5), "z", ("a",) * 5, "hand", torch.ones(5))
    with pytest.raises(InputError, match="have 5 numbers, but a latent of space 'z' has 4"):
        traverse(paint, longer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"steps": 1}, "steps is 1"), ({"extent": 0.0}, "extent is 0.0"), ({"seeds": []}, "seeds is empty")],
)
def test_bad_options(paint, arguments, message):
    with pytest.raises(InputError, match=message):
        traverse(paint, **arguments)


def test_bad_directions():
    with pytest.raises(InputError, match="NaN"):
        Directions(torch.tensor([[float("nan")]]), "z", ("a",), "hand", torch.ones(1))
    with pytest.raises(InputError, match="2 labels"):
        Directions(torch.eye(1), "z", ("a", "b"), "hand", torch.ones(1))
    with pytest.raises(InputError, match="expected \\(k, size\\)"):
        Directions(torch.ones(3), "z", ("a",), "hand", torch.ones(1))
    with pytest.raises(InputError, match="no direction 1"):
        Directions(torch.eye(1), "z", ("a",), "hand", torch.ones(1)).select([1])


def test_printed_directions_fit_a_line():
    labels = tuple(f"axis {i} \x1b[2J" for i in range(500))
    found = Directions(torch.ones(500, 512), space="w", labels=labels, method="sefa", scale=torch.ones(500))
    assert str(found).startswith("Directions(500 of 512 numbers in w by sefa: axis 0 ")
    assert len(str(found)) < 400
    assert str(found).isprintable()
