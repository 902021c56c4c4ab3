"""StyleGAN2 against a plain transcription of its definition, and its spaces, noise, truncation and classes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import disentangle
from disentangle.errors import ConfigError, InputError
from disentangle.models import StyleGAN2, build_model
from disentangle.models.ops.fir import upfirdn_reference
from disentangle.models.ops.modulation import modulated_conv2d_reference

SMALL = {
    "kind": "stylegan2", "resolution": 16, "z_dim": 6, "w_dim": 5, "mapping_layers": 2, "channels": (7, 6, 4),
}  # fmt: skip
HOUSEHOLDER = {"kind": "householder", "rank": 3, "layers": ("b8.conv0", "b16.conv0")}
VARIANTS = {
    "skip": {},
    "resnet": {"architecture": "resnet", "clamp": 2.0},
    "orig": {"architecture": "orig", "image_channels": 1},
    "classes": {"c_dim": 3, "clamp": 1.5},
    "householder": {"projection": HOUSEHOLDER},
    "odd": {"kernel": 1, "resample_filter": (1, 2), "use_noise": False, "z_dim": 9},
}


def small(variant: str = "skip", **changes) -> StyleGAN2:
    """A network in float64 whose biases, strengths of noise and mean w are not zero."""
    model = build_model({**SMALL, **VARIANTS[variant], **changes}, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("bias", "noise_strength", "w_avg")):
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.double().eval().requires_grad_(False)


def latents(model: StyleGAN2, n: int = 3, space: str = "z", seed: int = 3, **options) -> Tensor:
    return model.sample_latents(n, space=space, generator=torch.Generator().manual_seed(seed), **options)


def labelled(model: StyleGAN2, n: int = 3) -> dict:
    return {"label": torch.arange(n) % 3} if model.config.c_dim else {}


# ------------------------------------------------------------------------------------------------ the definition


def plain_w(model: StyleGAN2, z: Tensor, classes: Tensor | None) -> Tensor:
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    if classes is not None:
        embed = model.mapping.embed
        y = classes @ embed.weight.mT / math.sqrt(model.config.c_dim) + embed.bias
        x = torch.cat([x, y / (y.square().mean(1, keepdim=True) + 1e-8).sqrt()], dim=1)
    for i in range(model.config.mapping_layers):
        layer = model.mapping.get_submodule(f"fc{i}")
        x = x @ layer.weight.mT * 0.01 / math.sqrt(x.shape[1]) + 0.01 * layer.bias
        x = math.sqrt(2) * F.leaky_relu(x, 0.2)
    return x


def plain_style(affine: nn.Module, w: Tensor, gain: float = 1.0) -> Tensor:
    if hasattr(affine, "parametrizations"):
        return gain * (w @ affine.weight.mT + affine.bias)
    return gain * (w @ affine.weight.mT / math.sqrt(w.shape[1]) + affine.bias)


def plain_layer(model: StyleGAN2, layer: nn.Module, x: Tensor, w: Tensor, up: int, gain: float = 1.0) -> Tensor:
    y = modulated_conv2d_reference(
        x, layer.weight, plain_style(layer.affine, w), up=up, taps=model.config.resample_filter
    )
    if model.config.use_noise:
        y = y + layer.noise_const * layer.noise_strength
    y = math.sqrt(2) * gain * F.leaky_relu(y + layer.bias[:, None, None], 0.2)
    clamp = model.config.clamp
    return y if clamp is None else y.clamp(-clamp * gain, clamp * gain)


def plain_image(model: StyleGAN2, ws: Tensor) -> Tensor:
    """Block after block as published; ``ws`` is (n, num_ws, w_dim) and read one after the other."""
    config, image, row = model.config, None, 0
    taps, length = config.resample_filter, len(config.resample_filter)

    def twice(x: Tensor) -> Tensor:
        return upfirdn_reference(x, taps, up=2, padding=(length // 2, length // 2 - 1), gain=4.0)

    x = model.synthesis.b4.const[None].repeat(len(ws), 1, 1, 1)
    for resolution in [4 * 2**i for i in range(len(config.channels))]:
        block = model.synthesis.get_submodule(f"b{resolution}")
        resnet = config.architecture == "resnet" and resolution > 4
        if resnet:
            root = math.sqrt(0.5)
            shortcut = root * twice(F.conv2d(x, block.skip.weight / math.sqrt(x.shape[1])))
        if resolution > 4:
            x = plain_layer(model, block.conv0, x, ws[:, row], up=2)
            row += 1
        x = plain_layer(model, block.conv1, x, ws[:, row], up=1, gain=root if resnet else 1.0)
        row += 1
        x = x + shortcut if resnet else x
        image = twice(image) if image is not None else None
        if config.architecture == "skip" or resolution == config.resolution:
            style = plain_style(block.torgb.affine, ws[:, row]) / math.sqrt(x.shape[1])
            rgb = modulated_conv2d_reference(x, block.torgb.weight, style, demodulate=False)
            rgb = rgb + block.torgb.bias[:, None, None]
            rgb = rgb if config.clamp is None else rgb.clamp(-config.clamp, config.clamp)
            image = rgb if image is None else image + rgb
    assert row + 1 == ws.shape[1]
    return image


@pytest.mark.parametrize("variant", VARIANTS)
def test_images_are_those_of_the_definition(variant):
    model = small(variant)
    z, options = latents(model), labelled(model)
    classes = torch.eye(3, dtype=torch.float64) if options else None
    w = plain_w(model, z, classes)
    torch.testing.assert_close(model.mapping(z, classes), w, rtol=0, atol=1e-12)
    expected = plain_image(model, w[:, None].expand(-1, model.num_ws, -1))
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(model(z, **options), expected, rtol=0, atol=1e-11)
    mixed = torch.randn(2, model.num_ws, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(model(mixed, space="w+"), plain_image(model, mixed), rtol=0, atol=1e-11)
    near = model.mapping.w_avg + 0.7 * (w - model.mapping.w_avg)
    rows = torch.stack([near, near, w, w, w, w][: model.num_ws], dim=1)
    found = model(z, truncation=0.7, truncation_cutoff=2, **options)
    torch.testing.assert_close(found, plain_image(model, rows), rtol=0, atol=1e-11)
    found = model(z, truncation=0.7, **options)
    torch.testing.assert_close(found, plain_image(model, near[:, None].expand_as(rows)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("channels", [130, 260])
def test_wide_layers_by_minimal_filtering_and_in_bands(monkeypatch, channels):
    from disentangle.models.ops import styled

    monkeypatch.setattr(styled, "_BAND", 1 << 14)
    model = small(channels=(130, 130, channels))
    w = latents(model, 2, "w")
    expected = plain_image(model, w[:, None].expand(-1, model.num_ws, -1))
    torch.testing.assert_close(model(w, space="w"), expected, rtol=0, atol=1e-11)
    assert model.synthesis.b16.conv1._filters._kept is not None


@pytest.mark.parametrize("variant", ["skip", "resnet", "householder"])
def test_gradients_reach_latents_and_weights(variant):
    model = small(variant)
    w = latents(model, 1, "w")
    with torch.inference_mode():
        model(w, space="w")  # what is kept from here on must not hinder the next lines
    assert torch.autograd.gradcheck(lambda w: model(w, space="w")[:, :, ::5, ::7], (w.requires_grad_(),))
    expected = model(latents(model, 2))
    image = model.requires_grad_(True).train()(latents(model, 2))
    torch.testing.assert_close(image.detach(), expected, rtol=0, atol=1e-11)
    image.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_training_changes_what_is_kept():
    model = small()
    w = latents(model, 1, "w")
    before = model(w, space="w")
    with torch.no_grad():
        model.synthesis.b8.conv0.weight[:, 0].mul_(3)
    after = model(w, space="w")
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, copy.deepcopy(model)(w, space="w"))
    torch.testing.assert_close(after, plain_image(model, w[:, None].expand(-1, 6, -1)), rtol=0, atol=1e-11)


# ------------------------------------------------------------------------------------------------ spaces


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_space_gives_the_same_image(variant):
    model = small(variant)
    z, options = latents(model), labelled(model)
    image = model(z, **options)
    assert tuple(model.spaces) == ("z", "w", "w+", "s")
    for i, space in enumerate(model.spaces):
        given = model.convert_latents(z, "z", space, **options)
        assert given.shape[1:] == model.spaces[space].shape
        torch.testing.assert_close(model(given, space=space, **(options if i == 0 else {})), image, rtol=0, atol=1e-12)
        for later in list(model.spaces)[i + 1 :]:
            torch.testing.assert_close(
                model.convert_latents(given, space, later, **(options if i == 0 else {})),
                model.convert_latents(z, "z", later, **options), rtol=0, atol=1e-12,
            )  # fmt: skip


def test_style_layers_are_in_order_and_fill_s():
    model = small()
    layers = model.style_layers()
    assert [layer.name for layer in layers] == [
        "b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb", "b16.conv0", "b16.conv1", "b16.torgb",
    ]  # fmt: skip
    assert [layer.ws_index for layer in layers] == [0, 1, 1, 2, 3, 3, 4, 5]
    assert [layer.channels for layer in layers] == [7, 7, 7, 6, 6, 6, 4, 4]
    assert [layer.start for layer in layers] == [0, 7, 14, 21, 27, 33, 39, 43]
    assert [layer.resolution for layer in layers] == [4, 4, 8, 8, 8, 16, 16, 16]
    assert {layer.kind for layer in layers if "torgb" in layer.name} == {"torgb"}
    assert model.spaces["s"].shape == (47,)
    assert model.spaces["s"].labels[14:16] == ("b8.conv0 0", "b8.conv0 1")
    w = latents(model, 2, "w")
    style = model.convert_latents(w, "w", "s")[:, 14:21]
    torch.testing.assert_close(style, plain_style(layers[2].affine, w))
    torch.testing.assert_close(layers[2].affine.matrix(), model.synthesis.b8.conv0.affine.weight)


@pytest.mark.parametrize("variant", ["skip", "householder"])
def test_projections_are_the_maps_from_w_to_styles(variant):
    model = small(variant)
    projections = model.projections()
    assert list(projections) == [layer.name for layer in model.style_layers()]
    w = latents(model, 4, "w")
    styles = model.convert_latents(w, "w", "s") - model.convert_latents(torch.zeros_like(w), "w", "s")
    for depth, (layer, projection) in enumerate(zip(model.style_layers(), projections.values(), strict=True)):
        assert (projection.space, projection.depth) == ("w", depth)
        assert any(projection.parameter is parameter for parameter in model.parameters())
        part = styles[:, layer.start : layer.start + layer.channels]
        torch.testing.assert_close(w @ projection.matrix().mT, part, rtol=0, atol=1e-12)
        assert (projection.weight is not None) == (variant == "householder" and layer.name in HOUSEHOLDER["layers"])


def test_latents_are_seeded_and_truncated():
    model = small("classes")
    assert torch.equal(latents(model, seed=1), latents(model, seed=1))
    assert not torch.equal(latents(model, seed=1), latents(model, seed=2))
    z = latents(model)
    for space in ("w", "w+", "s"):
        expected = model.convert_latents(z, "z", space, label=2, truncation=0.5)
        assert torch.equal(latents(model, space=space, truncation=0.5, label=2), expected)
    zero = latents(model, space="w", truncation=0.0, label=0)
    torch.testing.assert_close(zero, model.mapping.w_avg.expand(3, -1))


def test_misplaced_truncation_and_conversions():
    model = small()
    z = latents(model)
    w = model.convert_latents(z, "z", "w")
    with pytest.raises(InputError, match="sample space 'w'"):
        latents(model, truncation=0.5)
    with pytest.raises(InputError, match="acts where z is mapped"):
        model(w, space="w", truncation=0.5)
    with pytest.raises(InputError, match="chooses rows of w"):
        model.convert_latents(z, "z", "w", truncation=0.5, truncation_cutoff=2)
    with pytest.raises(InputError, match="no way from space 'w' back to 'z'"):
        model.convert_latents(w, "w", "z")
    with pytest.raises(InputError, match="latent space"):
        model.convert_latents(w, "w", "x")
    with pytest.raises(InputError, match=r"space 'w\+' expects \(n, 6, 5\)"):
        model(w, space="w+")


# ------------------------------------------------------------------------------------------------ noise and classes


def test_kinds_of_noise():
    model = small()
    w = latents(model, 2, "w")
    plain, const = model(w, space="w", noise="none"), model(w, space="w")
    assert torch.equal(const, model(w, space="w", noise="const"))

    def random(seed: int) -> Tensor:
        return model(w, space="w", noise="random", generator=torch.Generator().manual_seed(seed))

    assert torch.equal(random(1), random(1))
    images = (plain, const, random(1), random(2))
    for i, one in enumerate(images):
        assert not any(torch.allclose(one, other) for other in images[:i])
    same = model(w[:1].expand(2, -1), space="w", noise="random")
    assert not torch.allclose(same[0], same[1])
    silent = small(noise="none")
    torch.testing.assert_close(silent(w, space="w"), plain)
    assert not any("noise" in name for name in small(use_noise=False).state_dict())
    with pytest.raises(InputError, match="'const', 'random' or 'none'"):
        model(w, space="w", noise="loud")


def test_classes():
    model = small("classes")
    z = latents(model, 2)
    one = model(z, label=1)
    assert torch.equal(one, model(z, label=torch.tensor([1, 1])))
    assert torch.equal(one, model(z, label=F.one_hot(torch.tensor([1, 1]), 3).double()))
    assert not torch.allclose(one, model(z, label=2))
    torch.testing.assert_close(model(z, label=torch.tensor([1, 2]))[0], one[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(model.mapping(z, 1), model.convert_latents(z, "z", "w", label=1))
    with pytest.raises(InputError, match="--label"):
        model(z)
    model.label = 1
    assert torch.equal(model(z), one)
    with pytest.raises(InputError, match="expected 0 to 2"):
        model(z, label=3)
    with pytest.raises(InputError, match="expected a class"):
        model(z, label=torch.zeros(2, 4))
    with pytest.raises(InputError, match="has no classes"):
        small()(z, label=1)


# ------------------------------------------------------------------------------------------------ configuration, files


def test_published_widths():
    config = build_model({"kind": "stylegan2", "resolution": 16, "mapping_layers": 1}).config
    assert config.channels == (512, 512, 512)
    wide = disentangle.models.StyleGAN2Config(resolution=1024)
    assert wide.channels == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    narrow = disentangle.models.StyleGAN2Config(resolution=64, channel_base=1024, channel_max=32)
    assert narrow.channels == (32, 32, 32, 32, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 24, "channels": (1, 1, 1)}, "power of two"),
        ({"channels": (4, 4)}, "16 pixels need 3"),
        ({"resample_filter": (1, -1)}, "sum to zero"),
        ({"kernel": 2}, "odd number"),
        ({"clamp": -1.0}, "greater than 0"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(ConfigError, match=message):
        build_model({**SMALL, **changes})


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_round_trip(tmp_path, variant):
    model = small(variant).float()
    disentangle.save(model, tmp_path / "model.safetensors")
    loaded = disentangle.load(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    z, options = latents(model), labelled(model)
    assert torch.equal(loaded(z, **options), model(z, **options))
    double = disentangle.load(tmp_path / "model.safetensors", dtype=torch.float64)
    assert double(z.double(), **options).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("variant", ["skip", "householder"])
def test_half_precision_is_near(dtype, variant):
    model = small(variant, clamp=256.0)
    w = latents(model, 2, "w")
    exact = model(w, space="w")
    found = copy.deepcopy(model).to(dtype)(w.to(dtype), space="w")
    assert found.dtype == dtype
    assert float((found.double() - exact).abs().mean()) < 0.03 * float(exact.std())
