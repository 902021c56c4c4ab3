"""Parameter groups during one optimizer step: treated weights sit in groups of their own, only while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer

from disentangle.errors import InputError

__all__ = ["StepGroups", "checked_params", "innermost_optimizer", "step_groups"]


@dataclass
class StepGroups:
    """An optimizer's parameter groups while treated weights sit in groups of their own.

    Shared by all treatments of one optimizer; ``restore`` puts everything back, so the first post-hook of a step (or
    the pre-hook after a step that raised) ends the rearrangement for all of them.
    """

    original: list[tuple[dict[str, Any], list[Tensor]]] = field(default_factory=list)
    own: list[dict[str, Any]] = field(default_factory=list)
    treatments: set[int] = field(default_factory=set)

    def take(self, optimizer: Optimizer, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """Move ``param`` out of ``group`` into a copy of it that is not yet part of the optimizer."""
        if not any(group is known for known, _ in self.original):
            self.original.append((group, group["params"]))
        group["params"] = [p for p in group["params"] if p is not param]
        return {**group, "params": [param]}

    def add(self, optimizer: Optimizer, group: dict[str, Any]) -> None:
        optimizer.param_groups.append(group)
        self.own.append(group)

    def restore(self, optimizer: Optimizer) -> None:
        for group, params in self.original:
            group["params"] = params
        if self.own:
            own = {id(group) for group in self.own}
            optimizer.param_groups[:] = [g for g in optimizer.param_groups if id(g) not in own]
        self.original, self.own, self.treatments = [], [], set()


_all_groups: WeakKeyDictionary[Optimizer, StepGroups] = WeakKeyDictionary()


def step_groups(optimizer: Optimizer) -> StepGroups:
    """The one record of ``optimizer``'s rearrangement."""
    return _all_groups.setdefault(optimizer, StepGroups())


def innermost_optimizer(optimizer: Any) -> Optimizer:
    """The torch optimizer itself: accelerate's wrapper keeps it in ``optimizer`` and its own hooks never run."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"optimizer is a {type(optimizer).__name__}; expected a torch.optim.Optimizer.")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError("LBFGS evaluates several gradients inside one step and has no parameter groups; use another.")
    return optimizer


def checked_params(optimizer: Optimizer, params: Tensor | Iterable[Tensor], taken: Iterable[Tensor]) -> list[Tensor]:
    """The weights to treat, or an InputError that says why one cannot be; ``taken`` are treated already."""
    chosen = [params] if isinstance(params, Tensor) else list(params)
    if not chosen:
        raise InputError("No parameter to treat: params is empty.")
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    taken_ids = {id(p) for p in taken}
    seen: set[int] = set()
    for position, param in enumerate(chosen):
        if not isinstance(param, Tensor):
            raise InputError(
                f"params[{position}] is a {type(param).__name__}; expected parameters themselves, not names or modules."
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
