"""Hard orthogonal weights: the constraint, the reference values of each map, gradients, assignment and bad input."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import disentangle
from disentangle.errors import InputError
from disentangle.nn import orthogonal_weight

METHODS = ["polar", "cayley", "matrix_exp", "householder"]
LAYERS = {
    "conv tall": lambda: nn.Conv2d(1, 12, 3),
    "conv wide": lambda: nn.Conv2d(4, 6, 3),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(5, 3, 4),
    "linear wide": lambda: nn.Linear(12, 5),
    "linear tall": lambda: nn.Linear(5, 12),
    "square": lambda: nn.Linear(7, 7),
}


def built(name: str, method: str | None = None) -> nn.Module:
    layer = LAYERS[name]().double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64))
    return layer if method is None else orthogonal_weight(layer, method=method)


def nearest(weight: Tensor) -> Tensor:
    """The polar factor from a singular value decomposition, shape kept."""
    u, _, vh = torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)
    return (u @ vh).reshape(weight.shape)


def departure(weight: Tensor) -> float:
    matrix = weight.detach().flatten(1)
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return float((matrix @ matrix.T - torch.eye(len(matrix), dtype=matrix.dtype)).abs().max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LAYERS)
def test_begins_at_the_nearest_orthonormal_weight_and_stays_orthonormal(name, method):
    expected = nearest(built(name).weight)
    layer = built(name, method)
    original = layer.parametrizations.weight.original
    assert layer.weight.shape == original.shape == expected.shape
    assert torch.allclose(layer.weight, expected, atol=1e-12)
    target = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    optimizer = torch.optim.SGD([original], lr=0.5)
    before = float((layer.weight * target).sum().detach())
    for _ in range(10):
        optimizer.zero_grad()
        (layer.weight * target).sum().backward()
        optimizer.step()
        assert departure(layer.weight) < 1e-11
    assert float((layer.weight * target).sum().detach()) < before - 1


def test_reference_values_of_the_polar_map(spectral):
    A, Q, G, gradient = (torch.from_numpy(spectral[f"polar_conv/{key}"]) for key in ("A", "Q", "G", "A_grad"))
    layer = orthogonal_weight(nn.Conv2d(3, 16, 3).double())
    original = layer.parametrizations.weight.original
    original.data.copy_(A.reshape(16, 3, 3, 3))
    (layer.weight.flatten(1) * G).sum().backward()
    assert float((layer.weight.detach().flatten(1) - Q).abs().max()) < 1e-13
    assert float((original.grad.flatten(1) - gradient).abs().max() / gradient.abs().max()) < 1e-12


@pytest.mark.parametrize(("method", "key"), [("cayley", "cayley"), ("matrix_exp", "expm"), ("householder", None)])
def test_reference_values_of_the_other_maps(spectral, method, key):
    layer = nn.Linear(10, 10, bias=False).double()
    layer.weight.data.copy_(torch.eye(10))
    orthogonal_weight(layer, method=method)
    if key is None:  # six more reflections, each undone by the sign of its column
        reflectors = torch.from_numpy(spectral["maps/V"])
        raw, key = torch.zeros(10, 10, dtype=torch.float64), "householder"
        raw[:, :4] = reflectors
        raw.diagonal()[4:] = -1
    else:
        raw = torch.from_numpy(spectral["maps/A"]).tril()
    layer.parametrizations.weight.original.data.copy_(raw)
    assert float((layer.weight - torch.from_numpy(spectral[f"maps/{key}"])).detach().abs().max()) < 1e-13


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["conv tall", "linear wide", "square"])
def test_gradcheck(name, method):
    layer = built(name, method)
    original = layer.parametrizations.weight.original
    generator = torch.Generator().manual_seed(2)
    free = original.detach() + 0.1 * torch.randn(original.shape, generator=generator, dtype=torch.float64).tril(-1)

    def weight(free: Tensor) -> Tensor:
        return layer.parametrizations.weight[0](free)

    assert torch.autograd.gradcheck(weight, free.requires_grad_())


@pytest.mark.parametrize("method", METHODS)
def test_weight_decay_leaves_the_constraint_alone(method):
    layer = built("conv wide", method)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        layer.weight.sin().sum().backward()
        optimizer.step()
    assert departure(layer.weight) < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_assignment_takes_the_nearest_orthonormal_weight(method):
    layer = built("conv wide", method)
    free = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    layer.weight = free
    assert torch.allclose(layer.weight, nearest(free), atol=1e-12)
    layer.weight = nearest(free)
    assert torch.allclose(layer.weight, nearest(free), atol=1e-12)


def test_singular_parameter_still_gives_an_orthonormal_weight():
    layer = orthogonal_weight(nn.Conv2d(4, 6, 3))
    for free in (torch.zeros(6, 4, 3, 3), torch.ones(6, 4, 3, 3), 1e-30 * torch.ones(6, 4, 3, 3)):
        layer.parametrizations.weight.original.data.copy_(free)
        layer.zero_grad()
        layer.weight.sum().backward()
        assert departure(layer.weight) < 1e-5
        assert torch.isfinite(layer.parametrizations.weight.original.grad).all()


def test_float32_is_orthonormal_to_its_rounding():
    for shape in ((64, 27), (64, 64), (64, 576)):
        layer = nn.Linear(shape[1], shape[0])
        generator = torch.Generator().manual_seed(0)
        orthogonal_weight(layer)
        layer.parametrizations.weight.original.data.copy_(torch.randn(shape, generator=generator))
        assert departure(layer.weight.double()) < 1e-6


def test_torch_would_treat_every_window_of_a_convolution():
    flat, windows = built("conv wide", "polar"), built("conv wide")
    nn.utils.parametrizations.orthogonal(windows)
    assert departure(flat.weight) < 1e-12
    assert departure(windows.weight) > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_global_random_state_is_untouched(method):
    layer = built("linear wide")
    before = torch.random.get_rng_state()
    orthogonal_weight(layer, method=method)
    layer.weight = torch.ones(5, 12, dtype=torch.float64)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("method", METHODS)
def test_state_dict_deepcopy_and_removal(method):
    layer, other = built("conv wide", method), built("conv wide", method)
    with torch.no_grad():
        layer.parametrizations.weight.original.sub_(0.1)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)
    assert torch.equal(copy.deepcopy(layer).weight, layer.weight)
    weight = layer.weight.detach().clone()
    parametrize.remove_parametrizations(layer, "weight")
    assert torch.equal(layer.weight, weight)
    assert isinstance(layer.weight, nn.Parameter)


def test_treatments_act_on_the_free_parameter():
    layer = built("conv wide", "polar")
    free = layer.parametrizations.weight.original
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    disentangle.orthogonalize(optimizer, free, nog=True)
    before = free.detach().clone()
    layer(torch.ones(1, 4, 5, 5, dtype=torch.float64)).cos().sum().backward()
    gradient = free.grad.clone()
    optimizer.step()
    s = torch.linalg.svdvals(gradient.flatten(1))
    rank = int((s > 1e-10 * s[0]).sum())
    step = torch.linalg.svdvals((before - free.detach()).flatten(1)) / 0.1
    assert torch.allclose(step[:rank], torch.ones(rank, dtype=torch.float64), atol=1e-8)
    with pytest.raises(InputError, match=r"layer\.parametrizations\.weight\.original"):
        disentangle.orthogonalize(torch.optim.SGD(layer.parameters(), lr=0.1), layer.weight, nog=True)


def test_another_parameter_by_name():
    layer = nn.Bilinear(3, 4, 5)
    assert orthogonal_weight(layer) is layer
    assert departure(layer.weight) < 1e-6
    cell = orthogonal_weight(nn.GRUCell(4, 6), "weight_hh")
    assert departure(cell.weight_hh) < 1e-6
    assert not parametrize.is_parametrized(cell, "weight_ih")


def test_bad_input():
    with pytest.raises(InputError, match=r"'weight' of BatchNorm2d has shape \(8,\); expected two dimensions or more"):
        orthogonal_weight(nn.BatchNorm2d(8))
    with pytest.raises(InputError, match="Unknown method of an orthogonal weight 'caley'; did you mean 'cayley'"):
        orthogonal_weight(nn.Linear(3, 3), method="caley")
    with pytest.raises(InputError, match="Unknown parameter of Linear 'weigth'; did you mean 'weight'"):
        orthogonal_weight(nn.Linear(3, 3), "weigth")
    with pytest.raises(InputError, match="Unknown parameter of DataParallel 'weight'.*give the layer inside it"):
        orthogonal_weight(nn.DataParallel(nn.Linear(3, 3)))
    with pytest.raises(InputError, match="parametrised already"):
        orthogonal_weight(orthogonal_weight(nn.Linear(3, 3)))
    with pytest.raises(InputError, match="no shape before the first batch"):
        orthogonal_weight(nn.LazyLinear(3))
    layer = nn.Linear(3, 3)
    with pytest.raises(InputError):
        orthogonal_weight(layer, method="svd")
    assert not parametrize.is_parametrized(layer), "a refused layer is left as it was"
