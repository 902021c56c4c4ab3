"""The tensors of one network of a file, admitted to conversion: what a file shares is not written out without end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.tensor_files import without_wrappers
from disentangle.text import shown

__all__ = ["counters_of", "find", "tensors_of"]

_CHAINS = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")  # that are in use
_COUNTERS = re.compile("n_averaged|initted|steps?|global_step|(num_)?updates|decay|epoch|iterations?")
_LONGEST = 500  # letters of a name
_MOST = 5_000  # tensors; the largest networks in use have a few hundred
_NUMBERS = 2**20  # that may be shared in any case: filters, constants
_COPIES = 3 * 4  # bytes: what a conversion turns or transposes, its float32 copy, and what is written or built of it


def find(named: Any, name: str) -> Any:
    """An entry of a dictionary, with or without what data parallelism and ``torch.compile`` put before its name.

    Chains of prefixes that are in use are known, and that of the dictionary's first name; None if there is no entry.
    """
    if not isinstance(named, Mapping):
        return None
    for chain in _CHAINS:
        if named.get(chain + name) is not None:
            return named[chain + name]
    first = next(iter(named), None)
    if not isinstance(first, str) or len(first) > _LONGEST:
        return None
    return named.get(first.removesuffix(without_wrappers(first)) + name)


def counters_of(named: Mapping[Any, Any]) -> tuple[str, ...]:
    """Names of single numbers with which wrappers count, beside a network's tensors."""
    return tuple(
        name
        for name, value in named.items()
        if isinstance(name, str) and len(name) < 100 and isinstance(value, Tensor) and value.numel() == 1
        and _COUNTERS.fullmatch(without_wrappers(name))
    )  # fmt: skip


def tensors_of(named: Mapping[Any, Any], budget: Budget) -> dict[str, Tensor]:
    """The entries of a network's state, without counters and what wrappers put before their names, as they are in the
    file.

    Args:
        named: tensors by name, of a file.
        budget: of the file; the copies that a conversion makes are taken from it.

    Raises:
        CheckpointError: if one is no tensor or empty, a name is none, there are too many, or many share one memory.
        LimitError: if they are too large for the file's limits.
    """
    if len(named) > _MOST:
        raise CheckpointError(f"its network has {len(named):,} entries; expected {_MOST:,} at most.")
    counters = counters_of(named)
    found: dict[str, Tensor] = {}
    held: dict[int, int] = {}
    numbers = 0
    for key, tensor in named.items():
        if not isinstance(key, str) or len(key) > _LONGEST or re.search(r"\d{7}", key):
            raise CheckpointError(f"its network has an entry {shown(key)}, which is no name of a tensor.")
        name = without_wrappers(key)
        if name in found:
            raise CheckpointError(f"two of its tensors are called {shown(name)}; it is damaged.")
        if key in counters:
            continue
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"its entry {shown(name)} is a {type(tensor).__name__}; expected a tensor.")
        if not tensor.numel():
            raise CheckpointError(f"its tensor {shown(name)} is empty; it is damaged.")
        memory = tensor.untyped_storage()
        held[memory.data_ptr()] = memory.nbytes() // tensor.element_size()
        numbers += tensor.numel()
        budget.memory(_COPIES * tensor.numel())
        found[name] = tensor
    if numbers > 2 * sum(held.values()) + _NUMBERS:
        raise CheckpointError(
            f"its network has {numbers:,} numbers, which are {sum(held.values()):,} in the file, shared; expected "
            "tensors of their own."
        )
    return found
