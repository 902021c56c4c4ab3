"""Network pickles of NVIDIA's PyTorch repositories: StyleGAN2-ADA, StyleGAN3, and HouseholderGAN's of StyleGAN3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.nodes import Node
from disentangle.io.foreign.discriminators import GROUP, one_filter, placed, sized
from disentangle.io.foreign.formats import Content, Converted, ForeignFormat, Options, choose
from disentangle.io.foreign.mapping_sizes import mapping_sizes
from disentangle.io.foreign.module_tree import attribute, class_name, is_module, number, scalar, state_dict
from disentangle.io.foreign.network import tensors_of
from disentangle.io.foreign.reflectors import order_of, rank_of, with_frames
from disentangle.io.foreign.renaming import DROP, Row, rename
from disentangle.io.foreign.smoothing import PUBLISHED, taps_of
from disentangle.text import shown

__all__ = ["FORMAT", "NAME", "convert", "recognise"]

NAME = "a network pickle of StyleGAN2-ADA or StyleGAN3 (PyTorch)"

_PREFIX = "torch_utils.persistence:"
_NETWORKS = ("G_ema", "G")
_AS_IS: list[Row] = [
    (r".*resample_filter", DROP, None),
    (r"(mapping\..*|synthesis\..*)", r"\1", None),
]


def recognise(content: Content) -> bool:
    """Whether it holds an object of NVIDIA's container."""
    data = content.data
    if isinstance(data, Node):
        return data.path.startswith(_PREFIX)
    return isinstance(data, dict) and any(
        isinstance(value, Node) and value.path.startswith(_PREFIX) for value in data.values()
    )


def convert(content: Content, options: Options) -> Converted:
    """The averaged generator; effective values are read from its layers."""
    data = content.data
    if isinstance(data, Node):
        which, network = shown(class_name(data), most=60), data
        if options.weights is not None:
            raise CheckpointError(
                f"it holds one network, a {which}, so there are no weights {options.weights!r} to choose."
            )
    else:
        which = choose(data, _NETWORKS, options.weights)
        network = data[which]
    if not isinstance(network, Node) or not is_module(network):
        raise CheckpointError(f"its {which} is no network; expected a pickled Generator.")
    tensors = tensors_of(state_dict(network, content.budget), content.budget)
    # Decided by what the network holds, not by what its source text says it does.
    if class_name(network) == "Generator" and "synthesis.b4.const" in tensors:
        return _stylegan2(network, tensors, which)
    if class_name(network) == "Generator" and "synthesis.input.freqs" in tensors:
        return _stylegan3(network, tensors, which, options)
    raise CheckpointError(
        f"the class {shown(class_name(network), most=60)} of its {which} is not supported (its state has "
        f"{len(tensors)} tensors); expected a Generator of StyleGAN2 or StyleGAN3."
    )


def _common(network: Node, tensors: dict[str, Tensor]) -> dict[str, Any]:
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors)
    if not depth and _whole(network, "mapping.num_layers") == 0:
        raise CheckpointError("its mapping network has no layers (num_layers=0), which is not supported.")
    if depth != _whole(network, "mapping.num_layers"):
        raise CheckpointError(
            f"it has {depth} mapping layers, and says {_whole(network, 'mapping.num_layers')}; it is damaged."
        )
    return {
        "resolution": _whole(network, "img_resolution"),
        "image_channels": _whole(network, "img_channels"),
        "z_dim": _whole(network, "z_dim"),
        "w_dim": _whole(network, "w_dim"),
        "c_dim": _whole(network, "c_dim"),
        "mapping_layers": depth,
        "mapping_multiplier": _multiplier(network, depth),
    }


def _whole(network: Node, path: str) -> int:
    value = attribute(network, path)
    if not isinstance(value, int):
        raise CheckpointError(f"its {path} is {type(value).__name__}, not a whole number; the class is another one.")
    return value


def _multiplier(network: Node, depth: int) -> float:
    first = number(network, "mapping.fc0.bias_gain")
    if any(number(network, f"mapping.fc{index}.bias_gain", first) != first for index in range(depth)):
        raise CheckpointError("its mapping layers differ in their learning rate multiplier; expected one for all.")
    return first


def _activation(network: Node, names: list[str], what: str, allowed: tuple[str, ...]) -> str:
    """The nonlinearity of some layers, one for all."""
    used = {scalar(network, f"{name}.activation", "lrelu") for name in names} or {"lrelu"}
    listed = ", ".join(sorted(map(shown, used)))
    if len(used) > 1 or used - set(allowed):
        raise CheckpointError(f"the activation of its {what} is {listed}; expected {' or '.join(allowed)}, for all.")
    return str(used.pop())


_ACTIVATIONS = ("lrelu", "relu", "linear", "swish")


def _mapping(network: Node, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Where the mapping network of a StyleGAN2 is another than the published one."""
    count = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors)
    names = [f"mapping.fc{index}" for index in range(count)]
    found: dict[str, Any] = {"mapping_activation": _activation(network, names, "mapping network", _ACTIVATIONS)}
    sizes = mapping_sizes({name: t for name, t in tensors.items() if name.startswith("mapping.")})
    found |= {key: sizes[key] for key in ("mapping_width", "class_width") if key in sizes}
    if "mapping.embed.weight" in tensors:
        _activation(network, ["mapping.embed"], "embedding of classes", ("lrelu", "linear"))
    return found


def _stylegan2(network: Node, tensors: dict[str, Tensor], which: str) -> Converted:
    found = sorted(
        int(m[1]) for m in (re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name) for name in tensors) if m
    )
    blocks = [f"synthesis.b{resolution}" for resolution in found]
    convs = [
        f"{block}.{part}" for block in blocks for part in ("conv0", "conv1") if f"{block}.{part}.weight" in tensors
    ]
    activation = _activation(network, convs, "synthesis network", _ACTIVATIONS)
    # A layer that does not enlarge has one too, and never uses it.
    used = r"synthesis\.b\d+(\.conv0|\.skip)?\.resample_filter"
    filters = {taps_of(tensor) for name, tensor in tensors.items() if re.fullmatch(used, name)}
    if len(filters) > 1:
        raise CheckpointError("its layers differ in their smoothing filters; expected one for all.")
    clamps = {scalar(network, f"{conv}.conv_clamp") for conv in convs}
    painting = [attribute(network, f"{block}.torgb") for block in blocks]
    painting = [one for one in painting if isinstance(one, Node) and "conv_clamp" in one.attributes]
    clamps |= {scalar(one, "conv_clamp") for one in painting}
    architectures = {scalar(network, f"{block}.architecture") for block in blocks}
    if len(clamps) > 1 or len(architectures) > 1:
        raise CheckpointError("its layers differ in clamping or architecture; expected one setting for all.")
    decisions = []
    half = [block.removeprefix("synthesis.b") for block in blocks if scalar(network, f"{block}.use_fp16")]
    if half:
        decisions.append(f"Blocks of {', '.join(half)} pixels were run in half precision; here all are float32.")
    clamp = clamps.pop()
    config = {
        "kind": "stylegan2",
        **_common(network, tensors),
        **_mapping(network, tensors),
        "activation": activation,
        "channels": tuple(tensors[f"{block}.conv1.weight"].shape[0] for block in blocks),
        "architecture": architectures.pop(),
        "kernel": tensors[f"{blocks[0]}.conv1.weight"].shape[-1],
        "clamp": None if clamp is None else float(clamp),
        "resample_filter": filters.pop() if filters else PUBLISHED,
        "use_noise": any(name.endswith("noise_strength") for name in tensors),
    }
    return Converted(config, rename(tensors, _AS_IS), which, decisions)


def _pair(value: Any) -> tuple[int, int]:
    values = _numbers(value, 2)
    return values[0], values[-1]


def _numbers(value: Any, most: int) -> tuple[int, ...]:
    """A few whole numbers, as a list or an array."""
    if isinstance(value, Tensor) and value.numel() <= most:
        value = value.flatten().tolist()
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= most:
        raise CheckpointError(f"its layers have {shown(value, most=60)} for a size or padding; expected numbers.")
    return tuple(int(part) for part in value)


def _stylegan3(network: Node, tensors: dict[str, Tensor], which: str, options: Options) -> Converted:
    synthesis = attribute(network, "synthesis")
    names = attribute(synthesis, "layer_names")
    if isinstance(names, list):
        _check_names(names)
    else:
        names = sorted(
            {name.split(".")[1] for name in tensors if name.startswith("synthesis.L")},
            key=lambda n: int(n[1:].split("_")[0]),
        )
        _check_names(names)
    decisions, layers, orthogonal, rank = [], [], [], rank_of(options.rank, None)
    used: dict[str, Tensor] = {}
    for name in names:
        layer = attribute(synthesis, name)
        layers.append(
            {
                "name": name,
                "torgb": bool(scalar(layer, "is_torgb")),
                "in_channels": int(number(layer, "in_channels")),
                "out_channels": int(number(layer, "out_channels")),
                "out_size": _pair(attribute(layer, "out_size"))[0],
                "kernel": int(number(layer, "conv_kernel", 1)) if not scalar(layer, "is_torgb") else 1,
                "up": int(number(layer, "up_factor")),
                "down": int(number(layer, "down_factor")),
                "padding": _numbers(attribute(layer, "padding"), 4),
                "up_filter": _filter_shape(attribute(layer, "up_filter")),
                "down_filter": _filter_shape(attribute(layer, "down_filter")),
                "clamp": None if scalar(layer, "conv_clamp") is None else number(layer, "conv_clamp"),
            }
        )
        if f"synthesis.{name}.affine.U" in tensors:
            orthogonal.append(name)
            before, rank = rank, rank_of(options.rank, _rank(layer))
            if len(orthogonal) > 1 and rank != before:
                raise CheckpointError(
                    f"its layer {name} has the rank {rank}, those before {before}; expected one for all."
                )
            last = attribute(layer, "affine.weight")  # an attribute that its forward leaves behind
            if isinstance(last, Tensor):
                used[name] = last
    size = _pair(attribute(synthesis, "input.size"))
    _check_canvas(size[0], layers, _whole(network, "img_resolution"))
    mapped = _mapping(network, tensors)
    if mapped.pop("mapping_activation") != "lrelu" or mapped:
        raise CheckpointError(f"its mapping network has {shown(mapped or 'another activation', most=80)}; expected "
                              "leaky relus and layers as wide as w.")  # fmt: skip
    config: dict[str, Any] = {
        "kind": "stylegan3",
        **_common(network, tensors),
        "layers": tuple(layers),
        "input_channels": int(number(synthesis, "input.channels")),
        "input_size": size[0],
        "sampling_rate": number(synthesis, "input.sampling_rate"),
        "bandwidth": number(synthesis, "input.bandwidth"),
        "output_scale": number(synthesis, "output_scale", 0.25),
    }
    order = order_of(options.order, tensors, used, rank)
    shows = ", as the weights show that they were last used with" if used else ""
    if orthogonal:
        config["projection"] = {
            "kind": "householder", "rank": rank, "layers": tuple(orthogonal), "gain": "equalized",
        }  # fmt: skip
        decisions.append(f"Orthogonal affine layers of rank {rank}, factors in the order {order}{shows}.")
    half = [name for name in names if scalar(synthesis, f"{name}.use_fp16")]
    if half:
        decisions.append(f"{len(half)} layers were run in half precision on GPUs; here all are float32.")
    state = with_frames(rename(tensors, _AS_IS), orthogonal, rank, order)
    return Converted(config, state, which, decisions, used)


def _rank(layer: Any) -> int | None:
    value = scalar(layer, "affine.diag_size")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise CheckpointError(f"its affine.diag_size is {shown(value, most=60)}; expected a whole number, the rank.")


def _check_names(names: list[Any]) -> None:
    """Of layers: few, and each only once."""
    if not 1 <= len(names) <= 100 or not all(isinstance(name, str) and 1 <= len(name) <= 100 for name in names):
        raise CheckpointError(f"its layers are called {shown(names)}; expected 1 to 100 names.")
    if len(set(names)) != len(names):
        raise CheckpointError("two of its layers have one name; it is damaged.")


def _check_canvas(size: int, layers: list[dict[str, Any]], resolution: int) -> None:
    """Each layer must turn the canvas it gets into the one it says; nothing else holds its paddings and factors."""
    for layer in layers:
        up, down, padding = layer["up"], layer["down"], layer["padding"]
        taps = sum(shape[0] - 1 for shape in (layer["up_filter"], layer["down_filter"]) if shape)
        whole = up >= 1 and down >= 1 and len(padding) == 4 and 1 <= layer["kernel"] <= 15
        made = {
            ((size + layer["kernel"] - 1) * up + low + high - taps - 1) // down + 1
            for low, high in (padding[:2], padding[2:])
        } if whole else set()  # fmt: skip
        # A margin lies around the picture; between its two filters a layer works at some times the size.
        small = max(size, layer["out_size"], *padding, (size + layer["kernel"]) * up) <= 16 * resolution + 1024
        if made != {layer["out_size"]} or not small:
            raise CheckpointError(
                f"its layer {layer['name']} does not make {layer['out_size']} pixels of {size} by its factors and "
                "paddings; it is damaged."
            )
        size = layer["out_size"]


def _filter_shape(kernel: Any) -> tuple[int, ...]:
    return tuple(kernel.shape) if isinstance(kernel, Tensor) else ()


def _discriminator(content: Content) -> Converted:
    """The network D, as our residual one; effective values are read from its layers."""
    data = content.data
    network = data.get("D") if isinstance(data, Mapping) else data
    if not isinstance(network, Node) or not is_module(network) or class_name(network) != "Discriminator":
        raise CheckpointError("it holds no discriminator; expected one under the name D.")
    tensors = tensors_of(state_dict(network, content.budget), content.budget)
    state = placed(tensors)
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
    taps = one_filter(shrinking)
    group = scalar(network, "b4.mbstd.group_size", GROUP)
    multiplier = number(network, "mapping.fc0.bias_gain", 0.01)
    return sized(state, "D", taps, None if clamp is None else float(clamp), group, multiplier)


FORMAT = ForeignFormat(NAME, recognise, convert, networks=_NETWORKS, convert_discriminator=_discriminator)
