"""Which layers of somebody's synthesis network read w, and which row of w+ each of them: seen while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.errors import InputError, unknown_name
from disentangle.models.base import StyleLayer

__all__ = ["AffineView", "layers_reading"]


class AffineView(nn.Module):
    """The weight of a layer that reads w, as SeFa asks for it; the layer stays where it is.

    Attributes:
        layer: the user's.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._held = [layer]  # in a list, so that it is not registered a second time

    @property
    def layer(self) -> nn.Module:
        return self._held[0]

    def matrix(self) -> Tensor:
        """(channels, w_dim): the weight as stored."""
        weight: Any = self.layer.weight
        return weight.flatten(1)


def layers_reading(
    module: nn.Module, run: Callable[[Tensor], Any], ws: Tensor, *, named: Iterable[str] | None = None
) -> tuple[StyleLayer, ...]:
    """The layers whose weight multiplies a row of w+, in the order in which they run.

    Args:
        module: that holds them, however deep.
        run: the synthesis, called with ``ws`` once.
        ws: (n, rows, w_dim) with rows that all differ.
        named: dotted names; by default every one that reads a row.

    Raises:
        InputError: if there is no layer of a name, or it does not read a row.
    """
    width = ws.shape[-1]
    modules = dict(module.named_modules())
    chosen = None if named is None else list(named)
    for name in chosen or ():
        if name not in modules:
            raise unknown_name("layer", name, [key for key, part in modules.items() if _reads(part, width)])
    candidates = modules if chosen is None else {name: modules[name] for name in chosen}
    rows: dict[str, int] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
            if name in rows or not given or not isinstance(given[0], Tensor):
                return
            seen = given[0].flatten(1) if given[0].ndim > 1 else given[0][None]
            if seen.shape != (len(ws), width):
                return
            gaps = (seen[:, None].to(ws) - ws).abs().amax(dim=(0, 2))
            if float(gaps.min()) <= 1e-5 * float(ws.abs().max()):
                rows[name] = int(gaps.argmin())

        return hook

    hooks = [part.register_forward_pre_hook(look(name)) for name, part in candidates.items() if _reads(part, width)]
    try:
        run(ws)
    finally:
        for hook in hooks:
            hook.remove()
    missed = [name for name in chosen or () if name not in rows]
    if missed:
        raise InputError(
            f"the layer {missed[0]!r} does not multiply a row of w+ by its weight; expected one that reads w, such as "
            f"{', '.join(list(rows)[:3]) or 'an affine layer of the synthesis'}."
        )
    order = rows if chosen is None else {name: rows[name] for name in chosen}
    layers, start = [], 0
    for name, row in order.items():
        part: Any = modules[name]
        channels = len(part.weight)
        layers.append(StyleLayer(name, "conv", row, 0, AffineView(part), start, channels))
        start += channels
    return tuple(layers)


def _reads(part: nn.Module, width: int) -> bool:
    weight = getattr(part, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2 and weight[0].numel() == width


def rows_of(count: int, width: int, like: Tensor) -> Tensor:
    """(2, count, width) numbers of which no two rows are alike, on the device and in the type of ``like``."""
    return torch.randn(2, count, width, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)
