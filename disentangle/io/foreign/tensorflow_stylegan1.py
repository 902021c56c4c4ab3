"""StyleGAN as TensorFlow's network names its variables."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Converted, block_widths
from disentangle.io.foreign.fused import turn_fused
from disentangle.io.foreign.mapping_sizes import embedded_together, mapping_sizes
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.tensorflow_settings import ANY, Allowed, check_settings, number_of, taps_stated, word_of
from disentangle.io.foreign.tensorflow_stylegan2 import INPUTS_AND_TRAINING, matrix, squares

__all__ = ["convert", "unscaled"]

_STATED: Allowed = {
    **INPUTS_AND_TRAINING,
    "use_styles": (True,),
    "const_input_layer": (True,),
    "use_noise": (True, False),
    "nonlinearity": ("lrelu", "relu"),
    "mapping_nonlinearity": ("lrelu", "relu"),
    "use_wscale": (True, False),
    "use_pixel_norm": (False,),
    "use_instance_norm": (True,),
    "normalize_latents": (True, False),
    "fused_scale": (True, False, "auto"),
    "blur_filter": ANY,
    "mapping_func": ("G_mapping",),
    "synthesis_func": ("G_synthesis",),
}

_LAYERS = {"Const": "conv0", "Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1"}
_PARTS = {"Noise/weight": "noise_strength", "StyleMod/weight": "affine.weight", "StyleMod/bias": "affine.bias"}


def _place(match: re.Match[str]) -> str:
    return f"synthesis.b{match['size']}.{_LAYERS[match['layer']]}.{_PARTS.get(match['part'], match['part'])}"


_LAYER = r"synthesis/(?P<size>\d+)x(?P=size)/(?P<layer>Const|Conv0_up|Conv1|Conv)/"
_TABLE: list[Row] = [
    (r"lod|synthesis/lod", DROP, None),
    (r"(?:mapping/)?dlatent_avg", "mapping.w_avg", None),
    (r"mapping/LabelConcat/weight", "mapping.embed.weight", embedded_together),
    (r"mapping/Dense(\d+)/weight", r"mapping.fc\1.weight", matrix),
    (r"mapping/Dense(\d+)/bias", r"mapping.fc\1.bias", None),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const", lambda t: t[0]),
    (rf"{_LAYER}(?P<part>weight)", _place, squares),
    (rf"{_LAYER}(?P<part>StyleMod/weight)", _place, matrix),
    (rf"{_LAYER}(?P<part>bias|StyleMod/bias|Noise/weight)", _place, None),
    (
        r"synthesis/noise(\d+)",
        lambda m: f"synthesis.b{4 << int(m[1]) // 2}.conv{int(m[1]) % 2}.noise_const",
        lambda t: t[0, 0],
    ),
]


def unscaled(state: dict[str, Tensor]) -> None:
    """Weights that were used as they are, made such that our scaling gives them back, in place."""
    for name, tensor in state.items():
        if not name.endswith(".weight") or "embed" in name:
            continue
        fan_in = tensor[0].numel()
        plain = name.endswith((".affine.weight", ".torgb.weight"))
        state[name] = tensor * math.sqrt(fan_in if plain else fan_in / 2)


def convert(variables: Mapping[str, Tensor], settings: Mapping[str, Any], which: str) -> Converted:
    """Its variables, by "component/name", and what it was made with, in our terms."""
    decisions = check_settings(settings, _STATED)
    count = len({m[1] for m in (re.fullmatch(r"synthesis/(\d+)x\d+/Conv1?/weight", name) for name in variables) if m})
    if not 1 <= count <= 12:
        raise CheckpointError(f"it has {count} resolutions; expected those from 4 to at most 8,192 pixels.")
    rgb: list[Row] = [
        (
            rf"synthesis/ToRGB_lod(\d+)/{part}",
            lambda m, part=part: f"synthesis.b{4 << max(count - 1 - int(m[1]), 0)}.torgb.{part}",  # type: ignore[misc]
            squares if part == "weight" else None,
        )
        for part in ("weight", "bias")
    ]
    state = rename(variables, _TABLE + rgb)
    channels = block_widths(state)
    if len(channels) != count:
        raise CheckpointError(f"it has {count} resolutions, and those from 4 pixels on are {len(channels)}.")
    top = f"synthesis.b{4 << (count - 1)}"
    if f"{top}.torgb.bias" not in state:
        raise CheckpointError("it has no layer to the largest image; it is damaged.")
    stated = settings.get("fused_scale", "auto")
    fused: Literal["auto", "always", "never"] = "auto" if stated == "auto" else "always" if stated else "never"
    turn_fused(state, "synthesis.", count, fused, first=128)
    if not settings.get("use_wscale", True):
        unscaled(state)
    if not any(name.endswith("noise_strength") for name in state):
        decisions.append("It has no noise: the strengths of the model's are zero.")
        for index, width in enumerate(channels):
            for part in ("conv0", "conv1"):
                layer = f"synthesis.b{4 << index}.{part}"
                state[f"{layer}.noise_strength"] = torch.zeros(width)
                state[f"{layer}.noise_const"] = torch.zeros(4 << index, 4 << index)
    lod = float(variables["lod"]) if "lod" in variables else 0.0
    if lod:
        decisions.append(f"The file stands at level of detail {lod:g}, so its pictures are not at full resolution.")
    taps = taps_stated(settings, "blur_filter", (1.0, 2.0, 1.0), none=())
    config: dict[str, Any] = {
        "kind": "stylegan1",
        "resolution": 4 << (count - 1),
        "image_channels": state[f"{top}.torgb.bias"].shape[0],
        **mapping_sizes(state, class_norm="together"),
        "mapping_multiplier": number_of(settings, "mapping_lrmul", 0.01),
        "mapping_activation": word_of(settings, "mapping_nonlinearity", "lrelu"),
        "mapping_norm": bool(settings.get("normalize_latents", True)),
        "channels": channels,
        "blur": bool(taps),
        "blur_filter": taps[::-1] or (1.0, 2.0, 1.0),  # theirs is not turned round as a convolution's is
        "activation": word_of(settings, "nonlinearity", "lrelu"),
        "rgb_first": next(i for i in range(count) if f"synthesis.b{4 << i}.torgb.bias" in state),
        "lod": lod,
    }
    return Converted(config, state, which, decisions)
