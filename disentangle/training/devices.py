"""Which device a process trains on, and accelerate's handle on it."""

from __future__ import annotations

from typing import Any

import torch

from disentangle.errors import InputError

__all__ = ["make_accelerator", "resolve_device"]


def resolve_device(device: str) -> torch.device:
    """``auto`` (CUDA if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: if the device does not exist.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    name, _, index = device.partition(":")
    if name != "cuda" or (index and not index.isdigit()):
        raise InputError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise InputError(f"device is {device!r}, but torch sees no CUDA device; use --device cpu or auto.")
    if index and int(index) >= count:
        raise InputError(f"device is {device!r}, but there are {count} CUDA devices, numbered from 0.")
    return torch.device(device)


def make_accelerator(chosen: torch.device, *, precision: str, tracker: str, folder: str) -> Any:
    """accelerate's handle on devices, mixed precision, processes and trackers.

    Args:
        chosen: of :func:`resolve_device`.
        precision: "fp32" or "bf16".
        tracker: "none" or the name of one.
        folder: where a tracker writes.
    """
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
