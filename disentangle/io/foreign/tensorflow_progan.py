"""ProGAN as TensorFlow's network names its variables."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Converted, block_widths
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.tensorflow_settings import ANY, Allowed, check_settings, number_of
from disentangle.io.foreign.tensorflow_stylegan2 import INPUTS_AND_TRAINING, squares

__all__ = ["convert"]

_STATED: Allowed = {
    **INPUTS_AND_TRAINING,
    "normalize_latents": (True, False),
    "use_wscale": (True, False),
    "use_pixelnorm": (True, False),
    "use_leakyrelu": (True, False),
    "pixelnorm_epsilon": ANY,
    "fused_scale": (True, False),
}

_LAYERS = {"Conv": "conv1", "Conv1": "conv1", "Conv0": "conv0", "Conv0_up": "conv0", "Dense": "conv0"}


def _layer(match: re.Match[str]) -> str:
    return f"b{match[1]}.{_LAYERS[match[2]]}.{match[3]}"


def _first(t: Tensor) -> Tensor:
    return t.reshape(t.shape[0], -1, 4, 4)


def _upsampling(t: Tensor) -> Tensor:
    """(height, width, out, in) of a transposed convolution, which meets its kernel backwards."""
    return t.permute(2, 3, 0, 1).flip(2, 3)


_TABLE: list[Row] = [
    (r"lod", DROP, None),
    (r"(4)x4/(Dense)/(weight)", _layer, _first),
    (r"(\d+)x\1/(Conv0_up)/(weight)", _layer, _upsampling),
    (r"(\d+)x\1/(Conv|Conv0|Conv1)/(weight)", _layer, squares),
    (r"(\d+)x\1/(Dense|Conv|Conv0|Conv0_up|Conv1)/(bias)", _layer, None),
]


def convert(variables: Mapping[str, Tensor], settings: Mapping[str, Any], which: str) -> Converted:
    """Its variables by name, and what it was made with, in our terms."""
    decisions = check_settings(settings, _STATED)
    classes = settings.get("label_size", 0)
    if classes:
        raise CheckpointError(
            f"it states {number_of(settings, 'label_size', 0):g} classes (label_size), which it puts beside z before "
            "its first layer; a ProGAN here has none."
        )
    first = variables["4x4/Dense/weight"]
    if first.ndim != 2 or first.shape[1] % 16:
        raise CheckpointError(f"its first layer has shape {tuple(first.shape)}; expected (z, 16 times the features).")
    count = len({m[1] for m in (re.fullmatch(r"(\d+)x\1/Conv1?/weight", name) for name in variables) if m})
    if not 1 <= count <= 12:
        raise CheckpointError(f"it has {count} resolutions; expected those from 4 to at most 8,192 pixels.")
    rgb: list[Row] = [
        (
            rf"ToRGB_lod(\d+)/{part}",
            lambda m, part=part: f"b{4 << max(count - 1 - int(m[1]), 0)}.torgb.{part}",  # type: ignore[misc]
            squares if part == "weight" else None,
        )
        for part in ("weight", "bias")
    ]
    state = rename(variables, _TABLE + rgb)
    channels = block_widths(state, "")
    if f"b{4 << (len(channels) - 1)}.torgb.bias" not in state:
        raise CheckpointError("it has no layer to the largest image; it is damaged.")
    lod = float(variables["lod"]) if "lod" in variables else 0.0
    if lod:
        decisions.append(f"The file stands at level of detail {lod:g}, so its pictures are not at full resolution.")
    config = {
        "kind": "progan",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state[f"b{4 << (len(channels) - 1)}.torgb.bias"].shape[0],
        "latent_dim": first.shape[0],
        "channels": channels,
        "equalized": bool(settings.get("use_wscale", True)),
        "first_gain": math.sqrt(2.0) / 4,
        "slope": 0.2 if settings.get("use_leakyrelu", True) else 0.0,
        "norm": bool(settings.get("use_pixelnorm", True)),
        "norm_latent": bool(settings.get("normalize_latents", True)),
        "norm_eps": number_of(settings, "pixelnorm_epsilon", 1e-8),
        "lod": lod,
    }
    return Converted(config, state, which, decisions)
