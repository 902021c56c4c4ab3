"""The classifier as a network: its parts, its pre-SVD weights, model files, weights of other projects."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import disentangle
from disentangle.errors import CheckpointError, ConfigError, InputError
from disentangle.io import read_weights
from disentangle.linalg import orthogonality_error
from disentangle.models import Classifier, ClassifierConfig, build_model
from disentangle.nn import CovariancePool2d, DecorrelatedBatchNorm2d, SkewConv2d, spectral_layers

NAMES = ("cat", "dog", "emu")


def build(seed: int = 0, **fields: object) -> Classifier:
    record = {"kind": "classifier", "resolution": 16, "image_channels": 1, "class_names": NAMES, **fields}
    model = build_model(record, seed=seed)
    assert isinstance(model, Classifier)
    return model


def pictures(model: Classifier, n: int = 8, seed: int = 0) -> torch.Tensor:
    side = model.config.resolution
    return torch.rand(n, model.config.image_channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weight", ["plain", "ow", "sn", "soc"])
@pytest.mark.parametrize(("norm", "pool"), [("dbn", "avg"), ("bn", "cov"), ("dbn", "cov")])
def test_every_combination_learns_and_comes_back_from_its_file(norm, pool, weight, tmp_path: Path):
    model = build(norm=norm, pool=pool, weight=weight, cov={"reduction": 6})
    kinds = {type(layer) for layer in spectral_layers(model.network).values()}
    assert kinds == {
        *([DecorrelatedBatchNorm2d] if norm == "dbn" else []),
        *([CovariancePool2d] if pool == "cov" else []),
    }
    weights = model.pre_svd()
    assert len(weights) == len(kinds)
    own = {id(parameter) for parameter in model.parameters()}
    for parameter in weights.values():
        assert id(parameter) in own  # by identity: an optimizer of the model holds it
        assert parameter.ndim >= 2
    loss = nn.functional.cross_entropy(model(pictures(model)), torch.arange(8) % 3)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert all(float(parameter.grad.norm()) > 0 for parameter in weights.values())

    disentangle.save(model, tmp_path / "model.safetensors")
    loaded = disentangle.load(tmp_path / "model.safetensors")
    x = pictures(model, seed=1)
    assert torch.equal(loaded(x), model.eval()(x))
    assert loaded.config.class_names == NAMES


def test_the_pre_svd_layer_is_the_one_whose_output_the_meta_layer_sees():
    model = build(norm="dbn", pool="cov", cov={"reduction": 6})
    stem, reduction = model.pre_svd_layers().values()
    assert stem.weight.shape == (16, 1, 5, 5)
    assert reduction.weight.shape == (6, 48, 1, 1)
    order: list[nn.Module] = []
    for module in (stem, reduction, *spectral_layers(model.network).values()):
        module.register_forward_hook(lambda module, *_: order.append(module))
    model(pictures(model))
    assert order[0] is stem
    assert isinstance(order[1], DecorrelatedBatchNorm2d)
    assert order[2] is reduction
    assert isinstance(order[3], CovariancePool2d)
    names = dict(model.network.named_modules())
    assert all(names[name] is layer for name, layer in model.pre_svd_layers().items())


def test_a_copy_names_its_own_weights():
    model = build(norm="dbn")
    twin = copy.deepcopy(model)
    (mine,), (other,) = model.pre_svd().values(), twin.pre_svd().values()
    assert other is not mine
    assert any(other is parameter for parameter in twin.parameters())


def test_constrained_weights():
    orthogonal = next(iter(build(norm="dbn", weight="ow").pre_svd_layers().values()))
    assert float(orthogonality_error(orthogonal.weight.flatten(1))) < 1e-5
    spectral = next(iter(build(norm="dbn", weight="sn").pre_svd_layers().values()))
    assert float(torch.linalg.matrix_norm(spectral.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.02)
    assert spectral.weight.flatten(1).shape == (16, 25)  # the whole filter, not each 5x5 kernel
    skew = next(iter(build(norm="dbn", weight="soc").pre_svd_layers().values()))
    assert isinstance(skew, SkewConv2d)
    plain = build(norm="bn", pool="cov")
    assert not [m for m in plain.modules() if isinstance(m, SkewConv2d)]
    (last,) = plain.pre_svd_layers().values()  # without a reduction the last convolution
    assert any(last is module for module in plain.network.blocks[-1].modules())


def test_the_stem_of_a_resnet():
    cifar = build(arch="resnet18", image_channels=3, resolution=32)
    assert cifar.network.conv1.weight.shape == (64, 3, 3, 3)
    assert isinstance(cifar.network.maxpool, nn.Identity)
    sides: list[int] = []
    cifar.network.layer1.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    cifar(pictures(cifar, 2))
    assert sides == [32]
    usual = build(arch="resnet18", image_channels=1, resolution=96)
    assert usual.network.conv1.weight.shape == (64, 1, 7, 7)
    assert isinstance(usual.network.maxpool, nn.MaxPool2d)
    assert build(arch="resnet18", resolution=32, stem="imagenet").network.conv1.stride == (2, 2)
    plain = torchvision.models.resnet18(weights=None, num_classes=3)
    same = build(arch="resnet18", image_channels=3, resolution=96)
    assert list(same.network.state_dict()) == list(plain.state_dict())


def test_pictures_are_normalised_inside():
    model = build(image_channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.2)).eval()
    x = pictures(model)
    normal = (x - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.4, 0.2])[:, None, None]
    assert torch.allclose(model(x), model.network(normal))
    assert not [name for name in model.state_dict() if name.startswith(("mean", "std"))]


def test_weights_of_the_plain_network(tmp_path: Path):
    torch.manual_seed(3)
    plain = torchvision.models.resnet18(weights=None)  # a thousand classes
    torch.save({"state_dict": {f"module.{k}": v for k, v in plain.state_dict().items()}}, tmp_path / "plain.pth")
    save_file(plain.state_dict(), tmp_path / "plain.safetensors")
    config = ClassifierConfig(arch="resnet18", resolution=96, class_names=NAMES, norm="dbn", weight="ow")
    for name in ("plain.pth", "plain.safetensors"):
        model = Classifier(config, weights=read_weights(tmp_path / name))
        ours, theirs = dict(model.network.named_parameters()), dict(plain.named_parameters())
        assert torch.equal(ours["layer4.1.conv2.weight"], theirs["layer4.1.conv2.weight"])
        assert torch.equal(model.network.layer1[0].bn1.running_var, plain.layer1[0].bn1.running_var)
        assert model.head.weight.shape == (3, 512)
        # the orthogonal weight starts nearest to the stem's
        assert torch.equal(
            model.pre_svd_layers()["conv1"].weight,
            disentangle.nn.orthogonal_weight(copy.deepcopy(plain.conv1)).weight,
        )
    few = torchvision.models.resnet18(weights=None, num_classes=3).state_dict()
    assert torch.equal(Classifier(config, weights=few).head.weight, few["fc.weight"])  # a head of the same shape stays


def test_the_affine_part_of_the_replaced_norm_is_kept():
    plain = torchvision.models.resnet18(weights=None)
    nn.init.uniform_(plain.bn1.weight)
    nn.init.uniform_(plain.bn1.bias)
    config = ClassifierConfig(arch="resnet18", resolution=96, class_names=NAMES, norm="dbn")
    model = Classifier(config, weights=plain.state_dict())
    assert torch.equal(model.network.bn1.weight, plain.bn1.weight)
    assert torch.equal(model.network.bn1.bias, plain.bn1.bias)


def test_timm_weights_fit():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("resnet18", pretrained=False).state_dict()
    config = ClassifierConfig(arch="resnet18", resolution=96, class_names=NAMES)
    model = Classifier(config, weights=theirs)
    assert torch.equal(model.network.layer2[0].downsample[0].weight, theirs["layer2.0.downsample.0.weight"])


def test_weights_that_do_not_fit(tmp_path: Path):
    plain = torchvision.models.resnet18(weights=None).state_dict()
    small = ClassifierConfig(arch="resnet18", resolution=32, class_names=NAMES)
    with pytest.raises(CheckpointError, match=r"resnet18 with the stem 'cifar' on 3 channels: conv1.weight has shape"):
        Classifier(small, weights=plain)
    large = ClassifierConfig(arch="resnet34", resolution=96, class_names=NAMES)
    with pytest.raises(CheckpointError, match="missing layer1.2.conv1.weight; .* and [0-9]+ more"):
        Classifier(large, weights=plain)
    with pytest.raises(CheckpointError, match=r"none.pth does not exist; expected a .safetensors"):
        read_weights(tmp_path / "none.pth")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 20)
    (tmp_path / "bad.pth").write_bytes(b"x" * 20)
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")  # a pickled module, which could run code
    for name, message in (
        ("bad.safetensors", "is text, not a checkpoint"),
        ("bad.pth", "is text, not a checkpoint"),
        ("epoch.pth", r"no plain set of weights \(it holds: epoch\)"),
        ("whole.pth", "it holds an object of the class torch.nn.modules.linear.Linear"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_weights(tmp_path / name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": "ow"}, "weight is 'ow', which is for the layer in front of an SVD meta-layer, but there is none"),
        ({"arch": "resnet17"}, "arch: Input should be 'small'"),
        ({"class_names": ("a",)}, "class_names: Tuple should have at least 2"),
        ({"class_names": ("a", "a")}, "class_names holds a name twice"),
        ({"mean": (0.1, 0.2)}, "mean has 2 numbers; expected 1 or image_channels = 1"),
        ({"std": (0.0,)}, "std must be above 0"),
        ({"channels": (16,)}, "channels: Tuple should have at least 2"),
        ({"norm": "dbn", "dbn": {"eps": -1}}, "dbn.eps: Input should be greater"),
    ],
)
def test_configurations_that_do_not_fit(fields, message):
    with pytest.raises(ConfigError, match=message):
        build(**fields)


def test_pictures_that_do_not_fit():
    model = build()
    for bad in (
        torch.rand(2, 3, 16, 16),
        torch.rand(1, 16, 16),
        torch.rand(2, 1, 8, 16),
        torch.ones(2, 1, 16, 16).int(),
    ):
        with pytest.raises(InputError, match=r"this classifier takes \(n, 1, 16, 16\) floating point in \[0, 1\]"):
            model(bad)


def test_the_same_seed_is_the_same_network():
    one, two, other = (build(seed, norm="dbn", pool="cov", cov={"reduction": 6}) for seed in (4, 4, 5))
    states = [torch.cat([t.double().flatten() for t in m.state_dict().values()]) for m in (one, two, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
