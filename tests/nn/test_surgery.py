"""Whitening and covariance pooling put into other people's networks."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from disentangle.errors import InputError
from disentangle.nn import CovariancePool2d, DecorrelatedBatchNorm2d, replace_norm, replace_pool, spectral_layers
from disentangle.optim import orthogonalize


def pictures(n: int = 4, side: int = 64) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def build(name: str) -> nn.Module:
    if name.startswith("timm/"):
        return pytest.importorskip("timm").create_model(name.removeprefix("timm/"), num_classes=7)
    return torchvision.models.get_model(name, weights=None, num_classes=7)


def works(model: nn.Module) -> None:
    model.train()
    logits = model(pictures())
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with torch.no_grad():
        assert torch.isfinite(model.eval()(pictures(2))).all()


def sequential() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7)
    )


# ------------------------------------------------------------------------------------------------------ replace_norm


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_small", "timm/resnet18", "timm/resnet50d"])
def test_first_norm_and_the_convolution_in_front_of_it(name):
    model = build(name)
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    if name == "timm/resnet50d":  # a deep stem: the first norm stands behind the first of its convolutions
        assert first.kernel_size == (3, 3)
    assert replace_norm(model, eps=1e-3) is first
    ((_, layer),) = spectral_layers(model).items()
    assert isinstance(layer, DecorrelatedBatchNorm2d)
    assert layer.eps == 1e-3
    works(model)


def test_settings_and_affine_weights_are_taken_over():
    model = sequential().double().eval()
    old: Any = model[1]
    old.weight.data.uniform_(1, 2)
    old.bias.data.uniform_(-1, 1)
    old.eps, old.momentum = 1e-4, 0.3
    assert replace_norm(model, "1") is model[0]
    new: Any = model[1]
    assert torch.equal(new.weight, old.weight)
    assert torch.equal(new.bias, old.bias)
    assert (new.eps, new.momentum, new.training, new.weight.dtype) == (1e-4, 0.3, False, torch.float64)


def test_a_norm_further_in_by_name_and_as_an_object():
    model: Any = build("resnet18")
    assert replace_norm(model, "layer1.0.bn2") is model.layer1[0].conv2
    assert replace_norm(model, model.layer2[0].downsample[1], channels_per_group=16) is model.layer2[0].downsample[0]
    assert list(spectral_layers(model)) == ["layer1.0.bn2", "layer2.0.downsample.1"]
    works(model)


class Untraceable(nn.Module):
    """Branches on its input, so it cannot be traced; its layers are registered out of order on request."""

    def __init__(self, *, ordered: bool) -> None:
        super().__init__()
        if ordered:
            self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        if not ordered:
            self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x if x.sum() > 0 else -x))


def test_without_a_trace_order_decides_or_before_is_asked_for():
    model = Untraceable(ordered=True)
    assert replace_norm(model) is model.conv
    model = Untraceable(ordered=False)
    with pytest.raises(InputError, match="name it with before=, one of conv"):
        replace_norm(model)
    assert isinstance(model.norm, nn.BatchNorm2d)
    assert replace_norm(model, before="conv") is model.conv


def test_the_returned_layer_can_be_treated_in_the_next_line():
    model = sequential()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    layer: Any = replace_norm(model)
    handle = orthogonalize(optimizer, layer.weight, nog=True)
    before = layer.weight.detach().clone()
    model(pictures(side=16)).square().sum().backward()
    optimizer.step()
    step = (before - layer.weight.detach()).flatten(1) / 0.1
    torch.testing.assert_close(step @ step.mT, torch.eye(8), atol=1e-4, rtol=0)
    handle.remove()


@pytest.mark.parametrize(
    ("layer", "message"),
    [("2", "Unknown norm '2'.*'2' is a ReLU"), ("bn", "Known: 1"), (nn.BatchNorm2d(3), "is no norm of this model")],
)
def test_odd_layers_list_the_candidates(layer, message):
    with pytest.raises(InputError, match=message):
        replace_norm(sequential(), layer)


def test_nothing_to_replace():
    with pytest.raises(InputError, match="has no BatchNorm2d"):
        replace_norm(nn.Sequential(nn.Linear(3, 3)))


def test_as_norm_layer_everywhere_in_a_resnet():
    norm = partial(DecorrelatedBatchNorm2d, channels_per_group=16)
    model = torchvision.models.resnet18(weights=None, num_classes=7, norm_layer=norm)
    assert len(spectral_layers(model)) == 20
    works(model)


# ------------------------------------------------------------------------------------------------------ replace_pool


@pytest.mark.parametrize(
    "name",
    ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "timm/resnet18", "timm/efficientnet_lite0",
     "timm/mobilenetv3_small_050"],
)  # fmt: skip
def test_pool_and_head(name):
    model = build(name)
    layer: Any = replace_pool(model, reduction=8)
    ((_, pool),) = spectral_layers(model).items()
    assert isinstance(pool, CovariancePool2d)
    assert layer is pool.reduction
    works(model)
    assert layer.weight.grad.abs().sum() > 0
    twin = build(name)
    replace_pool(twin, reduction=8)
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(twin.eval()(pictures(2)), model.eval()(pictures(2)))


def test_without_a_reduction_the_last_convolution_is_returned():
    model = sequential()
    assert replace_pool(model, power="log", upper_triangle=False) is model[0]
    assert isinstance(model[5], nn.Linear)
    assert model[5].in_features == 64
    works(model)


@pytest.mark.parametrize(
    ("name", "message"),
    [("densenet121", "no layer that pools globally"), ("vgg11_bn", "no layer that pools globally"),
     ("convnext_tiny", "'classifier.0' is a LayerNorm2d")],
)  # fmt: skip
def test_networks_that_do_not_fit_say_why_and_stay_as_they_were(name, message):
    model = build(name)
    before = repr(model)
    with pytest.raises(InputError, match=message):
        replace_pool(model, reduction=8)
    assert repr(model) == before


def test_odd_pools_and_heads_list_the_candidates():
    model = build("resnet18")
    with pytest.raises(InputError, match="did you mean 'avgpool'"):
        replace_pool(model, "avgpol")
    with pytest.raises(InputError, match="Unknown head 'conv1'"):
        replace_pool(model, head="conv1")
