"""The noise that the StyleGANs add to their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from disentangle.errors import InputError

__all__ = ["Streams", "drawn_noise"]

Streams = torch.Generator | Sequence[torch.Generator]


def drawn_noise(n: int, resolution: int, generator: Streams | None) -> Tensor:
    """(n, 1, resolution, resolution) standard normal noise, drawn on the CPU.

    Args:
        n: samples.
        resolution: pixels along a side.
        generator: one stream for all samples, or one for each: then what a sample gets does not depend on the others
            that it is drawn with, as when a batch is divided among processes.

    Raises:
        InputError: if there are not as many streams as samples.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return torch.randn(n, 1, resolution, resolution, generator=generator)
    if len(generator) != n:
        raise InputError(f"{len(generator)} generators for {n} samples; expected one for all, or one for each.")
    return torch.cat([torch.randn(1, 1, resolution, resolution, generator=each) for each in generator])
