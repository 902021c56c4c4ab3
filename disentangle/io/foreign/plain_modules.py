"""How the layers of a plain generator are set, where it was pickled whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Node
from disentangle.io.foreign.module_tree import attribute, class_name, number, walk
from disentangle.text import shown

__all__ = ["PLAIN", "settings_of"]

_TORCH = "torch.nn.modules."
_ACTIVATIONS = "torch.nn.modules.activation."
_SILENT = {
    "Sequential", "ModuleList", "ModuleDict", "Identity", "Dropout", "Dropout1d", "Dropout2d", "Flatten", "Unflatten",
    "DataParallel", "Module",
}  # fmt: skip
_ORDERED = {"Sequential", "DataParallel"}  # whose forward is one after the other
_LAYERS = {"dcgan": ("ConvTranspose2d", "BatchNorm2d"), "mlp-gan": ("Linear", "BatchNorm1d")}
PLAIN = tuple(_LAYERS)


def settings_of(module: Node, kind: str, budget: Budget) -> dict[str, Any]:
    """The settings of its layers by the names of :class:`Setting`, as far as they are there.

    Every layer of torch's has to be one that a plain generator has. What a class of the author's own does is its code,
    which is not read: whether a tanh or a rectifier is called there is not known then. Of torch's ``Sequential`` alone
    it is, and the order is that of a plain generator or it is refused.

    Args:
        module: the network.
        kind: "dcgan" or "mlp-gan".
        budget: of the file; the walk is taken from it.

    Raises:
        CheckpointError: if a layer is another, or layers are set in different ways.
    """
    layer, norm = _LAYERS[kind]
    found: dict[str, Any] = {}
    order: list[str] = []
    ordered = True
    for name, part in walk(module, budget):
        called, place = class_name(part), shown(name.rstrip(".") or "the network", most=80)
        torchs = part.path.startswith(_TORCH) or called == "DataParallel"
        if not torchs:
            ordered = False
        elif called in _SILENT:
            ordered = ordered and called not in ("ModuleList", "ModuleDict", "Module")
        elif called in ("ReLU", "LeakyReLU"):
            order.append("rectifier")
            _agree(found, "slope", number(part, "negative_slope", 0.01) if called == "LeakyReLU" else 0.0, place)
        elif called == "Tanh":
            order.append("tanh")
            found["tanh"] = True
        elif called == layer:
            order.append("layer")
            _read_convolution(found, part, place)
        elif called == norm:
            order.append("norm")
            _agree(found, "eps", number(part, "eps", 1e-5), place)
        elif part.path.startswith(_ACTIVATIONS):
            raise CheckpointError(f"its layer {place} is a {called}; the toolkit's {kind} has ReLU or LeakyReLU, at "
                                  "the end a Tanh or nothing.")  # fmt: skip
        else:
            raise CheckpointError(f"its layer {place} is a {called}, which the toolkit's {kind} does not have.")
    if ordered:
        found.setdefault("tanh", False)
        _check_order(order, kind)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _agree(found: dict[str, Any], name: str, value: float, place: str) -> None:
    if found.setdefault(name, value) != value:
        raise CheckpointError(f"its layer {place} has the {name} {value:g}, those before {found[name]:g}.")


def _read_convolution(found: dict[str, Any], part: Node, place: str) -> None:
    if class_name(part) == "Linear":
        return
    for name, plain in (("dilation", 1), ("groups", 1)):
        if _whole(part, name, plain, place) != plain:
            raise CheckpointError(
                f"its layer {place} has {name} {_whole(part, name, plain, place)}; expected {plain}, as the toolkit's "
                "has."
            )
    for name, ours, usual in (
        ("stride", "strides", 1), ("padding", "paddings", 0), ("output_padding", "output_paddings", 0),
    ):  # fmt: skip
        found.setdefault(ours, []).append(_whole(part, name, usual, place))


def _whole(part: Node, name: str, usual: int, place: str) -> int:
    """A number, or a pair of two that are equal."""
    value = attribute(part, name, usual)
    values = value if isinstance(value, (list, tuple)) and 1 <= len(value) <= 2 else [value]
    first = values[0]
    alike = not isinstance(first, (bool, Tensor)) and isinstance(first, int) and 0 <= first < 2**15
    if not alike or any(isinstance(one, Tensor) or one != first for one in values):
        raise CheckpointError(f"its layer {place} has {name} {shown(value, most=60)}; expected one for both sides.")
    return int(first)


def _check_order(order: list[str], kind: str) -> None:
    """Of layers that are called one after the other: (layer, norm, rectifier) ..., layer, tanh."""
    waiting: Iterator[str] = iter([*order, "end"])
    part = next(waiting)
    while part == "layer":
        part = next(waiting)
        if part in ("tanh", "end"):
            break
        part = next(waiting) if part == "norm" else part
        if part != "rectifier":
            break
        part = next(waiting)
    if part == "tanh":
        part = next(waiting)
    if part != "end":
        raise CheckpointError(
            f"its layers are {', '.join(order[:12])}{', ...' if len(order) > 12 else ''}; the toolkit's {kind} has a "
            "layer, a normalisation and a rectifier after each other, and at the end a layer and a tanh or nothing."
        )
