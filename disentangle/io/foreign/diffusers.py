"""Folders of diffusers with an AutoencoderKL: one of its own, or the "vae" of a whole pipeline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.files import sha256_of
from disentangle.inert.budget import Budget
from disentangle.inert.container import sniff
from disentangle.inert.reader import read_budgeted
from disentangle.io.foreign.formats import Content, Converted, ForeignFormat, Options, choose
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.renaming import Row, rename
from disentangle.json_files import parse_json
from disentangle.tensor_files import read_tensors
from disentangle.text import shown

__all__ = ["FORMAT", "NAME", "convert", "recognise"]

NAME = "a model folder of diffusers"

_CLASS = "AutoencoderKL"
_CONFIG, _LARGEST_CONFIG = "config.json", 2**20
_STEM = "diffusion_pytorch_model"
_WEIGHTS = tuple(f"{_STEM}{part}" for part in (".safetensors", ".bin", ".fp16.safetensors", ".fp16.bin"))


def recognise(content: Content) -> bool:
    """Whether the folder, or its "vae", has diffusers' configuration or weights."""
    return content.container == "directory" and _folder(content.path) is not None


def _folder(path: Path) -> Path | None:
    for folder in (path, path / "vae"):
        config = folder / _CONFIG
        if config.is_file() and (any(folder.glob(f"{_STEM}*")) or _says_class(config)):
            return folder
    return None


def _says_class(config: Path) -> bool:
    with config.open("rb") as file:
        return b'"_class_name"' in file.read(_LARGEST_CONFIG)


def convert(content: Content, options: Options) -> Converted:
    """The autoencoder, in the installed diffusers' network."""
    folder = _folder(content.path)
    assert folder is not None
    settings = _settings(folder / _CONFIG)
    found = {name: folder / name for name in _WEIGHTS if (folder / name).is_file()}
    if not found:
        pieces = any(folder.glob(f"{_STEM}*.index.json"))
        raise CheckpointError(
            f"its weights are {'in several pieces' if pieces else 'missing'}; expected {_STEM}.safetensors or .bin."
        )
    which = choose(found, _WEIGHTS, options.weights)
    named, budget = _tensors(found[which], content)
    source = tensors_of(named, budget)
    decisions = [f"Weights of {which}, sha256 {sha256_of(found[which])}."]
    _check_depth(settings, source)
    if "scaling_factor" not in settings:
        settings["scaling_factor"] = 0.18215
        decisions.append("Its config.json gives no scaling_factor: taken as 0.18215, that of Stable Diffusion.")
    resolution = settings.get("sample_size")
    if isinstance(resolution, (list, tuple)) and len(set(resolution)) == 1:
        resolution = resolution[0]
    if not isinstance(resolution, int) or resolution < 1:
        if resolution is not None:
            raise CheckpointError(
                f"its sample_size is {shown(resolution, most=60)}; expected the pixels of a square picture."
            )
        resolution = 512
        decisions.append("Its config.json gives no sample_size: pictures are of 512 pixels.")
    config = {"kind": "autoencoder-kl", "resolution": resolution, "diffusers": settings}
    return Converted(config, rename(source, _TABLE), which, decisions)


def _settings(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST_CONFIG:
        raise CheckpointError(f"its {_CONFIG} is larger than {_LARGEST_CONFIG:,} bytes; it is damaged.")
    settings = parse_json(path.read_bytes(), source=f"its {_CONFIG}", error=CheckpointError)
    said = settings.get("_class_name") if isinstance(settings, dict) else None
    if said != _CLASS:
        raise CheckpointError(
            f"its {_CONFIG} is of the class {shown(said, most=60)}, which is not supported; expected {_CLASS}."
        )
    return {name: value for name, value in settings.items() if not name.startswith("_")}


def _tensors(path: Path, content: Content) -> tuple[dict[Any, Any], Budget]:
    if sniff(path) == "safetensors":
        return dict(read_tensors(path)), Budget(content.limits, size=path.stat().st_size)
    data, budget = read_budgeted(path, limits=content.limits)
    if not isinstance(data, dict) or not all(isinstance(tensor, Tensor) for tensor in data.values()):
        raise CheckpointError(f"its {path.name} holds no plain dictionary of tensors; it is damaged.")
    return data, budget


def _check_depth(settings: dict[str, Any], source: dict[str, Tensor]) -> None:
    """Blocks and layers are as many as there are tensors for, before a network is made of them."""
    blocks, layers = settings.get("block_out_channels", [64]), settings.get("layers_per_block", 1)
    names = (re.match(r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.", name) for name in source)
    held = {match.groups() for match in names if match}
    said = len(blocks) * layers if isinstance(blocks, list) and isinstance(layers, int) else None
    if not held or said != len(held):
        raise CheckpointError(
            f"its {_CONFIG} says block_out_channels {shown(blocks, most=60)} and layers_per_block "
            f"{shown(layers, most=20)}, but its weights are of {len(held)} layers in the encoder; expected as many."
        )


def _linear(weight: Tensor) -> Tensor:
    """Attention was written as convolutions of one pixel once."""
    return weight.flatten(1) if weight.ndim == 4 else weight


_ATTENTION = r"((?:encoder|decoder)\..*attentions\.\d+\.)"
_TABLE: list[Row] = [
    *(
        (rf"{_ATTENTION}{old}\.(weight|bias)", rf"autoencoder.\1{new}.\2", _linear)
        for names in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
        for old, new in (names, (re.escape(names[1]), names[1]))
    ),
    (r"((?:encoder|decoder|quant_conv|post_quant_conv)\..+)", r"autoencoder.\1", None),
]


FORMAT = ForeignFormat(NAME, recognise, convert)
