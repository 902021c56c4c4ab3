"""Trackers, beside a run's own ``stats.jsonl``: TensorBoard, and Weights & Biases online or offline."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from disentangle.errors import ConfigError, reason
from disentangle.files import write_text

__all__ = ["check_tracker", "start_tracker"]

_PROJECT = "disentangle"


def check_tracker(name: str) -> None:
    """Whether a tracker is there to be written to; a run that was to be tracked must not go on without.

    Raises:
        ConfigError: if its package is not installed.
    """
    if name == "none":
        return
    from accelerate.tracking import get_available_trackers

    if name not in {getattr(tracker, "value", tracker) for tracker in get_available_trackers()}:
        raise ConfigError(
            f"The tracker {name} needs the package {name}, which is not installed: "
            f"pip install 'disentangle-toolkit[{name}]', or leave --tracker out."
        )


def start_tracker(accelerator: Any, name: str, folder: Path, config: dict[str, Any]) -> None:
    """Open a run in the tracker, on the main process; a continued training goes on in the one it had.

    Args:
        accelerator: of :func:`disentangle.training.accelerator.make_accelerator`.
        name: "none" or that of the tracker.
        folder: of the run; nothing is written outside.
        config: of the run, as plain containers; for Weights & Biases.

    Raises:
        ConfigError: if it cannot be started, for want of a login or a connection, say.
    """
    if name == "none":
        return
    options: dict[str, Any] = {}
    if name == "wandb" and accelerator.is_main_process:
        options = {
            "name": folder.name,
            "dir": str(folder),
            "config": config,
            "id": _identity(folder),
            "resume": "allow",
        }
    try:
        accelerator.init_trackers(_PROJECT, init_kwargs={name: options})
    except Exception as error:  # whatever its service or its disk meets
        hint = " `wandb login` names an account, and WANDB_MODE=offline needs none." if name == "wandb" else ""
        raise ConfigError(f"The tracker {name} could not be started ({reason(error)}).{hint}") from error


def _identity(folder: Path) -> str:
    """The name of the run in Weights & Biases, from its first start."""
    file = folder / "wandb" / "disentangle-run-id"
    try:
        kept = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        kept = ""
    if not kept.isalnum() or len(kept) > 64:
        kept = secrets.token_hex(8)
        write_text(file, kept + "\n")
    return kept
