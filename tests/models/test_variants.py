"""What other people's generators are made with: nonlinearities, classes and widths that are not the published ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from disentangle.errors import ConfigError
from disentangle.models import build_model
from disentangle.models.ops.mapping import MappingNetwork

SG2: dict[str, Any] = {
    "kind": "stylegan2", "resolution": 8, "z_dim": 5, "w_dim": 6, "mapping_layers": 2, "channels": (4, 4),
}  # fmt: skip
PICTURE = {"lrelu": lambda x: F.leaky_relu(x, 0.2), "relu": F.relu, "linear": lambda x: x, "swish": F.silu}


def made(config: dict[str, Any]) -> Any:
    return build_model(config, seed=0).eval().requires_grad_(False)


def z_of(model: Any, n: int = 3) -> torch.Tensor:
    return model.sample_latents(n, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", sorted(PICTURE))
def test_nonlinearities_of_a_layer(name):
    """``clamp(act(conv + noise + bias) g)``, g the root of 2, or 1 without a nonlinearity."""
    model = made({**SG2, "activation": name, "clamp": 1.2})
    layer, random = model.synthesis.b8.conv1, torch.Generator().manual_seed(3)
    layer.bias.normal_(generator=random)
    layer.noise_strength.fill_(0.3)
    x, style = torch.randn(2, 4, 8, 8, generator=random), torch.randn(2, 4, generator=random)
    expected = []
    for one, scale in zip(x, style, strict=True):
        weight = layer.weight * scale[None, :, None, None]
        weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
        expected.append(F.conv2d(one, weight, padding=1))
    y = torch.stack(expected) + 0.3 * layer.noise_const + layer.bias[:, None, None]
    y = (PICTURE[name](y) * (1.0 if name == "linear" else math.sqrt(2))).clamp(-1.2, 1.2)
    torch.testing.assert_close(layer(x, style, "const", None), y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(PICTURE))
def test_nonlinearities_of_a_mapping_network(name):
    mapping = MappingNetwork(z_dim=5, w_dim=6, depth=2, multiplier=0.5, hidden=7, activation=name)
    z = torch.randn(3, 5)
    x = z / z.square().mean(dim=1, keepdim=True).add(1e-8).sqrt()
    for layer, inputs, outputs in ((mapping.fc0, 5, 7), (mapping.fc1, 7, 6)):
        torch.nn.init.normal_(layer.bias)
        assert layer.weight.shape == (outputs, inputs)
        x = F.linear(x, layer.weight * 0.5 / math.sqrt(inputs), layer.bias * 0.5)
        x = PICTURE[name](x) * (1.0 if name == "linear" else math.sqrt(2))
    torch.testing.assert_close(mapping(z), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("normalized", [True, False])
def test_classes_before_ada(normalized):
    """z and the embedded class are one vector, normalised as such, and the embedding has no bias."""
    mapping = MappingNetwork(
        z_dim=5, w_dim=6, c_dim=3, depth=1, multiplier=1.0, embedding=4, class_norm="together", normalized=normalized
    )
    assert mapping.embed.bias is None
    z = torch.randn(2, 5)
    x = torch.cat([z, (mapping.embed.weight / math.sqrt(3)).T[torch.tensor([0, 2])]], dim=1)
    x = x / x.square().mean(dim=1, keepdim=True).add(1e-8).sqrt() if normalized else x
    expected = F.leaky_relu(F.linear(x, mapping.fc0.weight / 3), 0.2) * math.sqrt(2)
    torch.testing.assert_close(mapping(z, torch.tensor([0, 2])), expected, rtol=0, atol=1e-5)


def test_a_generator_of_classes_alone():
    model = made({**SG2, "z_dim": 0, "c_dim": 3})
    z = model.sample_latents(3)
    assert z.shape == (3, 0)
    pictures = model(z, label=torch.tensor([0, 0, 2]))
    torch.testing.assert_close(pictures[0], pictures[1], rtol=0, atol=1e-6)
    assert not torch.allclose(pictures[0], pictures[2])


def test_without_demodulation_a_weight_counts_as_it_is():
    model = made({**SG2, "demodulate": False})
    before = model(z_of(model))
    model.synthesis.b8.conv1.weight.mul_(0.5)
    assert not torch.allclose(model(z_of(model)), before)
    model = made(SG2)
    before = model(z_of(model))
    model.synthesis.b8.conv1.weight.mul_(0.5)
    torch.testing.assert_close(model(z_of(model)), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"activation": "swish"}, {"demodulate": False}, {"resample_filter": (1.0, 2.0, 1.0)}]
)
def test_derivatives_and_pictures_agree(change):
    """With and without a derivative other code runs."""
    model = made({**SG2, **change})
    z = z_of(model)
    torch.testing.assert_close(model(z.clone().requires_grad_()).detach(), model(z), rtol=1e-5, atol=1e-5)


def test_a_tanh_at_the_end():
    for config in (SG2, {**SG2, "kind": "stylegan1"}, {"kind": "dcgan", "resolution": 16, "channels": (4, 4)}):
        plain, bounded = made({**config, "last": "identity"}), made({**config, "last": "tanh"})
        z = z_of(plain)
        torch.testing.assert_close(bounded(z), plain(z).tanh(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"z_dim": 0}, "z_dim and c_dim are 0"),
        ({"resample_filter": ()}, "resample_filter"),
        ({"resample_filter": (1.0, -1.0)}, "sum to zero"),
        ({"image_filter": (0.0,)}, "sum to zero"),
        ({"activation": "elu"}, "activation"),
        ({"mapping_width": 0}, "mapping_width"),
    ],
)
def test_configurations_of_nothing(change, said):
    with pytest.raises(ConfigError, match=said):
        build_model({**SG2, **change})
