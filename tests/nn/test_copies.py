"""Layers with an orthogonal weight that are copied, pickled, wrapped or laid out otherwise, or share their weight."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from disentangle.errors import InputError
from disentangle.models import build_model
from disentangle.nn import (
    CovariancePool2d,
    DecorrelatedBatchNorm2d,
    HouseholderProjection,
    SkewConv2d,
    bake,
    orthogonal_weight,
    project,
)

METHODS = ["polar", "cayley", "matrix_exp", "householder"]
EIGENGAN = {"kind": "eigengan", "resolution": 16, "channels": (8, 6, 4), "basis": 3, "noise_dim": 5}
STYLEGAN2 = {"kind": "stylegan2", "resolution": 16, "z_dim": 6, "w_dim": 5, "mapping_layers": 2, "channels": (7, 6, 4)}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def departure(weight: Tensor) -> float:
    matrix = weight.detach().double().flatten(1)
    matrix = matrix if len(matrix) <= matrix.shape[1] else matrix.mT
    return float((matrix @ matrix.mT - torch.eye(len(matrix), dtype=torch.float64)).abs().max())


def moved(module: nn.Module, rate: float = 0.3) -> nn.Module:
    """All parameters somewhere else."""
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            parameter.add_(rate * normal(*parameter.shape, seed=index).to(parameter))
    return module


def saved_and_loaded(module: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "torch.save": saved_and_loaded,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
}


def network(method: str) -> nn.Sequential:
    torch.manual_seed(0)
    first = orthogonal_weight(nn.Linear(9, 6), method=method)
    cell = nn.GRUCell(4, 5)
    orthogonal_weight(orthogonal_weight(cell, "weight_hh", method=method), "weight_ih", method=method)
    return moved(nn.Sequential(first, nn.Tanh(), nn.Linear(6, 4), cell).double())


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("method", METHODS)
def test_copies_are_equal_orthogonal_and_independent(method, how):
    model = network(method)
    x = normal(3, 9)
    replica = COPIES[how](model)
    assert [name for name, _ in replica.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert torch.equal(replica(x), model(x))
    kept = model(x).detach().clone()

    optimizer = torch.optim.SGD(replica.parameters(), lr=0.1)
    for each in (model, replica):
        each.zero_grad()
        each(x).square().sum().backward()
    for ours, theirs in zip(replica.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    optimizer.step()
    assert torch.equal(model(x), kept)
    assert not torch.equal(replica(x), kept)
    for each in (model, replica):
        assert max(departure(w) for w in (each[0].weight, each[3].weight_hh, each[3].weight_ih)) < 1e-12

    # each has a class of its own, so that what is ended in one goes on in the other
    parametrize.remove_parametrizations(replica[0], "weight")
    assert type(replica[0]) is nn.Linear
    assert parametrize.is_parametrized(model[0], "weight")
    assert torch.equal(model(x), kept)
    replica[0].weight = nn.Parameter(normal(6, 9))
    model[0].weight = normal(6, 9)
    assert departure(model[0].weight) < 1e-12
    again = COPIES[how](COPIES[how](model))
    assert torch.equal(again(x), model(x))
    again.load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("config", [EIGENGAN, STYLEGAN2], ids=lambda config: config["kind"])
def test_copies_of_a_projected_generator(config, how):
    model = moved(project(build_model(config, seed=2), rank=2).double()).eval()
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    replica = COPIES[how](model)
    assert torch.equal(replica(z), model(z))
    bake(replica)
    torch.testing.assert_close(replica(z), model(z), rtol=0, atol=1e-12)
    assert model.config.projection is not None
    model.load_state_dict(COPIES[how](model).state_dict(), strict=True)


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_the_other_layers(how):
    x = normal(4, 6, 5, 5)
    for layer in (
        DecorrelatedBatchNorm2d(6, groups=2), CovariancePool2d(6), SkewConv2d(6, 6, 3), nn.Sequential(
            nn.Flatten(), HouseholderProjection(150, 9, rank=4)
        ),
    ):  # fmt: skip
        layer = layer.double().train()
        layer(x)
        layer.eval().requires_grad_(False)
        y = layer(x)  # eval mode keeps what it has computed, which no copy may take along
        replica = COPIES[how](layer)
        assert torch.equal(replica(x), y)
        replica.train()(3 * x), moved(replica).eval()
        if layer.state_dict():
            assert not torch.equal(replica(x), y)
        assert torch.equal(layer(x), y)


def test_a_module_with_a_copy_of_its_own_keeps_it():
    class Counted(nn.Linear):
        def __deepcopy__(self, memo: dict[int, object]) -> Counted:
            return self

    layer = orthogonal_weight(Counted(3, 3))
    assert copy.deepcopy(layer) is layer


# ------------------------------------------------------------------------------------------------------ shared weights


@pytest.mark.parametrize("how", [None, *COPIES])
@pytest.mark.parametrize("method", METHODS)
def test_layers_that_share_a_parameter_share_one_orthogonal_weight(method, how):
    torch.manual_seed(0)
    first, second = nn.Linear(8, 5).double(), nn.Linear(8, 5).double()
    second.weight = first.weight
    model = nn.Sequential(first, nn.Linear(5, 8).double(), second)
    orthogonal_weight(orthogonal_weight(first, method=method) and second, method=method)
    model = model if how is None else COPIES[how](model)
    first, second = model[0], model[2]
    x = normal(4, 8)
    free = first.parametrizations.weight.original
    assert second.parametrizations.weight.original is free
    assert len(list(model.parameters())) == 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        # the derivative of one weight that is used twice
        weight = free.detach().clone().requires_grad_()
        used = first.parametrizations.weight[0](weight)
        hidden = nn.functional.linear(nn.functional.linear(x, used, first.bias), model[1].weight, model[1].bias)
        nn.functional.linear(hidden, used, second.bias).square().sum().backward()
        torch.testing.assert_close(free.grad, weight.grad)
        optimizer.step()
        assert torch.equal(first.weight, second.weight)
        assert departure(first.weight) < 1e-12
    other = nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 8), nn.Linear(8, 5)).double()
    for layer in (other[0], other[2]):
        orthogonal_weight(layer, method=method)
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(other(x), model(x))


def test_shared_weights_of_two_methods_are_refused():
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    orthogonal_weight(first, method="cayley")
    with pytest.raises(InputError, match="'weight' of Linear is shared with another layer"):
        orthogonal_weight(second, method="polar")
    assert not parametrize.is_parametrized(second)
    parametrize.remove_parametrizations(first, "weight")
    assert departure(orthogonal_weight(second, method="polar").weight) < 1e-6


def test_a_generator_whose_layers_share_a_weight():
    config = {**STYLEGAN2, "channels": (6, 6, 6)}
    for names in (("b8.conv0", "b16.conv0"), ("b8.conv0",)):
        model = build_model(config, seed=2).double()
        layers = [model.projection_layers()[name].module for name in ("b8.conv0", "b16.conv0")]
        layers[1].weight = layers[0].weight
        if len(names) == 1:
            with pytest.raises(
                InputError, match=r"'b8.conv0' shares its weight with '.*b16.conv0.affine', which is not"
            ):
                project(model, rank=2, layers=names)
            assert not parametrize.is_parametrized(layers[0])
            continue
        moved(project(model, rank=2, layers=names))
        assert torch.equal(layers[0].weight, layers[1].weight)
        z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
        pictures = model(z)
        bake(model)
        assert layers[0].weight is layers[1].weight
        torch.testing.assert_close(model(z), pictures, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------------- layouts and wrappers


@pytest.mark.parametrize("method", METHODS)
def test_channels_last(method):
    torch.manual_seed(0)
    layer = moved(orthogonal_weight(nn.Conv2d(4, 6, 3), method=method).double())
    x = normal(2, 4, 7, 7)
    expected = layer(x)
    expected.square().sum().backward()
    gradient = layer.parametrizations.weight.original.grad.clone()
    layer.zero_grad()
    last = layer.to(memory_format=torch.channels_last)
    y = last(x.to(memory_format=torch.channels_last))
    y.square().sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(last.parametrizations.weight.original.grad, gradient)
    assert departure(last.weight) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_replicas_of_data_parallelism(method):
    """As ``torch.nn.parallel.replicate`` makes them: shallow copies whose parameters are tensors, not leaves."""
    model = network(method)
    x = normal(3, 9)
    wrapped = nn.DataParallel(model)
    assert torch.equal(wrapped(x), model(x))
    assert all(name.startswith("module.") for name in wrapped.state_dict())
    layer = model[0]
    replica = layer._replicate_for_data_parallel()
    inner = layer.parametrizations.weight._replicate_for_data_parallel()
    inner.original = layer.parametrizations.weight.original * 1.0
    replica._modules["parametrizations"] = nn.ModuleDict({"weight": inner})
    for key, parameter in layer._parameters.items():
        setattr(replica, key, parameter)
    assert torch.equal(replica(x), layer(x))
    replica(x).sum().backward()
    gradient = layer.parametrizations.weight.original.grad.clone()
    layer.zero_grad()
    layer(x).sum().backward()
    torch.testing.assert_close(gradient, layer.parametrizations.weight.original.grad)


def test_meta_device_and_then_a_file():
    for method in METHODS:
        with torch.device("meta"):
            layer = orthogonal_weight(nn.Linear(6, 9), method=method)
        assert layer.weight.is_meta
        filled = moved(orthogonal_weight(nn.Linear(6, 9), method=method))
        layer = layer.to_empty(device="cpu")
        layer.load_state_dict(filled.state_dict(), strict=True)
        assert torch.equal(layer.weight, filled.weight)
