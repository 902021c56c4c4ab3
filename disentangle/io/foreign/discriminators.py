"""The discriminators beside the generators of StyleGAN2 and StyleGAN3, for training these further."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node
from disentangle.io.foreign import nvidia, rosinality, tensorflow
from disentangle.io.foreign.formats import Content, Converted
from disentangle.io.foreign.module_tree import attribute, class_name, is_module, number, scalar, state_dict
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import PUBLISHED, taps_of
from disentangle.io.foreign.tensorflow_settings import ANY, Allowed, check_settings, number_of, taps_stated
from disentangle.io.foreign.tensorflow_stylegan2 import INPUTS_AND_TRAINING

__all__ = ["discriminator_in"]

_BLOCK = r"b([1-9]\d{0,5})"
_GROUP = 4  # pictures that are compared with each other where a file does not say


def discriminator_in(content: Content) -> Converted:
    """The discriminator of a file, as configuration and tensors of our residual one.

    Raises:
        CheckpointError: if the file has none, or one of another design.
    """
    for family, convert in ((nvidia, _nvidia), (rosinality, _rosinality), (tensorflow, _tensorflow)):
        if family.recognise(content):
            return convert(content)
    raise CheckpointError(
        "its discriminator is not read; expected a network pickle of StyleGAN2 or StyleGAN3 or a checkpoint in "
        "rosinality's layout."
    )


def _sized(
    state: dict[str, Tensor], which: str, taps: tuple[float, ...], clamp: float | None = None, group: Any = _GROUP,
    multiplier: float = 0.01,
) -> Converted:  # fmt: skip
    """With the sizes that are read off the tensors, and what the file says besides."""
    missing = [name for name in ("fromrgb.weight", "conv.weight", "out.weight") if name not in state]
    if missing:
        raise CheckpointError(f"its {which} lacks {missing[0]}; expected a residual discriminator of StyleGAN2.")
    depth = 1 + max((int(name.split(".")[1]) for name in state if name.startswith("blocks.")), default=-1)
    last = state["conv.weight"]
    widths = [state[f"blocks.{i}.conv1.bias"].shape[0] for i in range(depth)]
    first = state["fromrgb.weight"]
    embed, outputs = state.get("classes.embed.weight"), state["out.weight"].shape[0]
    if last.shape[1] - last.shape[0] not in (0, 1):
        raise CheckpointError(
            f"its {which} compares pictures by {last.shape[1] - last.shape[0]} maps; expected one at most."
        )
    if embed is None and outputs != 1:
        raise CheckpointError(
            f"its {which} has {outputs} outputs and no network of the classes, as StyleGAN2's had before ADA; expected "
            "ADA's, or one output."
        )
    config: dict[str, Any] = {
        "kind": "stylegan2",
        "resolution": 4 << depth,
        "image_channels": first.shape[1],
        "channels": (*widths[::-1], first.shape[0]),
        "group": (last.shape[1] - last.shape[0]) * (group if isinstance(group, int) else _GROUP),
        "resample_filter": taps,
        "clamp": clamp,
    }
    if embed is not None:
        layers = sum(re.fullmatch(r"classes\.layers\.\d+\.weight", name) is not None for name in state)
        config |= {"c_dim": embed.shape[1], "class_features": outputs, "class_layers": layers}
        config["class_multiplier"] = multiplier
    decisions = []
    if group is None:
        decisions.append(f"It compared all pictures of a batch with each other; here groups of {_GROUP}.")
    return Converted(config, state, which, decisions)


def _one_filter(kernels: Iterable[Any]) -> tuple[float, ...]:
    """The taps of all filters of a discriminator; the published ones where there is none."""
    found = {taps_of(kernel) for kernel in kernels if isinstance(kernel, Tensor)}
    if len(found) > 1:
        raise CheckpointError("its discriminator's layers differ in their smoothing filters; expected one for all.")
    return next(iter(found), PUBLISHED)


def _placed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names by resolution, ``b64.conv0``, as ours: ``blocks.0.conv0`` for the first."""
    resolutions = [int(m[1]) for m in (re.fullmatch(rf"{_BLOCK}\.conv1\.weight", name) for name in state) if m]
    largest = max(resolutions, default=4)
    others = [name for name in state if "fromrgb" in name and not name.startswith(f"b{largest}.")]
    if others or any(f"b{resolution}.skip.weight" not in state for resolution in resolutions):
        raise CheckpointError("its discriminator has no shortcuts, or several inputs; expected a residual one.")

    def place(match: re.Match[str]) -> str:
        return f"blocks.{int(math.log2(largest / int(match[1])))}.{match[2]}"

    table: list[Row] = [
        (r".*resample_filter", DROP, None),
        (rf"b{largest}\.(fromrgb\..*)", r"\1", None),
        (r"b4\.((?:conv|fc|out)\..*)", r"\1", None),
        (r"mapping\.(embed\..*)", r"classes.\1", None),
        (r"mapping\.fc(\d+)\.(weight|bias)", r"classes.layers.\1.\2", None),
        (rf"{_BLOCK}\.((?:conv0|conv1|skip)\..*)", place, None),
    ]
    return rename(state, table)


# ------------------------------------------------------------------------------------------------------- formats


def _nvidia(content: Content) -> Converted:
    data = content.data
    network = data.get("D") if isinstance(data, Mapping) else data
    if not isinstance(network, Node) or not is_module(network) or class_name(network) != "Discriminator":
        raise CheckpointError("it holds no discriminator; expected one under the name D.")
    tensors = tensors_of(state_dict(network, content.budget), content.budget)
    state = _placed(tensors)
    blocks = sorted({name.split(".")[0] for name in tensors if re.fullmatch(r"b\d+\.conv1\.weight", name)})
    layers = [f"{block}.{part}" for block in blocks for part in ("conv0", "conv1")]
    active = [*layers, "b4.conv", "b4.fc", *(f"{block}.fromrgb" for block in blocks)]
    active += [name.removesuffix(".weight") for name in tensors if re.fullmatch(r"mapping\.fc\d+\.weight", name)]
    if {scalar(network, f"{layer}.activation", "lrelu") for layer in active} - {"lrelu"}:
        raise CheckpointError("its discriminator's layers use another activation; expected leaky relu (lrelu).")
    clamps = {scalar(network, f"{layer}.conv_clamp", None) for layer in layers}
    if len(clamps) > 1:
        raise CheckpointError("its discriminator's layers differ in clamping; expected one setting for all.")
    clamp = clamps.pop() if clamps else None
    shrinking = [
        attribute(network, f"{block}.{part}.resample_filter") for block in blocks for part in ("conv1", "skip")
    ]
    taps = _one_filter(shrinking)
    group = scalar(network, "b4.mbstd.group_size", _GROUP)
    multiplier = number(network, "mapping.fc0.bias_gain", 0.01)
    return _sized(state, "D", taps, None if clamp is None else float(clamp), group, multiplier)


_ROSINALITY: list[Row] = [
    (r".*\.kernel", DROP, None),
    (r"convs\.0\.0\.weight", "fromrgb.weight", None),
    (r"convs\.0\.1\.bias", "fromrgb.bias", None),
    (r"convs\.(\d+)\.conv1\.0\.weight", lambda m: f"blocks.{int(m[1]) - 1}.conv0.weight", None),
    (r"convs\.(\d+)\.conv1\.1\.bias", lambda m: f"blocks.{int(m[1]) - 1}.conv0.bias", None),
    (r"convs\.(\d+)\.conv2\.1\.weight", lambda m: f"blocks.{int(m[1]) - 1}.conv1.weight", None),
    (r"convs\.(\d+)\.conv2\.2\.bias", lambda m: f"blocks.{int(m[1]) - 1}.conv1.bias", None),
    (r"convs\.(\d+)\.skip\.1\.weight", lambda m: f"blocks.{int(m[1]) - 1}.skip.weight", None),
    (r"final_conv\.0\.weight", "conv.weight", None),
    (r"final_conv\.1\.bias", "conv.bias", None),
    (r"final_linear\.0\.(weight|bias)", r"fc.\1", None),
    (r"final_linear\.1\.(weight|bias)", r"out.\1", None),
]


def _rosinality(content: Content) -> Converted:
    held = content.data.get("d")
    if not isinstance(held, Mapping) or not held:
        raise CheckpointError("it holds no discriminator; expected one under the name d: keep the training checkpoint.")
    tensors = tensors_of(held, content.budget)
    kernels = [tensor for name, tensor in tensors.items() if name.endswith(".kernel")]
    return _sized(rename(tensors, _ROSINALITY), "d", _one_filter(kernels))


_STATED: Allowed = {
    **INPUTS_AND_TRAINING,
    "architecture": ("resnet",),
    "nonlinearity": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",),
    "use_spectral_norm": (False,),
    "mbstd_group_size": ANY,
    "mbstd_num_features": (0, 1),
    "score_size": ANY,
    "score_max": ANY,
    "resample_kernel": ANY,
    "conv_clamp": ANY,
    "num_fp16_res": ANY,
    "augment_strength": ANY,
    "use_pagan": (False,),
    "adaptive_dropout": (0,),
    "freeze_layers": ANY,
}
_LAYERS = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip", "Conv": "conv"}
_TENSORFLOW: list[Row] = [
    (r"lod|.*resample_kernel", DROP, None),
    (
        r"(\d+)x\d+/(FromRGB|Conv0|Conv1_down|Skip|Conv)/weight",
        lambda m: f"b{m[1]}.{_LAYERS[m[2]]}.weight",
        lambda t: t.permute(3, 2, 0, 1),  # height, width, in, out
    ),
    (r"(\d+)x\d+/(FromRGB|Conv0|Conv1_down|Conv)/bias", lambda m: f"b{m[1]}.{_LAYERS[m[2]]}.bias", None),
    (r"4x4/Dense0/weight", "b4.fc.weight", lambda t: t.T),
    (r"4x4/Dense0/bias", "b4.fc.bias", None),
    (r"LabelEmbed/weight", "mapping.embed.weight", lambda t: t.T),
    (r"LabelEmbed/bias", "mapping.embed.bias", None),
    (r"Mapping(\d+)/weight", r"mapping.fc\1.weight", lambda t: t.T),
    (r"Mapping(\d+)/bias", r"mapping.fc\1.bias", None),
    (r"Output/weight", "b4.out.weight", lambda t: t.T),
    (r"Output/bias", "b4.out.bias", None),
]


def _tensorflow(content: Content) -> Converted:
    data = content.data
    network = data[1] if isinstance(data, (tuple, list)) and len(data) > 1 else None
    named = tensorflow.variables_of(network, content.budget, every=True) if isinstance(network, Node) else {}
    if not named or not isinstance(network, Node):
        raise CheckpointError("it holds no discriminator; expected one in the middle of its three networks.")
    variables = tensors_of(named, content.budget)
    settings = tensorflow.settings_of(network, content.budget)
    decisions = check_settings(settings, _STATED, what="its discriminator")
    clamp = settings.get("conv_clamp")
    found = _sized(
        _placed(rename(variables, _TENSORFLOW)),
        "D",
        taps_stated(settings),
        None if clamp is None else number_of(settings, "conv_clamp", 0.0),
        settings.get("mbstd_group_size", _GROUP),
        number_of(settings, "mapping_lrmul", 0.1),
    )
    found.decisions += decisions
    return found
