"""Weak supervision of a VAE by pairs of pictures that differ in one factor: what they share is averaged.

Two pictures of a pair follow each other in a batch, so rows 2i and 2i + 1 are a pair.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.data import FactorDataset, ImageSource
from disentangle.data.pairs import draw_pairs
from disentangle.errors import ConfigError, InputError
from disentangle.training.config import VAETraining
from disentangle.training.session import Session

__all__ = ["check_pairs", "paired_batch", "share_posteriors"]


def share_posteriors(mean: Tensor, log_variance: Tensor, changed: Tensor | None) -> tuple[Tensor, Tensor]:
    """Posteriors of pairs in which those of the latents that did not change are one: means and variances averaged.

    Sources: Hosoya, "Group-based Learning of Disentangled Representations with Generalizability for Novel Contents",
    IJCAI 2019 (G-VAE, the averages); Locatello et al., "Weakly-Supervised Disentanglement Without Compromises", ICML
    2020 (Ada-GVAE, where it is not known what changed: of a pair the latents whose divergence KL(first || second)
    reaches the middle between that pair's smallest and largest).

    Args:
        mean, log_variance: (2n, d), pairs in rows 2i and 2i + 1.
        changed: (n,) the latent that holds the factor which differs; None where that is not known.

    Returns:
        Mean and log-variance, (2n, d) each.

    Raises:
        InputError: if rows are odd in number, or ``changed`` does not fit.
    """
    if mean.ndim != 2 or mean.shape != log_variance.shape or len(mean) % 2:
        raise InputError(
            f"mean has shape {tuple(mean.shape)} and log_variance {tuple(log_variance.shape)}; expected the same "
            "(2n, d), an even number of rows."
        )
    n, d = len(mean) // 2, mean.shape[1]
    means, logs = mean.reshape(n, 2, d), log_variance.reshape(n, 2, d)
    variances = logs.exp()
    if changed is None:
        with torch.no_grad():
            squares = (means[:, 1] - means[:, 0]).square()
            distance = (variances[:, 0] + squares) / variances[:, 1] + logs[:, 1] - logs[:, 0]
            low, high = distance.amin(1, keepdim=True), distance.amax(1, keepdim=True)
            kept = distance >= (low + high) / 2
    else:
        if changed.shape != (n,) or (n and not 0 <= int(changed.min()) <= int(changed.max()) < d):
            raise InputError(
                f"changed has shape {tuple(changed.shape)} for {n} pairs of {d} latents; expected ({n},) whole numbers "
                f"from 0 to {d - 1}: every pair has one factor that differs."
            )
        kept = torch.nn.functional.one_hot(changed, d).bool()
    kept = kept[:, None].to(mean.device)
    shared_mean = torch.where(kept, means, means.mean(1, keepdim=True))
    shared_log = torch.where(kept, logs, variances.mean(1, keepdim=True).log())
    return shared_mean.reshape(2 * n, d), shared_log.reshape(2 * n, d)


def check_pairs(config: VAETraining, source: ImageSource) -> FactorDataset:
    """``source`` as data that pairs can be drawn from.

    Raises:
        ConfigError: if it has no factors, or a latent is missing for one that is to have its own.
    """
    if not isinstance(source, FactorDataset):
        raise ConfigError(
            f"pairs is {config.pairs!r}, but {config.data.name} has no known factors to change one of; give data such "
            "as rooms or sprites, or leave pairs out."
        )
    factors = len(source.factor_names)
    if config.pairs == "known" and config.model.latent_dim < factors:
        raise ConfigError(
            f"pairs is 'known', which gives each of the {factors} factors of {config.data.name} a latent of its own, "
            f"but model.latent_dim is {config.model.latent_dim}; give {factors} or more."
        )
    draw_pairs(source, 0)
    return source


def paired_batch(session: Session, source: FactorDataset) -> tuple[Tensor, Tensor]:
    """This step's shard of pictures in [0, 1], (2n, C, H, W) in pairs, and the factor that differs, (n,)."""
    shard = session.shard
    if shard.start % 2 or shard.stop % 2:
        raise ConfigError("Each process's part of the batch must hold whole pairs; start fewer processes.")
    factors, changed = draw_pairs(source, session.config.batch // 2, session.random("pairs"))
    images = source.render(factors.flatten(0, 1)[shard])
    return images.to(session.device), changed[shard.start // 2 : shard.stop // 2].to(session.device)
