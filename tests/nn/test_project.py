"""Orthogonal projections for generators of every family: where they start, what they keep, how they are stored."""

from __future__ import annotations

import copy

import pytest
import torch

import disentangle
from disentangle.errors import InputError
from disentangle.latents import basis
from disentangle.models import build_model
from disentangle.nn import bake, project

STYLE = {"resolution": 16, "z_dim": 6, "w_dim": 5, "mapping_layers": 2, "channels": (7, 6, 4)}
FAMILIES = {
    "eigengan": {"kind": "eigengan", "resolution": 16, "channels": (8, 6, 4), "basis": 3, "noise_dim": 5},
    "gan": {"kind": "gan", "resolution": 16, "channels": (8, 6, 4), "latent_dim": 5},
    "dcgan": {"kind": "dcgan", "resolution": 16, "channels": (8, 6), "latent_dim": 5},
    "progan": {"kind": "progan", "resolution": 16, "channels": (8, 6, 4), "latent_dim": 5},
    "vae": {"kind": "vae", "resolution": 16, "channels": (4, 8), "hidden": 9, "latent_dim": 4},
    "mlp-gan": {"kind": "mlp-gan", "image_shape": (1, 4, 4), "hidden": (9, 7), "latent_dim": 4},
    "mlp-vae": {"kind": "mlp-vae", "image_shape": (1, 4, 4), "hidden": 9, "latent_dim": 4},
    "stylegan1": {"kind": "stylegan1", **STYLE},
    "stylegan2": {"kind": "stylegan2", **STYLE},
    "stylegan3": {
        "kind": "stylegan3", "resolution": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "num_layers": 4,
        "num_critical": 1, "channel_base": 128, "channel_max": 8, "margin_size": 4,
    },
}  # fmt: skip
DEFAULTS = {
    "eigengan": ("block0", "block1"),
    "stylegan1": ("b8.conv0", "b16.conv0"),
    "stylegan2": ("b8.conv0", "b16.conv0"),
}


EACH = [
    *((family, "householder") for family in FAMILIES),
    *((family, kind) for family in ("gan", "stylegan2") for kind in ("cayley", "matrix_exp", "polar")),
]


def made(family: str):
    return build_model(FAMILIES[family], seed=2)


def latents(model):
    return model.sample_latents(3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_each_weight_starts_at_the_nearest_orthogonal_one(family, kind):
    plain, model = made(family), project(made(family), kind=kind)
    names = model.config.projection.layers
    assert names == DEFAULTS.get(family, names)
    for name, layer in plain.projection_layers().items():
        if name not in names:
            assert model.projections()[name].weight is None
            continue
        weight = getattr(layer.module, layer.parameter).detach().flatten(1).double()
        rank = min(model.projection_rank or 99, *weight.shape)
        left, _, right = torch.linalg.svd(weight, full_matrices=False)
        used = model.projections()[name].weight().detach().flatten(1).double()
        torch.testing.assert_close(used, left[:, :rank] @ right[:rank], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_files_say_what_was_done(family, kind, tmp_path):
    rank = 2
    model = project(made(family), kind=kind, rank=rank).eval()
    disentangle.save(model, tmp_path / "m.safetensors")
    again = disentangle.load(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert again.config.projection.rank == rank
    with torch.no_grad():
        assert torch.equal(again(latents(again)), model(latents(model)))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_optimizer_cannot_leave_the_constraint(family):
    model = project(made(family), rank=2).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model(latents(model)).square().mean().backward()
        optimizer.step()
    for name in model.config.projection.layers:
        used = model.projections()[name].weight().detach().flatten(1).double()
        expected = torch.zeros(min(used.shape), dtype=torch.float64)
        expected[:2] = 1
        torch.testing.assert_close(torch.linalg.svdvals(used), expected, rtol=0, atol=2e-6)
        trained = model.projections()[name].parameter
        assert float(trained.grad.abs().sum()) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_baked_pictures_are_the_same(family):
    model = project(made(family), rank=2).eval()
    plain = bake(copy.deepcopy(model))
    assert plain.config.projection is None
    assert set(plain.state_dict()) == set(made(family).state_dict())
    with torch.no_grad():
        torch.testing.assert_close(plain(latents(plain)), model(latents(model)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["gan", "progan", "stylegan2", "stylegan3", "vae"])
def test_its_directions_are_exact(family):
    """One unit along direction i moves the layer's output by one unit, at right angles to the others."""
    model = project(made(family), rank=2)
    found = basis(model)
    names = model.config.projection.layers
    assert len(found) == 2 * len(names)
    for number, name in enumerate(names):
        rows = found.vectors[2 * number : 2 * number + 2]
        used = model.projections()[name].weight().detach().flatten(1)
        used = used.mT if model.projection_layers()[name].latent_first else used
        through = used @ rows.T
        torch.testing.assert_close(through.T @ through, torch.eye(2), rtol=0, atol=1e-5)
        torch.testing.assert_close(rows @ rows.T, torch.eye(2), rtol=0, atol=1e-5)


def test_second_derivatives_go_through_a_projected_network():
    """As path lengths need: a gradient with respect to w, then one with respect to the free parameters."""
    model = project(made("stylegan2").double(), rank=2)
    w = model.sample_latents(2, space="w").requires_grad_()
    (gradient,) = torch.autograd.grad(model(w, space="w").square().sum(), w, create_graph=True)
    gradient.square().sum().backward()
    for name in model.config.projection.layers:
        assert float(model.projections()[name].parameter.grad.abs().sum()) > 0


def test_the_weight_is_kept_in_evaluation():
    model = project(made("gan"), rank=2).requires_grad_(False)
    assert model.first.weight is model.first.weight
    model.requires_grad_(True)
    assert model.first.weight is not model.first.weight


def test_what_cannot_be_projected():
    with pytest.raises(InputError, match="rank is 5, but the projection 'b16.conv0' is 6x5|rank is 6, but"):
        project(made("stylegan2"), rank=6)
    with pytest.raises(InputError, match="b8.conv0"):
        project(made("stylegan2"), layers=["b8.conv"])
    with pytest.raises(InputError, match="kind of projection"):
        project(made("gan"), kind="cayly")
    with pytest.raises(InputError, match="'first' is orthogonal already; call disentangle.nn.bake first"):
        project(project(made("gan")))
    with pytest.raises(InputError, match="has no orthogonal projections"):
        bake(made("gan"))
    with pytest.raises(InputError, match="A Linear names no projection layers"):
        project(torch.nn.Linear(2, 2))
    model = made("stylegan2")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError):
        project(model, rank=5, layers=["b8.conv0", "b16.conv1", "b16.torgb"])
    assert set(model.state_dict()) == set(before)


@pytest.mark.parametrize("family", ["eigengan", "gan", "stylegan2"])
def test_unit_vectors_keep_their_directions_and_lose_their_lengths(family):
    """The control of orthogonal weights: lengths of one, angles as they were; wide weights by rows, tall by columns."""
    plain, model = made(family), made(family)
    for layer in (*plain.projection_layers().values(), *model.projection_layers().values()):
        with torch.no_grad():
            getattr(layer.module, layer.parameter).mul_(3).add_(0.1)
    project(model, kind="unit")
    for name in model.config.projection.layers:
        layer = plain.projection_layers()[name]
        weight = getattr(layer.module, layer.parameter).detach().flatten(1)
        dim = 1 if weight.shape[0] <= weight.shape[1] else 0
        used = model.projections()[name].weight().detach().flatten(1)
        torch.testing.assert_close(used, weight / weight.square().sum(dim, keepdim=True).sqrt(), rtol=0, atol=1e-6)


def test_unit_vectors_stay_of_length_one_and_turn_freely(tmp_path):
    model = project(made("eigengan"), kind="unit").train()
    optimizer = torch.optim.SGD(model.parameters(), lr=20.0)
    for _ in range(3):
        optimizer.zero_grad()
        model(latents(model)).square().mean().backward()
        optimizer.step()
    for projection in model.projections().values():
        gram = (lambda rows: rows @ rows.T)(projection.weight().detach())
        torch.testing.assert_close(gram.diagonal(), torch.ones(3), rtol=0, atol=1e-6)
        assert float((gram - torch.eye(3)).abs().max()) > 1e-3  # they are not kept orthogonal
    disentangle.save(model, tmp_path / "m.safetensors")
    again = disentangle.load(tmp_path / "m.safetensors")
    with torch.no_grad():
        assert torch.equal(again(latents(again)), model.eval()(latents(model)))
        assert torch.equal(bake(again)(latents(again)), model(latents(model)))


def test_unit_vectors_have_no_rank():
    with pytest.raises(InputError, match="kind 'unit' has no rank"):
        project(made("gan"), kind="unit", rank=2)
