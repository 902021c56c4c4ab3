"""Giving the parts of a training the state that a checkpoint holds of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from disentangle.errors import CheckpointError, DisentangleError
from disentangle.optim import Treatment
from disentangle.text import shown

__all__ = ["Stateful", "restore"]

# What torch's optimizers keep of a parameter once it has been stepped; other names are theirs to judge.
_ENTRIES = {torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"}, torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"}}


class Stateful(Protocol):
    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


def restore(parts: Mapping[str, Stateful], saved: Mapping[str, Any], *, source: object) -> None:
    """Load each part's state.

    Args:
        parts: networks, optimizers, averages and whatever else has a state.
        saved: their states by the same names.
        source: where they come from, for messages.

    Raises:
        CheckpointError: if a part is missing or too many, or a state is of another form than that part's.
    """
    if set(saved) != set(parts):
        raise CheckpointError(
            f"The checkpoint {source} holds {shown(sorted(map(str, saved)))}, but this training has {sorted(parts)}; "
            "it cannot be continued."
        )
    for name, part in parts.items():
        try:
            problem = None
            if not isinstance(part, (torch.optim.Optimizer, Treatment)):
                problem = _misfit(part.state_dict(), saved[name])
            if problem is None:
                groups = [dict(g) for g in part.param_groups] if isinstance(part, torch.optim.Optimizer) else []
                part.load_state_dict(saved[name])
                if isinstance(part, torch.optim.Optimizer):
                    problem = _misfit_of_optimizer(part, groups)
        except DisentangleError as error:
            problem = str(error)
        except Exception as error:  # states of another form raise every kind: KeyError, TypeError, RuntimeError ...
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if problem is not None:
            raise CheckpointError(
                f"The {name} in {source} does not fit this training ({shown(problem, most=400)}); delete that folder "
                "to continue from the checkpoint before it, or choose another --out."
            )


def _misfit(own: Any, saved: Any, where: str = "it") -> str | None:
    """How a saved state's form differs from a part's own, None if it does not."""
    if isinstance(own, Tensor):
        if not isinstance(saved, Tensor):
            return f"{where} is {shown(saved)}, not a tensor"
        return None if saved.shape == own.shape else f"{where} is {tuple(saved.shape)}, not {tuple(own.shape)}"
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping):
            return f"{where} is {shown(saved)}, not a table"
        for key in sorted({str(key) for key in (*own, *saved)}):
            inner = key if where == "it" else f"{where}.{key}"
            if key not in own or key not in saved:
                return f"{shown(inner)} is {'too many' if key in saved else 'missing'}"
            problem = _misfit(own[key], saved[key], inner)
            if problem is not None:
                return problem
        return None
    return None if _alike(own, saved) else f"{where} is {shown(saved)}, not a value such as {own!r}"


def _misfit_of_optimizer(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]]) -> str | None:
    """What is wrong with a loaded state; torch compares numbers of parameters only, and meets the rest in a step.

    Args:
        optimizer: after loading.
        groups: its parameter groups before.
    """
    for before, group in zip(groups, optimizer.param_groups, strict=True):
        for key, value in before.items():
            if key != "params" and (key not in group or not _alike(value, group[key])):
                return f"{key} of a group is {shown(group.get(key, 'missing'))}, not a value such as {value!r}"
    needed = next((names for kind, names in _ENTRIES.items() if isinstance(optimizer, kind)), set())
    for parameter, entries in optimizer.state.items():
        if not isinstance(entries, Mapping):
            return f"the entries of a parameter are {shown(entries)}"
        if entries and not needed <= set(entries):
            return f"a parameter has only {shown(sorted(map(str, entries)))}; expected {sorted(needed)}"
        for key, value in entries.items():
            shape = () if key == "step" else tuple(parameter.shape)
            if isinstance(value, Tensor) and tuple(value.shape) != shape:
                return f"{shown(key)} is {tuple(value.shape)}, not {shape}"
            if not isinstance(value, Tensor) and not (value is None or _is_number(value)):
                return f"{shown(key)} is {shown(value)}"
            if value is None and key in needed:
                return f"{shown(key)} is missing"
    return None


def _alike(expected: Any, found: Any) -> bool:
    """Whether two settings are of one kind: numbers, pairs of numbers, switches."""
    if isinstance(expected, Tensor):
        return isinstance(found, Tensor) and found.shape == expected.shape
    if isinstance(expected, bool) or expected is None:
        return found is None or isinstance(found, bool)
    if isinstance(expected, (int, float)):
        return _is_number(found) and not (isinstance(expected, int) and isinstance(found, float))
    if isinstance(expected, (tuple, list)):
        alike = isinstance(found, (tuple, list)) and len(found) == len(expected)
        return alike and all(map(_alike, expected, found))
    return type(found) is type(expected)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
