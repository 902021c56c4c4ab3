"""Hessian penalty, orthogonal Jacobian and variation predictability against their definitions in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from disentangle.errors import InputError
from disentangle.optim import hessian_penalty, jacobian_penalty, rademacher, variation_loss


def all_signs(n: int, d: int) -> torch.Tensor:
    """(2^d, n, d): every sign vector once, so that the variance over them is that of the distribution."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=d)), dtype=torch.float64)
    return signs[:, None].expand(-1, n, -1).contiguous()


def population(samples: int) -> float:
    """Unbiased variance of all points, as a multiple of the population's."""
    return samples / (samples - 1)


@pytest.fixture
def latents(generator):
    return torch.randn(3, 4, generator=generator, dtype=torch.float64)


def test_rademacher_is_signs_and_seeded():
    signs = rademacher(5, 40, 7, torch.Generator().manual_seed(1))
    assert signs.shape == (5, 40, 7)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.1
    assert torch.equal(signs, rademacher(5, 40, 7, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("epsilon", [0.1, None])
def test_jacobian_penalty_is_the_sum_over_pairs_of_columns(latents, generator, epsilon):
    jacobian = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    gram = jacobian.T @ jacobian
    expected = float((gram - torch.diag(gram.diagonal())).square().sum())
    for reduction, multiple in (("sample", 1), ("max", 2), ("mean", 2)):
        found = jacobian_penalty(
            lambda z: z @ jacobian.T, latents, all_signs(3, 4), epsilon=epsilon, reduction=reduction
        )
        assert float(found) == pytest.approx(multiple * expected * population(16), rel=1e-9)


def test_orthogonal_columns_cost_nothing(latents):
    jacobian = torch.linalg.qr(torch.arange(24, dtype=torch.float64).reshape(6, 4).sin()).Q * torch.tensor(
        [1.0, 2, 3, 4]
    )
    assert float(jacobian_penalty(lambda z: z @ jacobian.T, latents, all_signs(3, 4))) < 1e-20


@pytest.mark.parametrize("reduction", ["max", "mean", "sample"])
def test_hessian_penalty_is_the_off_diagonal_of_each_output(latents, generator, reduction):
    hessians = torch.randn(5, 4, 4, generator=generator, dtype=torch.float64)
    hessians = hessians + hessians.mT
    function = lambda z: 0.5 * torch.einsum("ni,oij,nj->no", z, hessians, z) + z.sum(1, keepdim=True)  # noqa: E731
    off = hessians - torch.diag_embed(hessians.diagonal(dim1=1, dim2=2))
    each = 2 * off.square().sum(dim=(1, 2))
    expected = float(each.mean() if reduction == "mean" else each.max())
    found = hessian_penalty(function, latents, all_signs(3, 4), reduction=reduction)
    assert float(found) == pytest.approx(expected * population(16), rel=1e-7)


def test_a_diagonal_hessian_costs_nothing(latents):
    assert float(hessian_penalty(lambda z: z**2 + z, latents, all_signs(3, 4))) < 1e-20


@pytest.mark.parametrize("penalty", [hessian_penalty, jacobian_penalty])
def test_activations_are_added_up(latents, generator, penalty):
    signs = rademacher(2, 3, 4, generator).double()
    one, other = lambda z: (z[:, :1] * z[:, 1:]).sin(), lambda z: z.cos().cumsum(1)
    both = penalty(lambda z: [one(z), other(z).reshape(-1, 2, 2)], latents, signs)
    assert float(both) == pytest.approx(float(penalty(one, latents, signs)) + float(penalty(other, latents, signs)))


@pytest.mark.parametrize("penalty", [hessian_penalty, jacobian_penalty])
def test_a_batch_is_its_largest_sample_or_the_mean_of_all(latents, generator, penalty):
    signs = rademacher(3, 3, 4, generator).double()
    function = lambda z: (z[:, :1] * z[:, 1:]).sin().cumsum(1)  # noqa: E731
    parts = {
        reduction: [
            float(penalty(function, latents[i : i + 1], signs[:, i : i + 1], reduction=reduction)) for i in range(3)
        ]
        for reduction in ("max", "sample")
    }
    assert float(penalty(function, latents, signs)) == pytest.approx(max(parts["max"]), rel=1e-9)
    found = float(penalty(function, latents, signs, reduction="sample"))
    assert found == pytest.approx(sum(parts["sample"]) / 3, rel=1e-9)
    with pytest.raises(InputError, match="reduction"):
        penalty(function, latents, signs, reduction="sum")


@pytest.mark.parametrize("penalty", [hessian_penalty, jacobian_penalty])
def test_gradients(latents, generator, penalty):
    signs = rademacher(3, 3, 4, generator).double()
    weight = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: penalty(lambda z: (z @ w).sin(), latents, signs), weight)


def test_variation_loss_is_cross_entropy_of_the_difference():
    first, second = torch.zeros(2, 1, 2, 2), torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0]]).reshape(2, 1, 2, 2)
    found = variation_loss(lambda images: images.flatten(1), first, second, torch.tensor([0, 3]))
    expected = (math.log(math.e + 3) - 1 + math.log(math.exp(2) + 3) - 0) / 2
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("penalty", [hessian_penalty, jacobian_penalty])
@pytest.mark.parametrize("shape", [(1, 3, 4), (2, 3, 5), (3, 4)])
def test_directions_that_do_not_fit(latents, penalty, shape):
    with pytest.raises(InputError, match=r"expected \(k, n, d\) with k at least 2"):
        penalty(lambda z: z, latents, torch.ones(shape, dtype=torch.float64))
