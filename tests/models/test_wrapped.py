"""A user's own module as a generator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import disentangle
from disentangle.errors import InputError
from disentangle.models import Generator


def decoder(z_dim: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.Linear(z_dim, 48), nn.Unflatten(1, (3, 4, 4)), nn.Sigmoid())


def dcgan(z_dim: int = 7) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(z_dim, 8, 4, bias=False), nn.BatchNorm2d(8), nn.Tanh())


def test_wrapped_module_is_a_generator_with_its_images_mapped():
    module = decoder()
    generator = disentangle.wrap(module, z_dim=5, image_range=(0, 1))
    assert isinstance(generator, Generator)
    latents = generator.sample_latents(6, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(generator(latents), 2 * module(latents) - 1)
    assert generator.projections()["first"].parameter is module[0].weight
    assert generator.projections()["first"].matrix().shape == (48, 5)


def test_other_latent_shapes_and_transposed_convolutions():
    module = dcgan()
    generator = disentangle.wrap(module, z_dim=7, latent_shape=(7, 1, 1))
    images = generator(generator.sample_latents(2))
    assert images.shape == (2, 8, 4, 4)
    projection = generator.projections()["first"]
    assert projection.matrix().shape == (8 * 16, 7)
    z = torch.randn(3, 7)
    assert torch.allclose(module[0](z[:, :, None, None]).flatten(1), z @ projection.matrix().T, atol=1e-5)


def test_convolution_that_reads_the_latent_is_viewed_by_its_input():
    module = nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), nn.Upsample(scale_factor=4))
    generator = disentangle.wrap(module, z_dim=4, latent_shape=(4, 1, 1))
    z = torch.randn(3, 4)
    assert torch.allclose(module[0](z[:, :, None, None]).flatten(1), z @ generator.projections()["first"].matrix().T)


def test_the_trial_call_leaves_modes_and_running_statistics_alone():
    module = dcgan()
    module.train()
    module[2].eval()
    before = module[1].running_mean.clone()
    disentangle.wrap(module, z_dim=7, latent_shape=(7, 1, 1))
    assert module.training
    assert module[1].training
    assert not module[2].training
    assert torch.equal(module[1].running_mean, before)


def test_named_projection_and_none():
    module = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 48), nn.Unflatten(1, (3, 4, 4)))
    generator = disentangle.wrap(module, z_dim=5, projection=module[1])
    assert generator.projections()["first"].parameter is module[1].weight
    without = disentangle.wrap(nn.Unflatten(1, (1, 4, 4)), z_dim=16)
    assert without.projections() == {}
    assert without(without.sample_latents(2)).shape == (2, 1, 4, 4)


def test_wrapped_generators_can_be_treated_and_traversed():
    generator = disentangle.wrap(decoder(), z_dim=5)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    disentangle.orthogonalize(optimizer, [p.parameter for p in generator.projections().values()], nog=True)
    assert disentangle.traverse(generator, steps=3).shape == (1, 5, 3, 3, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"z_dim": 6}, r"does not accept latents of shape \(2, 6\)"),
        ({"z_dim": 0}, "z_dim is 0"),
        ({"z_dim": 5, "latent_shape": (2, 2)}, "holds 4 numbers"),
        ({"z_dim": 5, "image_range": (1, 0)}, "low < high"),
        ({"z_dim": 5, "projection": nn.Linear(3, 3)}, "with 5 inputs"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        disentangle.wrap(decoder(), **arguments)


def test_a_module_that_returns_no_images_is_refused():
    with pytest.raises(InputError, match=r"returned \(2, 48\)"):
        disentangle.wrap(nn.Linear(5, 48), z_dim=5)
