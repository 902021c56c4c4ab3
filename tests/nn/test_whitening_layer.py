"""DecorrelatedBatchNorm2d as a module: BatchNorm's interface, eval mode, shapes, dtypes and devices, compiling."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.nn.whitening import DecorrelatedBatchNorm2d
from tests.nn.test_whitening import (
    WHITENINGS,
    correlated,
    covariance_of,
    gradient,
    inverse_root,
    normal,
    relative,
    rows,
)

# ------------------------------------------------------------------------------------------ BatchNorm's interface


def test_positional_arguments_and_attributes_are_batch_norms():
    ours = DecorrelatedBatchNorm2d(4, 1e-3, 0.2, False, False, "cpu", torch.float64)
    theirs = nn.BatchNorm2d(4, 1e-3, 0.2, False, False, "cpu", torch.float64)
    for name in ("num_features", "eps", "momentum", "affine", "track_running_stats", "weight", "bias", "running_mean"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert not ours.state_dict()
    assert "track_running_stats=False" in repr(ours)
    assert "method" not in repr(ours)
    ours, theirs = DecorrelatedBatchNorm2d(4), nn.BatchNorm2d(4)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert list(ours.state_dict()) == [
        "running_covariance" if name == "running_var" else name for name in theirs.state_dict()
    ]
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


def test_no_momentum_is_the_cumulative_average():
    layer = DecorrelatedBatchNorm2d(3, momentum=None, dtype=torch.float64)
    batches = [correlated(8, 3, 2, 2, seed=10 * i) for i in range(4)]
    for x in batches:
        layer(x)
    assert int(layer.num_batches_tracked) == 4
    assert torch.allclose(layer.running_mean, torch.stack([rows(x)[0].mean(1) for x in batches]).mean(0))
    average = torch.stack([covariance_of(x) * 32 / 31 for x in batches]).mean(0)
    assert torch.allclose(layer.running_covariance, average)


def test_without_running_statistics_eval_uses_the_batch():
    x = correlated(8, 3, 2, 2)
    layer = DecorrelatedBatchNorm2d(3, track_running_stats=False, dtype=torch.float64)
    y = layer(x)
    assert torch.equal(layer.eval()(x), y)
    assert torch.allclose(covariance_of(y)[0], torch.eye(3).double(), atol=1e-3)
    with pytest.raises(InputError, match="bake"):
        layer.bake()


def test_state_travels():
    x = correlated(8, 4, 2, 2, dtype=torch.float32)
    layer = DecorrelatedBatchNorm2d(4, groups=2)
    layer(x)
    stored = io.BytesIO()
    torch.save(layer.state_dict(), stored)
    stored.seek(0)
    loaded = DecorrelatedBatchNorm2d(4, groups=2)
    loaded.load_state_dict(torch.load(stored, weights_only=True))
    cloned = copy.deepcopy(layer)
    expected = layer.eval()(x)
    assert torch.equal(loaded.eval()(x), expected)
    assert torch.equal(cloned.eval()(x), expected)
    cloned.train()(2 * x)
    assert torch.equal(layer(x), expected), "a copy shares nothing"
    layer.reset_running_stats()
    assert torch.equal(layer.running_covariance, torch.eye(2, dtype=torch.float64).expand(2, -1, -1))
    assert int(layer.num_batches_tracked) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_casting_keeps_the_statistics_precise(dtype):
    layer = DecorrelatedBatchNorm2d(4)
    x = correlated(8, 4, 2, 2, dtype=torch.float32)
    layer(x)
    second, expected = layer.running_covariance.clone(), layer.eval()(x)
    layer.to(dtype)
    assert layer.weight.dtype == dtype
    assert torch.equal(layer.running_covariance, second)
    assert layer.running_mean.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert layer(x.to(dtype)).dtype == dtype
    assert relative(layer(x.to(dtype)), expected) < (1e-5 if dtype == torch.float64 else 2e-2)
    created = DecorrelatedBatchNorm2d(4, dtype=dtype)
    assert {k: v.dtype for k, v in created.state_dict().items()} == {k: v.dtype for k, v in layer.state_dict().items()}


def test_it_takes_the_place_of_batch_norm_in_a_network():
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resnet18(num_classes=3, norm_layer=lambda n: DecorrelatedBatchNorm2d(n, channels_per_group=16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model(normal(4, 3, 32, 32, dtype=torch.float32)).square().sum().backward()
    optimizer.step()
    layers = [module for module in model.modules() if isinstance(module, DecorrelatedBatchNorm2d)]
    assert len(layers) == 20
    assert all(layer.weight.grad.isfinite().all() and int(layer.num_batches_tracked) == 1 for layer in layers)


# ------------------------------------------------------------------------------------------------------ eval mode


def trained(running: str = "covariance", **options: object) -> tuple[DecorrelatedBatchNorm2d, Tensor]:
    layer = DecorrelatedBatchNorm2d(6, running=running, dtype=torch.float64, **options)
    for seed in range(3):
        x = correlated(8, 6, 3, 3, seed=seed)
        layer(x)
    if layer.weight is not None:
        with torch.no_grad():
            layer.weight.copy_(normal(6, seed=20))
            layer.bias.copy_(normal(6, seed=21))
    return layer.eval(), x


def test_eval_mode_uses_the_root_of_the_running_covariance_or_the_running_matrix():
    for running in ("covariance", "matrix"):
        layer, x = trained(running, groups=2, affine=False)
        if running == "covariance":
            matrix = inverse_root(layer.running_covariance + 1e-5 * torch.eye(3, dtype=torch.float64))
        else:
            matrix = layer.running_matrix
        expected = matrix @ (rows(x, 2) - layer.running_mean.view(2, -1, 1))
        assert torch.allclose(rows(layer(x), 2), expected, atol=1e-9)
        assert torch.equal(layer(x), layer(x))


def test_the_two_running_statistics_differ():
    first, x = trained("covariance")
    second, _ = trained("matrix")
    assert relative(first(x), second(x)) > 0.1


def changes(layer: DecorrelatedBatchNorm2d) -> Iterator[tuple[str, object]]:
    other, x = trained()
    other.train()(3 * x)
    yield "load_state_dict", lambda: layer.load_state_dict(other.state_dict())
    yield "more training", lambda: layer.train()(2 * x)
    yield "eps", lambda: setattr(layer, "eps", 0.5)
    yield "reset", layer.reset_running_stats
    yield "in place", lambda: layer.running_covariance.mul_(4.0)
    yield "a new buffer", lambda: setattr(layer, "running_covariance", 9 * torch.eye(6).double().unsqueeze(0))
    yield "cast", lambda: layer.float()


def test_the_kept_matrix_follows_every_change():
    layer, x = trained()
    for name, change in changes(layer):
        before = layer(x)
        change()
        layer.eval()
        if name != "cast":
            assert relative(layer(x), before) > 1e-3, name
        matrix = inverse_root(layer.running_covariance + layer.eps * torch.eye(6, dtype=torch.float64))
        white = matrix @ (rows(x) - layer.running_mean.double().view(-1, 1))
        expected = white * layer.weight.double().view(-1, 1) + layer.bias.double().view(-1, 1)
        assert relative(rows(layer(x.to(layer.weight.dtype))), expected) < (1e-5 if name == "cast" else 1e-11), name


def test_statistics_made_in_inference_mode_can_be_used():
    x = correlated(8, 3, 2, 2)
    with torch.inference_mode():
        layer = DecorrelatedBatchNorm2d(3, dtype=torch.float64)
        layer(x)
        first = layer.eval()(x)
        layer.train()(2 * x)
        assert relative(layer.eval()(x), first) > 1e-3


@pytest.mark.parametrize("options", [{}, {"groups": 3}, {"affine": False}, {"running": "matrix"}, {"whitening": "pca"}])
def test_bake_equals_eval_mode(options):
    layer, x = trained(**options)
    conv = layer.bake()
    assert isinstance(conv, nn.Conv2d)
    assert not conv.training
    assert torch.allclose(conv(x), layer(x), atol=1e-10)


# ------------------------------------------------------------------------------------------------ shapes and dtypes


@pytest.mark.parametrize("rest", [(), (5,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_any_number_of_dimensions(rest, training):
    x = correlated(24, 4, *rest)
    layer = DecorrelatedBatchNorm2d(4, groups=2, dtype=torch.float64)
    layer(x)
    layer.train(training)
    y = layer(x)
    assert y.shape == x.shape
    as_rows = x.movedim(1, -1).reshape(-1, 4)
    assert torch.allclose(y.movedim(1, -1).reshape(-1, 4), layer(as_rows), atol=1e-12)
    assert layer.eval()(x[:0]).shape == x[:0].shape


def test_memory_format_is_kept():
    x = correlated(8, 4, 5, 5)
    layer = DecorrelatedBatchNorm2d(4, dtype=torch.float64)
    y = layer(x)
    last = x.to(memory_format=torch.channels_last).requires_grad_()
    z = layer(last)
    assert y.is_contiguous()
    assert z.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(z, y, atol=1e-13)
    z.square().sum().backward()
    assert torch.allclose(layer(x.transpose(2, 3)), y.transpose(2, 3), atol=1e-13)


def test_input_is_not_modified():
    x = correlated(8, 4, 5, 5)
    before = x.clone()
    DecorrelatedBatchNorm2d(4, dtype=torch.float64)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    """Against float64 on the same values; 4e-3 is one rounding to bfloat16."""
    x, g = correlated(32, 8, 4, 4).to(dtype), normal(32, 8, 4, 4, seed=7).to(dtype)
    y, grad = gradient(DecorrelatedBatchNorm2d(8), x, g)
    assert y.dtype == grad.dtype == dtype
    expected, expected_grad = gradient(DecorrelatedBatchNorm2d(8, dtype=torch.float64), x.double(), g.double())
    tolerance = 4e-3 if dtype == torch.bfloat16 else 5e-4
    assert relative(y, expected) <= tolerance
    assert relative(grad, expected_grad) <= tolerance


@pytest.mark.parametrize("training", [True, False])
def test_autocast_changes_nothing(training):
    x, g = correlated(32, 8, 4, 4, dtype=torch.float32), normal(32, 8, 4, 4, seed=7, dtype=torch.float32)
    layer = DecorrelatedBatchNorm2d(8, momentum=1.0)
    layer(x)
    layer.train(training)
    y, grad = gradient(layer, x, g)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, inside_grad = gradient(layer, x, g)
    assert torch.equal(inside, y)
    assert torch.equal(inside_grad, grad)


# ----------------------------------------------------------------------------------------------------- meta device


@pytest.mark.parametrize("whitening", WHITENINGS)
@pytest.mark.parametrize("running", ["covariance", "matrix"])
def test_the_meta_device_gives_shapes_and_to_empty_a_layer_that_works(whitening, running):
    with torch.device("meta"):
        layer = DecorrelatedBatchNorm2d(6, groups=2, whitening=whitening, running=running)
    x = torch.empty(4, 6, 3, 3, device="meta", dtype=torch.bfloat16)
    for training in (True, False):
        y = layer.train(training)(x)
        assert (y.device.type, y.shape, y.dtype) == ("meta", x.shape, x.dtype)
    layer.train().to_empty(device="cpu").reset_parameters()
    plain = DecorrelatedBatchNorm2d(6, groups=2, whitening=whitening, running=running)
    assert all(torch.equal(plain.state_dict()[name], value) for name, value in layer.state_dict().items())
    x = correlated(8, 6, 2, 2, dtype=torch.float32)
    assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer.eval()(x), plain.eval()(x))


def test_the_device_argument_can_be_meta():
    layer = DecorrelatedBatchNorm2d(4, device="meta", method="newton_schulz")
    assert layer(torch.empty(3, 4, device="meta")).shape == (3, 4)


# ----------------------------------------------------------------------------------------------- arguments, inputs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 3}, "4 channels do not divide into groups=3"),
        ({"groups": 0}, "groups=0"),
        ({"channels_per_group": 3}, "channels_per_group=3; choose a divisor of 4"),
        ({"channels_per_group": 0}, "channels_per_group=0"),
        ({"groups": 2, "channels_per_group": 2}, "give one of them"),
        ({"eps": -1.0}, "eps is -1.0"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"whitening": "zac"}, "zca"),
        ({"method": "egih"}, "eigh"),
        ({"whitening": "pca", "method": "newton_schulz"}, "takes no method"),
        ({"running": "variance"}, "covariance"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, message):
    with pytest.raises(InputError) as raised:
        DecorrelatedBatchNorm2d(4, **arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 3, 2, 2), r"expected \(N, 4\) or \(N, 4, \*\)"),
        (torch.zeros(4), "shape"),
        (torch.zeros(4, 4, 2, 2, dtype=torch.uint8), "convert it with .float()"),
    ],
)
def test_wrong_inputs_are_one_sentence(x, message):
    with pytest.raises(InputError, match=message):
        DecorrelatedBatchNorm2d(4)(x)


# --------------------------------------------------------------------------------------------------------- compile


@pytest.mark.slow
@pytest.mark.parametrize("whitening", WHITENINGS)
def test_a_training_step_compiles_without_a_break(whitening):
    x, g = correlated(8, 6, 3, 3), normal(8, 6, 3, 3, seed=7)
    plain = DecorrelatedBatchNorm2d(6, groups=2, whitening=whitening, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(plain), fullgraph=True, backend="aot_eager")
    for step in range(3):
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            ours = gradient(compiled, x, g)
        for a, b in zip(ours, gradient(plain, x, g), strict=True):
            assert torch.allclose(a, b, atol=1e-12)
    for name, value in plain.state_dict().items():
        assert torch.allclose(getattr(compiled, name), value, atol=1e-12)
    assert torch.allclose(compiled.covariance, plain.covariance)
    assert torch.allclose(compiled.eval()(x), plain.eval()(x), atol=1e-12)
    compiled.train()(2 * x), plain.train()(2 * x)
    assert torch.allclose(compiled.eval()(x), plain.eval()(x), atol=1e-12), "the compiled layer keeps no stale matrix"
