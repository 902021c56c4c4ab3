"""Whether the tensors of a file make the network it claims to hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from disentangle.io.building import build_as_described
from disentangle.looking import looks_at
from disentangle.models.base import build_model

__all__ = ["fitted", "other_layers"]


def _build(config: dict[str, Any]) -> nn.Module:
    return build_model(config, seed=0)


def fitted(
    path: str | os.PathLike[str],
    name: str,
    config: dict[str, Any],
    state: Mapping[str, Tensor],
    *,
    build: Callable[[dict[str, Any]], nn.Module] = _build,
) -> nn.Module:
    """The network that ``build`` makes of a configuration, with all its tensors, in evaluation mode.

    What a file says of its sizes is compared with its tensors before any memory is taken for it.

    Raises:
        CheckpointError: if the configuration does not validate or tensors are missing, unknown or of other shapes.
    """
    network = build_as_described(lambda: build(config), config, state, lead=f"{path} looks like {name}, but")
    return network.eval().requires_grad_(False)


@looks_at("model")
def other_layers(model: Any, used: Mapping[str, Tensor]) -> list[str]:
    """Style layers whose matrix is far from the weight that the other software last used them with.

    A weight kept from an earlier step of training is near; factors multiplied in another order are as far from it as
    any other matrix.
    """
    found = []
    for layer in model.style_layers():
        matrix = layer.affine.matrix() if layer.name in used else None
        if matrix is not None and used[layer.name].shape == matrix.shape:
            distance = (used[layer.name].to(matrix) - matrix).norm() / matrix.norm()
            if not distance <= 0.5:
                found.append(layer.name)
    return found
