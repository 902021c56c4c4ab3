"""Timing for the benchmarks: methods take turns in one process, so that a busy machine is unfair to none of them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

import torch

__all__ = ["medians", "milliseconds"]

_CPU = torch.device("cpu")


def milliseconds(
    functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device = _CPU, block: float = 0.0
) -> dict[str, list[float]]:
    """Milliseconds of one call of each function in each round, after a round that is not counted.

    CPU time of this process; on a CUDA device wall time around a synchronisation. Each round has an order of its
    own, since a method is up to a third faster right after itself or after one that shares its code. ``block`` is the
    opposite: the milliseconds for which each function has its turn, called again and again.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    on_gpu = device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    order = random.Random(0)
    for index in range(-1, rounds):
        for name in order.sample(list(functions), len(functions)):
            if on_gpu:
                torch.cuda.synchronize()
            begun = clock()
            elapsed, calls = 0.0, 0
            while not calls or elapsed < block:
                functions[name]()
                if on_gpu:
                    torch.cuda.synchronize()
                elapsed, calls = 1000 * (clock() - begun), calls + 1
            if index >= 0:
                times[name].append(elapsed / calls)
    return times


def medians(
    functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device = _CPU, block: float = 0.0
) -> dict[str, float]:
    """Median of :func:`milliseconds`."""
    times = milliseconds(functions, rounds, device, block)
    return {name: statistics.median(values) for name, values in times.items()}
