"""Small files in the containers of other projects, written from our own models, name by name."""

from __future__ import annotations

import pickle
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sample_files import Persistent, module_state, persistent_pickle, pretending, torch_bytes
from torch import Tensor, nn

from disentangle.models import build_model

BUFFERS = {
    "w_avg", "noise_const", "resample_filter", "magnitude_ema", "up_filter", "down_filter", "freqs", "phases",
    "transform",
}  # fmt: skip


def rough(config: Mapping[str, Any], seed: int = 0) -> Any:
    """A model whose constant weights have noise on them, so that no mistake hides behind a zero."""
    model = build_model(config, seed=seed)
    random = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        buffers = [tensor for name, tensor in model.named_buffers() if not name.endswith(".S")]  # these are signs
        for tensor in [*model.parameters(), *buffers]:
            if tensor.is_floating_point() and (tensor.ndim == 0 or tensor.float().var(unbiased=False) == 0):
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=random))
        for name, tensor in model.named_buffers():
            if name.endswith("magnitude_ema"):
                tensor.abs_().add_(0.5)
    return model.eval().requires_grad_(False)


def tree(state: Mapping[str, Tensor], attributes: Mapping[str, Mapping[str, Any]], path: str = "") -> Persistent:
    """Modules inside modules, of the names in a state, with the attributes of each path."""
    here: dict[str, Tensor] = {}
    below: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        head, dot, tail = name.partition(".")
        if dot:
            below.setdefault(head, {})[tail] = tensor
        else:
            here[name] = tensor
    modules = {name: tree(part, attributes, f"{path}.{name}" if path else name) for name, part in below.items()}
    own = dict(attributes.get(path, {}))
    return Persistent(
        own.pop("class_name", "Module"),
        module_state(
            {k: nn.Parameter(t) for k, t in here.items() if k not in BUFFERS},
            {k: t for k, t in here.items() if k in BUFFERS},
            modules,
            **own,
        ),
    )


# ------------------------------------------------------------------------------------------------ HouseholderGAN


def _as_many_reflectors(trapezoid: Tensor, signs: Tensor) -> Tensor:
    """(n, n) vectors whose product of reflections begins with the frame of a (n, k) trapezoid times signs.

    Those after the first k leave the first k unit vectors alone, or turn one of them round.
    """
    n, k = trapezoid.shape
    rest = torch.randn(n, n - k, generator=torch.Generator().manual_seed(n))
    rest[:k] = 0
    for column, i in enumerate((signs < 0).nonzero().flatten().tolist()):
        rest[:, column] = torch.eye(n)[:, i]
    lower = trapezoid.tril(-1) + torch.eye(n, k)
    return torch.cat([lower * torch.linspace(0.5, 2, k), rest], dim=1)  # of any length


def with_factors(state: Mapping[str, Tensor], order: str = "usv") -> dict[str, Tensor]:
    """The tensors with HouseholderGAN's square ``affine.U`` and ``affine.V`` for each orthogonal layer."""
    made = dict(state)
    for name in state:
        if not name.endswith("parametrizations.weight.original0"):
            continue
        prefix = name.removesuffix("parametrizations.weight.original0")
        left, right, S = (made.pop(f"{prefix}parametrizations.weight.{n}") for n in ("original0", "original1", "0.S"))
        outer = _as_many_reflectors(left, torch.ones_like(S))
        inner = _as_many_reflectors(right, S).flip(1)  # what is wanted are rows, so the product is turned round
        swapped = order == "vsu" and len(outer) == len(inner)
        made[f"{prefix}U"], made[f"{prefix}V"] = (inner, outer) if swapped else (outer, inner)
    return made


# ---------------------------------------------------------------------------------------------------- NVIDIA


def nvidia_root(config: Any) -> dict[str, Any]:
    return {
        "class_name": "Generator", "z_dim": config.z_dim, "c_dim": config.c_dim, "w_dim": config.w_dim,
        "img_resolution": config.resolution, "img_channels": config.image_channels,
    }  # fmt: skip


def nvidia_stylegan2(model: Any, *, half: tuple[int, ...] = (), discriminator: Persistent | None = None) -> bytes:
    config = model.config
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes: dict[str, dict[str, Any]] = {
        "": nvidia_root(config),
        "mapping": {"num_layers": config.mapping_layers},
    }
    for index in range(config.mapping_layers):
        attributes[f"mapping.fc{index}"] = {
            "bias_gain": config.mapping_multiplier, "activation": config.mapping_activation
        }  # fmt: skip
    taps = torch.tensor(config.resample_filter) / sum(config.resample_filter)
    fir = torch.outer(taps, taps)
    for index in range(len(config.channels)):
        block = f"synthesis.b{4 << index}"
        state[f"{block}.resample_filter"] = fir
        attributes[block] = {
            "architecture": config.architecture, "resolution": 4 << index, "use_fp16": (4 << index) in half
        }  # fmt: skip
        for part in ("conv0", "conv1"):
            attributes[f"{block}.{part}"] = {"conv_clamp": config.clamp, "activation": config.activation}
            if f"{block}.{part}.weight" in state:  # what does not enlarge has a filter too, and does not use it
                state[f"{block}.{part}.resample_filter"] = fir if part == "conv0" else torch.ones(4, 4) / 16
    return persistent_pickle({"G": None, "D": discriminator, "G_ema": tree(state, attributes)})


def nvidia_stylegan3(model: Any, order: str = "usv") -> bytes:
    config = model.config
    attributes: dict[str, dict[str, Any]] = {
        "": nvidia_root(config),
        "mapping": {"num_layers": config.mapping_layers},
        "mapping.fc0": {"bias_gain": config.mapping_multiplier},
        "synthesis": {"layer_names": [layer.name for layer in config.layers], "output_scale": 0.25},
        "synthesis.input": {
            "channels": config.input_channels, "size": np.array([config.input_size] * 2),
            "sampling_rate": config.sampling_rate, "bandwidth": config.bandwidth,
        },
    }  # fmt: skip
    for layer in config.layers:
        attributes[f"synthesis.{layer.name}"] = {
            "is_torgb": layer.torgb, "in_channels": layer.in_channels, "out_channels": layer.out_channels,
            "out_size": np.array([layer.out_size] * 2), "conv_kernel": layer.kernel, "up_factor": np.int64(layer.up),
            "down_factor": layer.down, "padding": list(layer.padding), "conv_clamp": layer.clamp, "use_fp16": True,
        }  # fmt: skip
        attributes[f"synthesis.{layer.name}.affine"] = {"diag_size": 3}
    return persistent_pickle({"G_ema": tree(with_factors(model.state_dict(), order), attributes)})


# ---------------------------------------------------------------------------------------------------- TensorFlow


def tensorflow_stylegan2(model: Any, *, discriminator: Mapping[str, Tensor] | None = None, **settings: Any) -> bytes:
    config, s = model.config, model.state_dict()
    mapping = {}
    for i in range(config.mapping_layers):
        mapping[f"Dense{i}/weight"] = s[f"mapping.fc{i}.weight"].T
        mapping[f"Dense{i}/bias"] = s[f"mapping.fc{i}.bias"]
    if config.c_dim and config.class_norm == "together":
        mapping["LabelConcat/weight"] = s["mapping.embed.weight"].T / config.c_dim**0.5
    elif config.c_dim:
        mapping["LabelEmbed/weight"], mapping["LabelEmbed/bias"] = s["mapping.embed.weight"].T, s["mapping.embed.bias"]
    synthesis: dict[str, Tensor] = {"4x4/Const/const": s["synthesis.b4.const"][None]}
    noise = 0
    for index in range(len(config.channels)):
        size = 4 << index
        for ours, theirs in (("conv0", "Conv0_up"), ("conv1", "Conv1" if index else "Conv"), ("torgb", "ToRGB")):
            layer = f"synthesis.b{size}.{ours}"
            if f"{layer}.weight" not in s:
                continue
            weight = s[f"{layer}.weight"]
            weight = weight.flip(2, 3) if ours == "conv0" else weight
            synthesis[f"{size}x{size}/{theirs}/weight"] = weight.permute(2, 3, 1, 0)
            synthesis[f"{size}x{size}/{theirs}/bias"] = s[f"{layer}.bias"]
            synthesis[f"{size}x{size}/{theirs}/mod_weight"] = s[f"{layer}.affine.weight"].T
            synthesis[f"{size}x{size}/{theirs}/mod_bias"] = s[f"{layer}.affine.bias"] - 1
            if ours != "torgb" and config.use_noise:
                synthesis[f"{size}x{size}/{theirs}/noise_strength"] = s[f"{layer}.noise_strength"]
                synthesis[f"noise{noise}"] = s[f"{layer}.noise_const"][None, None]
                noise += 1

    own = {"dlatent_avg": s["mapping.w_avg"], "lod": torch.zeros([])}
    return tensorflow_pickle(
        own, {"mapping": mapping, "synthesis": synthesis}, settings=settings, discriminator=discriminator
    )


def tensorflow_pickle(
    own: Mapping[str, Tensor], components: Mapping[str, Mapping[str, Tensor]], *, settings: Mapping[str, Any],
    discriminator: Mapping[str, Tensor] | None = None, module: str = "dnnlib.tflib.network",
) -> bytes:  # fmt: skip
    """A tuple of networks as a session's variables fill it: what has no dimensions is a numpy scalar, no array."""

    class Network:
        pass

    def network(variables: Mapping[str, Tensor], parts: Mapping[str, Network] = {}) -> Network:
        made = Network()
        values = [(name, np.ascontiguousarray(tensor.numpy())) for name, tensor in variables.items()]
        values = [(name, value.reshape(variables[name].shape)[()]) for name, value in values]
        assert all(
            isinstance(v, np.float32) for (_, v), t in zip(values, variables.values(), strict=True) if not t.ndim
        )
        made.__dict__.update(
            version=4, name="x", static_kwargs=dict(settings), components=dict(parts), variables=values
        )
        return made

    with pretending(module, Network=Network):
        whole = network(own, {name: network(variables) for name, variables in components.items()})
        return pickle.dumps((network({}), network(discriminator or {}), whole), 2)


def tensorflow_stylegan1(model: Any, **settings: Any) -> bytes:
    """Settings as stated; what else they change of the file, they change here."""
    config, s = model.config, model.state_dict()
    mapping = {}
    for i in range(config.mapping_layers):
        mapping[f"Dense{i}/weight"], mapping[f"Dense{i}/bias"] = s[f"mapping.fc{i}.weight"].T, s[f"mapping.fc{i}.bias"]
    if config.c_dim:
        mapping["LabelConcat/weight"] = s["mapping.embed.weight"].T / config.c_dim**0.5
    synthesis: dict[str, Tensor] = {"lod": torch.tensor(0.0), "4x4/Const/const": s["synthesis.b4.const"][None]}
    for index in range(len(config.channels)):
        size = 4 << index
        for part, theirs in ((0, "Conv0_up" if index else "Const"), (1, "Conv1" if index else "Conv")):
            layer, name = f"synthesis.b{size}.conv{part}", f"{size}x{size}/{theirs}"
            if index or part:
                weight = s[f"{layer}.weight"]
                fused = settings.get("fused_scale") is True and index and not part
                synthesis[f"{name}/weight"] = (weight.flip(2, 3) if fused else weight).permute(2, 3, 1, 0)
            synthesis[f"{name}/bias"] = s[f"{layer}.bias"]
            synthesis[f"{name}/StyleMod/weight"] = s[f"{layer}.affine.weight"].T
            synthesis[f"{name}/StyleMod/bias"] = s[f"{layer}.affine.bias"]
            if settings.get("use_noise", True):
                synthesis[f"{name}/Noise/weight"] = s[f"{layer}.noise_strength"]
                synthesis[f"noise{2 * index + part}"] = s[f"{layer}.noise_const"][None, None]
        lod = len(config.channels) - 1 - index
        synthesis[f"ToRGB_lod{lod}/weight"] = s[f"synthesis.b{size}.torgb.weight"].permute(2, 3, 1, 0)
        synthesis[f"ToRGB_lod{lod}/bias"] = s[f"synthesis.b{size}.torgb.bias"]
    if settings.get("use_wscale", True) is False:
        for variables in (mapping, synthesis):
            for name, tensor in variables.items():
                if name.endswith("weight") and tensor.ndim > 1 and "Label" not in name:
                    gain = 1 if "StyleMod" in name or "ToRGB" in name else 2**0.5
                    variables[name] = tensor * (gain / tensor[..., 0].numel() ** 0.5)
    own = {"dlatent_avg": s["mapping.w_avg"], "lod": torch.tensor(config.lod)}
    return tensorflow_pickle(own, {"mapping": mapping, "synthesis": synthesis}, settings=settings)


def tensorflow_progan(model: Any, **settings: Any) -> bytes:
    config, s = model.config, model.state_dict()
    first = s["b4.conv0.weight"]
    fused = settings.get("fused_scale", True)
    state = {"lod": torch.tensor(config.lod), "4x4/Dense/weight": first.reshape(len(first), -1)}
    state["4x4/Dense/bias"] = s["b4.conv0.bias"]
    for index in range(len(config.channels)):
        size, lod = 4 << index, len(config.channels) - 1 - index
        names = {f"{size}x{size}/{'Conv1' if index else 'Conv'}": "conv1", f"ToRGB_lod{lod}": "torgb"}
        if index and not fused:
            names[f"{size}x{size}/Conv0"] = "conv0"
        for theirs, ours in names.items():
            state[f"{theirs}/weight"] = s[f"b{size}.{ours}.weight"].permute(2, 3, 1, 0)
            state[f"{theirs}/bias"] = s[f"b{size}.{ours}.bias"]
        if index and fused:
            state[f"{size}x{size}/Conv0_up/weight"] = s[f"b{size}.conv0.weight"].flip(2, 3).permute(2, 3, 0, 1)
            state[f"{size}x{size}/Conv0_up/bias"] = s[f"b{size}.conv0.bias"]
    return tensorflow_pickle(state, {}, settings=settings, module="tfutil")


# ---------------------------------------------------------------------------------------------------- rosinality


def rosinality(
    model: Any, *, training: bool = False, rank: int | None = None, discriminator: Mapping[str, Tensor] | None = None
) -> bytes:
    config, s = model.config, with_factors(model.state_dict())
    state: dict[str, Tensor] = {"input.input": s["synthesis.b4.const"][None]}
    for i in range(config.mapping_layers):
        state[f"style.{i + 1}.weight"], state[f"style.{i + 1}.bias"] = (
            s[f"mapping.fc{i}.weight"],
            s[f"mapping.fc{i}.bias"],
        )

    def conv(theirs: str, ours: str) -> None:
        state[f"{theirs}.conv.weight"] = s[f"{ours}.weight"][None]
        for part in ("weight", "U", "V", "bias"):
            if f"{ours}.affine.{part}" in s:
                state[f"{theirs}.conv.modulation.{part}"] = s[f"{ours}.affine.{part}"]

    def noisy(theirs: str, ours: str, index: int) -> None:
        conv(theirs, ours)
        state[f"{theirs}.noise.weight"] = s[f"{ours}.noise_strength"].reshape(1)
        state[f"{theirs}.activate.bias"] = s[f"{ours}.bias"]
        state[f"noises.noise_{index}"] = s[f"{ours}.noise_const"][None, None]

    def rgb(theirs: str, ours: str) -> None:
        conv(theirs, ours)
        state[f"{theirs}.bias"] = s[f"{ours}.bias"].reshape(1, -1, 1, 1)

    noisy("conv1", "synthesis.b4.conv1", 0)
    rgb("to_rgb1", "synthesis.b4.torgb")
    for i in range(len(config.channels) - 1):
        noisy(f"convs.{2 * i}", f"synthesis.b{8 << i}.conv0", 2 * i + 1)
        noisy(f"convs.{2 * i + 1}", f"synthesis.b{8 << i}.conv1", 2 * i + 2)
        rgb(f"to_rgbs.{i}", f"synthesis.b{8 << i}.torgb")
        image = config.image_filter or config.resample_filter
        for name, taps in ((f"convs.{2 * i}.conv.blur", config.resample_filter), (f"to_rgbs.{i}.upsample", image)):
            fir = torch.outer(torch.tensor(taps), torch.tensor(taps))
            state[f"{name}.kernel"] = 4 * fir / fir.sum()
    if not training:
        return torch_bytes({"g_ema": state, "latent_avg": s["mapping.w_avg"]})
    arguments = Namespace(size=config.resolution, **({} if rank is None else {"diag_size": rank}))
    networks = {"g": state, "d": dict(discriminator or {}), "g_ema": state}
    return torch_bytes({**networks, "g_optim": {"state": {}}, "args": arguments, "ada_aug_p": 0})


# ---------------------------------------------------------------------------------------------------- genforce


def genforce(model: Any, *, trained: bool = False, fused: bool = False) -> bytes:
    config, s = model.config, model.state_dict()
    kind, state = config.kind, {}
    prefix = "" if kind == "progan" else "synthesis."
    offset = 1 if kind == "stylegan2" else 0
    if kind != "progan":
        for i in range(config.mapping_layers):
            for part in ("weight", "bias"):
                state[f"mapping.dense{i}.{part}"] = s[f"mapping.fc{i}.{part}"]
        state["truncation.w_avg"] = s["mapping.w_avg"]
        if config.c_dim:
            state["mapping.label_weight"] = s["mapping.embed.weight"].T / config.c_dim**0.5
    if kind == "stylegan2":
        state["synthesis.early_layer.const"] = s["synthesis.b4.const"][None]
    elif kind == "stylegan1":
        state["synthesis.layer0.const"] = s["synthesis.b4.const"][None]
        state["synthesis.lod"] = torch.tensor(0.0)
    else:
        state["lod"] = torch.tensor(0.0)
    for index in range(len(config.channels)):
        for part in (0, 1):
            ours, theirs = f"{prefix}b{4 << index}.conv{part}", f"{prefix}layer{2 * index + part - offset}"
            if f"{ours}.bias" not in s:
                continue
            if f"{ours}.weight" in s:
                weight = s[f"{ours}.weight"]
                turned = (kind == "stylegan2" and part == 0) or (kind == "progan" and index == part == 0)
                turned = turned or (fused and part == 0 and index > 0)
                weight = weight.transpose(0, 1) if kind == "progan" and index == part == 0 else weight
                state[f"{theirs}.weight"] = weight.flip(2, 3) if turned else weight
            state[f"{theirs}.bias"] = s[f"{ours}.bias"]
            if kind == "progan":
                continue
            state[f"{theirs}.style.weight"] = s[f"{ours}.affine.weight"]
            state[f"{theirs}.style.bias"] = s[f"{ours}.affine.bias"] - offset
            if kind == "stylegan2":
                state[f"{theirs}.noise_strength"] = s[f"{ours}.noise_strength"]
                state[f"{theirs}.noise"] = s[f"{ours}.noise_const"][None, None]
            else:
                state[f"{theirs}.apply_noise.weight"] = s[f"{ours}.noise_strength"]
                state[f"{theirs}.apply_noise.noise"] = s[f"{ours}.noise_const"][None, None]
        for part in ("weight", "bias"):
            state[f"{prefix}output{index}.{part}"] = s[f"{prefix}b{4 << index}.torgb.{part}"]
            if kind == "stylegan2":
                shift = 1 if part == "bias" else 0
                state[f"synthesis.output{index}.style.{part}"] = (
                    s[f"synthesis.b{4 << index}.torgb.affine.{part}"] - shift
                )
    networks = {"generator": {}, "generator_smooth": state, "discriminator": {}}
    return torch_bytes({"models": networks, "running_metadata": {}} if trained else networks)
