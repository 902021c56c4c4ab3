"""Networks that were pickled whole say how their layers are set, which is compared with the toolkit's network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Node
from disentangle.io.foreign.module_tree import attribute, class_name, number, walk
from disentangle.io.foreign.plain_modules import PLAIN, settings_of
from disentangle.io.foreign.stated import check_setting
from disentangle.text import shown

__all__ = ["check_module"]

_TORCH = "torch.nn.modules."
_ACTIVATIONS = "torch.nn.modules.activation."
_CONVOLUTIONS = "torch.nn.modules.conv."
_SLOPES = dict.fromkeys(("slope", "leak", "leakiness", "leakyness"), "negative_slope")  # of a generator's own class
_RECTIFIED = ("eigengan", "gan", "progan", "stylegan1")  # kinds whose rectifiers are all of one slope


def check_module(module: Node, config: dict[str, Any], budget: Budget) -> None:
    """Compare the layers of a pickled network with the configuration that was made of its tensors.

    Of plain generators every layer has to be one that the toolkit's has; of others, those of torch's own are looked at.
    What a class of the author's own does is its code, which is not read.

    Args:
        module: the network.
        config: of the toolkit's network, with its kind.
        budget: of the file; the walk is taken from it.

    Raises:
        CheckpointError: if a layer is another, or set in another way.
    """
    kind = str(config["kind"])
    if kind in PLAIN:
        _compare(settings_of(module, kind, budget), config)
    for name, part in walk(module, budget):
        called = class_name(part)
        place = shown(name.rstrip(".") or "the network", most=80)
        if not part.path.startswith(_TORCH):
            _check_own(part, config, budget)
        elif kind in PLAIN:
            continue
        elif part.path.startswith(_ACTIVATIONS) and called != "Tanh":
            check_setting("activation", called, config)
            # Mapping networks have 0.2 in any case.
            if called == "LeakyReLU" and kind in _RECTIFIED and not name.startswith("mapping."):
                _check_number(place, "slope", number(part, "negative_slope", 0.01), config.get("slope", 0.2))
        elif part.path.startswith(_CONVOLUTIONS):
            mode = attribute(part, "padding_mode", "zeros")
            if mode != "zeros":
                raise CheckpointError(f"its layer {place} pads with {shown(mode, most=40)}; expected zeros.")
        elif kind == "gan" and called.startswith("InstanceNorm"):
            _check_number(place, "eps", number(part, "eps", 1e-5), 1e-6)


def _check_number(place: str, name: str, value: Any, known: float) -> None:
    if isinstance(value, Tensor) or value != known:
        raise CheckpointError(
            f"its layer {place} has the {name} {shown(value, most=60)}; expected {known:g}, as the toolkit's has."
        )


def _compare(stated: dict[str, Any], config: dict[str, Any]) -> None:
    """What the layers of a plain generator say with what was made of them."""
    count = len(config.get("channels", ()))
    drawn = config.get("convolutions") or ((4, 1, 0, 0), *((4, 2, 1, 0),) * count)
    made = {
        "strides": tuple(layer[1] for layer in drawn),
        "paddings": tuple(layer[2] for layer in drawn),
        "output_paddings": tuple(layer[3] for layer in drawn),
        "slope": config.get("slope", 0.0 if config["kind"] == "dcgan" else 0.2),
        "eps": config.get("norm_eps", 1e-5),
        "tanh": config.get("last", "tanh") == "tanh",
    }
    for name, value in stated.items():
        if value != made[name]:
            raise CheckpointError(
                f"its layers have {name} {shown(value, most=60)}; expected {shown(made[name], most=60)}, as the "
                f"toolkit's {config['kind']} has."
            )


def _check_own(part: Node, config: dict[str, Any], budget: Budget) -> None:
    """Attributes of an author's own module that are settings by their names."""
    budget.steps(len(part.attributes))
    for name, value in part.attributes.items():
        plain = isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 100)
        if isinstance(name, str) and not name.startswith("_") and len(name) <= 100 and plain:
            check_setting(_SLOPES.get(name.lower(), name), value, config)
