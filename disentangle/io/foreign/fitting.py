"""Whether the tensors of a file make the network it claims to hold, and whether that network makes pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.errors import CheckpointError, DisentangleError
from disentangle.models.base import build_model, misfits

__all__ = ["check_picture", "fitted", "other_layers"]

_LARGEST = 65_536  # of any whole number in a configuration: no size, width or depth in use comes near it
_PICTURE = 2**21  # features of one layer above which a trial picture is not taken further: 64 pixels of StyleGAN2


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
        if abs(number) > _LARGEST:
            raise CheckpointError(
                f"{path} looks like {name}, but its {key} is {number:,}; expected at most {_LARGEST:,}, it is damaged."
            )
    try:
        with torch.device("meta"):
            empty = build(config)
    except DisentangleError as error:
        text = str(error)
        raise CheckpointError(f"{path} looks like {name}, but {text[:1].lower()}{text[1:]}") from None
    wrong = misfits(state, empty.state_dict())
    if wrong:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise CheckpointError(f"{path} looks like {name}, but its tensors do not fit the network: {shown}.")
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


class _Enough(Exception):
    """Leaves the network in the middle of a picture."""


def check_picture(path: str | os.PathLike[str], model: Any) -> None:
    """One picture must come out finite.

    Of networks for large pictures only the layers up to the first with more than 2^21 features are run: the whole of a
    StyleGAN3 of 1,024 pixels would take a quarter of a minute and gigabytes.

    Raises:
        CheckpointError: if it does not.
    """
    if not hasattr(model, "sample_latents"):
        return

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.numel() > _PICTURE:
            check_finite(output)
            raise _Enough

    def check_finite(made: Tensor) -> None:
        if not torch.isfinite(made).all():
            raise CheckpointError(f"{path} makes pictures of NaN or infinity; its weights are damaged.")

    label = {"label": 0} if getattr(model, "c_dim", 0) else {}
    hooks = [module.register_forward_hook(look) for module in model.modules()]
    try:
        latents = model.sample_latents(1, generator=torch.Generator().manual_seed(0)).requires_grad_()
        # As if for a derivative, whose saved tensors are thrown away: what layers keep for speed is a copy of all.
        with (
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(lambda _: torch.empty(0), lambda empty: empty),
        ):
            check_finite(model(latents, **label))
    except _Enough:
        pass
    except (RuntimeError, MemoryError) as error:
        first = (str(error).splitlines() or ["out of memory"])[0]
        raise CheckpointError(f"{path} makes no picture ({first:.120}); its sizes do not fit together.") from None
    finally:
        for hook in hooks:
            hook.remove()


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
