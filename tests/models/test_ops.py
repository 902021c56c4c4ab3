"""Operations of the generators against their plain twins, in float64."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck

from disentangle.models.ops import styled
from disentangle.models.ops.equalized import EqualizedLinear, biased_leaky_relu, pixel_norm
from disentangle.models.ops.fir import fir_filter, smooth, upfirdn_reference, upsample
from disentangle.models.ops.minimal_filtering import minimal_conv2d, minimal_filters, worthwhile_axes
from disentangle.models.ops.modulation import (
    demodulation,
    half_range,
    modulated_conv2d,
    modulated_conv2d_reference,
    modulated_pointwise,
)
from disentangle.models.ops.styled import styled_conv2d
from disentangle.nn.derived import Derived

TAPS = [(1, 3, 3, 1), (1.0, 2.0, 4.0, 3.0), (1, 1)]
ODD = [(2.0,), (1, 2, 1), (1.0, 2.0, 5.0, 1.0, 3.0), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


# ------------------------------------------------------------------------------------------------ FIR filters


@pytest.mark.parametrize("taps", TAPS)
def test_upsampling_is_stuffing_and_filtering(taps):
    x = randn(2, 3, 5, 4)
    margin = len(taps) // 2
    expected = upfirdn_reference(x, taps, up=2, padding=(margin, margin - 1), gain=4.0)
    close(upsample(x, taps), expected)
    close(upsample(x.contiguous(memory_format=torch.channels_last), taps), expected)


@pytest.mark.parametrize("taps", [*TAPS, *ODD])
def test_upsampling_by_any_number_of_taps(taps):
    """As in the published networks: (t + 1) // 2 zeros before, (t - 2) // 2 after, which crops where it is negative."""
    x = randn(2, 3, 5, 4)
    expected = upfirdn_reference(x, taps, up=2, padding=((len(taps) + 1) // 2, (len(taps) - 2) // 2), gain=4.0)
    assert expected.shape == (2, 3, 10, 8)
    close(upsample(x, taps), expected)


@pytest.mark.parametrize("taps", [*TAPS, *ODD])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_enlarging_convolutions_by_any_number_of_taps(taps, kernel):
    """Stuffed with zeros, filtered, then convolved with the kernel turned round: the order does not matter."""
    x, weight, styles = randn(2, 3, 5, 4), randn(4, 3, kernel, kernel, seed=1), randn(2, 3, seed=2)
    around = kernel // 2
    padding = (around + (len(taps) + 1) // 2, around + (len(taps) - 2) // 2)
    filtered = upfirdn_reference(x * styles[:, :, None, None], taps, up=2, padding=padding, gain=4.0)
    expected = F.conv2d(filtered, weight.flip(2, 3))
    close(modulated_conv2d(x, weight, styles, up=2, taps=taps), expected)


def test_smoothing_with_other_margins():
    x = randn(2, 3, 6, 5)
    expected = upfirdn_reference(x, (1, 2, 1), padding=(1, 0))
    close(smooth(x, (1, 2, 1), padding=(1, 1), after=0), expected)
    close(smooth(x, (2.0,), padding=(0, 0), after=-1), upfirdn_reference(x, (2.0,), padding=(0, -1)))


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("padding", [0, 1])
def test_smoothing(taps, padding):
    x = randn(2, 3, 6, 5)
    expected = upfirdn_reference(x, taps, padding=(padding, padding), gain=2.0)
    close(smooth(x, taps, padding=(padding, padding), gain=2.0), expected)


def test_filters_by_hand():
    close(fir_filter((1, 3), like=randn(1)), torch.tensor([[1.0, 3.0], [3.0, 9.0]], dtype=torch.float64) / 16)
    row = torch.tensor([[[[1.0, 2.0]]]], dtype=torch.float64)
    # One dimension: zeros between, (1, 3, 3, 1) / 4. The other is of height 1, so that 3/4 of the filter is kept.
    close(upsample(row, (1, 3, 3, 1))[0, 0, 0], 0.75 * torch.tensor([0.75, 1.25, 1.75, 1.5], dtype=torch.float64))
    flat = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    close(upsample(flat, (1, 3, 3, 1))[..., 2:-2, 2:-2], torch.ones(1, 1, 12, 12, dtype=torch.float64))


def test_gradients_of_filters():
    x = randn(1, 2, 3, 4).requires_grad_()
    assert gradcheck(lambda x: smooth(x, (1, 2, 4, 3), padding=(1, 2)), (x,))
    assert gradcheck(lambda x: upsample(x, (1, 2, 4, 3)), (x,))


# ------------------------------------------------------------------------------------------------ modulation


@pytest.mark.parametrize(("up", "kernel", "taps"), [(1, 3, TAPS[0]), (1, 1, TAPS[0]), *((2, 3, taps) for taps in TAPS)])
def test_modulated_convolution_is_each_sample_with_its_own_filters(up, kernel, taps):
    x, weight, styles = randn(3, 4, 5, 6), randn(2, 4, kernel, kernel, seed=1), randn(3, 4, seed=2)
    plain = modulated_conv2d(x, weight, styles, up=up, taps=taps)
    close(plain, modulated_conv2d_reference(x, weight, styles, up=up, taps=taps, demodulate=False))
    scaled = modulated_conv2d(x, weight, styles, up=up, taps=taps, scale=demodulation(weight, styles))
    close(scaled, modulated_conv2d_reference(x, weight, styles, up=up, taps=taps))


def test_modulation_by_hand():
    x = torch.tensor([1.0, 2.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    weight = torch.tensor([[3.0, 2.0]], dtype=torch.float64).reshape(1, 2, 1, 1)
    styles = torch.tensor([[1.0, 2.0]], dtype=torch.float64)  # filters (3, 4), of norm 5
    scale = demodulation(weight, styles)
    close(modulated_conv2d(x, weight, styles, scale=scale), torch.full((1, 1, 1, 1), 11 / 5, dtype=torch.float64), 1e-9)
    close(scale, 1 / torch.sqrt(torch.full((1, 1), 25 + 1e-8, dtype=torch.float64)))


@pytest.mark.parametrize("up", [1, 2])
def test_gradients_of_modulated_convolution(up):
    inputs = [randn(2, 3, 3, 2), randn(2, 3, 3, 3, seed=1), randn(2, 3, seed=2)]
    inputs = [tensor.requires_grad_() for tensor in inputs]

    def function(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        return modulated_conv2d(x, weight, styles, up=up, scale=demodulation(weight, styles))

    assert gradcheck(function, inputs)


def test_pointwise_modulation():
    x, weight, styles = randn(2, 5, 4, 3), randn(3, 5, seed=1), randn(2, 5, seed=2)
    expected = modulated_conv2d(x, weight[:, :, None, None], styles)
    close(modulated_pointwise(x, weight, styles), expected)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, styles)]
    assert gradcheck(modulated_pointwise, inputs)


def test_half_range_is_the_same_convolution_and_stays_finite():
    x, weight, styles = randn(2, 64, 4, 4), 300 * randn(8, 64, 3, 3, seed=1), 20000 * randn(2, 64, seed=2)
    expected = modulated_conv2d(x, weight, styles, scale=demodulation(weight, styles))
    filters, scaled, scale = half_range(weight, styles)
    torch.testing.assert_close(modulated_conv2d(x, filters, scaled, scale=scale), expected, rtol=1e-5, atol=1e-5)
    filters, scaled, scale = half_range(weight.half(), styles.half())
    found = modulated_conv2d(x.half(), filters, scaled, scale=scale)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.02)


# ------------------------------------------------------------------------------------------------ minimal filtering


@pytest.mark.parametrize(("rows", "axes"), [(1, 1), (3, 1), (3, 2)])
def test_minimal_filtering_is_convolution(rows, axes):
    x, weight = randn(2, 5, 6, 12), randn(4, 5, rows, 3, seed=1)
    close(minimal_conv2d(x, minimal_filters(weight, axes)), F.conv2d(x, weight))


@pytest.mark.parametrize("axes", [1, 2])
def test_minimal_filtering_keeps_float32_accuracy(axes):
    x, weight = (tensor.float() for tensor in (randn(1, 256, 8, 34), randn(256, 256, 3, 3, seed=1) / 48))
    exact = F.conv2d(x.double(), weight.double())  # of standard deviation 1
    found = minimal_conv2d(x, minimal_filters(weight, axes))
    assert float((found - exact).square().mean().sqrt()) < 10 * torch.finfo(torch.float32).eps


def test_where_minimal_filtering_is_used():
    assert worthwhile_axes(torch.empty(512, 256, 3, 3), 64) == 2
    assert worthwhile_axes(torch.empty(128, 256, 3, 3), 64) == 1
    assert worthwhile_axes(torch.empty(128, 256, 3, 3), 8) == 0
    assert worthwhile_axes(torch.empty(128, 256, 3, 3), 33) == 0
    assert worthwhile_axes(torch.empty(64, 128, 3, 3), 64) == 0
    assert worthwhile_axes(torch.empty(128, 128, 1, 1), 64) == 0


# ------------------------------------------------------------------------------------------------ the whole layer


def layer(up: int, n: int = 3, noises: int = 1, channels: tuple[int, int] = (5, 4)) -> dict:
    inputs, outputs = channels
    return {
        "x": randn(n, inputs, 10, 8).contiguous(memory_format=torch.channels_last), "up": up, "clamp": 1.5,
        "weight": randn(outputs, inputs, 3, 3, seed=1), "styles": randn(n, inputs, seed=2),
        "scale": randn(n, outputs, seed=3), "bias": randn(outputs, seed=4),
        "noise": randn(noises, 1, 10 * up, 8 * up, seed=5) if noises else None,
    }  # fmt: skip


def definition(x, weight, styles, *, scale, bias, noise, up, clamp) -> Tensor:
    y = modulated_conv2d_reference(x, weight, styles, up=up, demodulate=False) * scale[:, :, None, None]
    y = F.leaky_relu(y + (0 if noise is None else noise) + bias[:, None, None], 0.2)
    return y.clamp(-clamp, clamp)


@pytest.mark.parametrize("axes", [0, 1, 2])
@pytest.mark.parametrize("band", [1, 8 * 5 * 8, 3 * 80 * 5, 1 << 21])
@pytest.mark.parametrize("noises", [0, 1, 3])
@pytest.mark.parametrize("up", [1, 2])
def test_bands_are_the_definition(monkeypatch, up, noises, band, axes):
    monkeypatch.setattr(styled, "_BAND", band)
    arguments = layer(up, noises=noises)
    kept = copy.deepcopy(arguments)
    filters = minimal_filters(arguments["weight"], axes) if axes else None
    found = styled_conv2d(**arguments, filters=filters)
    close(found, definition(**arguments))
    assert all(torch.equal(kept[key], value) for key, value in arguments.items() if isinstance(value, Tensor))


def test_bands_cover_every_row_once(monkeypatch):
    monkeypatch.setattr(styled, "_BAND", 100)
    for n, height, per_row in [(3, 20, 10), (5, 4, 5), (1, 7, 1000), (9, 10, 10)]:
        seen = torch.zeros(n, height)
        for samples, first, last in styled._bands(n, height, per_row):
            seen[samples, first:last] += 1
        assert torch.equal(seen, torch.ones(n, height))


@pytest.mark.parametrize("up", [1, 2])
def test_gradients_of_the_layer(up):
    arguments = layer(up, n=2, channels=(2, 3))
    names = ("x", "weight", "styles", "scale", "bias", "noise")
    arguments["x"] = arguments["x"][..., :3, :2].contiguous()
    arguments["noise"] = arguments["noise"][..., : 3 * up, : 2 * up].contiguous()
    inputs = [arguments[name].requires_grad_() for name in names]

    def function(*tensors: Tensor) -> Tensor:
        return styled_conv2d(**{**arguments, **dict(zip(names, tensors, strict=True))})

    close(function(*inputs), definition(**arguments))
    assert gradcheck(function, inputs, check_forward_ad=True)


def test_transforms_of_torch_func():
    arguments = layer(1)
    styles = arguments.pop("styles")

    def function(style: Tensor) -> Tensor:
        return styled_conv2d(**{**arguments, "scale": arguments["scale"][:1]}, styles=style[None])[0]

    arguments["x"] = arguments["x"][:1]
    each = torch.stack([function(style) for style in styles])
    close(torch.func.vmap(function)(styles), each)
    value, _ = torch.func.jvp(function, (styles[0],), (styles[1],))
    close(value, each[0])


# ------------------------------------------------------------------------------------------------ linear layers


def test_equalized_linear_by_hand():
    linear = EqualizedLinear((4, 1), multiplier=0.5, bias=3.0, activation="lrelu").double()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        assert float(linear.bias) == 6  # stored divided by the multiplier
        x = torch.tensor([[4.0, 0, 0, 0], [0, 0, 0, -8.0]], dtype=torch.float64)
        # weights times 0.5 / 2: 1 + 3 = 4, and -8 + 3 = -5 times 0.2
        close(linear(x), math.sqrt(2) * torch.tensor([[4.0], [-1.0]], dtype=torch.float64))
        assert linear.matrix() is linear.weight


def test_leaky_relu_in_place_and_not():
    x, bias = 3 * randn(2, 3, 4), randn(3, seed=1)
    expected = (2 * F.leaky_relu(x + bias[:, None], 0.2)).clamp(-1.5, 1.5)
    close(biased_leaky_relu(x.clone(), bias, gain=2, clamp=1.5), expected)
    kept = x.clone().requires_grad_()
    close(biased_leaky_relu(kept, bias, gain=2, clamp=1.5), expected)
    assert torch.equal(kept, x)
    close(biased_leaky_relu(x.clone(), bias.clone().requires_grad_(), gain=2, clamp=1.5), expected)


def test_pixel_norm():
    x = pixel_norm(randn(2, 5, 3, 3))
    close(x.square().mean(dim=1), torch.ones(2, 3, 3, dtype=torch.float64), 1e-6)
    assert pixel_norm(torch.zeros(1, 4)).isfinite().all()


# ------------------------------------------------------------------------------------------------ kept tensors


def test_derived_tensors_follow_their_sources():
    calls = []

    def double(source: Tensor) -> Tensor:
        calls.append(1)
        return 2 * source

    kept, source = Derived(), torch.nn.Parameter(torch.ones(2))
    assert kept(double, source).requires_grad  # where a derivative may be asked nothing is kept
    calls.clear()
    with torch.no_grad():
        assert kept(double, source) is kept(double, source)
        assert not kept(double, source).requires_grad
        source.add_(1)
        assert kept(double, source).tolist() == [4, 4]
    assert len(calls) == 2
    assert copy.deepcopy(kept)._kept is None
    with torch.inference_mode():
        made_here = torch.ones(1)
        assert kept(double, made_here).tolist() == [2]
        source_value = Derived()(double, source)
    assert not source_value.is_inference()
