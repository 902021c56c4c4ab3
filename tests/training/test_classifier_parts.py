"""What the classifier's loop is made of: schedules, crops, diagnostics; against torch, torchvision and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import crop

from disentangle.data.fashion_mnist import FashionMNIST, find_fashion_mnist
from disentangle.models import build_model
from disentangle.nn import SkewConv2d, orthogonal_weight
from disentangle.training.crops import random_crop, random_flip
from disentangle.training.diagnostics import covariance_stats, first_nonfinite, weight_in_use
from disentangle.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    OneCycleSchedule,
    StepSchedule,
    learning_rate_factor,
)


def torch_rates(make, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def ours(schedule, steps: int) -> list[float]:
    return [learning_rate_factor(schedule, step, steps) for step in range(1, steps + 1)]


@pytest.mark.parametrize("steps", [11, 101, 400])
def test_one_cycle_is_torchs_but_for_where_the_peak_falls(steps: int):
    # torch's peak lies at pct_start * steps - 1; where that is a whole step of both, the two agree
    warmup = ((steps - 1) * 3 // 10) / (steps - 1)
    theirs = torch_rates(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 1.0, total_steps=steps, pct_start=((steps - 1) * 3 // 10 + 1) / steps, cycle_momentum=False,
            div_factor=25, final_div_factor=1e4,
        ),
        steps,
    )  # fmt: skip
    assert ours(OneCycleSchedule(warmup=warmup), steps) == pytest.approx(theirs, abs=1e-9)


def test_cosine_is_torchs():
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 49, eta_min=0.01), 50)
    assert ours(CosineSchedule(end=0.01), 50) == pytest.approx(theirs, abs=1e-12)
    warm = ours(CosineSchedule(warmup=0.1), 100)
    assert 0 < warm[0] < warm[5] < max(warm) <= 1
    assert warm[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("steps", [7, 10, 350])
def test_steps_are_torchs(steps: int):
    milestones = [2 * steps // 7, 4 * steps // 7]
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones, 0.1), steps)
    shares = tuple(milestone / steps for milestone in milestones)
    assert ours(StepSchedule(milestones=shares), steps) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("schedule", [ConstantSchedule(), OneCycleSchedule(), CosineSchedule(), StepSchedule()])
def test_rates_of_very_short_runs(schedule):
    for steps in (1, 2, 3):
        assert all(0 <= rate <= 1 for rate in ours(schedule, steps))
    assert set(ours(ConstantSchedule(), 5)) == {1.0}


def test_crops_are_torchvisions():
    images = torch.rand(50, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    random = torch.rand(50, 2, generator=torch.Generator().manual_seed(1))
    cut = random_crop(images, 2, random)
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    offsets = (random * 5).floor().int().tolist()
    for picture, wide, (top, left) in zip(cut, padded, offsets, strict=True):
        assert torch.equal(picture, crop(wide, top, left, 9, 7))
    assert {top for top, _ in offsets} == {left for _, left in offsets} == {0, 1, 2, 3, 4}
    assert random_crop(images, 0, random) is images
    wide = images.to(memory_format=torch.channels_last)
    assert random_crop(wide, 2, random).is_contiguous(memory_format=torch.channels_last)


def test_flips():
    images = torch.rand(4, 1, 2, 3)
    flipped = random_flip(images, torch.tensor([0.0, 0.5, 0.49, 0.9]))
    assert torch.equal(flipped[[0, 2]], images[[0, 2]].flip(-1))
    assert torch.equal(flipped[[1, 3]], images[[1, 3]])


class Layer(nn.Module):
    def __init__(self, covariance: torch.Tensor | None, eps: float = 0.0) -> None:
        super().__init__()
        self.covariance, self.eps = covariance, eps


def test_covariance_stats_in_closed_form():
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    values = torch.tensor([8.0, 4.0, 2.0, 1e-13], dtype=torch.float64)
    row = covariance_stats({"a": Layer((turn * values) @ turn.T[None], 1.0), "b": Layer(None)})
    assert list(row) == ["a"]
    assert row["a"]["size"] == 4
    assert row["a"]["rank"] == 3
    assert row["a"]["effective_condition_number"] == pytest.approx(4)
    assert row["a"]["ridged_condition_number"] == pytest.approx(9)  # only eps: (8 + 1) / (0 + 1)
    assert row["a"]["condition_number"] > 1e12
    assert row["a"]["spectrum"][:3] == pytest.approx([8, 4, 2])
    many = torch.diag_embed(torch.tensor([[3.0, 1.0], [5.0, 1.0], [9.0, 1.0]], dtype=torch.float64))
    assert covariance_stats({"a": Layer(many)})["a"]["condition_number"] == pytest.approx(5)  # the median
    bad = covariance_stats({"a": Layer(torch.full((1, 3, 3), float("nan"), dtype=torch.float64))})["a"]
    assert bad["rank"] == 0
    assert math.isnan(bad["effective_condition_number"])
    assert all(math.isnan(value) for value in bad["spectrum"])


@pytest.mark.parametrize(("kernel", "rank"), [(3, 9), (5, 16)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_rank_of_a_grey_stem_is_told_through_the_rounding(kernel: int, rank: int, precision: str):
    """16 features of a 3x3 stem on grey pictures have rank 9; their raw condition number measures rounding."""
    if find_fashion_mnist() is None:
        pytest.skip("Fashion-MNIST is not installed")
    images = FashionMNIST().images(torch.arange(128))
    from disentangle.nn import DecorrelatedBatchNorm2d

    torch.manual_seed(0)
    stem, norm = nn.Conv2d(1, 16, kernel, bias=False), DecorrelatedBatchNorm2d(16, eps=1e-3)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        norm(stem(images))
    row = covariance_stats({"norm": norm}, precision)["norm"]
    assert row["rank"] == rank
    assert 50 < row["effective_condition_number"] < 1e5
    if kernel == 3:
        assert row["condition_number"] > (1e11 if precision == "fp32" else 1e5)
        assert row["ridged_condition_number"] < 0.01 * row["condition_number"]
    else:
        assert row["condition_number"] == pytest.approx(row["effective_condition_number"])


def test_looking_at_a_weight_does_not_move_it():
    layer = nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 4, 3))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    seen = weight_in_use(layer)
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())
    assert layer.training
    assert torch.equal(seen, weight_in_use(layer))
    orthogonal = orthogonal_weight(nn.Linear(5, 3))
    assert torch.equal(weight_in_use(orthogonal), orthogonal.weight)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride"), [((3, 12), 3, 2), ((2, 8), 5, 2), ((6, 4), 1, 1), ((2, 2), 3, 1)]
)
def test_the_map_of_a_skew_convolution_is_orthogonal(channels, kernel: int, stride: int):
    layer = SkewConv2d(*channels, kernel, stride, terms=20)
    nn.init.normal_(layer.bias)
    matrix = weight_in_use(layer)
    x = torch.rand(1, channels[0], stride * 2, stride * 2)
    if kernel > 1:
        expected = layer.eval()(x) - layer.bias[:, None, None]
        assert torch.allclose(x.flatten() @ matrix, expected.flatten(), atol=1e-5)
    short = min(matrix.shape)
    gram = matrix @ matrix.T if matrix.shape[0] == short else matrix.T @ matrix
    assert torch.allclose(gram, torch.eye(short), atol=1e-4)


def test_where_nan_comes_in():
    model = build_model(
        {"kind": "classifier", "resolution": 16, "image_channels": 1, "class_names": ["a", "b"]}, seed=0
    )
    images = torch.rand(4, 1, 16, 16)
    assert first_nonfinite(model, images) == "the loss holds"
    bad = images.clone()
    bad[1, 0, 3, 3] = float("inf")
    assert first_nonfinite(model, bad) == "the pictures of the batch hold"
    with torch.no_grad():
        model.network.blocks[1].conv1.weight[0, 0, 0, 0] = float("nan")
    assert first_nonfinite(model, images) == "'network.blocks.1.conv1.weight' holds"
