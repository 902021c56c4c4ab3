"""Parameter groups during one optimizer step: treated weights sit in groups of their own, for that step's eyes only.

The optimizer itself is never rearranged. Its step runs on a stand-in that shares everything with it (state, defaults,
attributes, read and written) but its parameter groups. So a step that raises, wherever, leaves groups and rates as
they were, and what looks at the optimizer meanwhile, ``zero_grad()`` in a closure for example, sees it as it was built.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from disentangle.errors import ArgumentError, InputError
from disentangle.signatures import described
from disentangle.text import shown

__all__ = ["StepGroups", "checked_params", "innermost_optimizer", "stand_in"]


class StepGroups:
    """The groups that one step sees; the optimizer's own until a weight is taken out of one.

    Attributes:
        seen: the list that the step goes through.
        treatments: whose weights have been asked for; all treatments of an optimizer share one record a step.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.seen = groups
        self.treatments: set[int] = set()
        self._twins: list[tuple[dict[str, Any], dict[str, Any]]] = []  # (the optimizer's, its copy for the step)
        self._own: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []  # (..., of one weight, as added)

    def take(self, param: Tensor) -> dict[str, Any]:
        """Move ``param`` out of the group it is in; returns a copy of that group of its own, not yet seen."""
        if not self._twins:
            self._twins = [(group, {**group, "params": list(group["params"])}) for group in self.seen]
            self.seen = [twin for _, twin in self._twins]
        for group, twin in self._twins:
            if any(p is param for p in twin["params"]):
                twin["params"] = [p for p in twin["params"] if p is not param]
                return {**group, "params": [param]}
        raise InputError(f"A weight of shape {tuple(param.shape)} is in no group of the optimizer.")

    def add(self, group: dict[str, Any]) -> None:
        """Let the step see a group that :meth:`take` gave."""
        param = group["params"][0]
        source = next(g for g, _ in self._twins if any(p is param for p in g["params"]))
        self.seen.append(group)
        self._own.append((source, group, dict(group)))

    def finish(self) -> None:
        """Note in the optimizer's groups what the step has written into its copies, such as counters; but no rates."""
        for source, group, added in self._own:
            for key, value in group.items():
                if key not in ("params", "lr") and (key not in added or value is not added[key]):
                    source[key] = value
        for source, twin in self._twins:
            for key, value in twin.items():
                if key != "params" and (key not in source or value is not source[key]):
                    source[key] = value
        self._twins, self._own = [], []


def stand_in(optimizer: Optimizer) -> tuple[Any, StepGroups]:
    """What a step runs on in the place of ``optimizer``, and the record of its groups; of a stand-in, itself."""
    record = getattr(optimizer, "_step_groups", None)
    if isinstance(record, StepGroups):
        return optimizer, record
    kind = type(optimizer)
    if kind not in _stand_ins:
        _stand_ins[kind] = _stand_in_of(kind)
    record = StepGroups(optimizer.param_groups)
    other: Any = object.__new__(_stand_ins[kind])
    other.__dict__ = optimizer.__dict__
    _stand_ins[kind]._step_groups.__set__(other, record)
    return other, record


_stand_ins: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def _stand_in_of(kind: type) -> type:
    """The class of stand-ins of a class of optimizers: a property goes before what is in the shared ``__dict__``."""

    def seen(self: Any) -> list[dict[str, Any]]:
        return self._step_groups.seen

    def replaced(self: Any, groups: list[dict[str, Any]]) -> None:
        self.__dict__["param_groups"] = self._step_groups.seen = groups

    def body(names: dict[str, Any]) -> None:
        names.update(__slots__=("_step_groups",), __module__=kind.__module__, __qualname__=kind.__qualname__)
        names["param_groups"] = property(seen, replaced)

    return types.new_class(kind.__name__, (kind,), {}, body)


def innermost_optimizer(optimizer: Any) -> Optimizer:
    """The torch optimizer itself: accelerate's wrapper keeps it in ``optimizer`` and its own hooks never run."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"optimizer is {described(optimizer)}; expected a torch.optim.Optimizer.")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError("LBFGS evaluates several gradients inside one step and has no parameter groups; use another.")
    return optimizer


def checked_params(optimizer: Optimizer, params: Tensor | Iterable[Tensor], taken: Iterable[Tensor]) -> list[Tensor]:
    """The weights to treat, or an InputError that says why one cannot be; ``taken`` are treated already."""
    if isinstance(params, nn.Module):
        weights = [name for name, param in params.named_parameters() if param.ndim >= 2]
        which = f"its {shown(weights[0])}" if weights else "the weights of a layer"
        raise ArgumentError(f"params is {described(params)}; expected weights themselves, such as {which}.")
    if isinstance(params, str) or not isinstance(params, Iterable):
        raise ArgumentError(f"params is {described(params)}; expected weights themselves, one or a list of them.")
    chosen = [params] if isinstance(params, Tensor) else list(params)
    if not chosen:
        raise InputError("No parameter to treat: params is empty.")
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    taken_ids = {id(p) for p in taken}
    seen: set[int] = set()
    for position, param in enumerate(chosen):
        if not isinstance(param, Tensor):
            raise InputError(
                f"params[{position}] is {described(param)}; expected parameters themselves, not names or modules."
            )
        shape = tuple(param.shape)
        if not param.is_leaf:
            raise InputError(
                f"params[{position}] of shape {shape} is computed, not a leaf parameter; for a parametrised layer pass "
                "layer.parametrizations.weight.original."
            )
        if hasattr(param, "placements") or type(param).__name__ == "DTensor":
            raise InputError(
                f"params[{position}] of shape {shape} is sharded over processes (DTensor); its polar factor needs the "
                "whole matrix, so treat it under DistributedDataParallel instead."
            )
        if param.ndim < 2:
            raise InputError(f"params[{position}] has shape {shape}; expected a weight of two dimensions or more.")
        if id(param) not in own:
            raise InputError(
                f"params[{position}] of shape {shape} is not in the optimizer; expected one of the "
                f"{len(own)} parameters it was built with."
            )
        if id(param) in taken_ids:
            raise InputError(f"params[{position}] of shape {shape} is treated already; remove() that treatment first.")
        if id(param) in seen:
            raise InputError(f"params[{position}] of shape {shape} is given twice.")
        seen.add(id(param))
    return chosen
