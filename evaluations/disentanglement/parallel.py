"""Work shared out to processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from disentangle.errors import DisentangleError

__all__ = ["in_processes"]


def in_processes(n_jobs: int, tasks: Iterable[Any]) -> list[Any]:
    """Results of ``joblib.delayed`` tasks, in their order.

    Raises:
        DisentangleError: if a process ended before its task, which the system's watch over the memory does.
    """
    from concurrent.futures import BrokenExecutor

    from joblib import Parallel

    try:
        return list(Parallel(n_jobs=n_jobs)(tasks))
    except BrokenExecutor as error:
        raise DisentangleError(
            f"one of {n_jobs if n_jobs > 0 else 'the'} worker processes was killed before it was done, perhaps since "
            "the memory was full; give a smaller n_jobs."
        ) from error
