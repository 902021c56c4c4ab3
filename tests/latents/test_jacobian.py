"""Axes of the mean metric: against singular vectors, differences, and the published construction."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from disentangle.errors import InputError
from disentangle.latents import Directions, jacobian_axes
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
