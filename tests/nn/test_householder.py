"""The Householder projection: an orthogonal weight whatever its parameters are, starting at any weight's nearest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.nn import HouseholderProjection
from disentangle.nn.frames import householder_frame, reflectors_of_frame

SIZES = [(7, 12, 5), (12, 7, 5), (9, 9, 9), (1, 4, 1), (37, 21, 10)]


def product_of_reflections(reflectors: Tensor) -> Tensor:
    """The definition, one reflection along each column of the unit lower trapezoid after the other; (n, n)."""
    n, k = reflectors.shape
    result = torch.eye(n, dtype=reflectors.dtype)
    for i in range(k):
        v = torch.zeros(n, dtype=reflectors.dtype)
        v[i] = 1
        v[i + 1 :] = reflectors[i + 1 :, i]
        result = result @ (torch.eye(n, dtype=v.dtype) - 2 * torch.outer(v, v) / v.dot(v))
    return result


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def projection(inputs: int, outputs: int, **options) -> HouseholderProjection:
    torch.manual_seed(inputs + 100 * outputs)
    return HouseholderProjection(inputs, outputs, **options).double()


@pytest.mark.parametrize("shape", [(6, 6), (5, 3), (9, 1), (1, 1)])
def test_a_frame_is_columns_of_the_product_of_reflections(shape):
    reflectors = random(*shape)
    expected = product_of_reflections(reflectors)[:, : shape[1]]
    torch.testing.assert_close(householder_frame(reflectors), expected, rtol=0, atol=1e-13)
    trapezoid = reflectors.tril(-1) + torch.eye(*shape, dtype=torch.float64)
    of_torch = torch.linalg.householder_product(trapezoid, 2 / trapezoid.square().sum(0))
    torch.testing.assert_close(householder_frame(reflectors), of_torch, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(6, 6), (5, 3), (9, 1), (1, 1), (37, 10)])
@pytest.mark.parametrize("sign", [1, -1])
def test_any_frame_has_reflectors(shape, sign):
    frame = torch.linalg.qr(random(*shape)).Q * sign
    reflectors, signs = reflectors_of_frame(frame)
    torch.testing.assert_close(householder_frame(reflectors) * signs, frame, rtol=0, atol=1e-13)
    assert float(reflectors.abs().max()) <= 1 + 1e-12  # LAPACK's choice of sign: none is large


@pytest.mark.parametrize("frame", [torch.eye(4, 3), -torch.eye(4), torch.eye(4)[:, [1, 0, 2]], torch.eye(5)[:, 4:]])
def test_frames_of_unit_vectors_have_reflectors(frame):
    """Here LAPACK skips reflections, and the last column of a square one has nothing to reflect."""
    reflectors, signs = reflectors_of_frame(frame.double())
    torch.testing.assert_close(householder_frame(reflectors) * signs, frame.double(), rtol=0, atol=1e-14)


def test_gradients_of_a_frame():
    assert torch.autograd.gradcheck(householder_frame, random(5, 3).requires_grad_())
    assert torch.autograd.gradcheck(householder_frame, random(4, 4).requires_grad_())


@pytest.mark.parametrize(("inputs", "outputs", "rank"), SIZES)
def test_the_weight_is_u_s_v(inputs, outputs, rank):
    layer = projection(inputs, outputs, rank=rank, bias=0.5)
    S = torch.zeros(outputs, inputs, dtype=torch.float64)
    S[range(rank), range(rank)] = layer.S
    expected = product_of_reflections(layer.U) @ S @ product_of_reflections(layer.V).mT
    torch.testing.assert_close(layer.matrix(), expected, rtol=0, atol=1e-13)
    values = torch.linalg.svdvals(layer.matrix())
    torch.testing.assert_close(values[:rank], torch.ones(rank, dtype=torch.float64))
    assert float(values[rank:].detach().sum()) < 1e-12
    x = torch.randn(3, inputs, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x @ expected.mT + 0.5, rtol=0, atol=1e-12)


def test_the_other_order_of_a_square_weight():
    usv, vsu = (projection(6, 6, rank=2, order=order) for order in ("usv", "vsu"))
    vsu.load_state_dict(usv.state_dict())
    torch.testing.assert_close(vsu.matrix(), usv.matrix().mT, rtol=0, atol=1e-13)
    assert not torch.allclose(usv.matrix(), vsu.matrix(), atol=0.1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("order", ["usv", "vsu"])
@pytest.mark.parametrize(("inputs", "outputs", "rank"), [(8, 8, 8), (5, 8, 3), (8, 5, 5), (21, 37, 10), (3, 3, 1)])
def test_it_starts_exactly_at_the_nearest_weight_of_its_rank(inputs, outputs, rank, order, dtype, tolerance):
    weight = random(outputs, inputs, seed=4)
    left, _, right = torch.linalg.svd(weight)
    layer = HouseholderProjection.from_weight(weight.to(dtype), rank, order=order, bias=torch.arange(outputs) * 1.0)
    expected = left[:, :rank] @ right[:rank]
    torch.testing.assert_close(layer.matrix().double(), expected, rtol=0, atol=tolerance)
    # one by one the same directions, whose sign no weight tells
    cosines = (layer.basis().double() * right[:rank]).sum(dim=1)
    torch.testing.assert_close(cosines.abs(), torch.ones(rank, dtype=torch.float64), rtol=0, atol=10 * tolerance)
    assert layer.bias.tolist() == list(range(outputs))
    with pytest.raises(InputError, match=rf"expected \({outputs}, {inputs}\)"):
        layer.fit(weight[:, :2])


@pytest.mark.parametrize("weight", [torch.zeros(4, 3), torch.eye(4, 3), torch.diag(torch.tensor([2.0, 2.0, -2.0]))])
def test_weights_whose_singular_vectors_are_not_unique(weight):
    layer = HouseholderProjection.from_weight(weight.double(), 3)
    values = torch.linalg.svdvals(layer.matrix())
    torch.testing.assert_close(values, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-13)
    if weight.abs().sum() > 0:
        nearest = weight.double() / torch.linalg.matrix_norm(weight.double(), 2)
        torch.testing.assert_close(layer.matrix(), nearest, rtol=0, atol=1e-13)


def test_basis_is_what_the_layer_passes_one_by_one():
    layer = projection(9, 5, rank=4)
    basis = layer.basis()
    torch.testing.assert_close(basis @ basis.mT, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-13)
    W = layer.matrix()
    torch.testing.assert_close(W @ basis.mT @ basis, W, rtol=0, atol=1e-13)
    torch.testing.assert_close(W @ basis.mT, householder_frame(layer.U), rtol=0, atol=1e-13)


def test_baked_is_a_plain_layer_of_the_same_weight():
    layer = projection(9, 5, rank=4, bias=0.5)
    plain = layer.bake()
    assert type(plain) is torch.nn.Linear
    x = random(3, 9)
    torch.testing.assert_close(plain(x), layer(x), rtol=0, atol=1e-14)


def test_state_round_trip_has_the_signs():
    layer = projection(9, 5, rank=4)
    again = projection(9, 5, rank=4)
    again.fit(random(5, 9, seed=8))
    assert not torch.equal(again.matrix(), layer.matrix())
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.matrix(), layer.matrix())
    assert set(layer.state_dict()) == {"U", "V", "S", "bias"}


def test_gradients():
    layer = projection(4, 3, rank=2)
    x = torch.randn(2, 4, dtype=torch.float64)

    def function(U: Tensor, V: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"U": U, "V": V}, (x,))

    assert torch.autograd.gradcheck(function, (layer.U, layer.V))


def test_the_weight_is_kept_until_it_changes():
    layer = projection(5, 4, rank=2)
    with torch.no_grad():
        first = layer.matrix()
        assert layer.matrix() is first
    assert layer.matrix() is not first  # the parameters need a gradient here
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(torch.randn(3, 5, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        changed = layer.matrix()
        assert not torch.equal(changed, first)
        layer.load_state_dict(projection(5, 4, rank=2).state_dict())
        torch.testing.assert_close(layer.matrix(), first)
        assert layer.float().matrix().dtype == torch.float32
        assert torch.equal(copy.deepcopy(layer).matrix(), layer.matrix())


def test_a_weight_built_in_inference_mode_serves_a_later_backward():
    layer = projection(5, 4, rank=2).requires_grad_(False)
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    with torch.inference_mode():
        layer(x)
    layer(x).square().sum().backward()
    assert float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    layer = projection(6, 5, rank=3).float()
    with torch.no_grad():
        exact = layer.matrix()
        rounded = layer.to(dtype).matrix()
    assert rounded.dtype == dtype
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.03)


def test_bad_arguments():
    with pytest.raises(InputError, match=r"weight has shape \(4,\); expected \(outputs, inputs\)"):
        HouseholderProjection.from_weight(torch.ones(4))
    with pytest.raises(InputError, match="rank is 6; expected 1 to 5"):
        HouseholderProjection(5, 8, rank=6)
    with pytest.raises(InputError, match="'usv' or 'vsu'"):
        HouseholderProjection(5, 8, rank=2, order="suv")
