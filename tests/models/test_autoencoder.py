"""Autoencoders with quantised codes: their networks, their codes as generators' latents, files and walks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import disentangle
from disentangle.errors import ConfigError, InputError
from disentangle.latents import basis, traverse
from disentangle.models import Autoencoder, Encoder, Generator, build_model
from disentangle.models.base import LatentSpace

SMALL = {"kind": "autoencoder", "resolution": 16, "latent_dim": 3, "channels": [4, 6], "hidden": 8}
KINDS = [
    {**SMALL, "network": network, "quantiser": {"kind": kind, "values": 4}}
    for network in ("plain", "style", "residual")
    for kind in ("codebooks", "fsq")
]


@pytest.fixture(params=KINDS, ids=lambda c: f"{c['network']}-{c['quantiser']['kind']}")
def model(request):
    return build_model(request.param, seed=0).eval().requires_grad_(False)


def test_is_a_generator_and_an_encoder_of_few_values(model, tmp_path):
    assert isinstance(model, Generator)
    assert isinstance(model, Encoder)
    codes = model.encode(torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    latents = model.sample_latents(400, generator=torch.Generator().manual_seed(0))
    for column, values in enumerate(model.spaces["z"].values):
        assert set(codes[:, column].tolist()) <= set(values)
        assert set(latents[:, column].tolist()) == set(values)
    images = model(latents[:4])
    assert images.shape == (4, 3, 16, 16)
    assert float(images.abs().max()) <= 1
    maps = model.maps(latents[:4])
    assert len(maps) >= 2
    assert all(len(each) == 4 for each in maps)
    disentangle.save(model, tmp_path / "m.safetensors")
    again = disentangle.load(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert torch.equal(again(latents[:4]), images)
    with pytest.raises(InputError, match=r"takes \(n, 3, 16, 16\)"):
        model.encode(torch.rand(1, 1, 16, 16))


def test_a_walk_goes_from_the_lowest_value_to_the_highest():
    model = build_model({**SMALL, "quantiser": {"values": 3}}, seed=0).eval().requires_grad_(False)
    model.quantiser.values.copy_(torch.tensor([[0.0, 5.0, 1.0], [-1.0, 0.0, 1.0], [2.0, 2.0, 2.0]]))
    axes = basis(model)
    torch.testing.assert_close(axes.mean, torch.tensor([2.5, 0.0, 2.0]))
    torch.testing.assert_close(3 * axes.scale, torch.tensor([2.5, 1.0, 0.0]))
    start = model.sample_latents(1, generator=torch.Generator().manual_seed(4))
    walk = traverse(model, seeds=[4], steps=5)
    for step, value in enumerate((0.0, 1.25, 2.5, 3.75, 5.0)):
        moved = start.clone()
        moved[0, 0] = value
        torch.testing.assert_close(walk[0, 0, step], model(moved)[0], rtol=0, atol=1e-5)


def test_nearest_values_and_where_gradients_go():
    model = build_model({**SMALL, "quantiser": {"values": 3}}, seed=0)
    assert isinstance(model, Autoencoder)
    books = model.quantiser
    x = torch.tensor([[-0.3, 0.2, 9.0]], requires_grad=True)
    assert books.indices(x).tolist() == [[0, 1, 2]]
    books(x).sum().backward()
    assert x.grad.tolist() == [[1, 1, 1]]
    assert books.values.grad is None
    books.nearest(x).sum().backward()
    assert books.values.grad.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_evenly_spaced_values():
    levels = build_model({**SMALL, "quantiser": {"kind": "fsq", "values": 5}}).quantiser
    assert levels.levels()[0] == (-1.0, -0.5, 0.0, 0.5, 1.0)
    torch.testing.assert_close(levels.nearest(torch.tensor([[-1.0, 0.2, 0.3]])), torch.tensor([[-1.0, 0.0, 0.5]]))


def test_published_networks():
    style = build_model({"kind": "autoencoder"})
    widths = [tuple(p.shape) for p in style.decoder.parameters() if p.ndim == 4]
    assert widths[:4] == [(256, 256, 3, 3), (256, 256, 3, 3), (256, 256, 4, 4), (256, 128, 3, 3)]
    assert widths[-2:] == [(32, 32, 4, 4), (3, 32, 3, 3)]
    assert len(widths) == 13
    assert [m.shape[1] for m in style.maps(torch.zeros(1, 12))] == [256, 256, 128, 64]
    residual = build_model({"kind": "autoencoder", "network": "residual"})
    assert [tuple(m.shape[1:]) for m in residual.maps(torch.zeros(1, 12))] == [
        (256,), (256, 8, 8), (128, 16, 16), (64, 32, 32),
    ]  # fmt: skip
    assert residual.encoder[-1].weight.shape == (12, 512)


def test_a_style_layer_is_its_formula():
    layer = build_model({**SMALL, "network": "style"}, seed=0).decoder.blocks[0][2].double()
    x, style = torch.randn(2, 6, 4, 4).double(), torch.randn(2, 8).double()
    made = F.leaky_relu(F.conv_transpose2d(x, layer.convolution.weight, stride=2, padding=1), 0.2)
    made = (made - made.mean((2, 3), keepdim=True)) / (made.var((2, 3), keepdim=True, correction=0) + 1e-6).sqrt()
    scale, shift = F.relu(style @ layer.style.weight.T + layer.style.bias).chunk(2, dim=1)
    torch.testing.assert_close(layer(x, style), made * scale[:, :, None, None] + shift[:, :, None, None])


def test_truncation_shrinks_towards_the_mean_value():
    space = LatentSpace("z", (2,), prior="uniform", values=((0.0, 4.0), (1.0, 2.0)))
    half, whole = (
        space.sample(50, truncation=t, generator=torch.Generator().manual_seed(0)) for t in (0.5, 1.0)
    )  # fmt: skip
    torch.testing.assert_close(half, torch.tensor([2.0, 1.5]) + 0.5 * (whole - torch.tensor([2.0, 1.5])))
    with pytest.raises(InputError, match="values has 1 rows for 2 coordinates"):
        LatentSpace("z", (2,), values=((0.0,),))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantiser": {"values": 1}}, "greater than or equal to 2"),
        ({"channels": [4]}, "fits 8 pixels"),
        ({"channels": [4, 0]}, "from 1 up"),
        ({"network": "residal"}, "network"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        build_model({**SMALL, **fields})


def test_a_vae_with_a_style_decoder():
    config = {"kind": "vae", "resolution": 16, "channels": [4, 6], "hidden": 8, "latent_dim": 3, "decoder": "style"}
    model = build_model(config, seed=0)
    assert model(model.sample_latents(2)).shape == (2, 3, 16, 16)
    assert model.projections()["first"].matrix().shape == (8, 3)
