"""Rows of pictures that show what a data set holds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["preview_rows"]


def preview_rows(source: Any, *, seed: int = 0, columns: int = 10) -> tuple[Tensor, tuple[str, ...]]:
    """Pictures (rows, columns, C, H, W) in [0, 1] and a label a row.

    A data set with factors gives one row a factor, walking its values at one random point of the grid; one with
    classes gives one row a class (at most 12); any other gives random pictures.

    Args:
        source: has ``images(indices)`` and ``len``, and perhaps ``factor_sizes`` and ``render``, or ``labels``.
        seed: chooses the pictures.
        columns: pictures a row.
    """
    random = torch.Generator().manual_seed(seed)
    if hasattr(source, "factor_sizes"):
        base = source.sample(1, random)
        rows = []
        for column, size in enumerate(source.factor_sizes):
            factors = base.repeat(columns, 1)
            factors[:, column] = torch.linspace(0, size - 1, columns).round().long()
            rows.append(source.render(factors))
        return torch.stack(rows), tuple(source.factor_names)
    labels = getattr(source, "labels", None)
    if labels is not None:
        rows, names = [], []
        for value, name in list(enumerate(source.class_names))[:12]:
            members = torch.nonzero(labels == value).flatten()
            if len(members):
                chosen = members[torch.randint(len(members), (columns,), generator=random)]
                rows.append(source.images(chosen))
                names.append(name)
        return torch.stack(rows), tuple(names)
    indices = torch.randint(len(source), (6 * columns,), generator=random)
    images = source.images(indices)
    return images.reshape(6, columns, *images.shape[1:]), ()
