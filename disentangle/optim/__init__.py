"""Training treatments of a projection, for any torch optimizer."""

from disentangle.optim.generator_penalties import (
    hessian_penalty,
    ima_contrast,
    jacobian_l1,
    jacobian_penalty,
    normalised_hessian_penalty,
    rademacher,
    variation_loss,
)
from disentangle.optim.learning_rate import accepted_learning_rate, optimal_learning_rate
from disentangle.optim.mode import Mode, Option
from disentangle.optim.orthogonalize import Treatment, orthogonalize
from disentangle.optim.penalties import orthogonality_loss
from disentangle.optim.registry import MODES, register

__all__ = [
    "MODES",
    "Mode",
    "Option",
    "Treatment",
    "accepted_learning_rate",
    "hessian_penalty",
    "ima_contrast",
    "jacobian_l1",
    "jacobian_penalty",
    "normalised_hessian_penalty",
    "optimal_learning_rate",
    "orthogonality_loss",
    "orthogonalize",
    "rademacher",
    "register",
    "variation_loss",
]


def __dir__() -> list[str]:
    return sorted(__all__)
