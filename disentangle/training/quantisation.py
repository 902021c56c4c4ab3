"""What is added to the reconstruction error of an autoencoder with quantised codes.

Everything is a mean, over pixels as over latents, not a sum: that is what the published weights belong to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from disentangle.errors import InputError
from disentangle.models import Autoencoder
from disentangle.optim import normalised_hessian_penalty, rademacher
from disentangle.training.autoencoder_config import FSQObjective, QLAEObjective, QuantisedObjective, TripodObjective

__all__ = ["kernel_information", "quantisation_losses", "quantised_terms"]


def quantisation_losses(continuous: Tensor, nearest: Tensor) -> tuple[Tensor, Tensor]:
    """Quantisation loss, which moves values to codes, and commitment loss, which moves codes to values; 0-d each.

    Source: van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", NeurIPS 2017, equation 3.

    Args:
        continuous: (n, d) codes before they are quantised.
        nearest: (n, d) their values, with a gradient to these.
    """
    return (continuous.detach() - nearest).square().mean(), (continuous - nearest.detach()).square().mean()


def kernel_information(
    z: Tensor, continuous: Tensor, *, bandwidth: Literal["released", "consistent"] = "released"
) -> Tensor:
    """Mutual information among the latents of a batch by kernel density estimates, in nats; 0-d.

    The mean over the batch of ``log q(z) - sum_k log q(z_k)``, each density a mean of normal ones round the points of
    the batch. Their widths are the standard deviations of ``continuous`` (plus 1e-6) times Silverman's factor
    ``(4 / (d + 2))^(1 / (d + 4)) n^(-1 / (d + 4))``.

    Source: Hsu et al., "Tripod", ICML 2024, section 3.2. In its released code the marginal densities leave that factor
    out, so that latents that are independent have a positive value too.

    Args:
        z: (n, d), n at least 2.
        continuous: (n, d) the codes before quantisation, whose spread gives the widths, with a gradient.
        bandwidth: ``"released"``, or ``"consistent"``, where the marginal densities have Silverman's factor of d = 1.

    Raises:
        InputError: if there are fewer than two points, or the shapes differ.
    """
    if z.ndim != 2 or z.shape != continuous.shape or len(z) < 2:
        raise InputError(
            f"z has shape {tuple(z.shape)} and continuous {tuple(continuous.shape)}; expected the same (n, d), n at "
            "least 2."
        )
    n, d = z.shape
    spread = continuous.std(dim=0, correction=0) + 1e-6
    marginal = spread if bandwidth == "released" else spread * _silverman(n, 1)
    squares = (z[:, None] - z[None]).square()

    def log_densities(width: Tensor) -> Tensor:
        return -0.5 * squares / width.square() - width.log() - 0.5 * math.log(2 * math.pi)

    joint = torch.logsumexp(log_densities(spread * _silverman(n, d)).sum(2), dim=1) - math.log(n)
    marginals = torch.logsumexp(log_densities(marginal), dim=1) - math.log(n)
    return (joint - marginals.sum(1)).mean()


def _silverman(n: int, d: int) -> float:
    return float((4 / (d + 2)) ** (1 / (d + 4)) * n ** (-1 / (d + 4)))


def quantised_terms(
    objective: QuantisedObjective, model: Autoencoder, continuous: Tensor, z: Tensor, *, batch: int, shard: slice,
    stream: Callable[[str], torch.Generator],
) -> dict[str, Tensor]:  # fmt: skip
    """What is added to the reconstruction error, as ``"regulariser"``, and its parts for the log.

    Args:
        objective: which terms, and their weights.
        model: whose codes they are.
        continuous: (n, d) codes before quantisation.
        z: (n, d) what is decoded.
        batch: pictures over all processes, for which random directions are drawn.
        shard: this process's part of them.
        stream: a random stream of this step by its name.
    """
    match objective:
        case QLAEObjective():
            quantisation, commitment = quantisation_losses(continuous, model.quantiser.nearest(continuous))
            weighted = objective.quantisation * quantisation + objective.commitment * commitment
            return {"regulariser": weighted, "quantisation": quantisation, "commitment": commitment}
        case FSQObjective():
            return {"regulariser": continuous.new_zeros(())}
        case TripodObjective():
            information = kernel_information(z, continuous, bandwidth=objective.bandwidth)
            terms, weighted = {"information": information}, objective.information * information
            if objective.hessian:
                size = (objective.samples, batch, z.shape[1])
                signs = rademacher(*size, stream("hessian, signs"))[:, shard].to(z)
                normals = torch.randn(size, generator=stream("hessian, normals"))[:, shard].to(z)
                spread = continuous.std(dim=0, correction=0) + 1e-6
                terms["hessian"] = normalised_hessian_penalty(
                    model.maps, z, signs, normals, scale=spread, epsilon=objective.epsilon
                )
                weighted = weighted + objective.hessian * terms["hessian"]
            return {"regulariser": weighted, **terms}
    raise AssertionError(f"unhandled objective {objective!r}")
