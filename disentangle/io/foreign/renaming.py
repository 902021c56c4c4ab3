"""Conversion as a table: patterns of foreign names, and what becomes of each tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.text import shown

__all__ = ["DROP", "Row", "rename"]

DROP = ""  # a name for tensors that are constants of the other software

Row = tuple[str, str | Callable[[re.Match[str]], str], Callable[[Tensor], Tensor] | None]


def rename(state: Mapping[str, Tensor], table: Sequence[Row]) -> dict[str, Tensor]:
    """Tensors by new names.

    Args:
        state: tensors by foreign names, as :func:`disentangle.io.foreign.network.tensors_of` admits them.
        table: rows of (pattern of the whole foreign name, new name, change of the tensor). A new name may refer to
            groups of the pattern, as in ``re.Match.expand``, or be a function of the match; :data:`DROP` leaves the
            tensor out. The first row that matches counts.

    Raises:
        CheckpointError: if a name matches no row, or two come to the same name.
    """
    found: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in state.items():
        for pattern, target, change in table:
            match = re.fullmatch(pattern, name)
            if match is None:
                continue
            new = match.expand(target) if isinstance(target, str) else target(match)
            if new in found:
                raise CheckpointError(
                    f"two of its tensors are called {shown(new)}, {shown(name)} is the second; it is damaged."
                )
            if new != DROP:
                found[new] = tensor if change is None else change(tensor)
            break
        else:
            unknown.append(name)
    if unknown:
        listed = "; ".join(f"{shown(name, most=80)} {tuple(state[name].shape)}" for name in unknown[:8])
        more = f"; and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise CheckpointError(f"it has tensors that are not known: {listed}{more}.")
    return found
