"""Path lengths, drift and adaptive augmentation by hand."""

from __future__ import annotations

import pytest
import torch

from disentangle.errors import ConfigError
from disentangle.models import build_model
from disentangle.training.adaptive import AdaptiveProbability
from disentangle.training.adversarial import drift_penalty, path_lengths
from disentangle.training.augment import DiffAugment
from disentangle.training.gan import rate_groups
from disentangle.training.optimizers import attach_treatment, build_optimizer
from tests.training.families import family


def test_path_lengths_of_a_linear_generator(generator):
    """For images ``A w`` the transposed Jacobian is known: |A^T y| over a row, averaged over rows."""
    jacobian = torch.randn(2, 5, 3 * 4 * 4, generator=generator, dtype=torch.float64)
    ws = torch.randn(6, 2, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(6, 3, 4, 4, generator=generator, dtype=torch.float64)
    images = torch.einsum("nrd,rdp->np", ws, jacobian).reshape(6, 3, 4, 4)
    by_row = torch.einsum("rdp,np->nrd", jacobian, noise.flatten(1)) / 4  # the root of 4 x 4
    expected = by_row.square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(path_lengths(images, ws, noise), expected, rtol=0, atol=1e-12)


def test_path_lengths_are_differentiable():
    weight = torch.randn(2, 3, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    ws = torch.randn(2, 1, 2, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(2, 3, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def lengths(weight: torch.Tensor) -> torch.Tensor:
        images = (ws[:, 0] @ weight).sin().reshape(2, 3, 1, 1)
        return path_lengths(images, ws, noise)

    assert torch.autograd.gradcheck(lengths, weight)


def test_drift():
    assert float(drift_penalty(torch.tensor([1.0, -3.0]))) == 5.0


def test_the_probability_follows_the_sign_of_the_logits():
    adaptive = AdaptiveProbability(0.5, target=0.6, batch=4, interval=2, kimg=0.04)  # 8 of 40 pictures: 0.2
    for logits, expected in (
        ([1.0, 2, 3, 4], 0.5),
        ([1.0, 2, 3, 4], 0.7),  # all are taken for real: overfitting
        ([1.0, 2, 3, -4], 0.7),
        ([1.0, 2, -3, -4], 0.5),  # (2 + 0) / 8 is below the target
        ([-1.0, -1, -1, -1], 0.5),
        ([-1.0, -1, -1, -1], 0.3),
    ):
        adaptive.saw(torch.tensor(logits))
        adaptive.adapt()
        assert adaptive.value == pytest.approx(expected)
    for _ in range(8):
        adaptive.saw(torch.tensor([-1.0]))
        adaptive.adapt()
    assert adaptive.value == 0.0


def test_its_state_continues_within_an_interval():
    one, other = (AdaptiveProbability(0.5, target=0.6, batch=4, interval=2, kimg=0.04) for _ in range(2))
    one.saw(torch.tensor([1.0, 1.0]))
    one.adapt()
    other.load_state_dict(one.state_dict())
    for adaptive in (one, other):
        adaptive.saw(torch.tensor([1.0, -1.0]))
        adaptive.adapt()
    assert one.value == other.value == pytest.approx(0.3)  # (2 + 0) / 4 is below 0.6


def test_each_picture_is_changed_by_itself():
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    change = DiffAugment(("cutout",), 0.25, per_image=True)
    changed = change(images, torch.Generator().manual_seed(1), slice(0, 64), 64)
    differs = (changed != images).flatten(1).any(1)
    assert 5 <= int(differs.sum()) <= 30
    halves = [
        change(images[piece], torch.Generator().manual_seed(1), piece, 64) for piece in (slice(0, 32), slice(32, 64))
    ]
    assert torch.equal(torch.cat(halves), changed)
    change.probability = 0.0
    assert torch.equal(change(images, torch.Generator().manual_seed(1), slice(0, 64), 64), images)


@pytest.mark.parametrize("projection", [None, {"kind": "polar"}])
def test_importances_move_at_their_own_rate(projection):
    """Adam's first step is the rate itself, whatever the gradient."""
    config = family("eigengan", importance_lr=20.0, **{"optimizer.lr": 1e-3, "model.projection": projection})
    model = build_model(config.model, seed=0)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(config.optimizer, rate_groups(model, list(model.parameters()), config))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    importances = {id(p.importance) for p in model.projections().values()}
    assert len(importances) == 3
    for name, parameter in model.named_parameters():
        step = float((before[name] - parameter.detach()).mean())
        assert step == pytest.approx(2e-2 if id(parameter) in importances else 1e-3, rel=1e-3), name


def test_without_a_rate_of_importances_the_optimizer_has_one_group():
    model = build_model(family("eigengan").model, seed=0)
    trained = list(model.parameters())
    assert rate_groups(model, trained, family("eigengan")) is trained


@pytest.mark.parametrize("fields", [{"kind": "gan"}, {"kind": "eigengan", "trains": "projections"}])
def test_a_rate_of_importances_that_moves_nothing_is_refused(fields):
    with pytest.raises(ConfigError, match="importance_lr is for an EigenGAN"):
        family(**fields, importance_lr=20.0)


def test_the_orthogonality_loss_of_the_eigengan_as_released():
    """The release adds 100 times the mean over blocks of ``mean((U U^T - I)^2)``; here the weight is of sums."""
    config = family("eigengan", **{"model.basis": 4})
    model = build_model(config.model, seed=0)
    bases = [block.projection.U for block in model.blocks]
    with torch.no_grad():
        for basis in bases:
            basis.mul_(1.5).add_(0.05)
    errors = [(basis @ basis.T - torch.eye(4)).square().mean() for basis in bases]
    expected = torch.autograd.grad(100 * sum(errors) / len(errors), bases)
    for basis in bases:
        basis.grad = torch.zeros_like(basis)
    before = [basis.detach().clone() for basis in bases]
    optimizer = torch.optim.SGD(bases, lr=1.0)
    weight = 100 / (4**2 * len(bases))
    attach_treatment(config.treatment.model_copy(update={"ol": weight}), optimizer, model.projections())
    optimizer.step()
    for basis, start, gradient in zip(bases, before, expected, strict=True):
        torch.testing.assert_close(start - basis.detach(), gradient, rtol=1e-4, atol=1e-4)
