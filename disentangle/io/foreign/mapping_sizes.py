"""The sizes of a StyleGAN's mapping network, read off its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import mapping_depth

__all__ = ["embedded_together", "mapping_sizes"]


def mapping_sizes(state: Mapping[str, Tensor], *, class_norm: str = "apart") -> dict[str, Any]:
    """What a configuration says of the mapping network: z_dim, w_dim, depth, classes, widths that are not w's.

    Args:
        state: tensors by our names, ``mapping.fc0.weight`` and so on; of classes ``mapping.embed.weight``.
        class_norm: how classes enter, where there are any.

    Raises:
        CheckpointError: if it has no layers, one is missing, or one is no matrix.
    """
    depth = mapping_depth(state)
    layers = [state.get(f"mapping.fc{index}.weight") for index in range(depth)]
    embed = state.get("mapping.embed.weight")
    matrices = [layer for layer in (*layers, *([] if embed is None else [embed])) if layer is not None]
    if not depth:
        raise CheckpointError("its mapping network has no layers (num_layers=0), which is not supported.")
    if any(layer is None for layer in layers) or any(layer.ndim != 2 for layer in matrices):
        raise CheckpointError(f"its mapping network of {depth} layers lacks one, or one is no matrix; it is damaged.")
    first, last = matrices[0], matrices[depth - 1]
    sizes: dict[str, Any] = {"w_dim": last.shape[0], "mapping_layers": depth}
    if depth > 1 and first.shape[0] != last.shape[0]:
        sizes["mapping_width"] = first.shape[0]
    sizes["z_dim"] = first.shape[1]
    if embed is not None:
        sizes |= {"c_dim": embed.shape[1], "class_norm": class_norm}
        sizes["z_dim"] -= embed.shape[0]
        if embed.shape[0] != last.shape[0]:
            sizes["class_width"] = embed.shape[0]
        if sizes["z_dim"] < 0:
            raise CheckpointError("its classes are embedded in more numbers than its mapping network reads.")
    return sizes


def embedded_together(weight: Tensor) -> Tensor:
    """(classes, width) of an embedding without gain, as our (width, classes), used over the root of the classes."""
    return weight.T * math.sqrt(weight.shape[0])
