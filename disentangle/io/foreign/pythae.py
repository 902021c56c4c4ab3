"""Model folders of pythae (benchmark_VAE) with its default networks."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.files import sha256_of
from disentangle.inert.reader import read_budgeted
from disentangle.io.foreign.formats import Content, Converted, ForeignFormat, Options
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import Row, rename
from disentangle.json_files import read_json
from disentangle.text import shown

__all__ = ["FORMAT", "NAME", "convert", "recognise"]

NAME = "a model folder of pythae"

_WEIGHTS, _CONFIG = "model.pt", "model_config.json"
_ENTRY = 112  # bytes of an entry of a dictionary
_PRIORS = {  # models whose latents are not those that the decoder is given for N(0, I)
    "VAMPConfig": "a mixture of its own posteriors",
    "PoincareVAEConfig": "on a Poincaré ball",
    "VAE_IAF_Config": "N(0, I) behind a flow, which is left out",
    "VAE_LinNF_Config": "N(0, I) behind a flow, which is left out",
}
_TABLE: list[Row] = [
    (r"encoder\.layers\.0\.0\.(weight|bias)", r"encoder.0.\1", None),
    (r"encoder\.embedding\.(weight|bias)", r"mean.\1", None),
    (r"encoder\.log_var\.(weight|bias)", r"log_variance.\1", None),
    (r"decoder\.layers\.0\.0\.(weight|bias)", r"first.\1", None),
    (r"decoder\.layers\.1\.0\.(weight|bias)", r"last.\1", None),
]


def recognise(content: Content) -> bool:
    """Whether the folder has pythae's two files."""
    folder = content.path
    return content.container == "directory" and (folder / _CONFIG).is_file() and (folder / _WEIGHTS).is_file()


def convert(content: Content, options: Options) -> Converted:
    """The model of the folder."""
    settings = read_json(content.path / _CONFIG, what="pythae's configuration", error=CheckpointError)
    if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
        raise CheckpointError(f"its {_CONFIG} does not name a model; it is damaged.")
    code = [name for name in ("encoder.pkl", "decoder.pkl") if (content.path / name).exists()]
    if code or not settings.get("uses_default_encoder", True) or not settings.get("uses_default_decoder", True):
        raise CheckpointError(
            f"it has networks of its own{' (' + ', '.join(code) + ')' if code else ''}, which are stored as code that "
            "is not run here; expected pythae's default encoder and decoder."
        )
    data, budget = read_budgeted(content.path / _WEIGHTS, limits=content.limits)
    source = data.get("model_state_dict") if isinstance(data, dict) else None
    if not isinstance(source, dict):
        raise CheckpointError(f"its {_WEIGHTS} has no model_state_dict; it is damaged.")
    # Some models have more than a VAE (a discriminator, a prior); encoder and decoder are what is drawn and measured.
    budget.memory(_ENTRY * len(source))
    kept = {
        name: tensor
        for name, tensor in source.items()
        if isinstance(name, str) and name.startswith(("encoder.", "decoder."))
    }
    state = rename(tensors_of(kept, budget), _TABLE)
    if "log_variance.weight" not in state:
        raise CheckpointError(
            f"its {shown(settings['name'])} has an encoder without variances; expected a variational one."
        )
    decisions = [f"Weights of {_WEIGHTS}, sha256 {sha256_of(content.path / _WEIGHTS)}."]
    if settings["name"] in _PRIORS:
        prior = _PRIORS[settings["name"]]
        decisions.append(f"Its prior ({settings['name']}) is {prior}: latents drawn from N(0, I) are not its own.")
    if len(kept) < len(source):
        decisions.append(f"{len(source) - len(kept)} tensors beside encoder and decoder were left out.")
    config = {
        "kind": "mlp-vae",
        "image_shape": _image_shape(settings, state),
        "latent_dim": state["mean.weight"].shape[0],
        "hidden": state["first.weight"].shape[0],
    }
    return Converted(config, state, shown(settings["name"]), decisions)


def _image_shape(settings: dict[str, Any], state: dict[str, Tensor]) -> tuple[int, ...]:
    shape = settings.get("input_dim")
    if not isinstance(shape, list) or len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise CheckpointError(
            f"its input_dim is {shown(shape, most=60)}; expected channels, height and width of an image."
        )
    if math.prod(shape) != state["last.weight"].shape[0]:
        raise CheckpointError(
            f"its input_dim is {shown(shape, most=60)}, but its decoder makes {state['last.weight'].shape[0]} numbers."
        )
    return tuple(shape)


FORMAT = ForeignFormat(NAME, recognise, convert)
