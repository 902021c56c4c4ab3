"""Which device a process computes on."""

from __future__ import annotations

import torch

from disentangle.errors import ArgumentError, InputError

__all__ = ["device_name", "resolve_device"]


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
        raise ArgumentError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise InputError(f"device is {device!r}, but torch sees no CUDA device; use --device cpu or auto.")
    if index and int(index) >= count:
        raise InputError(f"device is {device!r}, but there are {count} CUDA devices, numbered from 0.")
    return torch.device(device)


def device_name(device: str | torch.device) -> str:
    """What to call a device in a record: the card's name, or ``"cpu"``."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
