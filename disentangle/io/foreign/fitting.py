"""Whether the tensors of a file make the network it claims to hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.errors import CheckpointError, DisentangleError
from disentangle.looking import looks_at
from disentangle.models.base import build_model, misfits
from disentangle.text import shown

__all__ = ["fitted", "other_layers"]

_LARGEST = 16_384  # of any whole number in a configuration: no size, width or depth in use comes near it
_LARGEST_OF = {"c_dim": 65_536, "resolution": 65_536, "diffusers.sample_size": 65_536}


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
    for key, number in _whole_numbers("", config):
        most = _LARGEST_OF.get(key, _LARGEST)
        if abs(number) > most:
            raise CheckpointError(
                f"{path} looks like {name}, but its {shown(key)} is {number:,}; expected at most {most:,}, it is "
                "damaged."
            )
    try:
        with torch.device("meta"):
            empty = build(config)
    except DisentangleError as error:
        text = str(error)  # bounded
        raise CheckpointError(f"{path} looks like {name}, but {text[:1].lower()}{text[1:]}") from None
    wrong = misfits(state, empty.state_dict())
    if wrong:
        listed = "; ".join(shown(one, most=160) for one in wrong[:5])
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(f"{path} looks like {name}, but its tensors do not fit the network: {listed}{more}.")
    empty.load_state_dict(dict(state), assign=True)
    if any(tensor.is_meta for tensor in _tensors(empty)):  # something that no file holds; else nothing is made twice
        empty = build(config)
        empty.load_state_dict(dict(state), assign=True)
    return empty.eval().requires_grad_(False)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def _whole_numbers(key: str, value: Any) -> list[tuple[str, int]]:
    if isinstance(value, Mapping):
        return [found for name, part in value.items() for found in _whole_numbers(f"{key}.{name}".lstrip("."), part)]
    if isinstance(value, (list, tuple)):
        return [found for part in value for found in _whole_numbers(key, part)]
    return [(key, value)] if isinstance(value, int) else []


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
