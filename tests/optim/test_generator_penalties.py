"""Hessian penalty, orthogonal Jacobian and variation predictability against their definitions in float64."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from disentangle.errors import InputError
from disentangle.optim import (
    hessian_penalty,
    ima_contrast,
    jacobian_l1,
    jacobian_penalty,
    normalised_hessian_penalty,
    rademacher,
    variation_loss,
)


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


# --- normalised Hessian penalty


def test_normalised_hessian_penalty_is_what_tripods_code_prints():
    """Value of each sample, their mean, and its gradient, with the code's own draws."""
    said = json.loads((Path(__file__).parents[1] / "reference" / "normalised_hessian_penalty.json").read_text())
    known = {name: torch.tensor(value, dtype=torch.float64) for name, value in said.items()}
    weight = known["W1"].requires_grad_()

    def function(z):
        hidden = (z @ weight).tanh()
        return [hidden, (hidden @ known["W2"]).sin()]

    draws = {"signs": known["signs"], "normals": known["normals"]}
    found = normalised_hessian_penalty(function, known["z"], **draws, scale=known["std"], epsilon=said["epsilon"])
    assert float(found) == pytest.approx(said["mean"], rel=1e-9)
    (gradient,) = torch.autograd.grad(found, weight)
    assert torch.allclose(gradient, known["gradient_W1"], rtol=1e-7, atol=1e-9)
    for position, expected in enumerate(said["per_sample"]):
        one = slice(position, position + 1)
        some = {name: value[:, one] for name, value in draws.items()}
        alone = normalised_hessian_penalty(function, known["z"][one], **some, scale=known["std"])
        assert float(alone) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_as_many_signs_as_normals(latents):
    with pytest.raises(InputError, match=r"normals have shape \(3, 3, 4\); expected that of signs, \(2, 3, 4\)"):
        normalised_hessian_penalty(lambda z: z**2, latents, torch.ones(2, 3, 4), torch.ones(3, 3, 4))


def test_normalised_hessian_penalty_is_the_share_of_the_off_diagonal(generator):
    """With many draws: 2 sum_{i != j} H_ij^2 over 2 sum_ij H_ij^2."""
    hessian = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    hessian = hessian + hessian.mT
    off = (hessian - torch.diag(hessian.diagonal())).square().sum()
    function = lambda z: 0.5 * torch.einsum("ni,ij,nj->n", z, hessian, z)[:, None]  # noqa: E731
    normals = torch.randn(200_000, 1, 4, generator=generator, dtype=torch.float64)
    signs = rademacher(200_000, 1, 4, generator).double()
    found = normalised_hessian_penalty(function, torch.zeros(1, 4, dtype=torch.float64), signs, normals)
    assert float(found) == pytest.approx(float(off / hessian.square().sum()), rel=0.02)


# --- whole Jacobians


def jacobians(function, latents):
    return torch.autograd.functional.jacobian(lambda z: function(z).sum(0), latents).permute(1, 0, 2)


@pytest.mark.parametrize("epsilon", [None, 1e-6])
def test_ima_contrast_is_its_definition(latents, generator, epsilon):
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    function = lambda z: (z @ weight).tanh() * torch.arange(1.0, 7, dtype=torch.float64)  # noqa: E731
    each = jacobians(function, latents)  # (n, outputs, d)
    expected = (each.norm(dim=1).log().sum(1) - 0.5 * torch.logdet(each.mT @ each)).mean()
    found = ima_contrast(function, latents, epsilon=epsilon, smallest=0)
    assert float(found) == pytest.approx(float(expected), rel=1e-9 if epsilon is None else 1e-4)
    scaled = ima_contrast(lambda z: 7 * function(z), latents, epsilon=epsilon, smallest=0)
    assert float(scaled) == pytest.approx(float(found), rel=1e-6)


def test_ima_contrast_is_zero_for_orthogonal_columns_and_finite_for_equal_ones(latents):
    basis = torch.linalg.qr(torch.arange(24, dtype=torch.float64).reshape(6, 4).sin()).Q.T
    assert abs(float(ima_contrast(lambda z: z @ (basis * torch.arange(1.0, 5)[:, None]), latents, epsilon=None))) < 1e-5
    axes = torch.eye(4, dtype=torch.float64)[:2]
    assert abs(float(ima_contrast(lambda z: z @ basis, latents, axes, epsilon=None))) < 1e-5
    same = float(ima_contrast(lambda z: z.sum(1, keepdim=True), latents, epsilon=None))
    assert 10 < same < 30
    silent = ima_contrast(lambda z: z[:, :2] @ basis[:2], latents, epsilon=None)  # two coordinates do nothing
    assert abs(float(silent)) < 1e-5


@pytest.mark.parametrize("epsilon", [None, 1e-6])
def test_jacobian_l1_is_the_mean_absolute_entry(latents, generator, epsilon):
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    function = lambda z: (z @ weight).sin()  # noqa: E731
    found = jacobian_l1(function, latents, epsilon=epsilon)
    assert float(found) == pytest.approx(float(jacobians(function, latents).abs().mean()), rel=1e-5)


@pytest.mark.parametrize("penalty", [ima_contrast, jacobian_l1])
@pytest.mark.parametrize("epsilon", [None, 0.1])
def test_gradients_of_whole_jacobians(latents, generator, penalty, epsilon):
    weight = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: penalty(lambda z: (z @ w).sin(), latents, epsilon=epsilon), weight)


@pytest.mark.parametrize("penalty", [ima_contrast, jacobian_l1])
def test_axes_that_do_not_fit(latents, penalty):
    with pytest.raises(InputError, match=r"with axes \(2, 5\); expected \(n, d\) and axes \(k, d\)"):
        penalty(lambda z: z, latents, torch.ones(2, 5))
