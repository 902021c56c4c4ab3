"""Objectives of the VAE family: how reconstruction and regularity are weighed.

Each is computed from one batch: reconstruction error and KL are summed over pixels and latents and averaged over the
batch, in nats. ``mean`` and ``log_variance`` (n, d) parametrise q(z|x); ``z`` (n, d) is one sample of it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.training.config import (
    BetaTCVAEObjective,
    BetaVAEObjective,
    DIPVAEObjective,
    FactorVAEObjective,
    ObjectiveConfig,
)

__all__ = [
    "CodeDiscriminator",
    "gaussian_kl",
    "permute_codes",
    "reconstruction_error",
    "regulariser",
    "total_correlation_terms",
]


_SMALLEST_VARIANCE = 1e-6  # of a learnt variance: a standard deviation of a quarter of a grey level of 255


def reconstruction_error(
    logits: Tensor, images: Tensor, kind: Literal["bernoulli", "gaussian", "gaussian-learned"]
) -> Tensor:
    """Negative log-likelihood of images in [0, 1], up to a constant: cross entropy, or unit-variance squared error.

    ``"gaussian-learned"`` has one variance for all pixels, which is learnt; as its best value, the mean squared error
    of the batch (plus 1e-6), is known, that is put in: ``pixels / 2 log(variance)`` remains. Source: Rybkin,
    Daniilidis, Levine, "Simple and Effective VAE Training with Calibrated Decoders", ICML 2021, section 4.2.
    """
    if kind == "gaussian-learned":
        variance = F.mse_loss(torch.sigmoid(logits), images) + _SMALLEST_VARIANCE
        return 0.5 * images[0].numel() * variance.log()
    if kind == "bernoulli":
        error = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    else:
        error = 0.5 * F.mse_loss(torch.sigmoid(logits), images, reduction="sum")
    return error / len(images)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) of each latent, averaged over the batch; (d,)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean(0)


def total_correlation_terms(
    z: Tensor, mean: Tensor, log_variance: Tensor, dataset_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Index-code mutual information, total correlation and dimension-wise KL by minibatch-weighted sampling.

    Source: Chen et al., "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018, equations 2, 4 and S5. A batch
    that is small against the data set biases the values (the total correlation upwards, by up to ``(d - 1) log N``
    nats) but not their gradient: read them against each other, not as absolute numbers.
    """
    # log q(z_i | x_j) of each latent: (i, j, d)
    density = _log_density(z[:, None], mean[None], log_variance[None])
    log_weight = math.log(len(z) * dataset_size)
    log_joint = torch.logsumexp(density.sum(2), dim=1) - log_weight
    log_product = (torch.logsumexp(density, dim=1) - log_weight).sum(1)
    log_conditional = density.diagonal(dim1=0, dim2=1).sum(0)
    log_prior = _log_density(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    return (
        (log_conditional - log_joint).mean(),
        (log_joint - log_product).mean(),
        (log_product - log_prior).mean(),
    )


def _log_density(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * (-log_variance).exp())


def permute_codes(z: Tensor, generator: torch.Generator) -> Tensor:
    """Each latent shuffled over the batch by itself: a sample of the product of the marginals."""
    orders = [torch.randperm(len(z), generator=generator).to(z.device) for _ in range(z.shape[1])]
    return torch.stack([z[order, latent] for latent, order in enumerate(orders)], dim=1)


class CodeDiscriminator(nn.Sequential):
    """FactorVAE's discriminator: codes (n, d) to two logits, (joint, permuted); six hidden layers."""

    def __init__(self, latent_dim: int, width: int = 1000) -> None:
        layers: list[nn.Module] = []
        before = latent_dim
        for _ in range(6):
            layers += [nn.Linear(before, width), nn.LeakyReLU(0.2)]
            before = width
        super().__init__(*layers, nn.Linear(before, 2))


def regulariser(
    objective: ObjectiveConfig,
    mean: Tensor,
    log_variance: Tensor,
    z: Tensor,
    *,
    step: int,
    dataset_size: int,
    discriminator: nn.Module | None = None,
) -> dict[str, Tensor]:
    """What is added to the reconstruction error, as ``"regulariser"``, and its parts for the log."""
    kl = gaussian_kl(mean, log_variance).sum()
    match objective:
        case BetaVAEObjective(capacity=None):
            return {"regulariser": objective.beta * kl, "kl": kl}
        case BetaVAEObjective():
            capacity = float(objective.capacity or 0) * min(1.0, step / objective.capacity_steps)
            return {"regulariser": objective.beta * (kl - capacity).abs(), "kl": kl}
        case BetaTCVAEObjective():
            # The closed-form KL is the sum of the three terms with less variance, so only what differs is estimated.
            mi, tc, dimension_kl = total_correlation_terms(z, mean, log_variance, dataset_size)
            extra = (objective.alpha - 1) * mi + (objective.beta - 1) * tc + (objective.gamma - 1) * dimension_kl
            return {"regulariser": kl + extra, "kl": kl, "mutual_information": mi, "total_correlation": tc}
        case FactorVAEObjective():
            assert discriminator is not None
            logits = discriminator(z)
            tc = (logits[:, 0] - logits[:, 1]).mean()
            return {"regulariser": kl + objective.gamma * tc, "kl": kl, "total_correlation": tc}
        case DIPVAEObjective():
            centred = mean - mean.mean(0)
            covariance = centred.mT @ centred / len(mean)
            if objective.variant == "ii":
                covariance = covariance + torch.diag(log_variance.exp().mean(0))
            diagonal = covariance.diagonal()
            off = covariance - torch.diag(diagonal)
            penalty = objective.off_diagonal * off.square().sum() + objective.diagonal * (diagonal - 1).square().sum()
            return {"regulariser": kl + penalty, "kl": kl, "covariance_penalty": penalty}
    raise AssertionError(f"unhandled objective {objective!r}")
