"""Layers with an orthogonal weight in every precision: from the start, after a cast, under autocast, from a file."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.linalg import orthogonality_error
from disentangle.models import build_model
from disentangle.nn import (
    CovariancePool2d,
    DecorrelatedBatchNorm2d,
    HouseholderProjection,
    LowRankOrthogonal,
    SkewConv2d,
    orthogonal_weight,
    project,
)

METHODS = ["polar", "cayley", "matrix_exp", "householder"]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
CASTS = {
    torch.float16: nn.Module.half,
    torch.bfloat16: nn.Module.bfloat16,
    torch.float32: nn.Module.float,
    torch.float64: nn.Module.double,
}
LAYERS = {
    "wide": (lambda: nn.Linear(60, 7), (3, 60)),
    "tall": (lambda: nn.Linear(7, 60), (3, 7)),
    "square": (lambda: nn.Linear(12, 12), (3, 12)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3), (2, 4, 5, 5)),
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trained(layer: nn.Module, steps: int = 3, rate: float = 0.5) -> nn.Module:
    """Its free parameters away from where they began."""
    free = layer.parametrizations.weight.original
    optimizer = torch.optim.SGD([free], lr=rate)
    for step in range(steps):
        optimizer.zero_grad()
        (layer.weight * normal(*layer.weight.shape, seed=step).to(layer.weight)).sum().backward()
        optimizer.step()
    return layer


def rounding(dtype: torch.dtype) -> float:
    """The exponential of float64 itself has an error of some 1e-14."""
    return max(5 * torch.finfo(dtype).eps, 1e-13)


def departure(weight: Tensor) -> float:
    matrix = weight.detach().double().flatten(1)
    matrix = matrix if len(matrix) <= matrix.shape[1] else matrix.mT
    return float((matrix @ matrix.mT - torch.eye(len(matrix), dtype=torch.float64)).abs().max())


@pytest.mark.parametrize("first", ["attached", "cast"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("method", METHODS)
def test_orthonormal_to_the_rounding_of_the_layer(method, name, dtype, first):
    torch.manual_seed(0)
    layer = LAYERS[name][0]()
    if first == "cast":
        layer = trained(orthogonal_weight(layer.to(dtype), method=method))
    else:
        layer = CASTS[dtype](trained(orthogonal_weight(layer, method=method)))
    x = normal(*LAYERS[name][1]).to(dtype).requires_grad_()
    y = layer(x)
    y.float().square().sum().backward()
    assert y.dtype == layer.weight.dtype == x.grad.dtype == dtype
    assert departure(layer.weight) < rounding(dtype)
    gradient = layer.parametrizations.weight.original.grad
    assert gradient.dtype == dtype
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LAYERS)
def test_after_double_it_is_that_of_the_same_free_parameter(name, method):
    torch.manual_seed(0)
    single = trained(orthogonal_weight(LAYERS[name][0](), method=method))
    double = copy.deepcopy(single).double()
    assert departure(double.weight) < 1e-13
    torch.testing.assert_close(double.weight.float(), single.weight, rtol=0, atol=3e-7)
    # and back by way of half precision: the kept matrix has not been rounded on the way
    again = copy.deepcopy(single).half().double()
    assert departure(again.weight) < 1e-13


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_half_precision_are_those_of_float64_rounded(method, dtype):
    torch.manual_seed(0)
    layer = orthogonal_weight(nn.Linear(20, 6, bias=False), method=method).to(dtype)
    free = layer.parametrizations.weight.original
    with torch.no_grad():
        free.add_(0.2 * normal(*free.shape).to(dtype))
    exact = copy.deepcopy(layer).double()
    for each in (layer, exact):
        (each.weight * normal(6, 20, seed=1).to(each.weight)).sum().backward()
    expected = exact.parametrizations.weight.original.grad
    error = (free.grad.double() - expected).norm() / expected.norm()
    assert float(error) < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("method", METHODS)
def test_autocast_changes_nothing(method):
    layer = trained(orthogonal_weight(nn.Linear(20, 6), method=method))
    free = layer.parametrizations.weight.original
    results = []
    for enabled in (False, True):
        free.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            weight = layer.weight
        weight.cos().sum().backward()
        results.append((weight.detach(), free.grad.clone()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(normal(3, 20)).dtype == torch.bfloat16


@pytest.mark.parametrize("method", METHODS)
def test_state_dicts_of_other_precisions(method):
    """What was rounded on the way to a file is orthogonal again, also where the file's tensors take the place."""
    torch.manual_seed(0)
    layer = trained(orthogonal_weight(nn.Linear(20, 6), method=method))
    for dtype, assign in ((torch.float32, False), (torch.float32, True), (torch.float16, False), (torch.float64, True)):
        other = orthogonal_weight(nn.Linear(20, 6), method=method).double()
        state = {name: tensor.to(dtype) for name, tensor in layer.state_dict().items()}
        other.load_state_dict(state, strict=True, assign=assign)
        other = other.double()
        assert departure(other.weight) < 1e-13
        tolerance = 30 * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
        torch.testing.assert_close(other.weight.float(), layer.weight, rtol=0, atol=tolerance)


def test_a_worn_diagonal_leaves_reflections_orthogonal():
    """Their signs are the free parameter's diagonal, which weight decay may wear down to zero in half precision."""
    layer = orthogonal_weight(nn.Linear(6, 6, dtype=torch.float16), method="householder")
    with torch.no_grad():
        layer.parametrizations.weight.original.zero_()
    assert departure(layer.weight) < 1e-3


def test_dtypes_without_an_orthogonal_weight_are_refused():
    layer = nn.Linear(4, 3, dtype=torch.complex64)
    for method in METHODS:
        with pytest.raises(InputError, match="'weight' of Linear has dtype torch.complex64; expected a real"):
            orthogonal_weight(layer, method=method)


# --------------------------------------------------------------------------------------------- projections of any rank


def singular_values(weight: Tensor) -> Tensor:
    return torch.linalg.svdvals(weight.detach().double())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", METHODS)
def test_low_rank_weights_in_every_precision(kind, dtype):
    torch.manual_seed(0)
    map_ = LowRankOrthogonal(kind, torch.Size((9, 14)), 4)
    left, right = (0.1 * normal(*free.shape) + free for free in map_.right_inverse(normal(9, 14)))
    map_, left, right = map_.to(dtype), left.to(dtype).requires_grad_(), right.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.float32):
        weight = map_(left, right)
        rows = map_.basis(right, "right")
    assert weight.dtype == rows.dtype == dtype
    expected = torch.tensor([1.0] * 4 + [0.0] * 5, dtype=torch.float64)
    torch.testing.assert_close(singular_values(weight), expected, rtol=0, atol=rounding(dtype))
    assert departure(rows) < rounding(dtype)
    passed = weight.detach().double() @ rows.double().mT @ rows.double()
    torch.testing.assert_close(passed, weight.detach().double(), rtol=0, atol=2 * rounding(dtype))
    weight.float().sin().sum().backward()
    assert torch.isfinite(left.grad).all()
    assert torch.isfinite(right.grad).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_householder_projections_in_every_precision(dtype):
    torch.manual_seed(0)
    layer = HouseholderProjection(14, 9, rank=4)
    with torch.no_grad():
        layer.U.mul_(1e-3)  # where single precision alone would be off by twenty roundings
        layer.V.mul_(1e3)
    layer = CASTS[dtype](layer)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.float32):
        weight, rows = layer.matrix(), layer.basis()
    assert weight.dtype == rows.dtype == dtype
    torch.testing.assert_close(
        singular_values(weight)[:4], torch.ones(4, dtype=torch.float64), rtol=0, atol=rounding(dtype)
    )
    assert departure(rows) < rounding(dtype)
    x = normal(3, 14).to(dtype)
    layer(x).float().square().sum().backward()
    assert torch.isfinite(layer.U.grad).all()
    assert layer(x).dtype == dtype


@pytest.mark.parametrize("kind", METHODS)
def test_a_projected_generator_is_cast_with_its_constraint(kind):
    config = {
        "kind": "stylegan2", "resolution": 16, "z_dim": 6, "w_dim": 5, "mapping_layers": 2, "channels": (7, 6, 4),
    }  # fmt: skip
    model = project(build_model(config, seed=2), kind=kind, rank=2).double()
    for name in model.config.projection.layers:
        values = singular_values(model.projections()[name].weight())
        torch.testing.assert_close(values[:2], torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-13)
        assert float(values[2:].max()) < 1e-13


# ------------------------------------------------------------------------------------------------------- other layers


def operator(layer: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The matrix (features, inputs) of a linear layer."""
    n = torch.Size(shape).numel()
    return layer(torch.eye(n, dtype=dtype).reshape(n, *shape)).detach().double().flatten(1).mT


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_skew_convolutions_in_every_precision(dtype, scale):
    torch.manual_seed(0)
    layer = SkewConv2d(3, 12, 3, stride=2, bias=False, terms=20)
    with torch.no_grad():
        layer.weight.mul_(scale)
    layer = CASTS[dtype](layer)
    J = operator(layer, (3, 4, 4), dtype)
    assert float((J.mT @ J - torch.eye(J.shape[1], dtype=torch.float64)).abs().max()) < 4 * torch.finfo(dtype).eps
    layer(normal(2, 3, 4, 4).to(dtype)).float().sin().sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_whitening_and_pooling_in_every_precision(dtype, training):
    layer = DecorrelatedBatchNorm2d(6, groups=2).train(training)
    pool = CovariancePool2d(6).train(training)
    x = (normal(6, 6) @ normal(6, 6 * 64, seed=1)).reshape(6, 6, 8, 8).transpose(0, 1).to(dtype)
    wanted = copy.deepcopy(layer).double()(x.double()), pool(x.double())
    for each, expected in zip((CASTS[dtype](layer), CASTS[dtype](pool)), wanted, strict=True):
        y = each(x.clone().requires_grad_())
        assert y.dtype == dtype
        error = (y.detach().double() - expected.detach()).abs().max() / expected.detach().abs().max()
        assert float(error) < 4 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-5
        y.float().sin().sum().backward()


def test_whitening_far_from_zero_and_of_constants():
    """The covariance of values about 1e6 keeps its digits, where E[x x^T] - m m^T would turn negative."""
    mixing = normal(8, 8)
    for whitening in ("zca", "pca", "cholesky"):
        for mean in (0.0, 1e4, 1e6):
            x = (torch.einsum("ij,njhw->nihw", mixing, normal(16, 8, 6, 6, seed=1)) + mean).requires_grad_()
            y = DecorrelatedBatchNorm2d(8, eps=0.0, whitening=whitening)(x)
            y.pow(3).sum().backward()
            flat = y.detach().transpose(0, 1).flatten(1).double()
            flat = flat - flat.mean(1, keepdim=True)
            assert float(orthogonality_error(flat / flat.shape[1] ** 0.5)) < 1e-3
            assert torch.isfinite(x.grad).all()
        for x in (torch.zeros(8, 8, 3, 3), torch.full((8, 8, 3, 3), 3.0), normal(2, 8, 1, 1)):
            x = x.clone().requires_grad_()
            y = DecorrelatedBatchNorm2d(8, whitening=whitening)(x)
            y.square().sum().backward()
            assert torch.isfinite(y).all()
            assert torch.isfinite(x.grad).all()
