"""Put covariance pooling into an existing network, resize its head, and hand back the layer in front of the pool."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from disentangle.checks import check_integer
from disentangle.errors import ArgumentError, InputError
from disentangle.nn.data_flow import Call, DataFlow, data_flow, forward, is_weighted
from disentangle.nn.pooling import CovariancePool2d
from disentangle.nn.surgery import modules_by_name, name_of, put
from disentangle.signatures import checks_arguments

__all__ = ["replace_pool"]


_LARGEST_HEAD = 10**9  # weights: 4 GB


@checks_arguments
def replace_pool(
    model: nn.Module,
    pool: str | nn.Module | None = None,
    head: str | nn.Module | None = None,
    *,
    before: str | nn.Module | None = None,
    reduction: int | None = None,
    **arguments: Any,
) -> nn.Module:
    """Replace the global average pool of a model by :class:`disentangle.nn.CovariancePool2d`, and resize its head.

    Works where a layer pools (torchvision's and timm's ResNets, ConvNeXts, EfficientNets, MobileNets and the like, any
    network with ``AdaptiveAvgPool2d(1)``) and the next layer with weights is linear or a 1x1 convolution, layer norms
    apart. The new pool's output has the old one's dimensions, so a forward may flatten, squeeze or index it. Where the
    forward averages a layer's output by a function (MobileNetV2, MNASNet, ShuffleNetV2), that layer becomes an
    ``nn.Sequential`` of itself and the new pool, whose one position the average leaves as it is. Layers are found by
    what feeds what, see :mod:`disentangle.nn.data_flow`.

    Args:
        model: any network; changed in place.
        pool: the pooling layer, as an object or by name; by default the global average pool that runs last.
        head: the layer that reads the pooled features; by default the first one with weights after the pool. It gets
            new weights for the new width; what follows it stays. A layer norm between the two gets new weights too.
        before: the layer in front of the pool, where it cannot be found; not together with ``reduction``.
        reduction: channels after a 1x1 convolution in front of the covariance; None for none. The width of the new
            head is their number times their number plus one, halved: 2048 channels want a reduction.
        **arguments: of the pooling layer.

    Device, dtype, mode and ``requires_grad`` of what is replaced are taken over.

    Returns:
        The pre-SVD layer: the 1x1 reduction, or without one the convolution (or linear layer) that feeds the pool.
        Where branches meet in front of the pool, it is the last one of the branch with most layers: of a residual block
        the last convolution of the block itself, not of its shortcut.

    Raises:
        InputError: if there is no such layer, if something else with weights of the old width stands between the two,
            or if the forward cannot take the new ones. The model is then as it was.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    >>> replace_pool(model) is model[0]
    True
    >>> model[3]
    Linear(in_features=36, out_features=10, bias=True)
    """
    if before is not None and reduction is not None:
        raise InputError("got before= and reduction=, whose 1x1 convolution is the layer in front; give one of them.")
    modules = modules_by_name(model)
    flow = data_flow(model)
    pool_name, is_behind = _find_pool(model, modules, flow, pool)
    calls = [] if flow is None else flow.of(pool_name)
    call = calls[-1] if calls else None
    head_name, norms = _find_head(modules, pool_name, _weighted_after(modules, flow, call, pool_name), head)
    old_head: Any = modules[head_name]
    channels = int(old_head.in_features if isinstance(old_head, nn.Linear) else old_head.in_channels)
    if call is not None and is_behind:  # the function that pools, as if it were called: it reads what the layer gives
        call = dataclasses.replace(call, reads=(call.makes,), given=call.gives)
    if call is not None and call.given is not None and (len(call.given) != 4 or call.given[1] != channels):
        raise InputError(
            f"{pool_name!r} gets features of shape (n, {', '.join(map(str, call.given[1:]))}), but {head_name!r} reads "
            f"{channels}; expected a map (n, {channels}, H, W): put a CovariancePool2d into the forward instead."
        )
    flatten = not is_behind and _gives_rows(modules[pool_name], old_head, call)
    if reduction is not None:
        side = check_integer("reduction", reduction, least=1)
        outputs = int(old_head.out_features if isinstance(old_head, nn.Linear) else old_head.out_channels)
        numbers = side * (side + 1) // 2 * outputs
        if numbers > _LARGEST_HEAD:
            raise ArgumentError(
                f"reduction is {side}, whose covariance has {side * (side + 1) // 2:,} entries, and a head on them "
                f"{numbers:,} weights; expected fewer, such as 64 or 256."
            )
    new_pool = CovariancePool2d(channels, reduction=reduction, **{"flatten": flatten, **arguments})
    if new_pool.reduction is not None:
        front: nn.Module | None = new_pool.reduction
    elif before is not None:
        front = modules[name_of(modules, before, modules)]
    else:
        front = None if flow is None or call is None else flow.main_branch(call)
    if front is None:
        raise InputError(
            f"The convolution that feeds {pool_name!r} was not found; name it with before=, or give reduction=, which "
            "brings one."
        )
    weight = old_head.weight
    new_pool.to(device=weight.device, dtype=weight.dtype).train(modules[pool_name].training)
    new = {
        pool_name: _behind(modules[pool_name], new_pool) if is_behind else new_pool,
        head_name: _resized_head(old_head, new_pool.out_features),
        **{name: _resized_norm(norm, new_pool.out_features) for name, norm in norms.items()},
    }
    for name, module in new.items():
        put(model, name, module)
    if flow is not None and flow.picture is not None:
        try:
            forward(model, flow.picture)
        except Exception as error:  # whatever the forward meets
            for name in new:
                put(model, name, modules[name])
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise InputError(
                f"With a CovariancePool2d in the place of {pool_name!r} the forward of {type(model).__name__} fails "
                f"({reason}); where it holds the old width between {pool_name!r} and {head_name!r}, make it follow, or "
                "put a CovariancePool2d into the forward instead."
            ) from error
    return front


# --------------------------------------------------------------------------------------------------------- the pool


def _find_pool(
    model: nn.Module, modules: Mapping[str, nn.Module], flow: DataFlow | None, pool: str | nn.Module | None
) -> tuple[str, bool]:
    """The name of the pool, or, with True, of the layer whose output a function averages."""
    averages = {name: m for name, m in modules.items() if _is_global_average(m)}
    averages = {name: m for name, m in averages.items() if not any(name.startswith(f"{outer}.") for outer in averages)}
    partial = {name: m for name, m in modules.items() if isinstance(m, nn.AdaptiveAvgPool2d) and name not in averages}
    partial = {name: m for name, m in partial.items() if not any(name.startswith(f"{outer}.") for outer in averages)}
    windows = {name: m for name, m in modules.items() if isinstance(m, nn.AvgPool2d)}  # of the whole map, perhaps
    if pool is not None:
        name = name_of(modules, pool, {**averages, **partial, **windows}, "pool")
        if name in partial:
            raise _keeps_positions(modules, flow, name)
        return name, False
    if flow is None and averages:
        return list(averages)[-1], False
    ends = None if flow is None else _pooled_by_a_function(flow)
    called = [] if flow is None else [call for call in flow.calls if call.name in averages]
    if flow is not None and called:
        later = flow.after(called[-1])
        # A map of more than one position behind it, or a pool by a function: then it is part of a gate.
        if not any(_has_positions(call.given) for call in later) and (ends is None or ends[1] not in later):
            return called[-1].name, False
    if flow is not None and ends is not None:
        averaged = _averaged_by_a_function(flow, ends[1])
        if averaged is not None:
            return averaged.name, True
    if partial:
        raise _keeps_positions(modules, flow, list(partial)[-1])
    kind = type(model).__name__
    if ends is not None:
        raise InputError(
            f"The forward of a {kind} pools by a function call between {ends[0].name!r} and {ends[1].name!r}, but not "
            "the output of one layer and by an average alone; put an nn.AdaptiveAvgPool2d(1) there, in a subclass or "
            "an nn.Sequential of its parts, and call replace_pool on that."
        )
    whole = [n for n in windows if flow is None or any(not _has_positions(call.gives) for call in flow.of(n))]
    hint = f" (or name {whole[-1]!r} with pool= if its window is the whole map)" if whole else ""
    raise InputError(
        f"A {kind} has no layer that averages over all positions of a map; put an nn.AdaptiveAvgPool2d(1) in front of "
        f"its head{hint}, or a CovariancePool2d into its forward."
    )


def _is_global_average(module: nn.Module) -> bool:
    if isinstance(module, nn.AdaptiveAvgPool2d):
        size = module.output_size
        return all(side == 1 for side in (size if isinstance(size, tuple) else (size,)))
    # timm's pooling layer says what it pools with
    return getattr(module, "pool_type", "") in ("avg", "fast", "fastavg")


def _has_positions(shape: torch.Size | None) -> bool:
    return shape is not None and len(shape) == 4 and math.prod(shape[2:]) > 1


def _gives_rows(pool: nn.Module, head: nn.Module, call: Call | None) -> bool:
    """Whether a pool flattens: as it ran, else by its kind (timm's do)."""
    if call is not None and call.gives is not None:
        return len(call.gives) == 2
    return isinstance(head, nn.Linear) and not isinstance(pool, (nn.AdaptiveAvgPool2d, nn.AvgPool2d))


def _keeps_positions(modules: Mapping[str, nn.Module], flow: DataFlow | None, name: str) -> InputError:
    calls = [] if flow is None else flow.of(name)
    weighted = _weighted_after(modules, flow, calls[-1] if calls else None, name)
    size: Any = modules[name].output_size
    sides = (size, size) if isinstance(size, int) else tuple(size)
    read, remedy = "", "with a head that reads one feature a channel"
    reader = modules[weighted[0]] if weighted else None
    if isinstance(reader, nn.Linear):
        read = f", whose {reader.in_features} values {weighted[0]!r} reads"
        if all(isinstance(side, int) for side in sides) and reader.in_features % (sides[0] * sides[1]) == 0:
            new = f"nn.Linear({reader.in_features // (sides[0] * sides[1])}, {reader.out_features})"
            remedy = f"and {weighted[0]!r} an {new}"
    return InputError(
        f"{name!r} averages to {'x'.join(map(str, sides))} positions{read}, and covariance pooling leaves none; make "
        f"it an nn.AdaptiveAvgPool2d(1) {remedy}, then call replace_pool."
    )


def _pooled_by_a_function(flow: DataFlow) -> tuple[Call, Call] | None:
    """The layer that gives the last map, and the layer behind it that gets one value for each of its channels."""
    for call in reversed([call for call in flow.calls if is_weighted(call.module) and call.given is not None]):
        for front in flow.before(call, lambda module: is_weighted(module) or _is_pool(module)):
            if call.given is None or front.gives is None or not _has_positions(front.gives):
                continue
            if call.given[1:].numel() == front.gives[1] and not any(_has_positions(c.given) for c in flow.after(call)):
                return front, call
    return None


# What leaves the covariances of a map with one position as they are; by the names of autograd's nodes.
_AVERAGES = re.compile(r"(Mean|AdaptiveAvgPool2D|View|UnsafeView|ReshapeAlias|Squeeze|Select|Slice|Alias)Backward\d*")


def _averaged_by_a_function(flow: DataFlow, reader: Call) -> Call | None:
    """The layer whose output, a map that nothing else gets, reaches ``reader`` through averages alone."""
    maps = {call.makes for call in flow.calls if _has_positions(call.gives)}
    (node,) = reader.reads if len(reader.reads) == 1 else (None,)
    while node is not None and node not in maps:
        parents = list(flow.parents(node))
        (node,) = parents if len(parents) == 1 and _AVERAGES.fullmatch(str(node.name())) else (None,)
    # Of nested layers the innermost, which ends first, unless it runs elsewhere too (the one ReLU of a block, say).
    nested = [call for call in flow.calls if call.makes is node and len(flow.of(call.name)) == 1]
    if node is None or not nested or any(_has_positions(call.given) for call in flow.after(nested[0])):
        return None
    return nested[0]


def _behind(layer: nn.Module, pool: nn.Module) -> nn.Module:
    both = nn.Sequential(layer, pool)
    both.training = layer.training
    return both


def _is_pool(module: nn.Module) -> bool:
    return "pool" in type(module).__name__.lower()  # PyTorch's and timm's


# --------------------------------------------------------------------------------------------------------- the head


def _weighted_after(modules: Mapping[str, nn.Module], flow: DataFlow | None, call: Call | None, pool: str) -> list[str]:
    """The layers with weights that the pool's output reaches, in order; those registered after it where nothing ran."""
    if flow is not None and call is not None:
        return [later.name for later in flow.after(call) if is_weighted(later.module)]
    names = list(modules)
    end = max(i for i, name in enumerate(names) if name == pool or name.startswith(f"{pool}."))
    return [name for name in names[end + 1 :] if is_weighted(modules[name])]


def _find_head(
    modules: Mapping[str, nn.Module], pool: str, weighted: list[str], head: str | nn.Module | None
) -> tuple[str, dict[str, nn.LayerNorm]]:
    """The head's name, and the layer norms in front of it, whose width must follow too."""
    wanted = None
    if head is not None:
        wanted = name_of(modules, head, {name: modules[name] for name in weighted if _is_head(modules[name])}, "head")
    norms: dict[str, nn.LayerNorm] = {}
    for name in weighted:
        module = modules[name]
        if name == wanted or (wanted is None and _is_head(module)):
            return name, norms
        if not isinstance(module, nn.LayerNorm) or len(module.normalized_shape) != 1:
            raise InputError(
                f"{name!r}, a {type(module).__name__}, stands between {pool!r} and the head, and its width cannot "
                "follow; put an nn.Identity() in its place, or a CovariancePool2d into the forward."
            )
        norms[name] = module
    raise InputError(
        f"No linear layer or 1x1 convolution reads what {pool!r} pools, so there is no head to resize; put the head "
        "behind the pool, or a CovariancePool2d into the forward."
    )


def _is_head(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    )


def _resized_head(old: Any, width: int) -> nn.Module:
    place = {"device": old.weight.device, "dtype": old.weight.dtype}
    new: Any
    if isinstance(old, nn.Linear):
        new = nn.Linear(width, old.out_features, bias=old.bias is not None, **place)
    else:
        new = nn.Conv2d(width, old.out_channels, 1, bias=old.bias is not None, **place)
    new.weight.requires_grad_(old.weight.requires_grad)
    if old.bias is not None:
        new.bias.requires_grad_(old.bias.requires_grad)
    return new.train(old.training)


def _resized_norm(old: nn.LayerNorm, width: int) -> nn.LayerNorm:
    """The same layer, of its own class (for maps (n, C, H, W), say), with ones and zeros of another width."""
    new = copy.deepcopy(old)
    new.normalized_shape = (width,)
    for name, start in (("weight", 1.0), ("bias", 0.0)):
        parameter = getattr(old, name, None)
        if parameter is not None:
            fresh = torch.full((width,), start, device=parameter.device, dtype=parameter.dtype)
            setattr(new, name, nn.Parameter(fresh, requires_grad=parameter.requires_grad))
    return new
