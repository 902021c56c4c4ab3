"""Which values of a quantised code are taken, and what becomes of those that are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import InputError

__all__ = ["CodeUsage", "revived"]


class CodeUsage:
    """Counts of the values that pictures took, for (d, values) of them.

    Of several processes each holds the same counts, means over all of them, so that one can write them for all.

    Attributes:
        counts: (d, values) of the window that is open.
        dead: values that none took in the last whole window; None before there was one.
    """

    def __init__(self, latents: int, values: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(latents, values, device=device)
        self.dead: int | None = None

    def add(self, indices: Tensor, mean: Callable[[Tensor], Tensor] = lambda counts: counts) -> None:
        """Count (n, d) positions of values; ``mean`` is over the processes."""
        new = torch.zeros_like(self.counts)
        self.counts += mean(new.scatter_add_(1, indices.T, torch.ones_like(indices.T, dtype=new.dtype)))

    def close(self) -> Tensor:
        """End the window; its (d, values) counts."""
        whole = self.counts.clone()
        self.dead = int((whole == 0).sum())
        self.counts.zero_()
        return whole

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self.counts.clone(), "dead": -1 if self.dead is None else self.dead}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["counts"].shape != self.counts.shape:
            raise ValueError(f"counts have shape {tuple(state['counts'].shape)}, not {tuple(self.counts.shape)}")
        self.counts.copy_(state["counts"])
        self.dead = None if state["dead"] < 0 else int(state["dead"])


def revived(values: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Codebooks (d, values) in which each value that was never taken lies beside the one of its latent taken most.

    Beside is a normal distance of a hundredth of the range of that codebook (1e-3 where that is 0). What is taken most
    is so divided among several, as Linde, Buzo and Gray (1980) split a cell.

    Raises:
        InputError: if the shapes differ.
    """
    if values.shape != counts.shape or values.ndim != 2:
        raise InputError(f"values {tuple(values.shape)} and counts {tuple(counts.shape)} differ; expected one each.")
    fullest = values.gather(1, counts.argmax(1, keepdim=True))
    width = 0.01 * (values.amax(1, keepdim=True) - values.amin(1, keepdim=True))
    width = torch.where(width > 0, width, torch.full_like(width, 1e-3))
    drawn = torch.randn(values.shape, generator=generator).to(values)
    return torch.where(counts > 0, values, fullest + width * drawn)
