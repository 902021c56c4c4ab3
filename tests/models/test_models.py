"""Every registered generator, its projections, its configuration."""

from __future__ import annotations

import pytest
import torch

from disentangle.errors import ConfigError, InputError
from disentangle.linalg import orthogonality_error
from disentangle.models import (
    VAE,
    EigenGANConfig,
    Encoder,
    Generator,
    SimpleGANConfig,
    VAEConfig,
    build_model,
    config_class,
    model_kinds,
)
from disentangle.models.base import LatentSpace, check_latents
from disentangle.models.discriminators import (
    PairedDiscriminatorConfig,
    StridedDiscriminatorConfig,
    build_discriminator,
)

SMALL = {
    "vae": {"kind": "vae", "resolution": 32, "image_channels": 1, "latent_dim": 4, "channels": [4, 8, 8], "hidden": 16},
    "eigengan": {
        "kind": "eigengan", "resolution": 16, "image_channels": 3, "basis": 2, "noise_dim": 5, "channels": [8, 6, 4],
    },
    "gan": {"kind": "gan", "resolution": 16, "image_channels": 3, "latent_dim": 6, "channels": [8, 6, 4]},
    "mlp-gan": {"kind": "mlp-gan", "image_shape": [1, 8, 8], "latent_dim": 5, "hidden": [6, 16]},
}  # fmt: skip


ELSEWHERE = {
    "wrapped",
    "autoencoder",
    "autoencoder-kl",
    "classifier",
    "dcgan",
    "mlp-vae",
    "progan",
    "stylegan1",
    "stylegan2",
    "stylegan3",
}  # have test files of their own


def test_the_table_above_has_every_generator():
    assert set(SMALL) == set(model_kinds()) - ELSEWHERE


@pytest.fixture(params=sorted(SMALL))
def model(request) -> torch.nn.Module:
    return build_model(SMALL[request.param], seed=0)


def test_is_a_generator_with_images_in_range(model):
    assert isinstance(model, Generator)
    config = model.config
    latents = model.sample_latents(3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        images = model(latents)
    assert images.shape == (3, config.image_channels, config.resolution, config.resolution)
    assert float(images.abs().max()) <= 1
    with torch.no_grad():
        assert torch.equal(images, model(latents, space="z"))


def test_latents_are_seeded_and_truncated(model):
    def draw(seed: int, truncation: float = 1.0) -> torch.Tensor:
        return model.sample_latents(4, truncation=truncation, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.allclose(draw(1, 0.5), 0.5 * draw(1))


def test_bad_latents_are_refused(model):
    size = model.spaces["z"].size
    with pytest.raises(InputError, match=rf"space 'z' expects \(n, {size}\)"):
        model(torch.zeros(2, size + 1))
    with pytest.raises(InputError, match="int64"):
        model(torch.zeros(2, size, dtype=torch.int64))
    with pytest.raises(InputError, match="latent space 'w'"):
        model(torch.zeros(2, size), space="w")


def test_projections_are_trained_parameters_and_linear_maps(model):
    projections = model.projections()
    assert projections
    parameters = {id(p) for p in model.parameters()}
    coordinates = [c for p in projections.values() for c in p.coordinates]
    assert coordinates == list(model.spaces["z"].walk)
    for depth, projection in enumerate(projections.values()):
        assert id(projection.parameter) in parameters
        assert projection.depth == depth
        assert projection.matrix().shape[1] == len(projection.coordinates)


def test_same_seed_same_weights_and_the_global_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build_model(SMALL["vae"], seed=3).state_dict()
    assert torch.equal(torch.rand(3), expected)
    second = build_model(SMALL["vae"], seed=3).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_vae_projection_is_the_decoders_first_map():
    model = build_model(SMALL["vae"], seed=0)
    assert isinstance(model, VAE)
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    before = model.first(z) - model.first.bias
    assert torch.allclose(before, z @ model.projections()["first"].matrix().T, atol=1e-6)


def test_vae_encodes_images_of_its_size_only():
    model = build_model(SMALL["vae"], seed=0)
    assert isinstance(model, Encoder)
    images = torch.rand(3, 1, 32, 32)
    assert model.encode(images).shape == (3, 4)
    mean, log_variance = model.posterior(images)
    assert mean.shape == log_variance.shape == (3, 4)
    with pytest.raises(InputError, match=r"\(n, 1, 32, 32\)"):
        model.encode(torch.rand(3, 3, 32, 32))


def test_standard_64_pixel_network_is_the_published_one():
    model = build_model({"kind": "vae"})
    sizes = [tuple(p.shape) for p in model.encoder.parameters() if p.ndim > 1]
    assert sizes == [(32, 3, 4, 4), (32, 32, 4, 4), (64, 32, 4, 4), (64, 64, 4, 4), (256, 1024), (20, 256)]
    sizes = [tuple(p.shape) for p in model.decoder.parameters() if p.ndim > 1]
    assert sizes == [(1024, 256), (64, 64, 4, 4), (64, 32, 4, 4), (32, 32, 4, 4), (32, 3, 4, 4)]


def test_eigengan_adds_the_subspace_of_each_block():
    model = build_model(SMALL["eigengan"], seed=0)
    for projection in model.projections().values():
        assert float(orthogonality_error(projection.parameter)) < 1e-5
    block = model.blocks[0]
    assert block.projection.L.tolist() == [6.0, 3.0]
    z = torch.randn(3, 2)
    expected = (z * block.projection.L) @ block.projection.U + block.projection.mu
    assert torch.allclose(block.projection(z), expected, atol=1e-6)
    assert torch.allclose(z @ model.projections()["block0"].matrix().T, expected - block.projection.mu, atol=1e-5)


def test_eigengan_block_by_hand():
    """One 1x1-pixel-simple block: the two sums and activations, written out."""
    torch.manual_seed(0)
    model = build_model(SMALL["eigengan"], seed=0).double()
    block = model.blocks[0]
    h = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    z = torch.randn(2, 2, dtype=torch.float64)
    phi = block.projection(z).reshape(2, 8, 4, 4)
    up = {"stride": 2, "padding": 1, "output_padding": 1}
    f = torch.nn.functional
    first = f.leaky_relu(h + f.conv_transpose2d(phi, block.subspace_conv1.weight, block.subspace_conv1.bias), 0.2)
    h1 = f.conv_transpose2d(first, block.feature_conv1.weight, block.feature_conv1.bias, **up)
    second = f.leaky_relu(
        h1 + f.conv_transpose2d(phi, block.subspace_conv2.weight, block.subspace_conv2.bias, **up), 0.2
    )
    h2 = f.conv_transpose2d(second, block.feature_conv2.weight, block.feature_conv2.bias, padding=1)
    assert torch.allclose(block(h, z), h2, atol=1e-12)


def test_eigengan_batches_larger_than_the_basis_convolve_the_maps_instead(generator):
    model = build_model(SMALL["eigengan"], seed=0).double()
    latents = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    for layout in (torch.contiguous_format, torch.channels_last):
        model = model.to(memory_format=layout)
        gradients = []
        for parts in ([latents], latents.split(2)):
            model.zero_grad()
            images = torch.cat([model(part) for part in parts])
            images.square().sum().backward()
            gradients.append((images.detach(), *(p.grad.clone() for p in model.parameters())))
        for whole, divided in zip(*gradients, strict=True):
            assert torch.allclose(whole, divided, rtol=1e-10, atol=1e-12)


def test_eigengan_walks_the_coordinates_and_not_the_noise():
    model = build_model(SMALL["eigengan"], seed=0)
    space = model.spaces["z"]
    assert space.shape == (5 + 2 * 2,)
    assert space.walk == (5, 6, 7, 8)
    assert space.labels == ("block 0, 0", "block 0, 1", "block 1, 0", "block 1, 1")


def test_eigengan_with_uniform_coordinates():
    """Variance one as of normal ones, so that only the law differs; noise stays normal; files say it."""
    config = {"kind": "eigengan", "resolution": 8, "channels": (4, 3), "basis": 3, "noise_dim": 2, "prior": "uniform"}
    model = build_model(config, seed=0)
    assert model.config.prior == "uniform"
    assert not model.spaces["z"].isotropic
    drawn = model.sample_latents(20_000, generator=torch.Generator().manual_seed(0))
    noise, coordinates = drawn.split([2, 3], dim=1)
    assert float(noise.abs().max()) > 3
    assert 1.731 < float(coordinates.abs().max()) <= 3**0.5 + 1e-6
    torch.testing.assert_close(coordinates.var(0), torch.ones(3), rtol=0, atol=0.02)
    # a quarter of a uniform law lies in each quarter of its range; of a normal one of variance 1, 0.31 in the inner two
    inner = (coordinates > 0) & (coordinates < 3**0.5 / 2)
    assert float(inner.double().mean()) == pytest.approx(0.25, abs=0.01)
    plain = build_model({**config, "prior": "normal"}, seed=0)
    assert plain.spaces["z"].isotropic
    with torch.no_grad():
        assert torch.equal(plain(drawn[:2]), model(drawn[:2]))  # the network itself is the same


def test_a_projection_names_the_importances_of_its_directions():
    model = build_model({"kind": "eigengan", "resolution": 8, "channels": (4, 3), "basis": 3, "noise_dim": 2}, seed=0)
    assert model.projections()["block0"].importance is model.blocks[0].projection.L
    first = build_model({"kind": "gan", "resolution": 8, "channels": (4, 3), "latent_dim": 2}, seed=0).projections()
    assert first["first"].importance is None


def test_published_shapes():
    eigengan = EigenGANConfig(resolution=128)
    assert eigengan.channels == (512, 256, 128, 64, 32, 16)
    assert EigenGANConfig(resolution=256).channels == (512, 512, 256, 128, 64, 32, 16)
    assert SimpleGANConfig(resolution=128).channels == (1024, 1024, 512, 256, 128, 64)
    gan = build_model(SimpleGANConfig(resolution=64))
    assert gan.projections()["first"].parameter.shape == (30, 512, 4, 4)
    assert gan.projections()["first"].matrix().shape == (8192, 30)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "vae", "resolution": 48}, "channels must be given at 48 pixels"),
        ({"kind": "vae", "resolution": 64, "channels": [8, 8]}, "fits 16 pixels"),
        ({"kind": "eigengan", "resolution": 48}, "power of two"),
        ({"kind": "eigengan", "resolution": 32, "channels": [8, 8]}, "need 4"),
        ({"kind": "eigengan", "resolution": 16, "channels": [1, 1, 1], "basis": 20}, "at most 16"),
        ({"kind": "gan", "resolution": 64, "bases": 3}, "bases: Extra inputs"),
        ({"kind": "gan", "latent_dim": 0}, "latent_dim: Input should be greater"),
        ({"kind": "gan", "resolution": 32, "channels": [8, 8]}, "fits 8 pixels"),
        ({"resolution": 64}, "has no 'kind'"),
    ],
)
def test_bad_configurations_say_which_field(record, message):
    with pytest.raises(ConfigError, match=message):
        build_model(record)


def test_unknown_kind_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'eigengan'"):
        build_model({"kind": "eigengans"})
    with pytest.raises(InputError, match="Known: autoencoder, autoencoder-kl, classifier, .*eigengan, gan, .*vae"):
        config_class("stylegan9")
    assert config_class("vae") is VAEConfig


def test_latent_space_checks_itself():
    space = LatentSpace("w", (2, 3), prior="uniform")
    assert space.size == 6
    assert space.labels[0] == "w0"
    draws = space.sample(1000, generator=torch.Generator().manual_seed(0))
    assert draws.shape == (1000, 2, 3)
    assert -1 <= float(draws.min()) < -0.9
    with pytest.raises(InputError, match="2 labels for 1"):
        LatentSpace("z", (3,), walk=(0,), labels=("a", "b"))
    with pytest.raises(InputError, match="outside a latent of 3"):
        LatentSpace("z", (3,), walk=(3,))
    assert check_latents(draws, space) is draws


@pytest.mark.parametrize(
    "config",
    [
        PairedDiscriminatorConfig(resolution=32, image_channels=3, channels=(4, 8, 8, 8)),
        StridedDiscriminatorConfig(resolution=32, image_channels=3, channels=(4, 8, 8)),
        StridedDiscriminatorConfig(
            resolution=32, image_channels=3, channels=(4, 8, 8), norm="instance", activation="relu", hidden=8
        ),
    ],
)
def test_discriminators_give_one_logit_an_image(config):
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    logits = build_discriminator(config)(images)
    assert logits.shape == (5,)
    with pytest.raises(ValueError, match="resolution is 64"):
        config.model_validate({**config.model_dump(), "resolution": 64})
