"""A weight whose vectors have length one, at any angle to each other: what an orthogonal weight is compared with.

An orthogonal weight differs from a free one in two things, the lengths of its vectors and the angles between them. This
parametrisation holds the first and leaves the second, as weight normalisation (Salimans and Kingma, NeurIPS 2016,
equation 2) does with its lengths fixed at one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.linalg.differentiable import autocast_off

__all__ = ["UnitVectors"]


class UnitVectors(nn.Module):
    """Divides the rows of a weight flattened to (first, rest), or the columns of a tall one, by their lengths.

    These are the vectors that orthogonal weights make orthonormal. The weight is computed in float32 at least. A zero
    vector stays zero.
    """

    def forward(self, original: Tensor) -> Tensor:
        """Of any shape of two dimensions or more; shape and type are kept."""
        with autocast_off(original):
            flat = original.flatten(1)
            exact = flat if flat.element_size() >= 4 else flat.float()
            unit = F.normalize(exact, dim=1 if flat.shape[0] <= flat.shape[1] else 0)
            return unit.to(original.dtype).reshape(original.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The free parameter begins with lengths of one, so that a step of it is one of the weight."""
        return self.forward(weight)
