"""Networks that were pickled whole say how their layers are set, which is compared with the toolkit's network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Node
from disentangle.io.foreign.module_tree import attribute, class_name, number, walk
from disentangle.io.foreign.stated import check_setting
from disentangle.text import shown

__all__ = ["check_module"]

_TORCH = "torch.nn.modules."
_ACTIVATIONS = "torch.nn.modules.activation."
_SILENT = {
    "Sequential", "ModuleList", "ModuleDict", "Identity", "Dropout", "Dropout1d", "Dropout2d", "Flatten", "Unflatten",
    "DataParallel", "Module",
}  # fmt: skip
_BETWEEN = {"dcgan": {"ReLU"}, "mlp-gan": {"ReLU", "LeakyReLU"}}  # rectifiers of plain generators
_LAYERS = {"dcgan": {"ConvTranspose2d", "BatchNorm2d"}, "mlp-gan": {"Linear"}}


def check_module(module: Node, config: dict[str, Any], budget: Budget) -> None:
    """Compare the layers of a pickled network with the configuration that was made of its tensors.

    The slope of a fully connected generator's rectifiers, which no tensor shows, is put into ``config``. Of plain
    generators every layer has to be one that the toolkit's has; of others, those that are torch's rectifiers. What a
    class of the author's own does is its code, which is not read.

    Args:
        module: the network.
        config: of the toolkit's network, with its kind.
        budget: of the file; the walk is taken from it.

    Raises:
        CheckpointError: if a layer is another, or set in another way.
    """
    kind = str(config["kind"])
    convolutions = 0
    for name, part in walk(module, budget):
        called = class_name(part)
        place = shown(name.rstrip(".") or "the network", most=80)
        if part.path.startswith(_ACTIVATIONS) or (part.path.startswith(_TORCH) and called == "Tanh"):
            _check_activation(place, part, called, kind, config)
        elif part.path.startswith(_TORCH) and kind in _LAYERS and called not in _SILENT:
            if called not in _LAYERS[kind]:
                raise CheckpointError(f"its layer {place} is a {called}, which the toolkit's {kind} does not have.")
            if called == "ConvTranspose2d":
                _check_numbers(place, part, _strides(convolutions))
                convolutions += 1
            elif called == "BatchNorm2d":
                _check_numbers(place, part, {"eps": 1e-5})
        elif not part.path.startswith(_TORCH):
            _check_own(part, config, budget)


def _check_activation(place: str, part: Node, called: str, kind: str, config: dict[str, Any]) -> None:
    if kind not in _BETWEEN:
        if called != "Tanh":
            check_setting("activation", called, config)
        return
    if called not in {*_BETWEEN[kind], "Tanh"}:
        known = " or ".join(sorted(_BETWEEN[kind]))
        raise CheckpointError(f"its layer {place} is a {called}; the toolkit's {kind} has {known}, at the end a Tanh.")
    if kind == "mlp-gan" and called != "Tanh":
        slope = number(part, "negative_slope", 0.01) if called == "LeakyReLU" else 0.0
        if config.setdefault("slope", slope) != slope:
            raise CheckpointError(f"its layer {place} has the slope {slope:g}, those before {config['slope']:g}.")


def _strides(index: int) -> dict[str, Any]:
    """Of the first convolution, which makes 4 pixels of the latent, and of all others."""
    stride, padding = (1, 0) if index == 0 else (2, 1)
    return {"stride": stride, "padding": padding, "output_padding": 0, "dilation": 1, "groups": 1}


def _check_numbers(place: str, part: Node, expected: dict[str, Any]) -> None:
    for name, known in expected.items():
        value = attribute(part, name, known)
        values = value if isinstance(value, (list, tuple)) and len(value) <= 4 else [value]
        if isinstance(value, Tensor) or any(one != known for one in values):
            raise CheckpointError(
                f"its layer {place} has {name} {shown(value, most=60)}; expected {known:g}, as the toolkit's has."
            )


def _check_own(part: Node, config: dict[str, Any], budget: Budget) -> None:
    """Attributes of an author's own module that are settings by their names."""
    budget.steps(len(part.attributes))
    for name, value in part.attributes.items():
        plain = isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 100)
        if isinstance(name, str) and not name.startswith("_") and len(name) <= 100 and plain:
            check_setting(name, value, config)
