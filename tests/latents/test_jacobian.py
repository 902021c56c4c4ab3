"""Axes of the mean metric: against singular vectors, differences, and the published construction."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from disentangle.errors import InputError
from disentangle.latents import Directions, Latents, jacobian_axes
from disentangle.models import build_model, wrap


def network(width: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(width, 12), nn.Tanh(), nn.Linear(12, 3 * 4 * 4), nn.Tanh(), nn.Unflatten(1, (3, 4, 4))
    ).double()


def aligned(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Rows of one beside rows of two, whatever their signs: 1 where they agree."""
    return (one.double() * two.double()).sum(1).abs()


def test_a_linear_generator_has_its_singular_vectors():
    torch.manual_seed(0)
    linear = nn.Linear(4, 3 * 2 * 2)
    found = jacobian_axes(wrap(nn.Sequential(linear, nn.Unflatten(1, (3, 2, 2))), z_dim=4), samples=3)
    _, values, axes = torch.linalg.svd(linear.weight.detach().double(), full_matrices=False)
    torch.testing.assert_close(aligned(found.vectors, axes), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(found.eigenvalues.double(), values**2, rtol=1e-5, atol=0)


def test_a_network_has_the_axes_of_its_differences():
    module = network()
    generator = wrap(module, z_dim=5)
    found = jacobian_axes(generator, samples=7, seed=3, batch=4)
    latents = generator.sample_latents(7, generator=torch.Generator().manual_seed(3))
    step, mean = 1e-5, torch.zeros(5, 5, dtype=torch.float64)
    for z in latents:
        moves = step * torch.eye(5, dtype=torch.float64)
        jacobian = (module(z + moves) - module(z - moves)).flatten(1).detach() / (2 * step)
        mean += jacobian @ jacobian.T / 7
    values, axes = torch.linalg.eigh(mean)
    torch.testing.assert_close(found.eigenvalues.double(), values.flip(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(aligned(found.vectors, axes.mT.flip(0)), torch.ones(5, dtype=torch.float64))


def test_blocks_of_an_eigengan_keep_to_themselves():
    model = build_model(
        {"kind": "eigengan", "resolution": 16, "basis": 2, "noise_dim": 3, "channels": [8, 6, 4]}, seed=0
    )
    found = jacobian_axes(model, samples=5)
    assert found.labels == ("block0, axis 0", "block0, axis 1", "block1, axis 0", "block1, axis 1")
    assert not found.vectors[:, :3].any()
    assert not found.vectors[:2, 5:].any()
    assert not found.vectors[2:, 3:5].any()
    torch.testing.assert_close(found.vectors @ found.vectors.mT, torch.eye(4))
    latents = model.sample_latents(5, generator=torch.Generator().manual_seed(0))
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(lambda z: model(z).flatten(), z[None])[:, 0] for z in latents]
    ).double()
    for block in (slice(0, 2), slice(2, 4)):
        changes = jacobians @ found.vectors[block].double().mT
        products = (changes.mT @ changes).mean(0)
        torch.testing.assert_close(products, torch.diag(found.eigenvalues[block].double()), rtol=1e-4, atol=1e-4)


def test_directions_keep_their_eigenvalues(tmp_path):
    found = jacobian_axes(wrap(network(), z_dim=5), samples=2, rank=3)
    found.save(tmp_path / "axes.safetensors")
    again = Directions.load(tmp_path / "axes.safetensors").select([2, 0])
    assert torch.equal(again.eigenvalues, found.eigenvalues[[2, 0]])
    assert again.method == "jacobian"
    assert len(found) == 3


class Rounded(nn.Module):
    def __init__(self, change: str) -> None:
        super().__init__()
        self.inner, self.change = network(), change

    def forward(self, z):
        images = self.inner(z)
        if self.change == "constant":
            return torch.zeros_like(images)
        return {"round": (images * 50).round() / 50, "detach": images.detach()}[self.change]


@pytest.mark.parametrize(("change", "said"), [("round", "rounds"), ("detach", "detaches"), ("constant", "not change")])
def test_pictures_without_a_derivative_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        jacobian_axes(wrap(Rounded(change), z_dim=5), samples=2)


def test_inference_mode_changes_nothing():
    generator = wrap(network(), z_dim=5)
    outside = jacobian_axes(generator, samples=2)
    with torch.inference_mode():
        inside = jacobian_axes(generator, samples=2)
    assert torch.equal(outside.vectors, inside.vectors)


class Features(nn.Module):
    """Features whose squared differences are a distance that pixels are not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(3, 4, 3).double()

    def embed(self, images):
        features = torch.tanh(self.conv(images))
        return (features / features.square().sum(1, keepdim=True).sqrt()).flatten(1)


def published_tensor(generator: nn.Module, metric: Features, latents: torch.Tensor) -> torch.Tensor:
    """Wang and Ponce, section 3: the Hessian of the squared distance to the picture itself, averaged."""

    def hessian(z: torch.Tensor) -> torch.Tensor:
        here = metric.embed(generator(z[None])).detach()
        return torch.autograd.functional.hessian(
            lambda moved: (metric.embed(generator(moved[None])) - here).square().sum(), z
        )

    return torch.stack([hessian(z) for z in latents]).mean(0)


def test_axes_of_features_are_the_published_ones():
    generator, metric = wrap(network(), z_dim=5), Features()
    found = jacobian_axes(generator, metric=metric, samples=3)
    latents = generator.sample_latents(3, generator=torch.Generator().manual_seed(0))
    values, axes = torch.linalg.eigh(published_tensor(generator, metric, latents))
    torch.testing.assert_close(2 * found.eigenvalues.double(), values.flip(0), rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(aligned(found.vectors, axes.mT.flip(0)), torch.ones(5, dtype=torch.float64))
    assert found.note["metric"] == "Features"


def test_named_extractors_and_distances_are_metrics():
    from disentangle.evaluations.features import EXTRACTORS, Extractor

    generator = wrap(network(), z_dim=5)
    extractor = Extractor("half", 2, lambda images: images.flatten(1), centre=127.5, spread=127.5)
    assert len(jacobian_axes(generator, metric=extractor, samples=1, rank=2)) == 2
    assert "inception" in EXTRACTORS
    with pytest.raises(InputError, match="pixels, lpips"):
        jacobian_axes(generator, metric="inception")
    with pytest.raises(InputError, match="metric is a int"):
        jacobian_axes(generator, metric=3)


class Exp(torch.autograd.Function):
    """An operation with a reverse mode only, as extensions in C++ have."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].exp()


class Extended(nn.Module):
    def __init__(self, own: bool) -> None:
        super().__init__()
        self.inner, self.own = network(), own

    def forward(self, z):
        return (Exp.apply if self.own else torch.exp)(self.inner(z))


def test_differences_where_forward_mode_is_missing(caplog):
    plain = jacobian_axes(wrap(Extended(own=False), z_dim=5), samples=3)
    found = jacobian_axes(wrap(Extended(own=True), z_dim=5), samples=3)
    assert "no derivative in forward mode" in caplog.text
    torch.testing.assert_close(found.eigenvalues, plain.eigenvalues, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.vectors, plain.vectors, rtol=1e-4, atol=1e-4)


def test_a_large_space_gives_its_strongest_axes_by_products(monkeypatch):
    from disentangle.latents import jacobian, pullback

    generator = wrap(network(20), z_dim=20)
    exact = jacobian_axes(generator, samples=3, rank=3)
    seen = []
    monkeypatch.setattr(pullback, "_MOST", 100)  # bytes: derivatives are not held
    by_products = jacobian_axes(generator, samples=3, rank=3, batch=7, progress=lambda *done: seen.append(done))
    torch.testing.assert_close(by_products.vectors, exact.vectors)
    assert seen[-1] == (120, 120)
    monkeypatch.setattr(jacobian, "_EXACT", 10)
    estimated = jacobian_axes(generator, samples=3, rank=3, progress=lambda *done: seen.append(done))
    assert seen[-1][0] == seen[-1][1]
    torch.testing.assert_close(estimated.eigenvalues, exact.eigenvalues, rtol=1e-3, atol=0)
    assert float((estimated.eigenvalues - exact.eigenvalues).abs().max()) <= estimated.note["residual"] + 1e-5
    monkeypatch.setattr(jacobian, "_LARGEST", 10)
    with pytest.raises(InputError, match="give rank"):
        jacobian_axes(generator)
    with pytest.raises(InputError, match="rank is 21"):
        jacobian_axes(generator, rank=21)


def test_joint_axes_of_one_latent_are_its_own():
    generator = wrap(network(), z_dim=5)
    latents = Latents(generator.sample_latents(1), "z")
    mean = jacobian_axes(generator, at=latents)
    joint = jacobian_axes(generator, at=latents, criterion="joint")
    torch.testing.assert_close(joint.vectors, mean.vectors, rtol=0, atol=1e-5)
    torch.testing.assert_close(joint.eigenvalues, mean.eigenvalues, rtol=1e-5, atol=0)
    assert joint.note["at"] is True


def test_rows_of_a_stylegan_move_alone():
    model = build_model(
        {"kind": "stylegan2", "resolution": 16, "z_dim": 6, "w_dim": 5, "channels": [4, 4, 4], "mapping_layers": 2},
        seed=0,
    )
    found = jacobian_axes(model, layers=(1, 2), samples=2)
    assert (found.space, found.layers) == ("w", (1, 2))
    rows = model.sample_latents(2, space="w+", generator=torch.Generator().manual_seed(0))
    mean = torch.zeros(5, 5, dtype=torch.float64)
    for row in rows:
        jacobian = torch.autograd.functional.jacobian(lambda w: model(w[None], space="w+").flatten(), row)
        moved = jacobian[:, 1:3].sum(1).double()
        mean += moved.mT @ moved / 2
    torch.testing.assert_close(found.eigenvalues.double(), torch.linalg.eigvalsh(mean).flip(0), rtol=1e-4, atol=1e-7)
    spread = model.sample_latents(1000, space="w", generator=torch.Generator().manual_seed(0)) @ found.vectors.mT
    torch.testing.assert_close(found.scale, spread.std(0), rtol=1e-3, atol=0)
    styles = jacobian_axes(model, space="s", layers=(1,), samples=1, rank=2)
    read = [layer for layer in model.style_layers() if layer.ws_index == 1]
    inside = [i for layer in read for i in range(layer.start, layer.start + layer.channels)]
    assert {int(i) for i in styles.vectors.any(0).nonzero()} <= set(inside)
    with pytest.raises(InputError, match="rows of w"):
        jacobian_axes(model, space="z", layers=(1,))
    with pytest.raises(InputError, match="0 to"):
        jacobian_axes(model, layers=(99,))
