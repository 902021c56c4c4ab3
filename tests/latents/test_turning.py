"""A turned generator makes the same pictures of turned latents, whatever its first layer is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import disentangle
from disentangle.errors import InputError
from disentangle.latents import Directions, basis, jacobian_axes, rotation, traverse, turn
from disentangle.models import build_model, wrap
from disentangle.nn import project

EIGENGAN = {"kind": "eigengan", "resolution": 16, "basis": 3, "noise_dim": 3, "channels": [8, 6, 4]}
VAE = {"kind": "vae", "resolution": 8, "latent_dim": 4, "channels": [4], "hidden": 8}
STYLEGAN = {"kind": "stylegan2", "resolution": 8, "z_dim": 5, "w_dim": 6, "channels": [4, 4], "mapping_layers": 2}
GENERATORS = {
    "eigengan": EIGENGAN,
    "gan": {"kind": "gan", "resolution": 8, "channels": [6, 4], "latent_dim": 4},
    "dcgan": {"kind": "dcgan", "resolution": 8, "channels": [6], "latent_dim": 4},
    "mlp-gan": {"kind": "mlp-gan", "image_shape": [3, 4, 4], "hidden": [8], "latent_dim": 4},
    "progan": {"kind": "progan", "resolution": 8, "channels": [6, 4], "latent_dim": 4},
    "vae": VAE,
    "mlp-vae": {"kind": "mlp-vae", "image_shape": [3, 4, 4], "hidden": 8, "latent_dim": 4},
    "stylegan2": STYLEGAN,
    "classes": {**STYLEGAN, "c_dim": 3},
    "projected": {**EIGENGAN, "projection": {"kind": "polar"}},
}


def random_axes(model: nn.Module, seed: int = 0) -> Directions:
    """Some rotation of each part of z, as directions."""
    from disentangle.latents.jacobian import parts_of

    draws, space, rows = torch.Generator().manual_seed(seed), model.spaces["z"], []
    for part in parts_of(model, space).values():
        block = torch.linalg.qr(torch.randn(len(part), len(part), generator=draws, dtype=torch.float64))[0]
        whole = torch.zeros(len(part), space.size)
        whole[:, list(part)] = block.float()
        rows.append(whole)
    vectors = torch.cat(rows)
    return Directions(vectors, "z", tuple(map(str, range(len(vectors)))), "random", torch.ones(len(vectors)))


@pytest.mark.parametrize("name", GENERATORS)
def test_pictures_of_turned_latents_are_the_same(name, tmp_path):
    model = build_model(GENERATORS[name], seed=0).double().eval()
    axes = random_axes(model)
    turned, R = turn(model, axes=axes), rotation(model, axes)
    options = {"label": 1} if name == "classes" else {}
    z = model.sample_latents(12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = model(z, **options), turned(z @ R.mT, **options)
        assert float((turned(z, **options) - before).abs().max()) > 1e-6  # the rotation did something
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    path = tmp_path / "turned.safetensors"
    disentangle.save(turned, path)
    again = disentangle.load(path, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(again(z @ R.mT, **options), before, rtol=1e-9, atol=1e-9)
    # each coordinate of the turned one is an axis of the other
    for i, (own, axis) in enumerate(zip(basis(again, space="z").vectors, axes.vectors, strict=True)):
        torch.testing.assert_close((R.mT @ own.double()).float(), axis, msg=str(i))


def test_directions_of_the_one_are_refused_by_the_other(tmp_path):
    model = build_model(EIGENGAN, seed=0)
    axes = jacobian_axes(model, samples=2)
    turned = turn(model, axes=axes)
    with pytest.raises(InputError, match=r"found on a eigengan, z 9, but this generator is a eigengan, z 9, turned"):
        traverse(turned, axes)
    with pytest.raises(InputError, match=r"found on a eigengan, z 9, turned"):
        traverse(model, basis(turned))
    twice = turn(turned, axes=jacobian_axes(turned, samples=2, seed=1))
    with pytest.raises(InputError, match="turned"):
        traverse(twice, basis(turned))
    assert "turned" not in model.config.model_dump()
    assert turned.config.model_dump()["turned"] == turned.config.turned != twice.config.turned


def test_a_stylegans_other_spaces_stay_what_they_were():
    model = build_model(STYLEGAN, seed=0)
    turned = turn(model, axes=random_axes(model))
    w = basis(model, space="w")
    assert torch.equal(
        traverse(model, w, steps=2, start=start(model)), traverse(turned, w, steps=2, start=start(model))
    )


def start(model):
    from disentangle.latents import Latents

    return Latents(model.sample_latents(1, space="w", generator=torch.Generator().manual_seed(0)), "w")


def test_a_turned_vae_encodes_to_turned_means():
    for name in ("vae", "mlp-vae"):
        model = build_model(GENERATORS[name], seed=0).double()
        axes = random_axes(model)
        turned, R = turn(model, axes=axes), rotation(model, axes)
        side = model.config.resolution
        images = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        mean, log_variance = model.posterior(images)
        turned_mean, turned_log_variance = turned.posterior(images)
        torch.testing.assert_close(turned_mean, mean @ R.mT)
        # between the variances of the diagonal Gaussians nearest in either order, with the entropy of the old one
        precision = (-log_variance).exp() @ R.square().mT
        variance = log_variance.exp() @ R.square().mT
        assert (turned_log_variance <= variance.log() + 1e-12).all()
        assert (turned_log_variance >= -precision.log() - 1e-12).all()
        torch.testing.assert_close(turned_log_variance.sum(1), log_variance.sum(1))


def test_turning_to_the_jacobian_makes_it_orthogonal():
    """Of one linear layer the axes are exact, and the new Jacobian's columns are orthogonal."""
    torch.manual_seed(0)
    linear = nn.Linear(4, 3 * 2 * 2)
    turned = turn(wrap(nn.Sequential(linear, nn.Unflatten(1, (3, 2, 2))), z_dim=4), samples=2)
    products = turned.module[0].weight.mT @ turned.module[0].weight
    torch.testing.assert_close(products, torch.diag(products.diagonal()), rtol=0, atol=1e-5)
    assert (products.diagonal().diff() < 0).all()
    assert turned.module[0] is not linear


class Skipping(nn.Module):
    """Reads z twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(4, 12), nn.Linear(4, 12)

    def forward(self, z):
        return torch.tanh(self.one(z) + self.two(z)).reshape(-1, 3, 2, 2)


def test_a_module_of_ones_own_without_a_known_first_layer_gets_one_in_front():
    generator = wrap(nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 1)), z_dim=4)
    axes = random_axes(generator)
    turned, z = turn(generator, axes=axes), generator.sample_latents(5)
    assert torch.allclose(turned(z @ rotation(generator, axes).float().mT), generator(z), atol=1e-5)
    assert turned.entry is not None
    assert generator.entry is None


def test_what_cannot_be_turned_says_why():
    gan = build_model(GENERATORS["gan"], seed=0)
    axes = random_axes(gan)
    uniform = wrap(nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2))), z_dim=4, prior="uniform")
    eigengan = build_model(EIGENGAN, seed=0)
    mixed = random_axes(eigengan)
    vectors = mixed.vectors.clone()
    vectors[[0, 3]] = torch.stack([vectors[0] + vectors[3], vectors[0] - vectors[3]]) / 2**0.5
    skipping = Skipping()
    cases = [
        (uniform, axes, "uniform"),
        (wrap(skipping, z_dim=4, projection=skipping.one), axes, "read by more than"),
        (gan, axes.select([0, 1, 2]), "3 of the axes"),
        (gan, axes.select([0, 1, 2, 2]), "not orthonormal"),
        (build_model(STYLEGAN, seed=0), basis(build_model(STYLEGAN, seed=0), space="w"), "live in 'w'"),
        (eigengan, Directions(vectors, "z", mixed.labels, "random", mixed.scale), "move block0"),
        (nn.Linear(2, 2), axes, "has no z"),
    ]
    for model, given, said in cases:
        with pytest.raises(InputError, match=said):
            turn(model, axes=given)


def test_orthogonal_projections_become_plain():
    model = project(build_model(GENERATORS["gan"], seed=0), kind="polar")
    assert turn(model, axes=random_axes(model)).config.projection is None
    assert model.config.projection is not None
