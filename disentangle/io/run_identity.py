"""Whether a folder holds the run that is to be continued, is empty, or is something else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from disentangle.config import Config, differences, parse_config
from disentangle.errors import ConfigError, reason
from disentangle.files import is_leftover
from disentangle.io.run_checkpoints import Checkpoint, checkpoints, damage
from disentangle.io.run_lock import LOCK
from disentangle.json_files import read_json
from disentangle.text import quoted

__all__ = ["CONFIG", "COPY", "ENVIRONMENT", "check_same_run"]

CONFIG, COPY = "config.json", "run_config.json"  # of a run, and of each of its checkpoints
ENVIRONMENT = "environment.json"
_BEFORE_CHECKPOINTS = {
    CONFIG,
    ENVIRONMENT,
    "stats.jsonl",
    "samples",
    "checkpoints",
    "report.html",
    "disentangle",
    LOCK,
}  # the last but one: a tracker's
_OF_ALL_TRAININGS = {"schema_version", "data", "steps", "batch"}  # fields of every configuration


def check_same_run(path: Path, config: Config, may_differ: tuple[str, ...]) -> str | None:
    """Whether a run of ``config`` can begin or go on in ``path``.

    What a killed process left of files it was writing is nothing. Every checkpoint holds the configuration too: where
    ``config.json`` is lost or damaged, that one decides. A run that ended before its first checkpoint has nothing to
    continue, so that one of any configuration may begin in its place: the remedy of what ended it often is another.

    Args:
        path: the run folder, which need not exist.
        config: the configuration.
        may_differ: dotted fields that may change when a run is continued.

    Returns:
        What has to be said aloud of it, None if nothing.

    Raises:
        ConfigError: if the folder holds a run with another configuration (the differences are listed), files that are
            no run, or cannot be read.
    """
    if not os.path.lexists(path):
        return None
    try:
        names = os.listdir(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read as a folder ({reason(error)}); choose another --out.") from None
    found = checkpoints(path)
    if CONFIG not in names and not found:
        if all(name == LOCK or is_leftover(name) for name in names):
            return None
        raise ConfigError(f"{path} exists and is no run (it has no {CONFIG}); choose another --out or empty it.")
    try:
        rows = _rows(path / CONFIG, config, may_differ)
        if not rows:
            return None
        problem = f"{path} was started with another configuration; saved != given: {'; '.join(rows)}"
        advice = "Give the same options to continue it, or another --out."
    except ConfigError as error:
        problem = str(error).rstrip(".")
        advice = (
            "The run cannot be continued without it: the command that began it prints it with --dry-run. Or choose "
            "another --out."
        )
    if not found and _never_saved(path, names):
        return f"{path} holds a run that ended before its first checkpoint; it begins afresh, as was given now."
    agreeing = _agreeing(found, config, may_differ)
    if agreeing is None:
        _check_kind(path, config)
        raise ConfigError(f"{problem}. {advice}")
    return f"{problem}. {agreeing.folder} has the configuration that was given, and the run goes on."


def _never_saved(path: Path, names: list[str]) -> bool:
    """Whether a folder holds what a training leaves before its first checkpoint, and nothing of anybody else's."""
    if any(name not in _BEFORE_CHECKPOINTS and not is_leftover(name) for name in names):
        return False
    try:
        record = read_json(path / CONFIG, what="a configuration", error=ConfigError)
        saved = os.listdir(path / "checkpoints") if "checkpoints" in names else []
    except (ConfigError, OSError):
        return False
    return isinstance(record, dict) and record.keys() >= _OF_ALL_TRAININGS and all(map(is_leftover, saved))


def _check_kind(path: Path, config: Config) -> None:
    """A run of another kind is nothing to continue, whatever fields differ."""
    try:
        record = read_json(path / CONFIG, what="a configuration", error=ConfigError)
    except ConfigError:  # said by whoever needs it
        return
    kinds = [_kind(record), _kind(config.model_dump(mode="json"))]
    if kinds[0] != kinds[1] and None not in kinds:
        held, given = map(quoted, kinds)
        raise ConfigError(f"{path} holds a training of the kind {held}, not {given}; choose another --out.")


def _kind(record: Any) -> str | None:
    """What is trained: the kind of the model, or of the training."""
    model = record.get("model") if isinstance(record, dict) else None
    kind = (model if isinstance(model, dict) else {}).get("kind") or (record.get("kind") if model else None)
    return kind if isinstance(kind, str) else None


def _rows(file: Path, config: Config, may_differ: tuple[str, ...]) -> list[str]:
    """Differences of the configuration in a file from the given one."""
    record = read_json(file, what="a configuration", error=ConfigError)
    return differences(parse_config(type(config), record, source=str(file)), config, ignoring=may_differ)


def _agreeing(found: list[Checkpoint], config: Config, may_differ: tuple[str, ...]) -> Checkpoint | None:
    """The newest checkpoint with an undamaged configuration, if that is the given one."""
    for checkpoint in reversed(found):
        if checkpoint.sealed and damage(checkpoint.folder, (COPY,)) is None:
            try:
                return None if _rows(checkpoint.folder / COPY, config, may_differ) else checkpoint
            except ConfigError:
                return None
    return None
