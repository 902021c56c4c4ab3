"""Objectives of VAEs against what the authors' and Locatello et al.'s code printed (tests/reference)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentangle.training.config import (
    BetaTCVAEObjective,
    BetaVAEObjective,
    DIPVAEObjective,
    FactorVAEObjective,
    ObjectiveConfig,
)
from disentangle.training.objectives import regulariser, total_correlation_terms

VALUES = np.load(Path(__file__).parents[1] / "reference" / "authors_methods.npz")


def tensor(key: str) -> Tensor:
    return torch.tensor(VALUES[key], dtype=torch.float64)


def codes() -> tuple[Tensor, Tensor, Tensor]:
    return tensor("beta_tcvae/mean"), tensor("beta_tcvae/log_variance"), tensor("beta_tcvae/z")


class Logits(nn.Module):
    """A discriminator that says what is stored."""

    def forward(self, z: Tensor) -> Tensor:
        return tensor("vae/logits")


def value(objective: ObjectiveConfig, step: int = 0) -> float:
    found = regulariser(objective, *codes(), step=step, dataset_size=1000, discriminator=Logits())
    return float(found["regulariser"])


@pytest.mark.parametrize(
    ("key", "objective", "step"),
    [
        ("beta_vae_4", BetaVAEObjective(beta=4.0), 0),
        ("annealed", BetaVAEObjective(beta=1000.0, capacity=25.0, capacity_steps=10_000), 3000),
        ("factor_vae_10", FactorVAEObjective(gamma=10.0), 0),
        ("dip_i", DIPVAEObjective(variant="i", off_diagonal=10.0, diagonal=100.0), 0),
        ("dip_ii", DIPVAEObjective(variant="ii", off_diagonal=10.0, diagonal=10.0), 0),
    ],
)
def test_regularisers_of_disentanglement_lib(key: str, objective: ObjectiveConfig, step: int) -> None:
    assert value(objective, step) == pytest.approx(float(VALUES[f"vae/{key}"]), rel=1e-7)


def test_terms_of_beta_tcvae() -> None:
    """Of the authors' bound by minibatch-weighted sampling, whose KL is a sum of estimates too."""
    mean, log_variance, z = codes()
    information, correlation, dimensions = (float(t) for t in total_correlation_terms(z, mean, log_variance, 1000))
    bound = {
        name: -float(VALUES[f"beta_tcvae/{name}"]) for name in ("bound_6", "bound_6_without_information", "bound_0")
    }
    assert information + 6 * correlation + dimensions == pytest.approx(bound["bound_6"], rel=1e-13)
    assert 6 * correlation + dimensions == pytest.approx(bound["bound_6_without_information"], rel=1e-13)
    assert information + dimensions == pytest.approx(bound["bound_0"], rel=1e-13)
    # the objective has the KL in closed form in their place: equal on average over samples, with less variance
    kl = float(VALUES["vae/kl"])
    sampled = information + correlation + dimensions
    assert value(BetaTCVAEObjective(beta=6.0)) == pytest.approx(bound["bound_6"] + kl - sampled, rel=1e-12)


def test_beta_tcvae_is_that_of_disentanglement_lib_up_to_its_constant() -> None:
    """Which leaves out ``(latents - 1) log(batch x data)`` of the total correlation; the gradient is the same."""
    mean, log_variance, z = codes()
    mean.requires_grad_()
    log_variance.requires_grad_()
    terms = regulariser(BetaTCVAEObjective(beta=6.0), mean, log_variance, z, step=0, dataset_size=1000)
    terms["regulariser"].backward()
    found = {name: term.detach() for name, term in terms.items()}
    constant = 2 * np.log(6 * 1000)
    assert float(found["total_correlation"]) - constant == pytest.approx(
        float(VALUES["vae/total_correlation"]), rel=1e-9
    )
    assert float(found["regulariser"]) - 5 * constant == pytest.approx(float(VALUES["vae/beta_tc_vae_6"]), rel=1e-9)
    theirs = VALUES["vae/beta_tc_vae_6_gradient"]
    for ours, expected in zip((mean.grad, log_variance.grad), theirs, strict=True):
        assert ours is not None
        np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-9 * np.abs(theirs).max())
