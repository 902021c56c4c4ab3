"""What a call takes from the machine: run in a forked child, under limits, so that a bomb ends there."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch

from disentangle.errors import DisentangleError

MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What came of a call.

    Attributes:
        outcome: "returned", "sentence" (an error of the toolkit), "traceback" (any other), or "killed".
        message: the error's text, with the last places of a traceback.
        seconds: of the processor.
        bytes: of memory at its peak, above what the process had before.
    """

    outcome: str
    message: str
    seconds: float
    bytes: int


def cost(call: Callable[[], object], *, seconds: int = 60, memory: int = 6 * 2**30) -> Cost:
    """Make a call in a forked child and measure it; it is killed beyond ``seconds`` or ``memory`` bytes.

    Import what the call needs before, so that it is not counted.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            torch.set_num_threads(1)  # the threads of the parent are not forked: whoever waits for them waits for ever
            os.write(writer, pickle.dumps(_measured(call, seconds, memory))[:60_000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return pickle.loads(answer) if answer else Cost("killed", "", seconds, memory)


def _measured(call: Callable[[], object], seconds: int, memory: int) -> Cost:
    with open("/proc/self/clear_refs", "w") as file:  # the peak begins anew
        file.write("5")
    before, mapped = _status("VmRSS"), _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(3 * seconds)  # waiting takes no processor
    outcome, message, begun = "returned", "", time.process_time()
    try:
        call()
    except DisentangleError as error:
        outcome, message = "sentence", str(error)
    except BaseException as error:
        places = "".join(traceback.format_tb(error.__traceback__)[-3:])
        outcome, message = "traceback", f"{type(error).__name__}: {error}\n{places}"[:20_000]
    return Cost(outcome, message, time.process_time() - begun, _status("VmHWM") - before)


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def within_bounds(found: Cost, size: int) -> bool:
    """Whether a call that read a file of ``size`` bytes kept to what such a file may cost."""
    return (
        found.outcome in ("returned", "sentence")
        and found.bytes <= 512 * MIB + 8 * size
        and found.seconds <= 10 + size / MIB
    )
