"""The record of one measured number: its value, its parts and everything that moves it."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from disentangle.errors import InputError
from disentangle.files import write_json
from disentangle.json_files import parse_json, read_json
from disentangle.signatures import checks_arguments
from disentangle.text import shown

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


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        """One line: the value and what is to be read beside it. ``parts`` and ``settings`` hold the rest."""
        beside = [
            f"{name} {getattr(self, name):.4g}" for name in ("chance", "ceiling") if getattr(self, name) is not None
        ]
        if self.interval is not None:
            beside.append(f"95 % {self.interval[0]:.4g} to {self.interval[1]:.4g}")
        if not self.higher_is_better:
            beside.append("less is better")
        named = {"protocol": "", "n_train": " points", "seed": ""}
        beside += [
            f"{shown(self.settings[name], most=40)}{unit}" if unit else f"{name} {shown(self.settings[name], most=40)}"
            for name, unit in named.items()
            if self.settings.get(name) is not None
        ]
        return f"Score({shown(self.name, most=60)} = {self.value:.4g}{''.join(f', {text}' for text in beside)})"

    def __str__(self) -> str:
        """The line of :meth:`__repr__`, and what the parts and settings are called, arrays by their shapes."""
        parts = ", ".join(
            f"{shown(name, most=40)} {_brief(part)}" for name, part in list(self.parts.items())[:_MOST_SHOWN]
        )
        settings = ", ".join(shown(name, most=40) for name in list(self.settings)[:_MOST_SHOWN])
        lines = [f"parts: {parts}"] * bool(parts) + [f"settings: {settings}"] * bool(settings)
        return "\n".join([repr(self), *(f"  {line}" for line in lines)])

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
        """The inverse of :meth:`to_dict`; lists of numbers in ``parts`` become arrays.

        Raises:
            InputError: if it is no such record; one may come from anybody's file.
        """
        known = {"name", "value", "parts", "settings", "higher_is_better", "seconds"}
        if not isinstance(record, Mapping) or not known <= set(record) <= known | set(_OPTIONAL):
            given = list(record) if isinstance(record, Mapping) else type(record).__name__
            raise InputError(f"not a score record: got {shown(given)}; expected an object with {sorted(known)}.")
        for key, kind in (("name", str), ("parts", Mapping), ("settings", Mapping), ("higher_is_better", bool)):
            if not isinstance(record[key], kind):
                raise _no_such(key, record[key], {str: "a text", Mapping: "an object", bool: "true or false"}[kind])
        interval = record.get("interval")
        if interval is not None and not (isinstance(interval, (list, tuple)) and len(interval) == 2):
            raise _no_such("interval", interval, "two numbers")
        try:
            parts = {key: _array(value) for key, value in record["parts"].items()}
        except RecursionError:
            raise InputError("not a score record: its parts are nested too deep; expected lists of numbers.") from None
        return cls(
            name=record["name"],
            value=_number("value", record["value"]),
            parts=parts,
            settings=dict(record["settings"]),
            higher_is_better=record["higher_is_better"],
            seconds=_number("seconds", record["seconds"]),
            chance=_number("chance", record["chance"]) if "chance" in record else None,
            ceiling=_number("ceiling", record["ceiling"]) if "ceiling" in record else None,
            interval=None if interval is None else (_number("interval", interval[0]), _number("interval", interval[1])),
        )

    @classmethod
    def from_json(cls, text: str) -> Score:
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: if it is no such text.
        """
        return cls.from_dict(parse_json(text, source="the score"))


@checks_arguments
def save_scores(path: str | os.PathLike[str], scores: Mapping[str, Score], *, subject: Mapping[str, Any]) -> None:
    """Write scores and what they are of (model, data, codes ...) as one JSON file, atomically."""
    record = {
        "format": _FORMAT,
        "version": _VERSION,
        "subject": _plain(subject),
        "scores": {name: score.to_dict() for name, score in scores.items()},
    }
    write_json(path, record)


@checks_arguments
def load_scores(path: str | os.PathLike[str]) -> tuple[dict[str, Score], dict[str, Any]]:
    """Scores and their subject from a file written by :func:`save_scores`.

    Raises:
        InputError: if the file is missing or is no such file.
    """
    record = read_json(path, what="a file of scores")
    if not isinstance(record, dict) or record.get("format") != _FORMAT or record.get("version") != _VERSION:
        raise InputError(f"{path} holds no scores; expected a file written by `disentangle evaluate --out`.")
    scores, subject = record.get("scores"), record.get("subject")
    if not isinstance(scores, dict) or not isinstance(subject, dict):
        raise InputError(f"{path} is damaged: it has no scores or no subject; measure again.")
    try:
        return {name: Score.from_dict(score) for name, score in scores.items()}, subject
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}") from None


_MOST_SHOWN = 12  # parts, and settings, that a printed score names


def _brief(part: Any) -> str:
    if isinstance(part, np.ndarray) and part.ndim == 1 and part.size <= 8 and part.dtype.kind in "fiub":
        return f"[{' '.join(f'{value:.3g}' for value in part.tolist())}]"
    if isinstance(part, np.ndarray):
        return "x".join(map(str, part.shape))
    return f"{part:.4g}" if isinstance(part, (int, float)) else shown(part, most=40)


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


def _no_such(key: str, value: Any, expected: str) -> InputError:
    return InputError(f"not a score record: {key} is {shown(value, most=60)}; expected {expected}.")


def _number(key: str, value: Any) -> float:
    if isinstance(value, str) and value in _WORDS:
        return float(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
    if not whole and not isinstance(value, float):
        raise _no_such(key, value, "a number")
    return float(value)


_WORDS = ("nan", "inf", "-inf")
_LARGEST = sys.float_info.max


def _array(value: Any) -> Any:
    """Lists of numbers, and lists of such lists of one length, as arrays; anything else as it is."""
    if isinstance(value, str) and value in _WORDS:
        return float(value)
    if isinstance(value, (int, float)):
        return value if isinstance(value, bool) else _number("a part", value) if abs(value) >= 2**63 else value
    if not isinstance(value, list):
        return value
    items = [_array(item) for item in value]
    # Never left to numpy, for which one long text among them makes each entry as long.
    if all(isinstance(item, (int, float)) for item in items):
        return np.array(items)
    shapes = {item.shape for item in items if isinstance(item, np.ndarray)}
    if len(shapes) == 1 and len(next(iter(shapes))) < 32 and all(isinstance(item, np.ndarray) for item in items):
        return np.stack(items)
    return value
