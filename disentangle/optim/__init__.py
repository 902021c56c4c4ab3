"""Training treatments of a projection, for any torch optimizer."""

from disentangle.optim.learning_rate import accepted_learning_rate, optimal_learning_rate
from disentangle.optim.orthogonalize import Treatment, orthogonalize
from disentangle.optim.penalties import orthogonality_loss

__all__ = [
    "Treatment",
    "accepted_learning_rate",
    "optimal_learning_rate",
    "orthogonality_loss",
    "orthogonalize",
]
