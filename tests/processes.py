"""Two processes that talk by gloo, for tests of what several of them compute."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, multiprocessing


def in_two_processes(work: Callable[..., None], folder: Path, *args: object) -> None:
    """Run ``work(rank, *args)`` in two processes of one group, each on one thread. What fails there fails here."""
    multiprocessing.spawn(_process, args=(f"file://{folder}/meeting", work, args), nprocs=2)


def _process(rank: int, address: str, work: Callable[..., None], args: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    work(rank, *args)
    distributed.barrier()
    distributed.destroy_process_group()
    # DistributedDataParallel keeps the group's threads alive, and when one of them meets the interpreter's end the
    # process now and then aborts ("terminate called without an active exception"). All is written: leave at once.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
