"""StyleGAN2 and StyleGAN2-ADA as TensorFlow's networks name their variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.formats import Converted, block_widths
from disentangle.io.foreign.mapping_sizes import embedded_together, mapping_sizes
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.tensorflow_settings import ANY, Allowed, check_settings, number_of, taps_stated, word_of

__all__ = ["INPUTS_AND_TRAINING", "convert", "flipped", "matrix", "squares"]


def squares(t: Tensor) -> Tensor:
    """(height, width, in, out) to (out, in, height, width)."""
    return t.permute(3, 2, 0, 1)


def flipped(t: Tensor) -> Tensor:
    """The same for a kernel that is met backwards."""
    return squares(t).flip(2, 3)


def matrix(t: Tensor) -> Tensor:
    """(in, out) to (out, in)."""
    return t.T


def _plus_one(t: Tensor) -> Tensor:
    return t + 1


def _noise(match: re.Match[str]) -> str:
    index = int(match[1])
    if index == 0:
        return "synthesis.b4.conv1.noise_const"
    return f"synthesis.b{8 << (index - 1) // 2}.conv{(index - 1) % 2}.noise_const"


_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}


def _layer(match: re.Match[str]) -> str:
    return f"synthesis.b{match[1]}.{_LAYERS[match[2]]}.{match[3]}"


def _affine(part: str) -> Any:
    return lambda match: f"synthesis.b{match[1]}.{_LAYERS[match[2]]}.affine.{part}"


_NAMES = r"(Conv0_up|Conv1|Conv|ToRGB|Skip)"
_TABLE: list[Row] = [
    (r"lod|(mapping|synthesis)/(lod|.*resample_kernel)", DROP, None),
    (r"(?:mapping/)?dlatent_avg", "mapping.w_avg", None),
    (r"mapping/LabelEmbed/weight", "mapping.embed.weight", matrix),
    (r"mapping/LabelEmbed/bias", "mapping.embed.bias", None),
    (r"mapping/LabelConcat/weight", "mapping.embed.weight", embedded_together),
    (r"mapping/Dense(\d+)/weight", r"mapping.fc\1.weight", matrix),
    (r"mapping/Dense(\d+)/bias", r"mapping.fc\1.bias", None),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const", lambda t: t.reshape(t.shape[-3:])),
    (r"synthesis/(\d+)x\d+/(Conv0_up)/(weight)", _layer, flipped),
    (rf"synthesis/(\d+)x\d+/{_NAMES}/(weight)", _layer, squares),
    (rf"synthesis/(\d+)x\d+/{_NAMES}/mod_weight", _affine("weight"), matrix),
    (rf"synthesis/(\d+)x\d+/{_NAMES}/mod_bias", _affine("bias"), _plus_one),
    (rf"synthesis/(\d+)x\d+/{_NAMES}/(bias)", _layer, None),
    (rf"synthesis/(\d+)x\d+/{_NAMES}/(noise_strength)", _layer, lambda t: t.reshape(())),
    (r"synthesis/noise(\d+)", _noise, lambda t: t[0, 0]),
]

_ACTIVATIONS = ("lrelu", "relu", "linear", "swish")
INPUTS_AND_TRAINING: Allowed = dict.fromkeys(
    (
        "num_channels", "resolution", "label_size", "latent_size", "dlatent_size", "dlatent_broadcast", "fmap_base",
        "fmap_decay", "fmap_min", "fmap_max", "mapping_layers", "mapping_fmaps", "mapping_lrmul", "truncation_psi",
        "truncation_cutoff", "truncation_psi_val", "truncation_cutoff_val", "dlatent_avg_beta", "style_mixing_prob",
        "is_training", "is_validation", "is_template_graph", "force_clean_graph", "return_dlatents", "components",
        "randomize_noise", "structure", "dtype",
    ),
    ANY,
)  # fmt: skip
"""Read off the tensors, of training alone, or without a change of the pictures."""

_STATED: Allowed = {
    **INPUTS_AND_TRAINING,
    "label_fmaps": ANY,
    "fmap_const": ANY,
    "architecture": ("orig", "skip", "resnet"),
    "num_fp16_res": ANY,
    "conv_clamp": ANY,
    "resample_kernel": ANY,
    "fused_modconv": ANY,
    "use_noise": (True, False),
    "normalize_latents": (True, False),
    "nonlinearity": _ACTIVATIONS,
    "mapping_nonlinearity": _ACTIVATIONS,
    "mapping_func": ("G_mapping",),
    "synthesis_func": ("G_synthesis_stylegan2", "G_synthesis", "G_synthesis_stylegan_revised"),
}


def _grown(variables: Mapping[str, Tensor], decisions: list[str]) -> dict[str, Tensor]:
    """Of a network that grew, whose layers to the image count from the largest on: only the largest, and its name."""
    levels = [int(match[1]) for name in variables if (match := re.match(r"synthesis/ToRGB_lod(\d{1,3})/", name))]
    if not levels:
        return dict(variables)
    lod = variables.get("lod", variables.get("synthesis/lod"))
    if lod is not None and float(lod) != 0:
        raise CheckpointError(
            f"it stands at level of detail {float(lod):g} of growing; expected 0: only then is it a StyleGAN2."
        )
    sizes = [int(match[1]) for name in variables if (match := re.match(r"synthesis/(\d{1,6})x\d+/", name))]
    top = max(sizes, default=4)
    decisions.append("It grew; the layers to smaller images, which its pictures no longer show, are left out.")
    kept = {name: tensor for name, tensor in variables.items() if not re.match(r"synthesis/ToRGB_lod[1-9]", name)}
    return {name.replace("synthesis/ToRGB_lod0/", f"synthesis/{top}x{top}/ToRGB/"): t for name, t in kept.items()}


def convert(variables: Mapping[str, Tensor], settings: Mapping[str, Any], which: str) -> Converted:
    """Its variables, by "component/name", and what it was made with, in our terms."""
    decisions = check_settings(settings, _STATED)
    state = rename(_grown(variables, decisions), _TABLE)
    channels = block_widths(state)
    top = f"synthesis.b{4 << (len(channels) - 1)}"
    for name in ("synthesis.b4.const", f"{top}.torgb.bias"):
        if name not in state:
            raise CheckpointError(f"it lacks what becomes {name}; it is damaged.")
    if state["synthesis.b4.const"].shape[0] != state["synthesis.b4.conv1.weight"].shape[1] or (
        state["synthesis.b4.const"].shape[0] != channels[0]
    ):
        raise CheckpointError(
            f"its constant has {state['synthesis.b4.const'].shape[0]} features (fmap_const) and its layer of 4 pixels "
            f"{channels[0]}; expected as many."
        )
    painted = sum(name.endswith(".torgb.weight") for name in state)
    clamp = settings.get("conv_clamp")
    config: dict[str, Any] = {
        "kind": "stylegan2",
        "resolution": 4 << (len(channels) - 1),
        "image_channels": state[f"{top}.torgb.bias"].shape[0],
        **mapping_sizes(state, class_norm="together" if "mapping/LabelConcat/weight" in variables else "apart"),
        "mapping_multiplier": number_of(settings, "mapping_lrmul", 0.01),
        "mapping_activation": word_of(settings, "mapping_nonlinearity", "lrelu"),
        "mapping_norm": bool(settings.get("normalize_latents", True)),
        "channels": channels,
        "architecture": "resnet" if f"{top}.skip.weight" in state else "skip" if painted > 1 else "orig",
        "kernel": state["synthesis.b4.conv1.weight"].shape[-1],
        "resample_filter": taps_stated(settings),
        "activation": word_of(settings, "nonlinearity", "lrelu"),
        "clamp": None if clamp is None else number_of(settings, "conv_clamp", 0.0),
        "use_noise": any(name.endswith("noise_strength") for name in state),
    }
    return Converted(config, state, which, decisions)
