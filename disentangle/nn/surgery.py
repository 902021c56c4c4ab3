"""Put whitening or covariance pooling into an existing network, and hand back the layer in front of it.

That layer, the *pre-SVD layer* of Song, Sebe and Wang (TPAMI 2023), is the one to treat:

    layer = replace_norm(model)
    handle = orthogonalize(optimizer, layer.weight, nog=True)

Networks are changed in place. Nothing here depends on whose they are: layers are found by what they do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from disentangle.errors import InputError, unknown_name
from disentangle.nn.pooling import CovariancePool2d
from disentangle.nn.whitening import DecorrelatedBatchNorm2d

__all__ = ["replace_norm", "replace_pool", "spectral_layers"]

_LINEAR = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def spectral_layers(model: nn.Module) -> dict[str, nn.Module]:
    """All whitening and covariance pooling layers of a model, by name, in the order of registration."""
    kinds = (DecorrelatedBatchNorm2d, CovariancePool2d)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def replace_norm(
    model: nn.Module,
    layer: str | nn.Module | None = None,
    *,
    before: str | nn.Module | None = None,
    **arguments: Any,
) -> nn.Module:
    """Replace one BatchNorm of a model by :class:`disentangle.nn.DecorrelatedBatchNorm2d`.

    Args:
        model: any network; changed in place.
        layer: the norm, as an object or by its dotted name; by default the first BatchNorm2d.
        before: the layer in front of it, where it cannot be found.
        **arguments: of the new layer; ``eps`` and ``momentum`` are taken over from the old one unless given, as are
            its affine parameters, device, dtype and mode. Running statistics start afresh.

    Returns:
        The pre-SVD layer: the convolution (or linear layer) whose output the norm gets.

    Raises:
        InputError: if there is no such norm, or the layer in front cannot be told.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.ReLU())
    >>> replace_norm(model) is model[0]
    True
    >>> model[1]
    DecorrelatedBatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, groups=1, whitening=zca)
    """
    modules = _modules(model)
    norms = {name: m for name, m in modules.items() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    if layer is None:
        flat = [name for name, module in norms.items() if isinstance(module, nn.BatchNorm2d)]
        if not flat:
            raise InputError(
                f"A {type(model).__name__} has no BatchNorm2d to replace; expected one, or build it with "
                "norm_layer=DecorrelatedBatchNorm2d."
            )
        name = flat[0]
    else:
        name = _named(modules, layer, norms, "norm")
    old = norms[name]
    front = _in_front(model, name, old.num_features) if before is None else modules[_named(modules, before, modules)]
    new = DecorrelatedBatchNorm2d(
        old.num_features,
        **{
            "eps": old.eps,
            "momentum": old.momentum,
            "affine": old.affine,
            "track_running_stats": old.track_running_stats,
            **arguments,
        },
    )
    reference = next(iter(old.parameters()), None)
    if reference is not None:
        new = new.to(device=reference.device, dtype=reference.dtype)
    with torch.no_grad():
        for mine, theirs in ((new.weight, old.weight), (new.bias, old.bias)):
            if mine is not None and theirs is not None:
                mine.copy_(theirs)
    _put(model, name, new.train(old.training))
    return front


def replace_pool(
    model: nn.Module,
    pool: str | nn.Module | None = None,
    head: str | nn.Module | None = None,
    *,
    reduction: int | None = None,
    **arguments: Any,
) -> nn.Module:
    """Replace the global average pool of a model by :class:`disentangle.nn.CovariancePool2d`, and resize its head.

    Works where a module pools (torchvision's and timm's ResNets, EfficientNets, MobileNets and the like, any network
    with ``AdaptiveAvgPool2d(1)``) and the next layer with weights is linear or a 1x1 convolution.

    Args:
        model: any network; changed in place.
        pool: the pooling layer, as an object or by name; by default the last global average pool.
        head: the layer that reads the pooled features; by default the first one with weights after the pool. It gets
            new weights for the new width; what follows it stays.
        reduction: channels after a 1x1 convolution in front of the covariance; None for none. The width of the new
            head is their number times their number plus one, halved: 2048 channels want a reduction.
        **arguments: of the pooling layer.

    Returns:
        The pre-SVD layer: the 1x1 reduction, or without one the last convolution in front of the pool.

    Raises:
        InputError: if there is no such layer, or something with weights of the old width stands between the two.
    """
    modules = _modules(model)
    names = list(modules)
    pools = {name: m for name, m in modules.items() if _is_global_average(m)}
    pools = {name: m for name, m in pools.items() if not any(name.startswith(f"{outer}.") for outer in pools)}
    if pool is None:
        if not pools:
            raise InputError(
                f"A {type(model).__name__} has no layer that pools globally (its forward may do so without one); name "
                "the layer with pool=, or put a CovariancePool2d into its forward."
            )
        pool_name = list(pools)[-1]
    else:
        pool_name = _named(modules, pool, pools, "pool")
    end = max(i for i, name in enumerate(names) if name == pool_name or name.startswith(f"{pool_name}."))
    weighted = [name for name in names[end + 1 :] if list(modules[name].parameters(recurse=False))]
    heads = {name: modules[name] for name in weighted if _is_head(modules[name])}
    if head is None:
        if not weighted or weighted[0] not in heads:
            found = f"{weighted[0]!r} is a {type(modules[weighted[0]]).__name__}" if weighted else "there is none"
            raise InputError(
                f"The first layer with weights after {pool_name!r} must be a Linear or 1x1 convolution, whose width "
                f"can follow, but {found}; name the head with head=, once nothing of the old width stands before it."
            )
        head_name = weighted[0]
    else:
        head_name = _named(modules, head, heads, "head")
    old = modules[head_name]
    channels: Any = old.in_features if isinstance(old, nn.Linear) else old.in_channels
    new_pool = CovariancePool2d(int(channels), reduction=reduction, **arguments)
    convolutions = [m for name, m in list(modules.items())[:end] if isinstance(m, nn.Conv2d)]
    if new_pool.reduction is None and not convolutions:
        raise InputError(f"There is no convolution in front of {pool_name!r}; give reduction=, which brings one.")
    width, shape = new_pool.out_features, (new_pool.out_features, 1, 1)
    if isinstance(old, nn.Linear):
        new_head: nn.Module = nn.Linear(width, old.out_features, bias=old.bias is not None)
        replaced: nn.Module = new_pool
    else:
        assert isinstance(old, nn.Conv2d)
        new_head = nn.Conv2d(width, old.out_channels, 1, bias=old.bias is not None)
        replaced = nn.Sequential(new_pool, nn.Unflatten(1, shape))
    weight = next(old.parameters())
    for name, new in ((pool_name, replaced), (head_name, new_head)):
        _put(model, name, new.to(device=weight.device, dtype=weight.dtype).train(modules[name].training))
    return convolutions[-1] if new_pool.reduction is None else new_pool.reduction


# ------------------------------------------------------------------------------------------------- finding layers


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules but the model itself, by dotted name, in the order of registration."""
    return {name: module for name, module in model.named_modules() if name}


def _named(
    modules: Mapping[str, nn.Module],
    wanted: str | nn.Module,
    candidates: Mapping[str, nn.Module],
    what: str = "layer",
) -> str:
    """The name of a layer given by name or as an object, which must be one of the candidates."""
    if isinstance(wanted, nn.Module):
        for name, module in candidates.items():
            if module is wanted:
                return name
        raise InputError(
            f"The {type(wanted).__name__} given is no {what} of this model; "
            f"it has {', '.join(candidates) or 'none at all'}."
        )
    if wanted not in candidates:
        hint = f"{wanted!r} is a {type(modules[wanted]).__name__}." if wanted in modules else ""
        raise unknown_name(what, wanted, candidates, hint=hint)
    return wanted


def _in_front(model: nn.Module, name: str, width: int) -> nn.Module:
    """The linear map whose output the layer ``name`` gets: by the traced graph, else by order and width."""
    modules = _modules(model)
    traced = _traced_front(model, name)
    if traced is not None:
        return modules[traced]
    position = list(modules).index(name)
    earlier = [m for m in list(modules.values())[:position] if isinstance(m, _LINEAR)]
    if not earlier or _width(earlier[-1]) != width:
        known = [key for key, module in modules.items() if isinstance(module, _LINEAR) and _width(module) == width]
        raise InputError(
            f"The layer whose output {name!r} normalises was not found; name it with before=, one of "
            f"{', '.join(known) or 'no layer of that width'}."
        )
    return earlier[-1]


def _traced_front(model: nn.Module, name: str) -> str | None:
    """By symbolic tracing, through layers without weights; None if the model cannot be traced or it is not told."""
    try:
        graph = torch.fx.symbolic_trace(model).graph
    except Exception:  # a forward may do anything, and tracing raises whatever that meets
        return None
    modules = _modules(model)
    nodes = [node for node in graph.nodes if node.op == "call_module" and node.target == name]
    if len(nodes) != 1:
        return None
    node = nodes[0]
    while len(node.all_input_nodes) == 1:
        (node,) = node.all_input_nodes
        if node.op != "call_module":
            return None
        module = modules[str(node.target)]
        if isinstance(module, _LINEAR):
            return str(node.target)
        if list(module.parameters()):
            return None
    return None


def _width(module: nn.Module) -> int:
    width: Any = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    return int(width)


def _is_global_average(module: nn.Module) -> bool:
    if isinstance(module, nn.AdaptiveAvgPool2d):
        size = module.output_size
        return math.prod(size if isinstance(size, tuple) else (size,)) == 1  # type: ignore[arg-type]
    # timm's pooling layer says what it pools with
    return getattr(module, "pool_type", "") in ("avg", "fast", "fastavg")


def _is_head(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    )


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
