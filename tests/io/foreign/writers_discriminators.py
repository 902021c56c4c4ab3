"""Discriminators as other projects name them, written from ours, name by name."""

from __future__ import annotations

from typing import Any

import torch
from sample_files import Persistent
from torch import Tensor
from writers import tree

from disentangle.models.discriminators import StyleGAN2DiscriminatorConfig, build_discriminator


def rough_discriminator(**config: Any) -> Any:
    """One with noise on its biases, for a StyleGAN2 of 16 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = build_discriminator(
            StyleGAN2DiscriminatorConfig(**{"resolution": 16, "image_channels": 3, "channels": (8, 6, 4), **config})
        )
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.data.add_(0.1 * torch.randn(parameter.shape))
    return made.eval().requires_grad_(False)


def by_resolution(discriminator: Any) -> dict[str, Tensor]:
    """``blocks.0.conv0`` as ``b16.conv0``, and the last layers as those of ``b4``."""
    largest, renamed = discriminator.config.resolution, {}
    for name, tensor in discriminator.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            renamed[".".join([f"b{largest >> int(parts[1])}", *parts[2:]])] = tensor
        elif parts[0] == "classes":
            renamed[f"mapping.{name.removeprefix('classes.').replace('layers.', 'fc')}"] = tensor
        else:
            renamed[f"b{largest if parts[0] == 'fromrgb' else 4}.{name}"] = tensor
    return renamed


def nvidia_discriminator(discriminator: Any, *, group: int | None = 4) -> Persistent:
    state, attributes = by_resolution(discriminator), {"": {"class_name": "Discriminator"}}
    taps = torch.tensor(discriminator.config.resample_filter)
    for name in list(state):
        block, layer = name.split(".")[:2]
        if layer in ("conv0", "conv1"):
            state[f"{block}.{layer}.resample_filter"] = torch.outer(taps, taps) / taps.sum() ** 2
            attributes[f"{block}.{layer}"] = {"conv_clamp": discriminator.config.clamp, "activation": "lrelu"}
    attributes["mapping.fc0"] = {"bias_gain": discriminator.config.class_multiplier}
    attributes["b4"] = {"mbstd": Persistent("MinibatchStdLayer", {"group_size": group, "num_channels": 1})}
    return tree(state, attributes)


def tensorflow_discriminator(discriminator: Any) -> dict[str, Tensor]:
    names = {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip", "conv": "Conv"}
    variables = {"lod": torch.zeros([])}
    for name, tensor in by_resolution(discriminator).items():
        block, layer, kind = name.split(".")
        if block == "mapping":
            layer = layer.replace("fc", "Mapping").replace("embed", "LabelEmbed")
            variables[f"{layer}/{kind}"] = tensor.T if tensor.ndim > 1 else tensor
            continue
        if layer in names:
            size = block[1:]
            variables[f"{size}x{size}/{names[layer]}/{kind}"] = (
                tensor.permute(2, 3, 1, 0) if tensor.ndim > 1 else tensor
            )
        else:
            variables[f"{'4x4/Dense0' if layer == 'fc' else 'Output'}/{kind}"] = tensor.T if tensor.ndim > 1 else tensor
    return variables


def rosinality_discriminator(discriminator: Any) -> dict[str, Tensor]:
    s = discriminator.state_dict()
    state = {"convs.0.0.weight": s["fromrgb.weight"], "convs.0.1.bias": s["fromrgb.bias"]}
    taps = torch.tensor(discriminator.config.resample_filter)
    for i in range(len(discriminator.blocks)):
        theirs, ours = f"convs.{i + 1}", f"blocks.{i}"
        state[f"{theirs}.conv1.0.weight"], state[f"{theirs}.conv1.1.bias"] = (
            s[f"{ours}.conv0.weight"],
            s[f"{ours}.conv0.bias"],
        )
        state[f"{theirs}.conv2.0.kernel"] = torch.outer(taps, taps) / taps.sum() ** 2
        state[f"{theirs}.conv2.1.weight"], state[f"{theirs}.conv2.2.bias"] = (
            s[f"{ours}.conv1.weight"],
            s[f"{ours}.conv1.bias"],
        )
        state[f"{theirs}.skip.1.weight"] = s[f"{ours}.skip.weight"]
    state["final_conv.0.weight"], state["final_conv.1.bias"] = s["conv.weight"], s["conv.bias"]
    for index, layer in enumerate(("fc", "out")):
        for kind in ("weight", "bias"):
            state[f"final_linear.{index}.{kind}"] = s[f"{layer}.{kind}"]
    return state
