"""The fully connected VAE against the same sums in numpy, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from disentangle.errors import ConfigError, InputError
from disentangle.io import load, save
from disentangle.models import Encoder, Generator, build_model

CONFIG = {"kind": "mlp-vae", "image_shape": (2, 3, 4), "latent_dim": 3, "hidden": 8}


@pytest.fixture
def model():
    return build_model(CONFIG, seed=0).eval().requires_grad_(False)


def test_pictures_are_two_sigmoids_minus_one(model):
    model.double()
    s = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    z = torch.randn(5, 3, dtype=torch.float64)
    hidden = np.maximum(z.numpy() @ s["first.weight"].T + s["first.bias"], 0)
    pixels = 1 / (1 + np.exp(-(hidden @ s["last.weight"].T + s["last.bias"])))
    np.testing.assert_allclose(model(z).numpy(), (2 * pixels - 1).reshape(5, 2, 3, 4), rtol=0, atol=1e-14)


def test_codes_are_means(model):
    model.double()
    s = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    images = torch.rand(5, 2, 3, 4, dtype=torch.float64)
    hidden = np.maximum(images.numpy().reshape(5, -1) @ s["encoder.0.weight"].T + s["encoder.0.bias"], 0)
    mean = hidden @ s["mean.weight"].T + s["mean.bias"]
    variance = hidden @ s["log_variance.weight"].T + s["log_variance.bias"]
    np.testing.assert_allclose(model.encode(images).numpy(), mean, rtol=0, atol=1e-14)
    np.testing.assert_allclose(model.posterior(images)[1].numpy(), variance, rtol=0, atol=1e-14)


def test_is_a_generator_and_an_encoder(model):
    assert isinstance(model, Generator)
    assert isinstance(model, Encoder)
    latents = model.sample_latents(200, generator=torch.Generator().manual_seed(0))
    images = model(latents)
    assert images.shape == (200, 2, 3, 4)
    assert float(images.min()) < 0 < float(images.max())
    assert float(images.abs().max()) <= 1
    assert model.encode((images + 1) / 2).shape == (200, 3)
    assert (model.config.image_channels, model.config.resolution) == (2, 3)


def test_the_projection_is_the_first_layer(model):
    (first,) = model.projections().values()
    assert first.parameter is model.first.weight
    z = torch.randn(3, 3)
    moved = model.first(z + torch.eye(3)[1]) - model.first(z)
    torch.testing.assert_close(moved, first.matrix()[:, 1].expand(3, -1))


def test_latents_are_not_changed(model):
    z = torch.randn(3, 3)
    before = z.clone()
    model(z)
    assert torch.equal(z, before)


def test_a_gradient_reaches_the_latent():
    model = build_model(CONFIG, seed=0)
    z = torch.randn(2, 3, requires_grad=True)
    model(z).sum().backward()
    assert z.grad is not None
    assert bool(z.grad.any())


def test_round_trip(model, tmp_path):
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.config == model.config
    z = torch.randn(3, 3)
    assert torch.equal(again(z), model(z))


def test_what_does_not_fit_is_refused(model):
    with pytest.raises(InputError, match=r"expects \(n, 3\)"):
        model(torch.ones(2, 4))
    with pytest.raises(InputError, match=r"takes \(n, 2, 3, 4\)"):
        model.encode(torch.rand(1, 2, 4, 3))
    with pytest.raises(InputError, match="floating point"):
        model.encode(torch.ones(1, 2, 3, 4, dtype=torch.uint8))
    for wrong in ({"latent_dim": 0}, {"hidden": 0}, {"image_shape": (3, 4)}, {"image_shape": (0, 3, 4)}):
        with pytest.raises(ConfigError, match="does not validate"):
            build_model({**CONFIG, **wrong})
