"""Settings that stand beside the tensors of a file, compared with the network that the tensors make."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Name, Node
from disentangle.io.foreign.places import standing
from disentangle.text import shown

__all__ = ["check_setting", "check_stated"]

_HOLDERS = re.compile(
    r"(model_|gan_|g_|gen_|generator_)?(args|cfg|conf|config|configuration|hparams|hyper_parameters|hyperparameters|"
    r"kwargs|opt|options|params|settings)"
)
_INSIDE = re.compile("model|network|net|net_?g|g|gen|generator|arch|architecture")  # of settings, those of a network
_DEEPEST = 3
_LATENT = {"nz", "z_dim", "zdim", "dim_z", "latent_dim", "latent_size", "z_size", "noise_dim", "latentvectordim"}
_IMAGE_CHANNELS = {"nc", "image_channels", "img_channels", "num_channels", "channels_img", "dimoutput"}
_RESOLUTION = {"resolution", "image_size", "img_size", "imagesize", "im_size", "imsize"}
_LEAKY = {"lrelu", "leakyrelu", "fusedleakyrelu", "fusedlrelu"}
_ACTIVATIONS = {  # between the layers of each kind
    "dcgan": {"relu"}, "mlp-gan": _LEAKY, "gan": _LEAKY, "progan": _LEAKY, "stylegan1": _LEAKY, "stylegan2": _LEAKY,
    "stylegan3": _LEAKY, "eigengan": _LEAKY,
}  # fmt: skip
_NOTHING = {"none", "identity", "linear", "false", ""}
_TANH = {"tanh"}
_LAST = {"dcgan": _TANH, "mlp-gan": _TANH, "gan": _TANH, "eigengan": _TANH}  # others end with nothing
_RESAMPLING = {
    "dcgan": {"transposed", "transpose", "convtranspose", "convtranspose2d", "deconv", "convtransposed"},
    "gan": {"transposed", "transpose", "convtranspose", "convtranspose2d", "deconv", "convtransposed"},
    "progan": {"nearest"},
}  # fmt: skip
_SLOPES = {"dcgan": 0.0}  # of the rectifiers, 0.2 of all others


def check_stated(data: Any, config: Mapping[str, Any], budget: Budget) -> None:
    """Compare the settings in a file with the configuration that was made of its tensors.

    Settings of discriminators and optimisers, and those whose meaning is not known, say nothing.

    Args:
        data: what the file holds.
        config: of the network, with its kind.
        budget: of the file; the entries that are looked at are taken from it.

    Raises:
        CheckpointError: if one is another than the tensors show, or is one that the toolkit's network does not have.
    """
    for name, value in _settings(data, budget):
        check_setting(name, value, config)


def check_setting(name: str, value: Any, config: Mapping[str, Any]) -> None:
    """One setting, a number, a word or the name of a class, as :func:`check_stated` compares all.

    Raises:
        CheckpointError: as there.
    """
    problem = _problem(name.lower(), value, config)
    if problem is not None:
        raise CheckpointError(f"its settings say {shown(name, most=60)} is {_written(value)}, and {problem}.")


def _settings(data: Any, budget: Budget) -> Iterator[tuple[str, Any]]:
    """(name, number, word or name of a function) of every setting, and of what stands beside the networks."""
    waiting: list[tuple[Any, int]] = [(data, 0)]
    seen: set[int] = set()
    while waiting:
        held, depth = waiting.pop()
        named = held.attributes if isinstance(held, Node) else held
        if not isinstance(named, Mapping) or id(named) in seen:
            continue
        seen.add(id(named))
        budget.steps(len(named) + 1)
        for name, value in named.items():
            if not isinstance(name, str) or len(name) > 100 or (name != "opt" and standing(name) == 3):
                continue
            if isinstance(value, (bool, int, float, Name)) or (isinstance(value, str) and len(value) <= 100):
                yield name, value
            elif depth < _DEEPEST and (_holds(name) or (depth and _INSIDE.fullmatch(name.lower()))):
                waiting.append((value, depth + 1))
            elif isinstance(value, Node):  # an object, as nn.ReLU(), or a partial of a class
                made = value.args[0] if value.args and isinstance(value.args[0], Name) else None
                yield name, made if made is not None and value.path.endswith("partial") else Name(value.path)
            elif depth == 0 and isinstance(value, Mapping):  # a network with its own settings beside its tensors
                budget.steps(len(value))
                named_so = (part for key, part in value.items() if isinstance(key, str) and _holds(key))
                waiting += [(part, depth + 1) for part in named_so]


def _holds(name: str) -> bool:
    return len(name) <= 100 and _HOLDERS.fullmatch(name.lower()) is not None


def _written(value: Any) -> str:
    return shown(value.path if isinstance(value, Name) else value, most=60)


def _word(value: Any) -> str | None:
    """``"leakyrelu"`` of "leaky_relu", "nn.LeakyReLU" and the class itself; None of a number."""
    if value is True or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return None
    text = value.path if isinstance(value, Name) else str(value)
    return re.sub(r"[^a-z0-9]", "", re.split(r"[.:]", text)[-1].partition("(")[0].lower())


def _problem(name: str, value: Any, config: Mapping[str, Any]) -> str | None:
    kind = str(config.get("kind"))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _other_number(name, value, config)
    words = set(re.findall(r"[a-z]+", name))
    last = bool(words & {"out", "output", "last", "final"}) or name == "generationactivation"
    ends = _LAST.get(kind, _NOTHING) if "last" not in config else _TANH if config["last"] == "tanh" else _NOTHING
    if name in ("tanh", "use_tanh", "final_tanh", "output_tanh") and isinstance(value, bool):
        said = "tanh" if value else "none"
        return None if said in ends else f"the toolkit's {kind} ends with {'a' if ends is _TANH else 'no'} tanh"
    word = _word(value)
    if word is None or not isinstance(value, (str, Name)):
        return None
    if "activation" in name or words & {"act", "nonlinearity", "actv"}:
        if last:
            return None if word in ends else f"the toolkit's {kind} ends with {'a' if ends is _TANH else 'no'} tanh"
        known = _ACTIVATIONS.get(kind)
        if known is _LEAKY and config.get("activation", "lrelu") != "lrelu":
            known = {str(config["activation"])}
        called = "leakyrelu" if known is _LEAKY else sorted(known or [""])[0]
        return None if known is None or word in known else f"the toolkit's {kind} has {called} between layers"
    if words & {"upsample", "upsampling", "resample", "resampling", "upscale"} or name in ("up_mode", "upsample_mode"):
        ways = _RESAMPLING.get(kind)
        return None if ways is None or word in ways else f"the toolkit's {kind} enlarges otherwise ({sorted(ways)[-1]})"
    return None


def _other_number(name: str, value: float, config: Mapping[str, Any]) -> str | None:
    kind = str(config.get("kind"))
    slope = config.get("slope", _SLOPES.get(kind, 0.2))
    if name in ("leakyreluleak", "negative_slope", "leaky_slope", "lrelu_slope"):
        return None if value == slope or kind not in _ACTIVATIONS else f"the toolkit's {kind} has a slope of {slope:g}"
    shape = config.get("image_shape")
    shown_by_tensors: tuple[tuple[set[str], Any], ...] = (
        (_LATENT, config.get("latent_dim", config.get("z_dim"))),
        (_IMAGE_CHANNELS, shape[0] if shape else config.get("image_channels")),
        (_RESOLUTION, shape[1] if shape else config.get("resolution")),
    )
    if kind == "stylegan2":  # rosinality's arguments
        shown_by_tensors += (({"size"}, config.get("resolution")), ({"n_mlp"}, config.get("mapping_layers")))
    for names, found in shown_by_tensors:
        if name in names and isinstance(found, int) and value != found:
            return f"its tensors make that {found:,}; it is damaged, or not of these settings"
    return None
