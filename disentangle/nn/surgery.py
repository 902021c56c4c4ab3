"""Put whitening into an existing network, and hand back the layer in front of it.

That layer, the *pre-SVD layer* of Song, Sebe and Wang (TPAMI 2023), is the one to treat:

    layer = replace_norm(model)
    handle = orthogonalize(optimizer, layer.weight, nog=True)

Networks are changed in place. Nothing here depends on whose they are: layers are found by what they do. Covariance
pooling goes in by :func:`disentangle.nn.replace_pool`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from disentangle.errors import InputError, unknown_name
from disentangle.nn.data_flow import LINEAR, data_flow, is_weighted, width
from disentangle.nn.pooling import CovariancePool2d
from disentangle.nn.whitening import DecorrelatedBatchNorm2d
from disentangle.signatures import checks_arguments, described

__all__ = ["modules_by_name", "name_of", "put", "replace_norm", "spectral_layers"]


@checks_arguments
def spectral_layers(model: nn.Module) -> dict[str, nn.Module]:
    """All whitening and covariance pooling layers of a model, by name, in the order of registration."""
    kinds = (DecorrelatedBatchNorm2d, CovariancePool2d)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


@checks_arguments
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
            its affine parameters, whether these are trained, device, dtype and mode. Running statistics start afresh.

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
    modules = modules_by_name(model)
    norms = {name: m for name, m in modules.items() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    if layer is None:
        flat = [name for name, module in norms.items() if isinstance(module, nn.BatchNorm2d)]
        if not flat:
            takes = "norm_layer" in inspect.signature(type(model)).parameters
            advice = ", or build it with norm_layer=DecorrelatedBatchNorm2d" if takes else " behind a convolution"
            raise InputError(f"A{described(model)[1:]} has no BatchNorm2d to replace; expected one{advice}.")
        name = flat[0]
    else:
        name = name_of(modules, layer, norms, "norm")
    old = norms[name]
    front = _in_front(model, name, old.num_features) if before is None else modules[name_of(modules, before, modules)]
    reference = next((t for t in chain(old.parameters(), old.buffers()) if t.is_floating_point()), None)
    new = DecorrelatedBatchNorm2d(
        old.num_features,
        **{
            "eps": old.eps,
            "momentum": old.momentum,
            "affine": old.affine,
            "track_running_stats": old.track_running_stats,
            **({} if reference is None else {"device": reference.device, "dtype": reference.dtype}),
            **arguments,
        },
    )
    with torch.no_grad():
        for mine, theirs in ((new.weight, old.weight), (new.bias, old.bias)):
            if mine is not None and theirs is not None:
                mine.copy_(theirs)
                mine.requires_grad_(theirs.requires_grad)
    put(model, name, new.train(old.training))
    return front


# ------------------------------------------------------------------------------------------------- finding layers


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """All modules but the model itself, by dotted name, in the order of registration."""
    return {name: module for name, module in model.named_modules() if name}


def name_of(
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


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """``module`` in the place of the layer called ``name``."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _in_front(model: nn.Module, name: str, channels: int) -> nn.Module:
    """The linear map whose output the layer ``name`` gets: by the flow of data, else by order and width."""
    flow = data_flow(model)
    calls = [] if flow is None else flow.of(name)
    if flow is not None and len(calls) == 1:
        weighted = flow.before(calls[0], is_weighted)
        if len(weighted) == 1 and isinstance(weighted[0].module, LINEAR):
            return weighted[0].module
    modules = modules_by_name(model)
    position = list(modules).index(name)
    earlier = [m for m in list(modules.values())[:position] if isinstance(m, LINEAR)]
    if not earlier or width(earlier[-1]) != channels:
        known = [key for key, module in modules.items() if isinstance(module, LINEAR) and width(module) == channels]
        raise InputError(
            f"The layer whose output {name!r} normalises was not found; name it with before=, one of "
            f"{', '.join(known) or 'no layer of that width'}."
        )
    return earlier[-1]
