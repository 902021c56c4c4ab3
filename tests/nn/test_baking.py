"""Baked networks: the same outputs in evaluation mode, ordinary layers, and what exporters make of them."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.io import load, save
from disentangle.models import Classifier, ClassifierConfig
from disentangle.nn import (
    CovariancePool2d,
    DecorrelatedBatchNorm2d,
    HouseholderProjection,
    SkewConv2d,
    bake,
    orthogonal_weight,
    replace_norm,
    replace_pool,
)
from disentangle.nn.baked import BakedCovariancePool2d, ChannelMap

Whitening = DecorrelatedBatchNorm2d


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trained(model: nn.Module, *shape: int) -> nn.Module:
    """In float64 and evaluation mode, with the statistics of two batches and with scales that are not ones."""
    model = model.double().train()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.1 * normal(*parameter.shape, seed=number))
        for seed in (1, 2):
            model(3 + 2 * normal(*shape, seed=seed))
    if len(shape) == 4 and not hasattr(model, "config"):
        model.config = SimpleNamespace(resolution=shape[-1])  # so that no large pictures are tried
    return model.eval()


def kinds(model: nn.Module) -> list[type]:
    return [type(module) for module in model.modules() if not list(module.children())]


def same(model: nn.Module, *shape: int, atol: float = 1e-9) -> nn.Module:
    """The baked copy of a network, whose outputs are compared; it must be free of our layers."""
    x = 1 + normal(*shape, seed=7)
    baked = bake(copy.deepcopy(model))
    with torch.no_grad():
        torch.testing.assert_close(baked(x), model(x), rtol=0, atol=atol)
    assert not any(isinstance(module, (Whitening, CovariancePool2d)) for module in baked.modules())
    return baked


# ------------------------------------------------------------------------------------------------------------ folding


@pytest.mark.parametrize("whitening", ["zca", "pca", "cholesky"])
@pytest.mark.parametrize(
    "front",
    [
        lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1),
        lambda: nn.Conv2d(3, 8, 5, bias=False),
        lambda: nn.ConvTranspose2d(3, 8, 4, stride=3, output_padding=1),
        lambda: orthogonal_weight(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")),
    ],
)
def test_whitening_goes_into_the_convolution_in_front(front, whitening):
    norm = Whitening(8, groups=2, whitening=whitening, eps=1e-2)
    model = trained(nn.Sequential(nn.Conv2d(3, 3, 1), front(), norm, nn.ReLU()), 6, 3, 12, 12)
    baked: Any = same(model, 2, 3, 12, 12)
    assert kinds(baked)[2:] == [nn.Identity, nn.ReLU]
    assert type(baked[1]) in (nn.Conv2d, nn.ConvTranspose2d)


def test_the_folded_weight_is_the_product():
    """By hand: two channels, a whitening of known statistics."""
    model: Any = nn.Sequential(nn.Conv2d(1, 2, 1), Whitening(2, eps=0.0)).double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([0.5, 0.0]))
        model[1].running_mean.copy_(torch.tensor([1.0, -1.0]))
        model[1].running_covariance.copy_(torch.diag(torch.tensor([4.0, 0.25])))
        model[1].weight.copy_(torch.tensor([3.0, 1.0]))
        model[1].bias.copy_(torch.tensor([10.0, 20.0]))
    baked = bake(model)
    # 3 / 2 (x + 0.5 - 1) + 10 and 1 / 0.5 (2 x + 1) + 20
    torch.testing.assert_close(baked[0].weight.flatten(), torch.tensor([1.5, 4.0]).double())
    torch.testing.assert_close(baked[0].bias, torch.tensor([9.25, 22.0]).double())


@pytest.mark.parametrize(("groups", "folds"), [(4, True), (2, False)])
def test_groups_of_a_convolution_and_of_a_whitening(groups, folds):
    """A depth-wise kind of convolution cannot mix what its groups keep apart."""
    model = trained(nn.Sequential(nn.Conv2d(8, 8, 3, groups=4), Whitening(8, groups=groups)), 6, 8, 9, 9)
    assert kinds(same(model, 2, 8, 9, 9)) == [nn.Conv2d, nn.Identity if folds else nn.Conv2d]


@pytest.mark.parametrize(("padding", "folds"), [(0, True), (1, False)])
def test_else_it_goes_into_the_convolution_behind(padding, folds):
    """Unless that pads with zeros, which are no zeros in front of the shift."""
    front = [nn.Conv2d(3, 6, 3), nn.ReLU(), Whitening(6)]
    model = trained(nn.Sequential(*front, nn.Conv2d(6, 4, 3, padding=padding)), 6, 3, 12, 12)
    assert kinds(same(model, 2, 3, 12, 12))[2] is (nn.Identity if folds else nn.Conv2d)


class Twice(nn.Module):
    """A convolution whose output is whitened and used as it is besides."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.norm, self.how = nn.Conv2d(3, 5, 3), Whitening(5), how

    def forward(self, x: Tensor) -> Any:
        y = self.conv(x)
        if self.how == "sum":
            return self.norm(y) + y
        if self.how == "both":
            return self.norm(y), y
        if self.how == "unseen by derivatives":
            return self.norm(y) + y.detach().mean()
        if self.how == "whole numbers":
            return self.norm(y).mul(5).round().long()
        if self.how == "two calls":
            return self.norm(y) + self.norm(self.conv(2 * x))
        return self.norm(F.relu(y))


@pytest.mark.parametrize(
    "how", ["sum", "both", "two calls", "a function between", "unseen by derivatives", "whole numbers"]
)
def test_nothing_is_folded_where_the_output_has_other_readers(how):
    model = trained(Twice(how), 6, 3, 12, 12)
    x = normal(2, 3, 12, 12)
    expected = model(x)
    ours = bake(model)(x)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)
    assert type(model.norm) is nn.Conv2d


def test_one_layer_that_cannot_be_folded_keeps_no_other_from_it():
    model = trained(nn.Sequential(Twice("unseen by derivatives"), nn.Conv2d(5, 4, 3), Whitening(4)), 6, 3, 12, 12)
    baked: Any = same(model, 2, 3, 12, 12)
    assert type(baked[0].norm) is nn.Conv2d
    assert kinds(baked)[-2:] == [nn.Conv2d, nn.Identity]


class Standardised(nn.Conv2d):
    """A convolution that is not linear in its weight, as weight standardisation is."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight / self.weight.norm(), self.bias)


def test_nothing_is_folded_into_layers_with_a_forward_of_their_own():
    model = trained(nn.Sequential(Standardised(3, 5, 3), Whitening(5)), 6, 3, 12, 12)
    assert kinds(same(model, 2, 3, 12, 12)) == [Standardised, nn.Conv2d]


def test_a_layer_in_two_places_and_inputs_of_other_shapes():
    norm = Whitening(4)
    model = trained(nn.Sequential(norm, nn.Linear(4, 4), norm), 9, 4)
    assert kinds(same(model, 5, 4)) == [ChannelMap, nn.Linear]
    for shape in ((5, 4), (5, 4, 3), (2, 4, 3, 2, 3)):
        same(trained(Whitening(4), 9, 4, 6), *shape)


def test_rank_deficient_features_and_a_large_mean():
    """A 3x3 convolution from one channel has rank 9: of 16 channels seven are whitened noise."""
    model = nn.Sequential(nn.Conv2d(1, 16, 3), Whitening(16, eps=1e-5))
    model = trained(model, 8, 1, 20, 20)
    x = 100 + normal(2, 1, 20, 20)
    expected = model(x).detach()
    single = bake(copy.deepcopy(model).float())(x.float()).detach().double()
    before = copy.deepcopy(model).float()(x.float()).detach().double()
    scale = float(expected.norm())
    assert float((bake(model)(x) - expected).detach().norm()) < 1e-9 * scale
    # in float32 the folded layer is no worse than the whitening itself
    assert float((single - expected).norm()) < 2 * float((before - expected).norm()) + 1e-6 * scale


# ------------------------------------------------------------------------------------------------- pooling and weights


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"eps": 0.0},
        {"reduction": 4, "upper_triangle": False, "flatten": False},
        {"power": "log", "eps": 1e-3},
        {"power": 1.0, "eps": 0.0},
        {"power": 0.3, "reduction": 4, "norm_after": "bn"},
        *({"method": name, "eps": 1e-3} for name in ("isqrt_cov", "newton_schulz", "pade", "taylor", "svd_pade")),
    ],
    ids=str,
)
def test_pooling_gives_the_same_row(arguments):
    model = trained(nn.Sequential(nn.Conv2d(3, 6, 3), CovariancePool2d(6, **arguments)), 4, 3, 8, 8)
    baked = same(model, 3, 3, 8, 8, atol=1e-7)
    assert any(isinstance(module, BakedCovariancePool2d) for module in baked.modules())
    assert set(baked.state_dict()) == set(model.state_dict())


def test_half_precision():
    """Folded there too, and right to its rounding."""
    model = trained(nn.Sequential(nn.Conv2d(3, 8, 3), Whitening(8, eps=1e-2)), 6, 3, 12, 12)
    x = normal(2, 3, 12, 12)
    expected = model(x).detach()
    ours = bake(copy.deepcopy(model).half())(x.half()).detach()
    assert float((ours.double() - expected).norm() / expected.norm()) < 3e-2


def test_fewer_positions_than_channels_in_single_precision():
    pool = CovariancePool2d(64).eval()
    x = normal(2, 64, 4, 4).float()
    torch.testing.assert_close(bake(nn.Sequential(pool))(x), pool(x), rtol=0, atol=1e-6)
    assert bake(nn.Sequential(CovariancePool2d(64).eval()))(x.half()).dtype == torch.float16


def test_weights_are_plain():
    shared = nn.Linear(5, 5)
    twin = nn.Linear(5, 5)
    twin.weight = shared.weight
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(5, 6))
    layers = [orthogonal_weight(shared), orthogonal_weight(twin), normed]
    model = nn.Sequential(*layers, HouseholderProjection(6, 5, rank=2), nn.Unflatten(1, (5, 1, 1)), SkewConv2d(5, 5, 3))
    model = model.double()
    other = copy.deepcopy(model)
    baked = same(model, 4, 5)
    assert kinds(baked)[:4] == [nn.Linear] * 4
    assert baked[0].weight is baked[1].weight
    assert not any("parametrizations" in name for name in baked.state_dict())
    other(normal(2, 5)).sum().backward()  # copies are as they were
    assert other[0].parametrizations.weight.original.grad is not None
    with pytest.raises(InputError, match="nothing to bake"):
        bake(nn.Sequential(*list(baked)[:4]))


# ----------------------------------------------------------------------------------------------------- what is refused


def test_what_cannot_be_baked():
    def network(**arguments: Any) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 4, 3), Whitening(4, **arguments))

    with pytest.raises(InputError, match=r"'1', a DecorrelatedBatchNorm2d, is in training mode.*model.eval\(\)"):
        bake(network())
    with pytest.raises(InputError, match="has seen no batch"):
        bake(network().eval())
    with pytest.raises(InputError, match="track_running_stats=False"):
        bake(network(track_running_stats=False).eval())
    with pytest.raises(InputError, match="has no orthogonal projections or weights, no whitening and no covariance"):
        bake(nn.Linear(2, 2))
    with pytest.raises(InputError, match="is in training mode"):
        bake(nn.Sequential(CovariancePool2d(3)))
    with pytest.raises(InputError, match="'svd_top_n' drops"):
        bake(nn.Sequential(CovariancePool2d(3, method="svd_top_n")).eval())
    with pytest.raises(InputError, match="eps=0 with power='log'"):
        bake(nn.Sequential(CovariancePool2d(3, power="log", eps=0)).eval())
    pool = CovariancePool2d(4, method="svd_top_n")
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 3), Whitening(4), pool), 3, 3, 8, 8)
    with pytest.raises(InputError):
        bake(model)
    assert kinds(model)[:2] == [nn.Conv2d, Whitening]


# ---------------------------------------------------------------------------------------------------- our classifiers

CLASSIFIERS: dict[str, dict[str, Any]] = {
    "whitening": {"norm": "dbn"},
    "both, orthogonal": {"norm": "dbn", "pool": "cov", "weight": "ow"},
    "spectral norm": {"norm": "dbn", "weight": "sn"},
    "skew": {"norm": "dbn", "weight": "soc"},
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_baked_classifier_is_saved_and_read(name, tmp_path):
    torch.manual_seed(0)
    config = ClassifierConfig(class_names=("a", "b"), channels=(8, 8, 8), resolution=20, **CLASSIFIERS[name])
    model = trained(Classifier(config), 6, 3, 20, 20).float()
    x = torch.rand(3, 3, 20, 20)
    expected = model(x)
    bake(model)
    assert model.config.baked
    assert not model.pre_svd_layers()
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
    assert isinstance(model.network.bn1, nn.Conv2d if name == "skew" else nn.Identity)
    save(model, tmp_path / "baked.safetensors")
    again = load(tmp_path / "baked.safetensors")
    assert torch.equal(again(x), model(x))
    with pytest.raises(InputError, match="nothing to bake"):
        bake(model)


# ------------------------------------------------------------------------------------------------------------- exports


NEWER = ("resnet18 norm", "resnet18 pool", "resnet18")
LARGE = (*NEWER, "timm")


def network(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    if name == "small":
        config = ClassifierConfig(class_names=("a", "b"), norm="dbn", pool="cov", channels=(8, 8, 8))
        return trained(Classifier(config), 6, 3, 32, 32).float(), torch.rand(3, 3, 32, 32)
    if name == "timm":
        timm = pytest.importorskip("timm")
        model = timm.create_model("resnet10t", num_classes=5)
    else:
        torchvision = pytest.importorskip("torchvision")
        model = torchvision.models.resnet18(num_classes=5)
    if "pool" not in name:
        replace_norm(model)
    if "norm" not in name:
        replace_pool(model, reduction=16)
    return trained(model, 4, 3, 64, 64).float(), normal(3, 3, 64, 64).float()


def through_onnx(model: nn.Module, x: Tensor, path: Path, *, dynamo: bool) -> Tensor:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    given = (x[:2],)
    if dynamo:
        shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
        torch.onnx.export(model, given, path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    else:
        axes = {"images": {0: "batch"}}
        torch.onnx.export(model, given, path, dynamo=False, input_names=["images"], dynamic_axes=axes)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(result)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["small", *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_exporters_take_a_baked_network(name, tmp_path, caplog):
    """With a batch of two; the result runs with three. The newer exporters, which take long, have three."""
    caplog.set_level(logging.ERROR)
    model, x = network(name)
    expected = model(x).detach()
    bake(model)
    tolerance = {"rtol": 0, "atol": 1e-4 * float(expected.abs().max())}
    torch.testing.assert_close(torch.jit.trace(model, (x[:2],))(x), expected, **tolerance)
    if name in NEWER:
        shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
        program = torch.export.export(model, (x[:2],), dynamic_shapes=shapes)
        torch.testing.assert_close(program.module()(x), expected, **tolerance)
    for dynamo in (False, True) if name in NEWER else (False,):
        ours = through_onnx(model, x, tmp_path / f"{dynamo}.onnx", dynamo=dynamo)
        torch.testing.assert_close(ours, expected, **tolerance)
