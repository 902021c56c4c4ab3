"""Skew orthogonal convolution: reference values, the norm bound, orthogonality of the dense operator, and its state."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

import disentangle
from disentangle.errors import InputError
from disentangle.nn import SkewConv2d
from disentangle.nn.skew_conv import convolution_exponential, convolution_norm_bound, skew_filter

# max|J^T J - I| of 8 channels on 6x6 pictures with the paper's scale, by number of terms; measured by other code.
PUBLISHED_SCALE = {3: 2e-2, 5: 7e-4, 6: 2e-4, 8: 3e-6, 10: 4e-8, 12: 3e-10}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(*args: object, seed: int = 0, **kwargs: object) -> SkewConv2d:
    kwargs = {"bias": False, "dtype": torch.float64, **kwargs}
    layer = SkewConv2d(*args, **kwargs)
    with torch.no_grad():
        layer.weight.copy_(normal(*layer.weight.shape, seed=seed))
    return layer.eval()


@torch.no_grad()
def dense(function: object, channels: int, height: int, width: int) -> Tensor:
    """The matrix of a linear map of pictures, column by column."""
    size = channels * height * width
    return function(torch.eye(size, dtype=torch.float64).reshape(size, channels, height, width)).flatten(1).T


def convolution(kernel: Tensor, padding_mode: str) -> nn.Module:
    out, channels, *size = kernel.shape
    layer = nn.Conv2d(
        channels, out, size, padding=[n // 2 for n in size], padding_mode=padding_mode, bias=False, dtype=kernel.dtype
    )
    layer.weight.data.copy_(kernel)
    return layer


def distance_from_identity(matrix: Tensor) -> float:
    return float((matrix - torch.eye(len(matrix), dtype=matrix.dtype)).abs().max())


# --------------------------------------------------------------------------------------------- the pure functions


@pytest.mark.parametrize(("terms", "key"), [(5, "y_5"), (12, "y_12"), (30, "y_exact")])
def test_reference_values_of_the_series(spectral, terms, key):
    kernel, x, y = (torch.from_numpy(spectral[f"soc/{name}"]) for name in ("kernel", "x", key))
    assert torch.allclose(skew_filter(kernel), kernel, atol=1e-15), "the reference filter is skew"
    ours = convolution_exponential(x, kernel, terms=terms, padding_mode="circular")
    assert float((ours - y).abs().max()) < 1e-13


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 3), (1, 5)])
def test_skew_filter_has_a_skew_operator(size, padding_mode):
    kernel = skew_filter(normal(4, 4, *size))
    operator = dense(convolution(kernel, padding_mode), 4, 6, 7)
    assert float(operator.abs().max()) > 0.1
    assert torch.allclose(operator, -operator.T, atol=1e-14)


@pytest.mark.parametrize("shape", [(3, 3, 3, 3), (2, 5, 3, 3), (5, 2, 5, 3), (4, 4, 1, 1), (3, 2, 1, 5), (2, 2, 5, 5)])
def test_norm_bound_holds_for_any_filter(shape):
    for seed in range(4):
        kernel = normal(*shape, seed=seed)
        bound = float(convolution_norm_bound(kernel))
        for padding_mode in ("zeros", "circular"):
            norm = float(torch.linalg.matrix_norm(dense(convolution(kernel, padding_mode), shape[1], 7, 7), ord=2))
            assert 0.2 * bound < norm <= bound * (1 + 1e-12)


def test_norm_bound_needs_its_factor_and_can_be_met(spectral):
    kernel, norm = torch.from_numpy(spectral["soc/kernel"]), float(spectral["soc/norm"][0])
    bound = float(convolution_norm_bound(kernel))
    assert bound / 3 < norm < bound, "without sqrt(3 * 3) the smallest of the four norms is no bound"
    constant = normal(4, 4, 1, 1).expand(4, 4, 3, 3)
    norm = float(torch.linalg.matrix_norm(dense(convolution(constant, "circular"), 4, 5, 5), ord=2))
    assert norm == pytest.approx(float(convolution_norm_bound(constant)), rel=1e-12)


@pytest.mark.parametrize(("given", "kept"), [(2, 6), (6, 2), (3, 3), (6, 6)])
@pytest.mark.parametrize("terms", [1, 2, 7])
def test_channels_left_out_of_the_series_are_zeros_and_cuts(given, kept, terms):
    kernel, x = skew_filter(0.1 * normal(6, 6, 3, 3)), normal(2, given, 5, 4, seed=1)
    full = torch.cat([x, torch.zeros(2, 6 - given, 5, 4, dtype=x.dtype)], 1)
    expected = convolution_exponential(full, kernel, terms=terms)[:, :kept]
    ours = convolution_exponential(x, kernel, terms=terms, out_channels=kept)
    assert torch.allclose(ours, expected, atol=1e-14)


# ------------------------------------------------------------------------------------------------- orthogonality


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize("terms", PUBLISHED_SCALE)
def test_dense_operator_is_orthogonal_to_the_error_of_the_series(terms, padding_mode):
    layer = made(8, 8, 3, terms=terms, padding_mode=padding_mode)
    J = dense(layer, 8, 6, 6)
    assert 0.2 < distance_from_identity(J.T @ J) / PUBLISHED_SCALE[terms] < 5
    skew = dense(convolution(layer.filter().detach(), padding_mode), 8, 6, 6)
    assert float(torch.linalg.matrix_norm(skew, ord=2)) <= layer.norm
    error = float(torch.linalg.matrix_norm(J - torch.linalg.matrix_exp(skew), ord=2))
    assert layer.error_bound == pytest.approx(2.1 ** (terms + 1) / math.factorial(terms + 1))
    assert 0 < error <= layer.error_bound


@pytest.mark.parametrize("size", [1, (5, 3), 7])
def test_other_kernels_and_norms(size):
    layer = made(4, 4, size, terms=12, norm=1.5)
    J = dense(layer, 4, 6, 6)
    assert distance_from_identity(J.T @ J) <= 2.1 * layer.error_bound
    assert float((J - torch.eye(len(J))).abs().max()) > 0.05, "it is not the identity"


def test_float32_reaches_its_rounding():
    layer = SkewConv2d(8, 8, 3, bias=False).eval()
    with torch.no_grad():
        layer.weight.copy_(normal(8, 8, 3, 3))
        J = layer(torch.eye(8 * 36).reshape(-1, 8, 6, 6)).flatten(1).double()
    assert distance_from_identity(J @ J.T) < 2e-6


@pytest.mark.parametrize(
    ("channels", "out", "stride", "size", "kept"),
    [
        (3, 8, 1, (5, 5), "columns"),
        (8, 3, 1, (5, 5), "rows"),
        (3, 12, 2, (6, 4), "both"),
        (3, 20, 2, (6, 4), "columns"),
        (4, 5, 2, (4, 6), "rows"),
        (1, 9, 3, (6, 6), "both"),
        (3, 16, 2, (5, 7), "columns"),
    ],
)
def test_what_is_orthogonal_with_strides_and_uneven_channels(channels, out, stride, size, kept):
    layer = made(channels, out, 3, stride, terms=16)
    J = dense(layer, channels, *size)
    plain = nn.Conv2d(channels, out, 3, stride, 1, dtype=torch.float64)
    example = torch.zeros(1, channels, *size, dtype=torch.float64)
    assert layer(example).shape == plain(example).shape
    if kept in ("columns", "both"):
        assert distance_from_identity(J.T @ J) < 1e-10
    if kept in ("rows", "both"):
        assert distance_from_identity(J @ J.T) < 1e-10
    assert float(torch.linalg.matrix_norm(J, ord=2)) < 1 + 1e-10


def test_cut_of_an_odd_picture_is_a_contraction():
    J = dense(made(4, 5, 3, 2, terms=16), 4, 5, 5)
    assert float(torch.linalg.matrix_norm(J, ord=2)) < 1 + 1e-10


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (5, 1)])
def test_scaled_filter_is_just_within_the_bound(shape):
    for seed in range(3):
        layer = made(6, 6, shape, seed=seed, norm=1.5)
        bound = float(convolution_norm_bound(layer.filter().detach()))
        assert 1.5 / (6 * shape[0]) ** (1 / 256) <= bound <= 1.5 * (1 + 1e-12)


@pytest.mark.parametrize("lr", [1.0, 30.0])
def test_training_keeps_it_orthogonal_and_within_the_bound(lr):
    layer = made(4, 4, 3).train()
    x, target = normal(3, 4, 6, 6, seed=1), normal(3, 4, 6, 6, seed=2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert 0.95 * layer.norm < float(convolution_norm_bound(layer.filter().detach())) <= layer.norm * (1 + 1e-12)
    assert losses[-1] < losses[0] - 0.02
    J = dense(layer.eval(), 4, 6, 6)
    assert distance_from_identity(J.T @ J) <= 2.1 * layer.error_bound


# ------------------------------------------------------------------------------------------- gradients and state


@pytest.mark.parametrize(("channels", "out", "stride"), [(3, 3, 1), (2, 3, 1), (1, 3, 2)])
@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_gradcheck(channels, out, stride, padding_mode):
    layer = made(channels, out, 3, stride, bias=True, padding_mode=padding_mode, terms=6)
    x = normal(2, channels, 4, 4, seed=3).requires_grad_()

    def output(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)

    assert torch.autograd.gradcheck(output, (x, layer.weight, layer.bias))


@pytest.mark.parametrize("size", [1, 3])
def test_only_the_direction_of_the_weight_counts(size):
    layer, upstream = made(5, 5, size), normal(5, 5, size, size, seed=1)
    gradient = torch.autograd.grad((layer.filter() * upstream).sum(), layer.weight)[0]
    assert float(gradient.norm()) > 0.01
    assert abs(float((gradient * layer.weight.detach()).sum())) < 1e-12
    filters = []
    for scale in (1e-30, 1.0, 1e30):
        copied = copy.deepcopy(layer).float()
        copied.weight.data.mul_(scale)
        filters.append(copied.filter())
    assert torch.allclose(filters[0], filters[1], atol=1e-5)
    assert torch.allclose(filters[2], filters[1], atol=1e-5)


def test_training_and_evaluation_are_one_function_and_write_nothing():
    layer = made(4, 4, 3)
    x, before = normal(2, 4, 5, 5), copy.deepcopy(layer.state_dict())
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert torch.equal(layer(x), layer(x))
    assert list(before) == ["weight"]
    assert torch.equal(layer.weight, before["weight"])


def test_two_forwards_before_one_backward():
    layer = made(4, 4, 3).train()
    x = normal(2, 4, 5, 5)
    (layer(x) * layer(2 * x)).sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


def test_state_dict_and_deepcopy_reproduce_the_layer():
    layer = made(3, 8, 3, 2, bias=True).train()
    x = normal(2, 3, 6, 6)
    layer(x)
    layer.eval()
    other = SkewConv2d(3, 8, 3, 2, dtype=torch.float64).eval()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


def test_zero_weight_is_the_identity_and_recovers():
    layer = made(3, 3, 3).train()
    with torch.no_grad():
        layer.weight.zero_()
    x = normal(2, 3, 5, 5)
    layer(x).square().sum().backward()
    assert torch.equal(layer(x), x)
    assert torch.isfinite(layer.weight.grad).all()


def test_bias_single_pictures_and_compilation():
    layer = made(3, 5, 3, bias=True)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(5))
    x = normal(2, 3, 6, 6)
    plain = made(3, 5, 3)
    assert torch.allclose(layer(x), plain(x) + torch.arange(5).reshape(5, 1, 1))
    assert torch.allclose(layer(x[1]), layer(x)[1])
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), layer(x))


def test_treatments_act_on_the_raw_filter():
    layer = made(4, 4, 3).train()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    disentangle.orthogonalize(optimizer, layer.weight, nog=True)
    before = layer.weight.detach().clone()
    layer(normal(2, 4, 5, 5)).cos().sum().backward()
    optimizer.step()
    s = torch.linalg.svdvals((before - layer.weight.detach()).flatten(1)) / 0.1
    assert torch.allclose(s, torch.ones_like(s), atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 2}, "kernel_size is 2; expected odd sizes"),
        ({"kernel_size": 3, "stride": (1, 2)}, "expected one number of 1 or more"),
        ({"kernel_size": 5, "padding": 1}, r"padding is 1; expected None or half the kernel \(2, 2\)"),
        ({"kernel_size": 3, "padding_mode": "reflect"}, "expected 'zeros' or 'circular'"),
        ({"kernel_size": 3, "terms": 0}, "terms is 0"),
        ({"kernel_size": 3, "norm": 0.0}, "norm 0.0"),
        ({"kernel_size": 3, "in_channels": 0}, "in_channels is 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        SkewConv2d(**{"in_channels": 3, "out_channels": 3, **arguments})


def test_bad_input():
    with pytest.raises(InputError, match=r"shape \(1, 4, 5, 5\); expected \(n, 3, h, w\)"):
        made(3, 3, 3)(normal(1, 4, 5, 5))
    with pytest.raises(InputError, match="5x6; expected sides divisible by the stride 2"):
        made(3, 3, 3, 2, padding_mode="circular")(normal(1, 3, 5, 6))
