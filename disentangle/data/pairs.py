"""Pairs of pictures that differ in one factor: what weak supervision is given in the place of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.data.factors import FactorDataset
from disentangle.errors import InputError

__all__ = ["changed_factors", "draw_pairs"]


def draw_pairs(dataset: FactorDataset, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Random pairs: a point of the grid, and the same with one factor at another of its values.

    Points are uniform, so are the factors among those with two values or more, and the other value among the others.

    Args:
        dataset: whose grid.
        n: pairs.
        generator: of the draws.

    Returns:
        Factors (n, 2, k) int64, and the factor that differs, (n,) int64.

    Raises:
        InputError: if no factor of the data set has two values.
    """
    sizes = torch.tensor(dataset.factor_sizes)
    varied = (sizes > 1).nonzero()[:, 0]
    if not len(varied):
        raise InputError(
            "No factor of the data has more than one value, so no two pictures differ in one; expected data with "
            "factors that vary."
        )
    first = dataset.sample(n, generator)
    changed = varied[torch.randint(len(varied), (n,), generator=generator)]
    rows = torch.arange(n)
    size = sizes[changed]
    step = 1 + (torch.rand(n, generator=generator) * (size - 1)).long().clamp(max=size - 2)
    second = first.clone()
    second[rows, changed] = (first[rows, changed] + step) % size
    return torch.stack([first, second], dim=1), changed


def changed_factors(pairs: Tensor) -> Tensor:
    """Which factor of each of (n, 2, k) pairs differs; (n,) int64.

    Raises:
        InputError: if a pair differs in no factor, or in several.
    """
    if pairs.ndim != 3 or pairs.shape[1] != 2 or pairs.is_floating_point():
        raise InputError(f"pairs have shape {tuple(pairs.shape)} and dtype {pairs.dtype}; expected integers (n, 2, k).")
    differs = pairs[:, 0] != pairs[:, 1]
    counts = differs.sum(1)
    wrong = (counts != 1).nonzero()[:, 0]
    if len(wrong):
        number = int(wrong[0])
        raise InputError(
            f"{len(wrong)} of {len(pairs)} pairs do not differ in exactly one factor; pair {number} differs in "
            f"{int(counts[number])}: leave such pairs out."
        )
    return differs.long().argmax(1)
