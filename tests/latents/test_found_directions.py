"""Directions that methods find: against plain formulas, and walked in every space of a StyleGAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from disentangle.errors import CheckpointError, InputError
from disentangle.latents import (
    Directions,
    Latents,
    basis,
    ganspace,
    random_directions,
    read_ganspace,
    sefa,
    style_channels,
    traverse,
)
from disentangle.models import build_model

CONFIG = {
    "kind": "stylegan2", "resolution": 16, "z_dim": 10, "w_dim": 10, "mapping_layers": 2, "channels": (6, 6, 4),
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return build_model(CONFIG, seed=0).eval().requires_grad_(False)


def stacked(model, names: list[str]) -> np.ndarray:
    """Columns: the style channels of the layers."""
    state = model.state_dict()
    return np.concatenate([state[f"synthesis.{name}.affine.weight"].double().numpy().T for name in names], axis=1)


def leading(matrix: np.ndarray, top: int) -> np.ndarray:
    """Eigenvectors of A A^T by falling eigenvalue, one a row."""
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    return vectors[:, np.argsort(values)[::-1][:top]].T


def test_sefa_is_the_authors_factorisation(model):
    convs = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1", "b16.torgb"]
    matrix = stacked(model, convs)
    expected = leading(matrix / np.linalg.norm(matrix, axis=0, keepdims=True), 4)
    found = sefa(model, top=4)
    assert (found.space, found.layers) == ("w", None)
    cosines = np.abs(np.sum(found.vectors.numpy() * expected, axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    largest = found.vectors.abs().argmax(1)
    assert bool((found.vectors[torch.arange(4), largest] > 0).all())


@pytest.mark.parametrize("torgb", [None, False, True])
def test_sefa_without_normalisation_is_rosinalitys(model, torgb):
    """Their filter of names leaves ``to_rgbs.*`` out and lets ``to_rgb1`` through."""
    names = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    names += {None: ["b4.torgb"], False: [], True: ["b4.torgb", "b8.torgb", "b16.torgb"]}[torgb]
    found = sefa(model, top=3, normalize=False, torgb=torgb)
    expected = leading(stacked(model, names), 3)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors.numpy() * expected, axis=1)), 1, atol=1e-5)


def test_sefa_of_some_layers_moves_only_those(model):
    found = sefa(model, top=2, layers=(1, 2))
    np.testing.assert_allclose(
        np.abs(np.sum(found.vectors.numpy() * leading(_unit(stacked(model, ["b8.conv0", "b8.conv1"])), 2), axis=1)),
        1, atol=1e-5,
    )  # fmt: skip
    start = model.sample_latents(1, space="w+", generator=torch.Generator().manual_seed(0))
    moved = start.clone()
    moved[0, [1, 2]] += 2 * found.vectors[1]
    pictures = traverse(model, found, seeds=[0], extent=2, steps=2)
    torch.testing.assert_close(pictures[0, 1, 1], model(moved, space="w+")[0], rtol=0, atol=1e-5)


def _unit(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, axis=0, keepdims=True)


def test_sefa_of_a_progan_reads_its_first_layer():
    model = build_model({"kind": "progan", "resolution": 8, "latent_dim": 6, "channels": (4, 4)}, seed=0)
    weight = model.state_dict()["b4.conv0.weight"].double().reshape(6, -1).numpy()
    found = sefa(model, top=3)
    assert found.space == "z"
    np.testing.assert_allclose(np.abs(np.sum(found.vectors.numpy() * leading(_unit(weight), 3), axis=1)), 1, atol=1e-5)


def test_ganspace_is_the_principal_components_of_w(model):
    found = ganspace(model, top=3, samples=2500)
    random = torch.Generator().manual_seed(0)
    w = torch.cat([model.sample_latents(n, space="w", generator=random) for n in (1000, 1000, 500)]).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(w.T))
    np.testing.assert_allclose(np.abs(np.sum(found.vectors.numpy() * vectors[:, ::-1][:, :3].T, axis=1)), 1, atol=1e-5)
    np.testing.assert_allclose(found.scale.numpy(), np.sqrt(values[::-1][:3]), rtol=1e-5)
    np.testing.assert_allclose(found.mean.numpy(), w.mean(0), atol=1e-6)


def test_ganspace_of_a_linear_layer_finds_its_latents():
    """Where activations are a linear map of the latents, the regression gives the direction that makes each axis."""
    model = build_model({"kind": "gan", "resolution": 8, "latent_dim": 3, "channels": (5, 4)}, seed=0)
    found = ganspace(model, layer="first", top=3, samples=400, batch=100)
    matrix = model.projections()["first"].matrix().detach().double().numpy()
    z = torch.cat([model.sample_latents(400, generator=torch.Generator().manual_seed(0))]).double().numpy()
    covariance = np.cov(z.T)
    values, axes = np.linalg.eigh(matrix @ covariance @ matrix.T)
    expected = np.linalg.pinv(matrix) @ axes[:, ::-1][:, :3]
    expected /= np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors.numpy() * expected.T, axis=1)), 1, atol=1e-4)
    assert values[-1] > 0


def test_ganspace_does_not_depend_on_the_batch(model):
    one = ganspace(model, layer="synthesis.b8.conv1", top=2, samples=60, batch=7)
    other = ganspace(model, layer="synthesis.b8.conv1", top=2, samples=60, batch=60)
    torch.testing.assert_close(one.vectors, other.vectors, rtol=0, atol=1e-4)


def test_published_components_are_read(tmp_path):
    random = np.random.default_rng(0)
    arrays = {"lat_comp": random.normal(size=(5, 1, 10)).astype(np.float32), "lat_stdev": np.arange(1.0, 6),
              "lat_mean": np.zeros((1, 10)), "act_comp": np.zeros((5, 1, 10))}  # fmt: skip
    np.savez(tmp_path / "c.npz", **arrays)
    found = read_ganspace(tmp_path / "c.npz", top=3)
    assert found.vectors.shape == (3, 10)
    np.testing.assert_allclose(found.scale, [1, 2, 3])
    np.savez(tmp_path / "o.npz", lat_comp=np.array([object()]), lat_stdev=np.ones(1))
    with pytest.raises(CheckpointError, match=r"o\.npz is no readable"):
        read_ganspace(tmp_path / "o.npz")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_ganspace(tmp_path / "n.npz")


def test_style_channels_are_ranked_by_their_effect(model):
    found = style_channels(model, top=3, layers=(0, 1), seeds=(0,))
    assert found.space == "s"
    assert set(found.vectors.unique().tolist()) == {0.0, 1.0}
    effects = traverse(model, found, seeds=[0], extent=2, steps=3)[0]
    change = (effects[:, [0, 2]] - effects[:, 1:2]).abs().mean(dim=(1, 2, 3, 4))
    assert change.tolist() == sorted(change.tolist(), reverse=True)
    assert all(label.startswith(("b4.conv1", "b4.torgb", "b8.conv0")) for label in found.labels)


def test_random_directions_are_orthonormal_and_seeded(model):
    found = random_directions(model, top=4, seed=3)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(4), rtol=0, atol=1e-6)
    assert torch.equal(found.vectors, random_directions(model, top=4, seed=3).vectors)


def test_a_householder_layer_has_its_own_axes():
    model = build_model({**CONFIG, "projection": {"rank": 3, "layers": ("b8.conv0", "b16.conv0")}}, seed=0)
    found = basis(model)
    assert len(found) == 6
    assert found.rows(0) == (1,)
    assert found.rows(3) == (3,)
    layer = next(layer for layer in model.style_layers() if layer.name == "b16.conv0")
    through = layer.affine.matrix() @ found.vectors[3:].T
    torch.testing.assert_close(through.T @ through, torch.eye(3), rtol=0, atol=1e-5)
    assert traverse(model, found.select([4, 0]), steps=2).shape[:3] == (1, 2, 2)


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_every_space_is_walked_with_truncation(model, space):
    size = model.spaces[space].size
    vectors = torch.zeros(1, size)
    vectors[0, 0] = 1
    found = Directions(vectors=vectors, space=space, labels=("a",), method="own", scale=torch.ones(1))
    middle = traverse(model, found, seeds=[4], steps=3, truncation=0.6)[0, 0, 1]
    z = model.sample_latents(1, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(middle, model(z, truncation=0.6)[0], rtol=0, atol=1e-5)


def test_a_walk_from_given_latents(model, tmp_path):
    w = model.sample_latents(2, space="w", generator=torch.Generator().manual_seed(1))
    Latents(w, "w").save(tmp_path / "l.safetensors")
    start = Latents.load(tmp_path / "l.safetensors")
    found = sefa(model, top=1, layers=(2,))
    pictures = traverse(model, found, start=start, steps=3)
    torch.testing.assert_close(pictures[:, 0, 1], model(w, space="w"), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="'x', which this generator lacks"):
        traverse(model, found, start=Latents(w, "x"))
    found.save(tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="holds directions; expected a file of latents"):
        Latents.load(tmp_path / "d.safetensors")


def test_layers_and_means_are_kept_in_the_file(tmp_path):
    found = Directions(
        vectors=torch.eye(2, 4), space="w", labels=("a", "b"), method="own", scale=torch.ones(2),
        layers=((0,), (1, 2)), mean=torch.arange(4.0),
    )  # fmt: skip
    found.save(tmp_path / "d.safetensors")
    again = Directions.load(tmp_path / "d.safetensors")
    assert again.layers == ((0,), (1, 2))
    assert torch.equal(again.mean, found.mean)
    assert again.select([1]).rows(0) == (1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: sefa(m, layers=(9,)), "no layer 9; expected 0 to 5"),
        (lambda m: sefa(m, top=11), "top is 11; expected 1 to 10"),
        (lambda m: ganspace(m, layer="nothing"), "no module 'nothing'"),
        (lambda m: ganspace(m, space="v"), "no space 'v'"),
        (lambda m: ganspace(m, samples=5), "expected more than top"),
        (lambda m: style_channels(m, top=9000), "the channels tried"),
        (lambda m: traverse(m, Directions(torch.eye(1, 10), "w", ("a",), "own", torch.ones(1), layers=(7,))),
         "name layer 7, but this generator has 0 to 5"),
        (lambda m: Directions(torch.eye(1, 10), "z", ("a",), "own", torch.ones(1), layers=(1,)), "layers were given"),
    ],
)  # fmt: skip
def test_bad_input(model, call, message):
    with pytest.raises(InputError, match=message):
        call(model)
