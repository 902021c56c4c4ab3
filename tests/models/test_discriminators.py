"""Discriminators against plain transcriptions of what the papers describe, in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.config import parse_config
from disentangle.errors import ConfigError, InputError
from disentangle.models.discriminators import (
    ProGANDiscriminator,
    ProGANDiscriminatorConfig,
    StridedDiscriminator,
    StridedDiscriminatorConfig,
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    build_discriminator,
)
from disentangle.models.discriminators.minibatch import with_minibatch_deviation
from disentangle.models.ops.fir import upfirdn_reference


def rough(network: torch.nn.Module) -> torch.nn.Module:
    """In float64, with biases that are not zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return network.double()


def stylegan2(**fields) -> StyleGAN2Discriminator:
    record = {"resolution": 16, "image_channels": 2, "channels": (5, 4, 3), "group": 2, **fields}
    torch.manual_seed(0)
    return rough(StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(**record)))


def progan(**fields) -> ProGANDiscriminator:
    record = {"resolution": 16, "image_channels": 2, "channels": (5, 4, 3), "group": 2, **fields}
    torch.manual_seed(0)
    return rough(ProGANDiscriminator(ProGANDiscriminatorConfig(**record)))


def pictures(n: int = 4, side: int = 16) -> Tensor:
    return torch.randn(n, 2, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def deviation(x: Tensor, group: int) -> Tensor:
    """One picture after the other."""
    maps = []
    for i in range(len(x)):
        members = x[i // group * group : i // group * group + group]
        spread = ((members - members.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
        maps.append(torch.cat([x[i], spread.expand(1, *x.shape[2:])]))
    return torch.stack(maps)


def lrelu(x: Tensor, bias: Tensor, gain: float = math.sqrt(2), clamp: float | None = None) -> Tensor:
    y = gain * F.leaky_relu(x + bias.reshape(-1, *[1] * (x.ndim - 2)), 0.2)
    return y if clamp is None else y.clamp(-clamp, clamp)


def test_minibatch_deviation_by_hand():
    x = pictures(4, 3)
    torch.testing.assert_close(with_minibatch_deviation(x, 2), deviation(x, 2), rtol=0, atol=1e-14)
    assert torch.equal(with_minibatch_deviation(x, 6), with_minibatch_deviation(x, 2))  # what 6 and 4 have in common


def test_a_single_picture_has_a_finite_gradient():
    x = pictures(1, 3).requires_grad_()
    with_minibatch_deviation(x, 4).sum().backward()
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("clamp", [None, 1.0])
def test_stylegan2_is_the_definition(clamp):
    network, x = stylegan2(clamp=clamp), pictures()
    expected = x

    def conv(layer: torch.nn.Module, value: Tensor, **options) -> Tensor:
        _, inputs, k, _ = layer.weight.shape
        return F.conv2d(value, layer.weight / math.sqrt(inputs * k * k), **options)

    expected = lrelu(conv(network.fromrgb, expected), network.fromrgb.bias, clamp=clamp)
    for block in network.blocks:
        shortcut = upfirdn_reference(expected, (1, 3, 3, 1), padding=(1, 1), down=2)
        shortcut = conv(block.skip, shortcut)
        y = lrelu(conv(block.conv0, expected, padding=1), block.conv0.bias, clamp=clamp)
        y = upfirdn_reference(y, (1, 3, 3, 1), padding=(2, 2))
        y = lrelu(conv(block.conv1, y, stride=2), block.conv1.bias, clamp=clamp)
        expected = (y + shortcut) / math.sqrt(2)
    expected = deviation(expected, 2)
    expected = lrelu(conv(network.conv, expected, padding=1), network.conv.bias, clamp=clamp).flatten(1)
    expected = lrelu(expected @ network.fc.weight.mT / math.sqrt(expected.shape[1]), network.fc.bias)
    expected = expected @ network.out.weight.mT / math.sqrt(expected.shape[1]) + network.out.bias
    torch.testing.assert_close(network(x), expected.squeeze(1), rtol=0, atol=1e-12)


def test_progan_is_the_definition_at_every_level():
    network, x = progan(), pictures()
    gain = math.sqrt(2)

    def conv(layer: torch.nn.Module, value: Tensor) -> Tensor:
        _, inputs, k, _ = layer.weight.shape
        weight = layer.weight * gain / math.sqrt(inputs * k * k)
        return F.leaky_relu(F.conv2d(value, weight, layer.bias, padding=k // 2), 0.2)

    def whole(images: Tensor, top: int) -> Tensor:
        y = conv(network.levels[top].fromrgb, images)
        return rest(y, top)

    def halved(y: Tensor, level: torch.nn.Module) -> Tensor:
        return F.avg_pool2d(conv(level.conv1, conv(level.conv0, y)), 2)

    def rest(y: Tensor, top: int) -> Tensor:
        for index in range(top, 0, -1):
            y = halved(y, network.levels[index])
        y = conv(network.levels[0].conv0, deviation(y, 2)).flatten(1)
        y = gain * F.leaky_relu(y @ network.fc.weight.mT / math.sqrt(y.shape[1]) + network.fc.bias, 0.2)
        return (y @ network.out.weight.mT / math.sqrt(y.shape[1]) + network.out.bias).squeeze(1)

    for lod in (0, 1, 2):
        expected = whole(F.avg_pool2d(x, 2**lod), 2 - lod)
        torch.testing.assert_close(network(x, lod=float(lod)), expected, rtol=0, atol=1e-12)
    small = F.avg_pool2d(x, 2)
    entering = halved(conv(network.levels[1].fromrgb, small), network.levels[1])
    below = conv(network.levels[0].fromrgb, F.avg_pool2d(small, 2))
    torch.testing.assert_close(network(x, lod=1.25), rest(0.75 * entering + 0.25 * below, 0), rtol=0, atol=1e-12)
    for lod in (1.0, 2.0):  # nothing jumps where a level is done
        torch.testing.assert_close(network(x, lod=lod - 1e-9), network(x, lod=lod), rtol=0, atol=1e-7)


@pytest.mark.parametrize("made", [stylegan2, progan])
def test_consecutive_groups_do_not_depend_on_the_rest_of_the_batch(made):
    network, x = made(), pictures(8)
    torch.testing.assert_close(network(x), torch.cat([network(x[:4]), network(x[4:])]), rtol=0, atol=1e-12)
    assert not torch.allclose(network(x)[:1], network(x[:1]))
    alone = made(group=0)
    torch.testing.assert_close(alone(x)[:1], alone(x[:1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("made", [stylegan2, progan])
def test_gradients_and_their_gradients(made):
    """As penalties on the gradient need."""
    network = made(resolution=8, channels=(2, 2), image_channels=1)
    x = pictures(2, 8)[:, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(network, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(network, x, fast_mode=True)


def test_strided_with_several_outputs():
    config = StridedDiscriminatorConfig(resolution=16, image_channels=2, channels=(3, 4), outputs=5)
    assert StridedDiscriminator(config)(pictures().float()).shape == (4, 5)
    single = config.model_copy(update={"outputs": 1})
    assert build_discriminator(single)(pictures().float()).shape == (4,)


@pytest.mark.parametrize("kind", [StyleGAN2DiscriminatorConfig, ProGANDiscriminatorConfig])
def test_sizes_that_do_not_fit(kind):
    with pytest.raises(ConfigError, match="channels has 2 entries, which fits 8 pixels, but resolution is 16"):
        parse_config(kind, {"resolution": 16, "image_channels": 3, "channels": (4, 4)}, source="it")
    with pytest.raises(ConfigError, match="expected a power of two from 4 on"):
        parse_config(kind, {"resolution": 24, "image_channels": 3}, source="it")
    assert len(kind(resolution=64, image_channels=3).channels) == 5


def test_a_level_that_there_is_not():
    with pytest.raises(InputError, match=r"lod is 2.5; expected 0 to 2"):
        progan()(pictures(), lod=2.5)
