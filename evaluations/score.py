"""The record of one measured number: its value, its parts and everything that moves it."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.errors import InputError
from disentangle.files import write_json

__all__ = ["Score", "load_scores", "package_versions", "save_scores"]

_FORMAT, _VERSION = "disentangle-scores", 1
_OPTIONAL = ("chance", "ceiling", "interval")


def package_versions(*packages: str) -> dict[str, str]:
    """Installed versions of ``packages`` (absent ones are left out), for a score's settings."""
    versions = {package: _version(package) for package in packages}
    return {package: version for package, version in versions.items() if version is not None}


@functools.cache  # each look-up reads files
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Score:
    """One number with its provenance.

    Attributes:
        name: the metric with whatever distinguishes it, e.g. ``"dci/gradient-boosting"``.
        value: the number itself.
        parts: named floats and arrays the value is made of (per factor, per code, the matrix).
        settings: every argument that moves the value, the protocol, point counts, seed and package versions.
        higher_is_better: direction of improvement.
        seconds: wall time of the computation.
        chance: what the same measurement gives where there is nothing to find, or None.
        ceiling: what it gives for a perfect subject, which need not be 1, or None.
        interval: (low, high) of a 95 % confidence interval, or None.

    ``float(score)`` is the value; ``Score.from_json(score.to_json())`` gives an equal record.
    """

    name: str
    value: float
    parts: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    higher_is_better: bool = True
    seconds: float = 0.0
    chance: float | None = None
    ceiling: float | None = None
    interval: tuple[float, float] | None = None

    def __float__(self) -> float:
        return float(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Score):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, arrays as nested lists."""
        return {
            "name": self.name,
            "value": _plain(self.value),
            "parts": _plain(self.parts),
            "settings": _plain(self.settings),
            "higher_is_better": self.higher_is_better,
            "seconds": self.seconds,
            **{name: _plain(getattr(self, name)) for name in _OPTIONAL if getattr(self, name) is not None},
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """One JSON object; NaN and infinities are written as the strings "nan", "inf", "-inf", which JSON lacks."""
        return json.dumps(self.to_dict(), indent=indent, sort_keys=True, allow_nan=False)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Score:
        """The inverse of :meth:`to_dict`; lists of numbers in ``parts`` become arrays."""
        known = {"name", "value", "parts", "settings", "higher_is_better", "seconds"}
        if not isinstance(record, Mapping) or not known <= set(record) <= known | set(_OPTIONAL):
            given = sorted(record) if isinstance(record, Mapping) else type(record).__name__
            raise InputError(f"not a score record: got {given}; expected an object with {sorted(known)}.")
        return cls(
            name=record["name"],
            value=float(record["value"]),
            parts={key: _array(value) for key, value in record["parts"].items()},
            settings=dict(record["settings"]),
            higher_is_better=bool(record["higher_is_better"]),
            seconds=float(record["seconds"]),
            chance=float(record["chance"]) if "chance" in record else None,
            ceiling=float(record["ceiling"]) if "ceiling" in record else None,
            interval=(float(record["interval"][0]), float(record["interval"][1])) if "interval" in record else None,
        )

    @classmethod
    def from_json(cls, text: str) -> Score:
        return cls.from_dict(json.loads(text))


def save_scores(path: str | os.PathLike[str], scores: Mapping[str, Score], *, subject: Mapping[str, Any]) -> None:
    """Write scores and what they are of (model, data, codes ...) as one JSON file, atomically."""
    record = {
        "format": _FORMAT,
        "version": _VERSION,
        "subject": _plain(subject),
        "scores": {name: score.to_dict() for name, score in scores.items()},
    }
    write_json(path, record)


def load_scores(path: str | os.PathLike[str]) -> tuple[dict[str, Score], dict[str, Any]]:
    """Scores and their subject from a file written by :func:`save_scores`.

    Raises:
        InputError: if the file is missing or is no such file.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected a file of scores.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); expected a file of scores.") from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT or record.get("version") != _VERSION:
        raise InputError(f"{path} holds no scores; expected a file written by `disentangle evaluate --out`.")
    return {name: Score.from_dict(score) for name, score in record["scores"].items()}, record["subject"]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _array(value: Any) -> Any:
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    if not isinstance(value, list):
        return value
    try:
        array = np.array([_array(item) for item in value])
    except ValueError:  # ragged
        return value
    return array if array.dtype.kind in "fiub" else value
