"""Parametrised weights that can be copied, pickled and shared.

``torch.nn.utils.parametrize`` gives a module a class of its own, which all its copies share (so that to end the
parametrisation of one takes the weight off the others) and which refuses to be pickled; and of a parameter that two
modules hold it treats one holder only. Here copies have classes of their own, a whole module can be saved, and modules
that hold one parameter get one parametrised weight.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.weak import WeakIdKeyDictionary

from disentangle.errors import InputError

__all__ = ["parametrized", "shared_with"]

# Of each parameter that was replaced, what stands in its place; as long as that is in use.
_in_place_of: Any = WeakIdKeyDictionary()


def parametrized(layer: nn.Module, name: str, parametrization: nn.Module) -> None:
    """Put a parametrisation on the parameter ``name`` of a layer.

    If the parameter is one that another layer holds and that was parametrised there, both then share that layer's
    parametrised weight: the free parameters, the value, and the gradients, which add up.

    Raises:
        InputError: if the parameter is shared with a weight that is parametrised in another way.
    """
    parameter: Tensor = layer._parameters[name]  # type: ignore[assignment]
    first = shared_with(parameter)
    if first is None:
        parametrize.register_parametrization(layer, name, parametrization, unsafe=True)
        _in_place_of[parameter] = weakref.ref(_lists(layer)[name])
    elif repr(first[0]) != repr(parametrization):
        raise InputError(
            f"{name!r} of {type(layer).__name__} is shared with another layer, where it is parametrised in another "
            "way; expected the same for both, or weights of their own."
        )
    else:
        _put(layer, name, first)
    _make_copyable(layer)


def shared_with(parameter: Tensor) -> Any:
    """The ``ParametrizationList`` that took a parameter's place in another layer, or None."""
    found = _in_place_of.get(parameter)
    return None if found is None else found()


def _lists(layer: nn.Module) -> Any:
    return layer.parametrizations


def _put(layer: nn.Module, name: str, parametrizations: nn.Module) -> None:
    """Give a layer the property and the class of a parametrised one, then a ``ParametrizationList`` that exists."""
    layer._parameters.pop(name, None)
    layer.register_parameter(name, nn.Parameter(torch.empty(0), requires_grad=False))
    parametrize.register_parametrization(layer, name, nn.Identity(), unsafe=True)
    _lists(layer)[name] = parametrizations


def _make_copyable(layer: nn.Module) -> None:
    cls: Any = type(layer)
    cls.__reduce_ex__ = _reduce
    if cls.__mro__[1].__dict__.get("__deepcopy__") is None:
        cls.__deepcopy__ = _deep_copy


def _blank(cls: type[nn.Module], names: Iterable[str]) -> nn.Module:
    """A module of a class that has the properties of these parametrised tensors and nothing else yet."""
    layer = cls.__new__(cls)
    nn.Module.__init__(layer)
    for name in names:
        _put(layer, name, nn.Identity())
    _make_copyable(layer)
    return layer


def _reduce(layer: Any, _protocol: int) -> tuple[Any, ...]:
    plain = type(layer).__mro__[1]
    get_state = getattr(plain, "__getstate__", None)
    state = layer.__dict__ if get_state is None else get_state(layer)
    return _blank, (plain, tuple(layer.parametrizations)), state


def _deep_copy(layer: Any, memo: dict[int, Any]) -> nn.Module:
    make, arguments, state = _reduce(layer, 2)
    memo[id(layer)] = replica = make(*arguments)
    replica.__setstate__(copy.deepcopy(state, memo))
    return replica
