"""A run folder: everything one training leaves on the disk.

config.json       the resolved configuration, written before the first step
environment.json  versions, device, command line
stats.jsonl       one JSON object per logged step
samples/          pictures of fixed latents
checkpoints/N/    model.safetensors (complete) and state.pt (to continue)
latest            name of the newest finished checkpoint folder
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from disentangle._version import __version__
from disentangle.config import Config, differences, parse_config
from disentangle.devices import device_name
from disentangle.errors import CheckpointError, ConfigError
from disentangle.files import write_json, write_text
from disentangle.io.checkpoint import load_state, save, save_state

__all__ = ["RunFolder"]


class RunFolder:
    """Opens a new run, or an existing one to continue it.

    Args:
        path: the folder; made if missing.
        config: the run's resolved configuration.
        may_differ: dotted fields that may change when a run is continued.

    Raises:
        ConfigError: if the folder holds a run with another configuration (the differences are listed), or files that
            are no run.
    """

    def __init__(self, path: str | os.PathLike[str], config: Config, *, may_differ: tuple[str, ...] = ()) -> None:
        self.path = Path(path)
        self.config = config
        existing = self.path / "config.json"
        if existing.is_file():
            self._check_same(existing, may_differ)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ConfigError(
                f"{self.path} exists and is no run (it has no config.json); choose another --out or empty it."
            )

    def _check_same(self, existing: Path, may_differ: tuple[str, ...]) -> None:
        try:
            record = json.loads(existing.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ConfigError(f"{existing} is not valid JSON ({error}); the run cannot be continued.") from None
        saved = parse_config(type(self.config), record, source=str(existing))
        rows = [row for row in differences(saved, self.config) if row.split(":")[0] not in may_differ]
        if rows:
            raise ConfigError(
                f"{self.path} was started with another configuration; saved != given: {'; '.join(rows)}. "
                "Give the same options to continue it, or another --out."
            )

    # ------------------------------------------------------------------------------------------------ writing

    def start(self, device: str) -> None:
        """Write the configuration and the environment; call once, on one process, before the first step."""
        write_json(self.path / "config.json", self.config.model_dump(mode="json"))
        write_json(self.path / "environment.json", environment(device))

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to ``stats.jsonl``; NaN and infinity become null, which JSON has."""
        line = json.dumps({key: _finite(value) for key, value in record.items()}, allow_nan=False)
        with open(self.path / "stats.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def stats(self) -> list[dict[str, Any]]:
        """All logged lines; a last line that a crash cut short is left out."""
        return read_stats(self.path)

    def forget_after(self, step: int) -> None:
        """Drop logged lines beyond ``step``: a run that continues from a checkpoint logs those steps again."""
        kept = [record for record in self.stats() if record["step"] <= step]
        if (self.path / "stats.jsonl").exists():
            write_text(self.path / "stats.jsonl", "".join(json.dumps(record) + "\n" for record in kept))

    def save_checkpoint(
        self, step: int, model: nn.Module, state: Mapping[str, Any], *, provenance: Mapping[str, Any], keep: int
    ) -> None:
        """Write checkpoint ``step`` and make it the latest; then remove all but the newest ``keep``.

        Raises:
            CheckpointError: if it cannot be written, for want of space for example; the one before stays the latest.
        """
        name = f"{step:06d}"
        folder, part = self.path / "checkpoints" / name, self.path / "checkpoints" / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        try:
            save(model, part / "model.safetensors", provenance=provenance)
            save_state(part / "state.pt", state)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(part, folder)
            write_text(self.path / "latest", name + "\n")
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors report a full disk as theirs
            shutil.rmtree(part, ignore_errors=True)
            why = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
            good = self.latest
            raise CheckpointError(
                f"The checkpoint of step {step} could not be written to {folder} ({why}); "
                f"{'there is no other yet' if good is None else f'the last good one is {good}'}. Make room; the same "
                "command then continues."
            ) from error
        finished = sorted(p for p in folder.parent.iterdir() if p.name.isdigit())
        for old in finished[:-keep] if keep else []:
            shutil.rmtree(old, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------ reading

    @property
    def latest(self) -> Path | None:
        """Folder of the newest finished checkpoint, None before the first."""
        marker = self.path / "latest"
        if not marker.is_file():
            return None
        folder = self.path / "checkpoints" / marker.read_text(encoding="utf-8").strip()
        if not folder.is_dir():
            raise CheckpointError(f"{marker} names {folder.name!r}, but {folder} does not exist; name one that does.")
        return folder

    def load_state(self) -> dict[str, Any] | None:
        """The newest training state, None if there is no checkpoint yet."""
        folder = self.latest
        return None if folder is None else load_state(folder / "state.pt")


def read_stats(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Logged lines of a run folder."""
    file = Path(path) / "stats.jsonl"
    if not file.exists():
        return []
    records = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def environment(device: str) -> dict[str, Any]:
    """What a result may depend on besides the configuration."""
    import numpy

    return {
        "disentangle": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "command": sys.argv,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
