"""A probability of augmentation that follows how much the discriminator overfits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["AdaptiveProbability"]


class AdaptiveProbability:
    """Raised while the discriminator takes too many real pictures for real, lowered while too few.

    Overfitting is measured by ``r = E sign(D(real))``, over ``interval`` steps; then the probability moves towards
    what brings r to ``target``, so fast that it takes ``kimg`` thousand pictures from 0 to 1.

    Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020, section 3.

    Args:
        start: probability at step 0, in [0, 1].
        target: of r, in (0, 1).
        batch: pictures of a step, over all processes.
        interval: steps between changes.
        kimg: thousands of pictures of a change from 0 to 1.

    Attributes:
        value: the probability.
    """

    def __init__(self, start: float, *, target: float, batch: int, interval: int = 4, kimg: float = 500.0) -> None:
        self.value, self.target, self.interval = start, target, interval
        self.change = batch * interval / (1000 * kimg)
        self._sum, self._count, self._steps = torch.zeros(()), 0, 0

    def saw(self, real_logits: Tensor) -> None:
        """Count the discriminator's logits (n,) of real pictures."""
        self._sum = self._sum.to(real_logits.device) + real_logits.detach().sign().sum()
        self._count += len(real_logits)

    def adapt(self, mean: Callable[[Tensor], Tensor] = lambda value: value) -> None:
        """End a step; at the end of an interval the probability moves. ``mean`` averages over processes."""
        self._steps += 1
        if self._steps < self.interval:
            return
        r = float(mean(self._sum / max(1, self._count)))
        direction = (r > self.target) - (r < self.target)
        self.value = min(1.0, max(0.0, self.value + direction * self.change))
        self._sum, self._count, self._steps = torch.zeros(()), 0, 0

    def state_dict(self) -> dict[str, float | int]:
        return {"value": self.value, "sum": float(self._sum), "count": self._count, "steps": self._steps}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        self.value, self._count, self._steps = float(state["value"]), int(state["count"]), int(state["steps"])
        self._sum = torch.tensor(float(state["sum"]))
