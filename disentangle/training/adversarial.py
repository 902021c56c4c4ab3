"""Adversarial losses and gradient penalties; logits are (n,), every function returns a 0-d tensor."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LOSSES", "drift_penalty", "gradient_penalty", "path_lengths", "r1_penalty"]


Discriminator = Callable[[Tensor], Tensor]


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Lim and Ye 2017."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _non_saturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Goodfellow et al. 2014, the logistic loss."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Arjovsky et al. 2017; needs a gradient penalty."""
    return fake.mean() - real.mean()


def _negative_mean(fake: Tensor) -> Tensor:
    return -fake.mean()


# name -> (discriminator's loss of real and fake logits, generator's loss of fake logits)
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "hinge": (_hinge_discriminator, _negative_mean),
    # EigenGAN's code stops the generator's gradient where the discriminator is fooled by more than the margin.
    "hinge-clipped": (_hinge_discriminator, lambda fake: F.relu(1 - fake).mean()),
    "non-saturating": (_non_saturating_discriminator, lambda fake: F.softplus(-fake).mean()),
    "wgan": (_wasserstein_discriminator, _negative_mean),
}


def r1_penalty(discriminator: Discriminator, real: Tensor, augment: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """``E |grad D(real)|^2`` (Mescheder et al. 2018, equation 9, without the factor 1/2), differentiable."""
    real = real.detach().requires_grad_()
    logits = discriminator(augment(real))
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(discriminator: Discriminator, real: Tensor, fake: Tensor, between: Tensor) -> Tensor:
    """``E (|grad D(x)| - 1)^2`` at ``x = real + between * (fake - real)`` (Gulrajani et al. 2017), differentiable.

    ``between`` is (n,) in [0, 1].
    """
    points = torch.lerp(real, fake, between[:, None, None, None]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(points).sum(), points, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def drift_penalty(real_logits: Tensor) -> Tensor:
    """``E D(real)^2``, which keeps a Wasserstein critic from drifting (Karras et al. 2018, A.1)."""
    return real_logits.square().mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """``|J_w^T y|`` of each picture for a random image ``y`` (Karras et al. 2020, equation 4), differentiable; (n,).

    Args:
        images: (n, C, H, W), made from ``ws`` with a graph.
        ws: (n, rows, w_dim); the squares are summed over a row and averaged over rows.
        noise: (n, C, H, W) standard normal; divided by the root of H W here.
    """
    weighted = (images * noise).sum() / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad(weighted, ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
