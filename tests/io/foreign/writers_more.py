"""Files of the smaller projects, written from our own models, name by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sample_files import pretending, torch_bytes
from torch import Tensor

_SQRT2 = math.sqrt(2.0)


# ----------------------------------------------------------------------------------------------- pytorch_GAN_zoo


def _unfolded(bias: Tensor, weight: Tensor) -> Tensor:
    """They use ``(W x + b) sqrt(2 / fan_in)`` where we use ``W x sqrt(2 / fan_in) + b``."""
    return bias * math.sqrt(weight[0].numel() / 2)


def _zoo_file(state: Mapping[str, Tensor], settings: Mapping[str, Any], averaged: bool) -> bytes:
    class BaseConfig:
        pass

    with pretending("models.utils.config", BaseConfig=BaseConfig):
        config = BaseConfig()
        config.__dict__.update(settings)
        data = {"config": config, "netG": {f"module.{k}": t for k, t in state.items()}, "netD": {}}
        if averaged:
            data["avgG"] = dict(state)
        return torch_bytes(data, zipped=False)


def zoo_progan(model: Any, *, averaged: bool = True) -> bytes:
    s, config = model.state_dict(), model.config
    first = s["b4.conv0.weight"].permute(1, 2, 3, 0).reshape(-1, config.latent_dim)
    state = {"formatLayer.module.weight": first, "formatLayer.module.bias": s["b4.conv0.bias"].flatten()}
    layers = {"b4.conv1": "groupScale0.0"}
    for index in range(len(config.channels)):
        layers[f"b{4 << index}.torgb"] = f"toRGBLayers.{index}"
        if index:
            layers[f"b{4 << index}.conv0"] = f"scaleLayers.{index - 1}.0"
            layers[f"b{4 << index}.conv1"] = f"scaleLayers.{index - 1}.1"
    for ours, theirs in layers.items():
        state[f"{theirs}.module.weight"] = s[f"{ours}.weight"]
        state[f"{theirs}.module.bias"] = s[f"{ours}.bias"]
    if config.equalized:
        for name in list(state):
            if name.endswith(".bias"):
                state[name] = _unfolded(state[name], state[name[:-4] + "weight"])
    settings = {"equalizedlR": config.equalized, "generationActivation": None}
    return _zoo_file(state, settings, averaged)


def zoo_stylegan(model: Any, *, averaged: bool = True) -> bytes:
    s, config = model.state_dict(), model.config
    state = {"mean_w": s["mapping.w_avg"][None], "baseScale0": s["synthesis.b4.const"][None]}

    def plain(theirs: str, ours: str) -> None:
        state[f"{theirs}.module.weight"] = s[f"{ours}.weight"]
        state[f"{theirs}.module.bias"] = _unfolded(s[f"{ours}.bias"], s[f"{ours}.weight"])

    def style(theirs: str, ours: str) -> None:
        weight = s[f"{ours}.affine.weight"]
        scale, shift = s[f"{ours}.affine.bias"].chunk(2)
        state[f"{theirs}.styleModulator.module.weight"] = weight / _SQRT2
        state[f"{theirs}.styleModulator.module.bias"] = _unfolded(torch.cat([scale + 1, shift]), weight)

    for i in range(config.mapping_layers):
        plain(f"mapping.FC.{i}", f"mapping.fc{i}")
    plain("conv0", "synthesis.b4.conv1")
    for index in range(len(config.channels)):
        for part in (0, 1):
            ours = f"synthesis.b{4 << index}.conv{part}"
            if index == 0:
                style(f"adain0{part}", ours)
                noise = f"noiseMod0{part}"
            else:
                plain(f"scaleLayers.{index - 1}.{2 * part}", ours)
                style(f"scaleLayers.{index - 1}.{2 * part + 1}", ours)
                noise = f"noiseModulators.{index - 1}.{part}"
            state[f"{noise}.module.weight"] = s[f"{ours}.noise_strength"][:1].reshape(1, 1, 1, 1)
        if index:
            plain(f"toRGBLayers.{index - 1}", f"synthesis.b{4 << index}.torgb")
    return _zoo_file(state, {"phiTruncation": config.truncation}, averaged)


def zoo_dcgan(model: Any, *, averaged: bool = True) -> bytes:
    s = model.state_dict()
    names = {"convs.0.weight": "formatLayer.weight", "to_image.weight": "main.outlayer.weight"}
    for i in range(len(model.config.channels)):
        if i:
            names[f"convs.{i}.weight"] = f"main.convTranspose{i}.weight"
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names[f"norms.{i}.{part}"] = f"main.batchNorm{i}.{part}"
    return _zoo_file({theirs: s[ours] for ours, theirs in names.items()}, {"depth": 3}, averaged)


# ----------------------------------------------------------------------------------------------- pro_gan_pytorch


def pro_gan_pytorch(model: Any, *, bare: bool = False) -> bytes:
    s, config = model.state_dict(), model.config
    state = {}
    for index in range(len(config.channels)):
        for part in ("weight", "bias"):
            for conv in (0, 1):
                state[f"layers.{index}.conv_{conv + 1}.{part}"] = s[f"b{4 << index}.conv{conv}.{part}"]
            state[f"rgb_converters.{index}.{part}"] = s[f"b{4 << index}.torgb.{part}"]
    if bare:
        return torch_bytes(state)
    conf = {"depth": len(config.channels) + 1, "num_channels": 3, "use_eql": config.equalized}
    other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    return torch_bytes(
        {
            "generator": {"conf": conf, "state_dict": other}, "discriminator": {}, "gen_optim": {}, "dis_optim": {},
            "shadow_generator": {"conf": conf, "state_dict": state},
        }
    )  # fmt: skip


# ---------------------------------------------------------------------------------- EigenGAN, simple GAN, DCGAN


def eigengan(model: Any, *, averaged: bool = True) -> bytes:
    s = model.state_dict()
    names = {"fc.weight": "fc.weight", "fc.bias": "fc.bias"}
    for i in range(len(model.blocks)):
        for part in ("U", "L", "mu"):
            names[f"blocks.{i}.projection.{part}"] = f"blocks.{i}.projection.{part}"
        for part in ("weight", "bias"):
            for conv in ("1", "2"):
                names[f"blocks.{i}.subspace_conv{conv}.{part}"] = f"blocks.{i}.subspace_conv{conv}.0.{part}"
                names[f"blocks.{i}.feature_conv{conv}.{part}"] = f"blocks.{i}.feature_conv{conv}.1.{part}"
    for part in ("weight", "bias"):
        names[f"to_image.{part}"] = f"to_rgb.0.1.{part}"
    state = {theirs: s[ours] for ours, theirs in names.items()}
    data = {"step": 7, "g": state, "d": {}, "g_optim": {"state": {}}, "fid": 3.5}
    return torch_bytes({**data, "g_ema": state} if averaged else data)


def simple_gan(model: Any) -> bytes:
    s = model.state_dict()
    last = len(model.config.channels)
    names = {}
    for part in ("weight", "bias"):
        names[f"first.{part}"] = f"layers.0.layers.conv.{part}"
        names[f"to_image.{part}"] = f"layers.{last}.layers.conv.{part}"
        for i in range(1, last):
            names[f"body.{3 * i - 2}.{part}"] = f"layers.{i}.layers.instancenorm.{part}"
    for i in range(1, last):
        names[f"body.{3 * i - 3}.weight"] = f"layers.{i}.layers.conv.weight"
    return torch_bytes({theirs: s[ours] for ours, theirs in names.items()})


def example_dcgan(model: Any, *, parallel: bool = False) -> bytes:
    """A Sequential of convolution, norm, activation; activations have places but no tensors."""
    s = model.state_dict()
    depth = len(model.config.channels)
    names = {f"convs.{i}.weight": f"main.{3 * i}.weight" for i in range(depth)}
    names["to_image.weight"] = f"main.{3 * depth}.weight"
    for i in range(depth):
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names[f"norms.{i}.{part}"] = f"main.{3 * i + 1}.{part}"
    prefix = "module." if parallel else ""
    return torch_bytes({prefix + theirs: s[ours] for ours, theirs in names.items()})


# ----------------------------------------------------------------------------------------------- GANSpace's StyleGAN


def ganspace_stylegan(model: Any, *, fused_from: int = 128) -> bytes:
    s, config = model.state_dict(), model.config
    state = {}
    for i in range(config.mapping_layers):
        for part in ("weight", "bias"):
            state[f"g_mapping.dense{i}.{part}"] = s[f"mapping.fc{i}.{part}"]
    for index in range(len(config.channels)):
        size = 4 << index
        block, ours = f"g_synthesis.blocks.{size}x{size}", f"synthesis.b{size}"
        for conv in (0, 1):
            state[f"{block}.epi{conv + 1}.top_epi.noise.weight"] = s[f"{ours}.conv{conv}.noise_strength"]
            for part in ("weight", "bias"):
                state[f"{block}.epi{conv + 1}.style_mod.lin.{part}"] = s[f"{ours}.conv{conv}.affine.{part}"]
        if index == 0:
            state[f"{block}.const"] = s[f"{ours}.const"][None]
            state[f"{block}.bias"] = s[f"{ours}.conv0.bias"]
        else:
            kernel = s[f"{ours}.conv0.weight"]
            state[f"{block}.conv0_up.weight"] = kernel.flip(2, 3) if size >= fused_from else kernel
            state[f"{block}.conv0_up.bias"] = s[f"{ours}.conv0.bias"]
            state[f"{block}.conv0_up.intermediate.kernel"] = (
                torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1]))[None, None] / 16
            )
        for part in ("weight", "bias"):
            state[f"{block}.{'conv1' if index else 'conv'}.{part}"] = s[f"{ours}.conv1.{part}"]
    for part in ("weight", "bias"):
        state[f"g_synthesis.torgb.{part}"] = s[f"synthesis.b{config.resolution}.torgb.{part}"]
    return torch_bytes(state)


# ----------------------------------------------------------------------------------------------- folders


def pythae(model: Any, folder: Path, **changes: Any) -> None:
    s = model.state_dict()
    names = {
        "encoder.0": "encoder.layers.0.0", "mean": "encoder.embedding", "log_variance": "encoder.log_var",
        "first": "decoder.layers.0.0", "last": "decoder.layers.1.0",
    }  # fmt: skip
    state = {f"{theirs}.{part}": s[f"{ours}.{part}"] for ours, theirs in names.items() for part in ("weight", "bias")}
    settings = {
        "name": "VAEConfig", "input_dim": list(model.config.image_shape), "latent_dim": model.config.latent_dim,
        "reconstruction_loss": "mse", "uses_default_encoder": True, "uses_default_decoder": True, **changes,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "model.pt").write_bytes(torch_bytes({"model_state_dict": state}))
    (folder / "model_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps({"name": "EnvironmentConfig", "python_version": "3.8"}))


def diffusers(model: Any, folder: Path, *, older: bool = False, **changes: Any) -> dict[str, Tensor]:
    """The configuration, and the tensors to write beside it; ``older``: as attention was once called and shaped."""
    state = {name.removeprefix("autoencoder."): tensor for name, tensor in model.state_dict().items()}
    if older:
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            state = {name.replace(f".{new}.", f".{old}."): tensor for name, tensor in state.items()}
        for name in state:
            if name.endswith((".query.weight", ".proj_attn.weight")):
                state[name] = state[name][:, :, None, None]
    settings = {
        "_class_name": "AutoencoderKL", "_diffusers_version": "0.20.0", "sample_size": model.config.resolution,
        **model.config.diffusers, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return state
