"""Data sets with known factors of variation: a grid of discrete values, and a picture for each of its points.

Images are float32 in [0, 1], shaped (n, channels, height, width). Factors are int64, shaped (n, factors); column ``j``
holds values in ``range(factor_sizes[j])``. The index of a picture counts the grid in row-major order: the last factor
changes fastest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from disentangle.data.indices import check_indices
from disentangle.errors import InputError

__all__ = ["FactorDataset"]


class FactorDataset(ABC):
    """A grid of factor values with a picture for each point.

    A subclass sets ``factor_names``, ``factor_sizes`` and ``image_shape`` and implements :meth:`render`. Metrics take
    the factors as labels, as the literature does; ``factor_kinds`` says what they are by nature ("discrete",
    "continuous" or "periodic:STEPS"), for ``factor_kinds="dataset"`` of
    :func:`~disentangle.evaluations.disentanglement.evaluate_encoder`. Empty: all discrete.
    """

    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    image_shape: tuple[int, int, int]
    factor_kinds: tuple[str, ...] = ()

    @abstractmethod
    def render(self, factors: Tensor) -> Tensor:
        """Pictures of the given factors.

        Args:
            factors: (n, k) integers, column ``j`` in ``range(factor_sizes[j])``.

        Returns:
            (n, *image_shape) float32 in [0, 1].

        Raises:
            InputError: on a wrong number of columns or a value out of range.
        """

    def __len__(self) -> int:
        """Number of distinct pictures: the product of the factor sizes."""
        return math.prod(self.factor_sizes)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` points of the grid, uniform and independent; (n, k) int64."""
        columns = [torch.randint(size, (n,), generator=generator) for size in self.factor_sizes]
        return torch.stack(columns, dim=1)

    def images(self, indices: Tensor) -> Tensor:
        """Pictures by index, (n, *image_shape) float32 in [0, 1]."""
        return self.render(self.index_to_factors(indices))

    def index_to_factors(self, indices: Tensor) -> Tensor:
        """(n,) positions in ``range(len(self))`` to (n, k) factors."""
        rest = check_indices(indices, len(self))
        columns = []
        for size in reversed(self.factor_sizes):
            columns.append(rest % size)
            rest = rest // size
        return torch.stack(columns[::-1], dim=1)

    def factors_to_index(self, factors: Tensor) -> Tensor:
        """(n, k) factors to (n,) positions; the inverse of :meth:`index_to_factors`."""
        factors = self.check_factors(factors)
        index = torch.zeros(len(factors), dtype=torch.int64)
        for column, size in enumerate(self.factor_sizes):
            index = index * size + factors[:, column]
        return index

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Tensor, Tensor]:
        """A random but fixed partition of all positions.

        Args:
            fraction: share of the first part, in (0, 1).
            seed: the same seed gives the same parts on every machine.

        Returns:
            Two int64 tensors of positions, disjoint, together covering the data set.
        """
        if not 0 < fraction < 1:
            raise InputError(f"fraction is {fraction}; expected a value between 0 and 1 (exclusive).")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        cut = round(fraction * len(self))
        return order[:cut], order[cut:]

    def check_factors(self, factors: Tensor) -> Tensor:
        """``factors`` as int64, or an InputError that says what does not fit."""
        factors = torch.as_tensor(factors)
        if factors.is_floating_point():
            raise InputError(
                f"factors have dtype {factors.dtype}; expected integers, the position on each factor's axis."
            )
        factors = factors.to(torch.int64)
        if factors.ndim != 2 or factors.shape[1] != len(self.factor_sizes):
            raise InputError(
                f"factors have shape {tuple(factors.shape)}; expected (n, {len(self.factor_sizes)}) for "
                f"{', '.join(self.factor_names)}."
            )
        if factors.numel():
            low, high = factors.amin(0), factors.amax(0)
            for column, (name, size) in enumerate(zip(self.factor_names, self.factor_sizes, strict=True)):
                if int(low[column]) < 0 or int(high[column]) >= size:
                    raise InputError(
                        f"factor {name!r} has values from {int(low[column])} to {int(high[column])}; "
                        f"expected 0 to {size - 1}."
                    )
        return factors
