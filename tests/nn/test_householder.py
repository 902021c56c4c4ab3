"""The Householder projection: an orthogonal weight whatever its parameters are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.nn import HouseholderProjection
from disentangle.nn.projection import reflector_product, reflectors_of

SIZES = [(7, 12, 5), (12, 7, 5), (9, 9, 9), (1, 4, 1)]


def product_of_reflections(vectors: Tensor) -> Tensor:
    """The definition, one reflection after the other."""
    result = torch.eye(len(vectors), dtype=vectors.dtype)
    for v in vectors.mT:
        result = result @ (torch.eye(len(v), dtype=v.dtype) - 2 * torch.outer(v, v) / v.dot(v))
    return result


def projection(inputs: int, outputs: int, **options) -> HouseholderProjection:
    torch.manual_seed(inputs + 100 * outputs)
    return HouseholderProjection(inputs, outputs, **options).double()


@pytest.mark.parametrize("shape", [(6, 6), (5, 3), (3, 5), (1, 1)])
def test_reflector_product_is_the_product_of_reflections(shape):
    vectors = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reflector_product(vectors), product_of_reflections(vectors), rtol=0, atol=1e-13)


def test_a_zero_column_reflects_nothing():
    vectors = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    vectors[:, 1] = 0
    expected = product_of_reflections(vectors[:, [0, 2]])
    torch.testing.assert_close(reflector_product(vectors), expected, rtol=0, atol=1e-13)
    vectors.requires_grad_()
    reflector_product(vectors).square().sum().backward()
    assert vectors.grad.isfinite().all()


def test_reflectors_of_an_orthogonal_matrix():
    for n in (1, 2, 9):
        for sign in (1, -1):  # both determinants
            Q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n)))[0]
            Q[:, 0] *= sign
            vectors = reflectors_of(Q)
            assert torch.equal(vectors, vectors.tril())
            torch.testing.assert_close(reflector_product(vectors), Q, rtol=0, atol=1e-13)
    assert torch.equal(reflectors_of(torch.eye(3)), torch.zeros(3, 3))


@pytest.mark.parametrize(("inputs", "outputs", "rank"), SIZES)
def test_the_weight_is_u_s_v(inputs, outputs, rank):
    layer = projection(inputs, outputs, rank=rank, bias=0.5)
    S = torch.zeros(outputs, inputs, dtype=torch.float64)
    S[range(rank), range(rank)] = 1
    expected = product_of_reflections(layer.U) @ S @ product_of_reflections(layer.V)
    torch.testing.assert_close(layer.matrix(), expected, rtol=0, atol=1e-13)
    values = torch.linalg.svdvals(layer.matrix())
    torch.testing.assert_close(values[:rank], torch.ones(rank, dtype=torch.float64))
    assert float(values[rank:].detach().sum()) < 1e-12
    x = torch.randn(3, inputs, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x @ expected.mT + 0.5, rtol=0, atol=1e-12)


def test_the_other_order_of_a_square_weight():
    usv, vsu = (projection(6, 6, rank=2, order=order) for order in ("usv", "vsu"))
    vsu.load_state_dict(usv.state_dict())
    S = torch.diag(torch.tensor([1.0, 1, 0, 0, 0, 0], dtype=torch.float64))
    expected = product_of_reflections(vsu.V) @ S @ product_of_reflections(vsu.U)
    torch.testing.assert_close(vsu.matrix(), expected, rtol=0, atol=1e-13)
    assert not torch.allclose(usv.matrix(), expected, atol=0.1)


@pytest.mark.parametrize("order", ["usv", "vsu"])
@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (5, 8), (8, 5)])
def test_fit_keeps_the_singular_vectors(inputs, outputs, order):
    layer = projection(inputs, outputs, rank=3, order=order)
    weight = torch.randn(outputs, inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    layer.fit(weight)
    left, _, right = torch.linalg.svd(weight)
    torch.testing.assert_close(layer.matrix(), left[:, :3] @ right[:3], rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.basis(), right[:3], rtol=0, atol=1e-12)
    with pytest.raises(InputError, match=rf"expected \({outputs}, {inputs}\)"):
        layer.fit(weight[:2])


def test_basis_spans_what_the_layer_passes():
    layer = projection(9, 5, rank=4)
    basis = layer.basis()
    torch.testing.assert_close(basis @ basis.mT, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-13)
    W = layer.matrix()
    torch.testing.assert_close(W @ basis.mT @ basis, W, rtol=0, atol=1e-13)


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
    with pytest.raises(InputError, match="rank is 6; expected 1 to 5"):
        HouseholderProjection(5, 8, rank=6)
    with pytest.raises(InputError, match="'usv' or 'vsu'"):
        HouseholderProjection(5, 8, rank=2, order="suv")
