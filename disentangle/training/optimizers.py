"""Optimizers and treatments from their configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from disentangle.models.base import Projection
from disentangle.optim import Treatment, orthogonalize
from disentangle.training.config import OptimizerConfig, TreatmentConfig

__all__ = ["attach_treatment", "build_optimizer"]


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]
) -> torch.optim.Optimizer:
    """The configured torch optimizer of parameters, or of groups of them."""
    if config.kind == "sgd":
        return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.kind == "adamw" else torch.optim.Adam
    return kind(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


def attach_treatment(
    config: TreatmentConfig, optimizer: torch.optim.Optimizer, projections: Mapping[str, Projection]
) -> Treatment | None:
    """The configured treatment of all projections; None if nothing is asked for."""
    if not config.active:
        return None
    parameters = [projection.parameter for projection in projections.values()]
    return orthogonalize(optimizer, parameters, **config.model_dump())
