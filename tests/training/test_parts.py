"""Losses, penalties, objectives, augmentation, averaging: each against a formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from disentangle.errors import InputError
from disentangle.training.adversarial import LOSSES, gradient_penalty, r1_penalty
from disentangle.training.augment import DiffAugment
from disentangle.training.config import BetaTCVAEObjective, BetaVAEObjective, DIPVAEObjective, FactorVAEObjective
from disentangle.training.ema import EMA
from disentangle.training.objectives import (
    CodeDiscriminator,
    gaussian_kl,
    permute_codes,
    reconstruction_error,
    regulariser,
    total_correlation_terms,
)


@pytest.fixture
def posterior(generator):
    mean = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    log_variance = 0.3 * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    z = mean + (0.5 * log_variance).exp() * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    return mean, log_variance, z


def test_losses_by_hand():
    real, fake = torch.tensor([2.0, -0.5]), torch.tensor([0.5, -3.0])
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    expected = {
        "hinge": ((0 + 1.5) / 2 + (1.5 + 0) / 2, 1.25),
        "hinge-clipped": ((0 + 1.5) / 2 + (1.5 + 0) / 2, (0.5 + 4) / 2),
        "wgan": (-1.25 - 0.75, 1.25),
        "non-saturating": (
            (softplus(-2) + softplus(0.5)) / 2 + (softplus(0.5) + softplus(-3)) / 2,
            (softplus(-0.5) + softplus(3)) / 2,
        ),
    }
    assert set(expected) == set(LOSSES)
    for name, (discriminator, generator) in expected.items():
        assert float(LOSSES[name][0](real, fake)) == pytest.approx(discriminator, rel=1e-6)
        assert float(LOSSES[name][1](fake)) == pytest.approx(generator, rel=1e-6)


class Linear(nn.Module):
    """D(x) = <w, x>, whose gradient is w everywhere."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images * self.w).sum(dim=(1, 2, 3))


def test_penalties_of_a_linear_discriminator(generator):
    w = torch.randn(1, 3, 3, generator=generator)
    discriminator = Linear(w)
    real, fake = torch.randn(4, 1, 3, 3, generator=generator), torch.randn(4, 1, 3, 3, generator=generator)
    r1 = r1_penalty(discriminator, real)
    assert float(r1) == pytest.approx(float(w.square().sum()), rel=1e-5)
    r1.backward()
    assert torch.allclose(discriminator.w.grad, 2 * w, atol=1e-5)
    gp = gradient_penalty(discriminator, real, fake, torch.rand(4, generator=generator))
    assert float(gp) == pytest.approx(float((w.norm() - 1) ** 2), rel=1e-4)
    assert not real.requires_grad


def test_kl_by_hand_and_against_torch(posterior):
    mean, log_variance, _ = posterior
    q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    p = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(q, p).mean(0)
    assert torch.allclose(gaussian_kl(mean, log_variance), expected)


def test_reconstruction_errors(generator):
    logits, images = torch.randn(5, 1, 4, 4, generator=generator), torch.rand(5, 1, 4, 4, generator=generator)
    p = torch.sigmoid(logits)
    bernoulli = -(images * p.log() + (1 - images) * (1 - p).log()).sum(dim=(1, 2, 3)).mean()
    assert float(reconstruction_error(logits, images, "bernoulli")) == pytest.approx(float(bernoulli), rel=1e-5)
    gaussian = 0.5 * (images - p).square().sum(dim=(1, 2, 3)).mean()
    assert float(reconstruction_error(logits, images, "gaussian")) == pytest.approx(float(gaussian), rel=1e-5)


def test_total_correlation_terms_against_loops(posterior):
    mean, log_variance, z = posterior
    n, d, size = 6, 3, 100

    def log_density(i: int, j: int, l: int) -> float:
        q = torch.distributions.Normal(mean[j, l], (0.5 * log_variance[j, l]).exp())
        return float(q.log_prob(z[i, l]))

    mi = tc = dimension_kl = 0.0
    for i in range(n):
        joint = math.log(sum(math.exp(sum(log_density(i, j, l) for l in range(d))) for j in range(n)) / (n * size))
        product = sum(math.log(sum(math.exp(log_density(i, j, l)) for j in range(n)) / (n * size)) for l in range(d))
        conditional = sum(log_density(i, i, l) for l in range(d))
        prior = sum(float(torch.distributions.Normal(0.0, 1.0).log_prob(z[i, l])) for l in range(d))
        mi, tc, dimension_kl = mi + conditional - joint, tc + joint - product, dimension_kl + product - prior
    terms = total_correlation_terms(z, mean, log_variance, size)
    assert [float(t) for t in terms] == pytest.approx([mi / n, tc / n, dimension_kl / n], rel=1e-9)


def test_tcvae_with_unit_weights_is_the_plain_vae(posterior):
    mean, log_variance, z = posterior
    unit = regulariser(BetaTCVAEObjective(beta=1.0), mean, log_variance, z, step=1, dataset_size=100)
    plain = regulariser(BetaVAEObjective(beta=1.0), mean, log_variance, z, step=1, dataset_size=100)
    assert float(unit["regulariser"]) == pytest.approx(float(plain["regulariser"]), rel=1e-12)
    heavy = regulariser(BetaTCVAEObjective(beta=6.0), mean, log_variance, z, step=1, dataset_size=100)
    expected = float(heavy["kl"] + 5 * heavy["total_correlation"])
    assert float(heavy["regulariser"]) == pytest.approx(expected, rel=1e-12)


def test_capacity_grows_to_its_end(posterior):
    mean, log_variance, z = posterior
    objective = BetaVAEObjective(beta=10.0, capacity=4.0, capacity_steps=100)
    kl = float(gaussian_kl(mean, log_variance).sum())
    for step, capacity in ((0, 0.0), (50, 2.0), (100, 4.0), (1000, 4.0)):
        value = regulariser(objective, mean, log_variance, z, step=step, dataset_size=10)["regulariser"]
        assert float(value) == pytest.approx(10 * abs(kl - capacity), rel=1e-9)


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_dip_penalty_by_hand(posterior, variant):
    mean, log_variance, z = posterior
    covariance = torch.cov(mean.T, correction=0)
    if variant == "ii":
        covariance = covariance + torch.diag(log_variance.exp().mean(0))
    off = covariance - torch.diag(covariance.diagonal())
    expected = 3 * off.square().sum() + 5 * (covariance.diagonal() - 1).square().sum()
    objective = DIPVAEObjective(variant=variant, off_diagonal=3.0, diagonal=5.0)
    terms = regulariser(objective, mean, log_variance, z, step=1, dataset_size=10)
    assert float(terms["covariance_penalty"]) == pytest.approx(float(expected), rel=1e-9)
    assert float(terms["regulariser"]) == pytest.approx(float(terms["kl"] + expected), rel=1e-9)


def test_factor_vae_uses_the_logit_difference(posterior):
    mean, log_variance, z = posterior
    critic = CodeDiscriminator(3, 8).double()
    logits = critic(z)
    objective = FactorVAEObjective(gamma=7.0)
    terms = regulariser(objective, mean, log_variance, z, step=1, dataset_size=10, discriminator=critic)
    tc = float((logits[:, 0] - logits[:, 1]).mean())
    assert float(terms["regulariser"]) == pytest.approx(float(terms["kl"]) + 7 * tc, rel=1e-9)
    assert sum(isinstance(layer, nn.Linear) for layer in critic) == 7


def test_permuted_codes_keep_the_marginals(posterior, generator):
    z = posterior[2]
    shuffled = permute_codes(z, generator)
    assert torch.equal(shuffled.sort(0).values, z.sort(0).values)
    assert not torch.equal(shuffled, z)


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ("color", "translation", "cutout")])
def test_augmentation_depends_on_the_generator_and_on_the_place_in_the_batch_only(policy, generator):
    images = torch.rand(6, 3, 16, 16, generator=generator) * 2 - 1
    change = DiffAugment(policy)

    def run(part: slice, seed: int = 1) -> torch.Tensor:
        return change(images[part], torch.Generator().manual_seed(seed), part, 6)

    whole = run(slice(0, 6))
    assert torch.equal(torch.cat([run(slice(0, 3)), run(slice(3, 6))]), whole)
    assert torch.equal(run(slice(0, 6)), whole)
    assert not torch.equal(run(slice(0, 6), seed=2), whole)
    assert whole.shape == images.shape


def test_translation_shifts_and_cutout_zeroes(generator):
    images = torch.ones(200, 1, 16, 16)
    shifted = DiffAugment(["translation"])(images, generator, slice(0, 200), 200)
    rows = shifted[:, 0].amax(2).sum(1)
    assert rows.min() == 14
    assert rows.max() == 16
    assert shifted.sum() < images.sum()
    cut = DiffAugment(["cutout"])(images, generator, slice(0, 200), 200)
    holes = (cut == 0).sum(dim=(1, 2, 3))
    assert int(holes.max()) == 64
    assert int(holes.min()) >= 16


def test_augmentation_is_differentiable_and_probability_zero_is_the_identity(generator):
    images = torch.rand(3, 3, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    change = DiffAugment(["color", "translation", "cutout"])
    assert torch.autograd.gradcheck(lambda x: change(x, torch.Generator().manual_seed(0), slice(0, 3), 3), images)
    never = DiffAugment(["color", "cutout"], probability=0.0)
    assert torch.equal(never(images, generator, slice(0, 3), 3), images)
    with pytest.raises(InputError, match="did you mean 'color'"):
        DiffAugment(["colour"])


def test_ema_by_hand():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    ema = EMA(model, decay=0.5)
    expected = 1.0
    for step in range(1, 6):
        model.weight.data.fill_(float(step))
        ema.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert float(ema.model.weight.detach()) == pytest.approx(expected, rel=1e-6)
    twin = EMA(model, decay=0.5)
    twin.load_state_dict(ema.state_dict())
    ema.update(model)
    twin.update(model)
    assert torch.equal(ema.model.weight, twin.model.weight)
    plain = EMA(model, decay=0.0)
    model.weight.data.fill_(9.0)
    plain.update(model)
    assert float(plain.model.weight.detach()) == 9.0
