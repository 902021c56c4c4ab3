"""accelerate's handle on the device that a process trains on."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from disentangle.errors import InputError

__all__ = ["check_tracker", "make_accelerator"]


def check_tracker(tracker: str) -> None:
    """Whether a tracker's package is here; accelerate would only warn, and train without a log.

    Raises:
        InputError: if it is not, with what installs it.
    """
    if tracker == "tensorboard" and not any(importlib.util.find_spec(name) for name in ("tensorboard", "tensorboardX")):
        raise InputError(
            "tracker is 'tensorboard', which is not installed; run pip install 'disentangle-toolkit[tensorboard]', or "
            "leave --tracker out."
        )


def make_accelerator(chosen: torch.device, *, precision: str, tracker: str, folder: str) -> Any:
    """accelerate's handle on devices, mixed precision, processes and trackers.

    Args:
        chosen: of :func:`disentangle.devices.resolve_device`.
        precision: "fp32" or "bf16".
        tracker: "none" or the name of one.
        folder: where a tracker writes.
    """
    check_tracker(tracker)
    import accelerate
    from accelerate.state import AcceleratorState

    if chosen.index is not None:
        torch.cuda.set_device(chosen)
    mixed = "no" if precision == "fp32" else precision
    # accelerate keeps one precision a process; a second training in this process may ask for another.
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != mixed:
        AcceleratorState._reset_state()
    return accelerate.Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision=mixed,
        log_with=None if tracker == "none" else tracker,
        project_dir=folder,
    )
