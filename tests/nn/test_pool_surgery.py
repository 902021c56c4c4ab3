"""Covariance pooling put into other people's networks: the head that follows, the layer in front, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from disentangle.errors import InputError
from disentangle.nn import CovariancePool2d, replace_norm, replace_pool, spectral_layers
from tests.nn.test_surgery import Branching, build, pictures, sequential, works


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50", "convnext_tiny", "mobilenet_v3_small", "efficientnet_b0", "timm/resnet18",
     "timm/resnet50d", "timm/seresnet50", "timm/convnext_atto", "timm/efficientnet_lite0",
     "timm/mobilenetv3_small_050", "timm/densenet121"],
)  # fmt: skip
def test_pool_and_head(name):
    model = build(name)
    layer: Any = replace_pool(model, reduction=8)
    ((_, pool),) = spectral_layers(model).items()
    assert isinstance(pool, CovariancePool2d)
    assert layer is pool.reduction
    assert any(getattr(m, "in_features", getattr(m, "in_channels", 0)) == pool.out_features for m in model.modules())
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


def test_odd_pools_and_heads_list_the_candidates():
    model = build("resnet18")
    with pytest.raises(InputError, match="did you mean 'avgpool'"):
        replace_pool(model, "avgpol")
    with pytest.raises(InputError, match="Unknown head 'conv1'"):
        replace_pool(model, head="conv1")


# ------------------------------------------------------------------------------------------------ the layer in front


@pytest.mark.parametrize(
    ("name", "front"),
    [("resnet18", "layer4.1.conv2"), ("resnet50", "layer4.2.conv3"), ("mobilenet_v3_small", "features.12.0"),
     ("efficientnet_b0", "features.8.0"), ("convnext_tiny", "features.7.2.block.5"),
     ("timm/resnet50d", "layer4.2.conv3"), ("timm/seresnet50", "layer4.2.conv3"),
     ("timm/convnext_atto", "stages.3.blocks.1.mlp.fc2")],
)  # fmt: skip
def test_the_layer_in_front_of_the_pool(name, front):
    model = build(name).to("meta")  # without a reduction the heads have a hundred million weights
    assert replace_pool(model) is model.get_submodule(front)


@pytest.mark.parametrize("shortcut_first", [True, False])
def test_of_a_residual_block_it_is_the_blocks_own_not_the_shortcuts(shortcut_first):
    class Block(torchvision.models.resnet.BasicBlock):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not shortcut_first:
                return super().forward(x)
            shortcut = self.downsample(x)  # type: ignore[misc]
            return (shortcut + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu_()

    block = Block(3, 8, stride=2, downsample=nn.Sequential(nn.Conv2d(3, 8, 1, 2), nn.BatchNorm2d(8)))
    model = nn.Sequential(block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))
    assert list(dict(block.named_modules()))[-2] == "downsample.0", "registered last"
    assert replace_pool(model) is block.conv2
    works(model)


class Gated(nn.Module):
    """Squeeze and excitation behind the last convolution: its layers run last and are the deepest."""

    def __init__(self, pools: bool = True) -> None:
        super().__init__()
        self.pool, self.pools = nn.AdaptiveAvgPool2d(1), pools
        self.conv, self.gate = nn.Conv2d(3, 8, 5), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1))
        self.fc = nn.Linear(8, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = x * self.gate(x).sigmoid()
        return self.fc(self.pool(x).flatten(1) if self.pools else x.mean((2, 3)))


def test_it_is_the_map_not_its_gate():
    model = Gated()
    assert replace_pool(model) is model.conv
    assert list(spectral_layers(model)) == ["pool"]
    works(model)


def test_it_is_seen_where_values_decide():
    model = Branching()
    assert replace_pool(model) is model.conv
    works(model)


class Pair(nn.Module):
    """Takes two pictures, so it cannot be run without being told; it can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 7)
        self.norm, self.conv, self.unused = nn.BatchNorm2d(4), nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.norm(self.conv(x - y))), 1))


def test_it_is_traced_where_no_picture_can_be_made():
    model = Pair()
    assert replace_norm(model) is model.conv
    assert replace_pool(model) is model.conv
    model(pictures(), pictures().flip(0)).sum().backward()
    assert model.fc.in_features == 10


def test_it_is_asked_for_where_nothing_tells():
    model = Branching(2)
    with pytest.raises(InputError, match="feeds 'pool' was not found; name it with before=, or give reduction="):
        replace_pool(model)
    assert replace_pool(model, before=model.conv) is model.conv
    assert model.fc.in_features == 10
    with pytest.raises(InputError, match="give one of them"):
        replace_pool(Branching(2), before="conv", reduction=2)
    assert replace_pool(Branching(2), reduction=2).weight.shape == (2, 4, 1, 1)


def test_both_replacements_in_one_network():
    model: Any = build("resnet18")
    assert replace_norm(model, "layer4.1.bn2", channels_per_group=64) is model.layer4[1].conv2
    assert replace_pool(model, power="log") is model.layer4[1].conv2
    assert all(layer.covariance is None for layer in spectral_layers(model).values()), "nothing ran in training"
    assert int(model.bn1.num_batches_tracked) == 0


# ---------------------------------------------------------------------------------------------------- what is kept


class Reads(nn.Module):
    """A forward that takes the pooled map apart by itself."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.pool, self.fc, self.how = nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 7), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.conv(x))
        ways = {
            "index": lambda: x[:, :, 0, 0],
            "squeeze": lambda: x.squeeze(-1).squeeze(-1),
            "mean": lambda: x.mean((2, 3)),
            "view": lambda: x.view(x.shape[0], -1),
            "width": lambda: x.view(-1, 8),
            "joined": lambda: torch.cat([x, x], 1).flatten(1)[:, :8],
        }
        return self.fc(ways[self.how]())


@pytest.mark.parametrize("how", ["index", "squeeze", "mean", "view"])
def test_a_forward_may_read_the_pooled_map_as_it_likes(how):
    model = Reads(how)
    assert replace_pool(model) is model.conv
    assert model.fc.in_features == 36
    works(model)


@pytest.mark.parametrize("how", ["width", "joined"])
def test_a_forward_that_holds_the_old_width_is_refused_at_once(how):
    model = Reads(how)
    before = repr(model)
    with pytest.raises(InputError, match="the forward of Reads fails .*; where it holds the old width between"):
        replace_pool(model)
    assert repr(model) == before


@pytest.mark.parametrize("kind", ["linear", "convolution", "norm"])
def test_frozen_weights_dtype_device_and_mode_of_what_is_resized_are_kept(kind):
    if kind == "linear":
        tail: list[nn.Module] = [nn.Flatten(), nn.Linear(8, 7)]
    elif kind == "convolution":
        tail = [nn.Conv2d(8, 7, 1)]
    else:
        tail = [nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 7)]
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(1), *tail).to(device="meta", dtype=torch.float64)
    at = 3 if kind == "norm" else len(model) - 1
    old: Any = model[at]
    old.eval(), model[1].eval()
    old.weight.requires_grad_(False)
    replace_pool(model, reduction=3)
    new, pool = model[at], model[1]
    assert isinstance(pool, CovariancePool2d)
    assert new is not old
    assert new.weight.shape[:2] in ((7, 6), (6,))
    assert (new.weight.requires_grad, new.bias.requires_grad) == (False, True)
    assert all(p.device.type == "meta" and p.dtype == torch.float64 for p in model.parameters())
    assert not new.training
    assert not pool.training
    assert model[0].training
    assert model(torch.empty(2, 3, 16, 16, device="meta", dtype=torch.float64)).shape[:2] == (2, 7)


# -------------------------------------------------------------------------------------- what is refused, and its advice


def refused(model: nn.Module, message: str, **arguments: Any) -> None:
    before = repr(model)
    with pytest.raises(InputError, match=message) as raised:
        replace_pool(model, **arguments)
    assert repr(model) == before
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("arguments", [{}, {"pool": "avgpool"}])
def test_vgg_keeps_positions_and_works_when_made_global(arguments):
    model: Any = build("vgg11_bn")
    refused(model, "'avgpool' averages to 7x7 positions, whose 25088 values 'classifier.0' reads", **arguments)
    refused(model, r"make it an nn.AdaptiveAvgPool2d\(1\) and 'classifier.0' an nn.Linear\(512, 4096\)", **arguments)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier[0] = nn.Linear(512, 4096)
    assert replace_pool(model, reduction=8).out_channels == 8
    works(model)


def test_densenet_pools_by_a_function_and_works_when_its_parts_are_put_together():
    model: Any = build("densenet121")
    refused(model, "DenseNet pools by a function call between 'features.norm5' and 'classifier'")
    parts = [model.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier]
    works_as = nn.Sequential(*parts)
    with torch.no_grad():
        torch.testing.assert_close(works_as.eval()(pictures(2)), model.eval()(pictures(2)))
    replace_pool(works_as, reduction=8)
    works(works_as)


@pytest.mark.parametrize(
    ("name", "last", "front", "head"),
    [("mobilenet_v2", "features.18.2", "features.18.0", "classifier.1"),
     ("shufflenet_v2_x0_5", "conv5.2", "conv5.0", "fc"), ("mnasnet0_5", "layers.16", "layers.14", "classifier.1")],
)  # fmt: skip
def test_where_a_function_averages_the_pool_goes_behind_the_last_layer(name, last, front, head):
    assert replace_pool(model := build(name).to("meta")) is model.get_submodule(front)
    model = build(name)
    known = set(model.state_dict())
    layer = replace_pool(model, reduction=8)
    works(model)
    assert set(model.state_dict()) - known == {key for key in model.state_dict() if key.startswith(f"{last}.1.")}
    pool = model.get_submodule(f"{last}.1")
    assert isinstance(pool, CovariancePool2d)
    assert layer is pool.reduction
    # the whole forward is: features, pool, head
    seen: list[torch.Tensor] = []
    model.eval().get_submodule(f"{last}.0").register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        logits = model(pictures(2))
        torch.testing.assert_close(logits, model.get_submodule(head)(pool(seen[0]).flatten(1)))


class Averaging(nn.Module):
    def __init__(self, average: Any, shares: bool = False) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 5), nn.Linear(8, 7)
        self.average, self.more = average, nn.Conv2d(8, 7, 3) if shares else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        logits = self.fc(self.average(x))
        return logits if self.more is None else logits + self.more(x).amax((2, 3))


@pytest.mark.parametrize(
    "average",
    [lambda x: x.mean((2, 3)), lambda x: x.mean(3).mean(2), lambda x: x.flatten(2).mean(-1),
     lambda x: nn.functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0], lambda x: x.mean((2, 3), keepdim=True).squeeze()],
)  # fmt: skip
def test_a_convolution_whose_output_is_averaged_is_the_layer_in_front(average):
    model = Averaging(average)
    conv = model.conv
    assert replace_pool(model) is conv
    assert model.fc.in_features == 36
    works(model)


@pytest.mark.parametrize(
    "average",
    [lambda x: x.relu().mean((2, 3)), lambda x: x.amax((2, 3)), lambda x: x.mean((2, 3)) + 1,
     lambda x: nn.functional.avg_pool2d(x, x.shape[-1]).flatten(1), lambda x: x.mean((2, 3)) + x.amax((2, 3))],
)  # fmt: skip
def test_what_is_no_average_of_one_layer_is_refused(average):
    refused(Averaging(average), "pools by a function call between 'conv' and 'fc', but not the output of one layer")


def test_a_block_whose_one_relu_runs_twice_is_taken_as_a_whole():
    block = torchvision.models.resnet.BasicBlock(8, 8)
    model = nn.Sequential(nn.Conv2d(3, 8, 5), Averaging(lambda x: x.mean((2, 3)))).eval()
    averaging: Any = model[1]
    averaging.conv = block.eval()
    assert replace_pool(model) is block.conv2
    assert averaging.conv[0] is block
    assert not any(module.training for module in model.modules())
    works(model)


def test_a_map_that_others_read_too_is_refused():
    refused(Averaging(lambda x: x.mean((2, 3)), shares=True), "pools by a function call")


def test_a_gate_is_no_global_pool():
    model = nn.Sequential(Gated(pools=False))
    refused(model, "pools by a function call between '0.conv' and '0.fc'")


@pytest.mark.parametrize("name", ["vit_b_16", "timm/vit_tiny_patch16_224"])
def test_a_network_without_a_pooled_map(name):
    refused(build(name), "has no layer that averages over all positions of a map; put an nn.AdaptiveAvgPool2d")


def test_a_pool_behind_the_last_convolution_has_no_head():
    refused(build("squeezenet1_1"), "No linear layer or 1x1 convolution reads what 'classifier.3' pools")


def test_another_layer_with_weights_before_the_head():
    parts = [nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 7)]
    model = nn.Sequential(*parts)
    for arguments in ({}, {"head": "4"}):
        refused(model, r"'3', a BatchNorm1d, stands between '1' and the head.*put an nn.Identity\(\)", **arguments)
    model[3] = nn.Identity()
    replace_pool(model)
    works(model)


def test_a_map_with_channels_last():
    model = build("timm/swin_tiny_patch4_window7_224")
    refused(model, r"'head.global_pool' gets features of shape \(n, 7, 7, 768\), but 'head.fc' reads 768", reduction=8)


def test_a_window_over_the_whole_map_by_name():
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AvgPool2d(60), nn.Flatten(), nn.Linear(8, 7))
    refused(model, "name '1' with pool= if its window is the whole map")
    assert replace_pool(model, "1") is model[0]
    works(model)


def test_a_window_that_leaves_positions_is_not_proposed():
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 7))
    refused(model, r"put an nn.AdaptiveAvgPool2d\(1\) in front of its head, or a CovariancePool2d")
