"""StyleGAN, ProGAN and DCGAN: layers against plain formulas, levels of detail, files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from disentangle.errors import InputError
from disentangle.io import load, save
from disentangle.models import build_model

PROGAN = {"kind": "progan", "resolution": 16, "latent_dim": 6, "channels": (5, 5, 4)}
STYLEGAN = {
    "kind": "stylegan1", "resolution": 16, "z_dim": 6, "w_dim": 7, "mapping_layers": 2, "channels": (5, 5, 4),
}  # fmt: skip
DCGAN = {"kind": "dcgan", "resolution": 16, "latent_dim": 6, "channels": (5, 4)}


def made(config, *, seed: int = 0) -> torch.nn.Module:
    model = build_model(config, seed=seed).eval().requires_grad_(False).double()
    random = torch.Generator().manual_seed(1)
    for tensor in model.parameters():
        if float(tensor.var(unbiased=False)) == 0:
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=random, dtype=torch.float64))
    return model


def normal(x: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


@pytest.mark.parametrize("first_norm", [True, False])
def test_a_progan_by_hand(first_norm):
    model = made({**PROGAN, "resolution": 8, "channels": (5, 4), "first_norm": first_norm})
    s = model.state_dict()
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.einsum("zcyx,nz->ncyx", s["b4.conv0.weight"], normal(z)) * math.sqrt(2) / 4 / math.sqrt(6)
    x = F.leaky_relu(x + s["b4.conv0.bias"][:, None, None], 0.2)
    x = normal(x) if first_norm else x

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = s[f"{name}.weight"] * math.sqrt(2 / s[f"{name}.weight"][0].numel())
        return normal(F.leaky_relu(F.conv2d(x, weight, s[f"{name}.bias"], padding=1), 0.2))

    x = conv(x, "b4.conv1")
    small = F.conv2d(x, s["b4.torgb.weight"] / math.sqrt(5), s["b4.torgb.bias"])
    x = conv(conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), "b8.conv0"), "b8.conv1")
    large = F.conv2d(x, s["b8.torgb.weight"] / 2, s["b8.torgb.bias"])
    enlarged = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(model(z), large, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(z, lod=0.25), 0.75 * large + 0.25 * enlarged, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(z, lod=1), enlarged, rtol=0, atol=1e-12)


def test_a_progan_does_not_see_the_length_of_a_latent():
    model = made(PROGAN)
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(3 * z), model(z), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="truncation"):
        model.sample_latents(1, truncation=0.5)
    with pytest.raises(InputError, match="lod is 9"):
        model(z, lod=9)


@pytest.mark.parametrize("blur", [True, False])
@pytest.mark.parametrize("noise", ["const", "none"])
def test_a_stylegan_layer_by_hand(blur, noise):
    model = made({**STYLEGAN, "blur": blur})
    s = model.state_dict()
    layer = model.synthesis.b8.conv0
    x = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    style = torch.randn(2, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = F.conv2d(y, s["synthesis.b8.conv0.weight"] * math.sqrt(2 / 45), padding=1)
    if blur:
        row = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
        kernel = (torch.outer(row, row) / 16)[None, None].repeat(5, 1, 1, 1)
        y = F.conv2d(y, kernel, padding=1, groups=5)
    if noise == "const":
        y = y + s["synthesis.b8.conv0.noise_const"] * s["synthesis.b8.conv0.noise_strength"][:, None, None]
    y = F.leaky_relu(y + s["synthesis.b8.conv0.bias"][:, None, None], 0.2)
    flat = y.numpy().reshape(2, 5, -1)
    unit = (flat - flat.mean(-1, keepdims=True)) / np.sqrt(flat.var(-1, keepdims=True) + 1e-8)
    expected = unit.reshape(2, 5, 8, 8) * (style[:, :5, None, None].numpy() + 1) + style[:, 5:, None, None].numpy()
    np.testing.assert_allclose(layer(x, style, noise, None).numpy(), expected, atol=1e-12)


def test_both_formulas_of_the_variance_agree():
    z = torch.randn(1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        made(STYLEGAN)(z, noise="const"), made({**STYLEGAN, "norm_centred": False})(z, noise="const"), rtol=0, atol=1e-9
    )


def test_a_stylegan_truncates_and_blends_and_leaves_its_weights_alone():
    model = made({**STYLEGAN, "truncation": 0.5})
    model.mapping.w_avg.fill_(0.2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    z = model.sample_latents(1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(z), model(z, truncation=0.5), rtol=0, atol=0)
    assert not torch.equal(model(z), model(z, truncation=1.0))
    for noise in ("none", "const"):
        for lod in (0.0, 0.5, 1.0):
            model(z, noise=noise, lod=lod)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    one = model(z, noise="random", generator=torch.Generator().manual_seed(3))
    assert torch.equal(one, model(z, noise="random", generator=torch.Generator().manual_seed(3)))
    half = 0.5 * (model(z, lod=0.0) + model(z, lod=1.0))
    torch.testing.assert_close(model(z, lod=0.5), half, rtol=0, atol=1e-9)


def test_a_dcgan_by_hand():
    model = made(DCGAN)
    s = model.state_dict()
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.einsum("nz,zcyx->ncyx", z, s["convs.0.weight"])
    x = (x / math.sqrt(1 + 1e-5) * s["norms.0.weight"][:, None, None] + s["norms.0.bias"][:, None, None]).relu()
    x = F.conv_transpose2d(x, s["convs.1.weight"], stride=2, padding=1)
    x = (x / math.sqrt(1 + 1e-5) * s["norms.1.weight"][:, None, None] + s["norms.1.bias"][:, None, None]).relu()
    expected = F.conv_transpose2d(x, s["to_image.weight"], stride=2, padding=1).tanh()
    torch.testing.assert_close(model(z), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("config", [PROGAN, STYLEGAN, DCGAN], ids=lambda c: c["kind"])
def test_files_and_projections(config, tmp_path):
    model = build_model(config, seed=0).eval().requires_grad_(False)
    save(model, tmp_path / "m.safetensors")
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load(tmp_path / "m.safetensors")(z), model(z))
    projection = next(iter(model.projections().values()))
    assert any(projection.parameter is parameter for parameter in model.parameters())
    assert projection.matrix().shape[1] == model.spaces[projection.space].size
