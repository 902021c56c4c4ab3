"""Whitening put into other people's networks, and the layer in front of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from disentangle.errors import InputError
from disentangle.nn import DecorrelatedBatchNorm2d, replace_norm, spectral_layers
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("affine", [True, False])
def test_frozen_weights_dtype_device_and_mode_are_kept(dtype, affine):
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8, affine=affine)).to(device="meta", dtype=dtype)
    model[1].eval()
    if affine:
        model[1].weight.requires_grad_(False)  # type: ignore[union-attr,operator]
    replace_norm(model)
    new: Any = model[1]
    assert not new.training
    assert new.running_mean.device.type == "meta"
    assert new.running_mean.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    if affine:
        assert (new.weight.requires_grad, new.bias.requires_grad) == (False, True)
        assert (new.weight.device.type, new.weight.dtype) == ("meta", dtype)


class Branching(nn.Module):
    """Branches on its input's values, so that only numbers run through it; registered against the order of execution.

    With ``inputs=2`` it takes more than a picture, and nothing can tell what it does.
    """

    def __init__(self, inputs: int = 1, *, ordered: bool = False) -> None:
        super().__init__()
        self.inputs = inputs
        if ordered:
            self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 7)
        if not ordered:
            self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        assert len(x) == self.inputs
        y = x[-1] if x[0].sum() > 0 else -x[0]
        return self.fc(self.pool(self.norm(self.conv(y))).flatten(1))


def test_what_feeds_the_norm_is_seen_where_values_decide():
    model = Branching()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.pool.eval()
    assert replace_norm(model) is model.conv
    assert isinstance(model.norm, DecorrelatedBatchNorm2d)
    assert model.norm.training
    assert not model.pool.training, "modes stay"
    assert all(torch.equal(before[n], value) for n, value in model.state_dict().items() if "running" not in n)


def test_where_nothing_runs_order_decides_or_before_is_asked_for():
    model = Branching(2, ordered=True)
    assert replace_norm(model) is model.conv
    model = Branching(2)
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
