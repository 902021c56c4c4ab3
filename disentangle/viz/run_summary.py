"""What one looks for first in a run: what it was, when, how long and how fast, and the numbers it ended with."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from disentangle.text import lasting, rounded, shown

__all__ = ["RunRecord", "command_of", "configuration_rows", "number_rows", "summary_rows", "what_of"]

_MOST_ROWS = 60  # of final numbers, and of settings that differ
_LARGEST = 1e15  # of counts that are added up


@dataclass(frozen=True)
class RunRecord:
    """What a run folder holds, as far as it could be read.

    Attributes:
        name: what the run is called.
        lines: well-formed lines of ``stats.jsonl``, see :func:`disentangle.viz.run_lines.well_formed`.
        config: of ``config.json``; empty where it is damaged.
        environment: of ``environment.json``; empty where it is damaged.
        scores: :class:`disentangle.evaluations.Score` by name, of all files of scores.
    """

    name: str
    lines: Sequence[Mapping[str, Any]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return max((line["step"] for line in self.lines), default=0)


def what_of(record: RunRecord) -> str:
    """The kind of model, the data and the side of the pictures, as in "vae, rooms, 64 pixels"."""
    model, data = (_mapping(record.config.get(name)) for name in ("model", "data"))
    kind = model.get("kind", record.config.get("kind"))
    if kind == "classifier":
        kind = f"{shown(model.get('arch', ''), most=30)} classifier".strip()
    side = data.get("resolution") or model.get("resolution")
    name = data.get("name")
    parts = [
        "" if kind is None else shown(kind, most=40),
        "" if name is None else shown(os.path.basename(str(name).rstrip("/")) or name, most=60),
        f"{side} pixels" if _is_count(side) else "",
    ]
    return ", ".join(filter(None, parts))


def command_of(record: RunRecord) -> str:
    """The command line that the run was last begun or continued with, as one would type it."""
    words = record.environment.get("command")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not words:
        return ""
    name = os.path.basename(words[0])
    first = ["python", "-m", "disentangle"] if name == "__main__.py" else [name]
    return shlex.join([*first, *words[1:500]])[:4000]


def summary_rows(records: Sequence[RunRecord]) -> list[list[str]]:
    """Rows of a table with a column a run: what it is, when it began, how long, how far, how fast it went."""
    rows = {
        "what": [what_of(record) for record in records],
        "begun": [_begun(record) for record in records],
        "time of training": [lasting(seconds) if (seconds := _pace(record)[0]) else "" for record in records],
        "steps": [_steps(record) for record in records],
        "images/s": [rounded(rate) if (rate := _pace(record)[1]) else "" for record in records],
        "treatment": [_treatment(record) for record in records],
        "device": [_word(record.environment.get("device")) for record in records],
        "versions": [_versions(record) for record in records],
    }
    return [[name, *cells] for name, cells in rows.items() if any(cells)]


def number_rows(records: Sequence[RunRecord]) -> list[list[str]]:
    """Rows of a table with a column a run: its last losses, accuracy, orthogonality, and its scores."""
    columns = [dict(_numbers(record)) for record in records]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [[name, *(column.get(name, "") for column in columns)] for name in names[:_MOST_ROWS]]


def configuration_rows(records: Sequence[RunRecord]) -> list[list[str]]:
    """Rows of a table with a column a run: the fields of the configurations that are not the same in all."""
    flat = [dict(_flat(record.config)) for record in records]
    names = list(dict.fromkeys(name for fields in flat for name in fields))
    rows = [[name, *(shown(fields[name], most=60) if name in fields else "" for fields in flat)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1][:_MOST_ROWS]


def _begun(record: RunRecord) -> str:
    sessions = record.environment.get("sessions")
    sessions = sessions if isinstance(sessions, list) else []
    first = _mapping(sessions[0]).get("started") if sessions else record.environment.get("started")
    try:
        when = f"{datetime.fromisoformat(first):%Y-%m-%d %H:%M %Z}".strip() if isinstance(first, str) else ""
    except ValueError:
        return ""
    more = len(sessions) - 1
    return f"{when}, continued {'once' if more == 1 else f'{more} times'}" if when and more > 0 else when


def _steps(record: RunRecord) -> str:
    planned = record.config.get("steps")
    if not _is_count(planned) or planned == record.step:
        return f"{record.step:,}"
    return f"{record.step:,} of {planned:,}"


def _pace(record: RunRecord) -> tuple[float, float]:
    """Seconds of training, without the pauses of a run that was continued, and images a second."""
    seconds = images = before = 0.0
    for line in record.lines:
        shown_images, rate = (float(line[key]) if _is_number(line.get(key)) else -1.0 for key in _PACE)
        new = 1000 * (shown_images - before)
        if new > 0 and rate > new / _LONGEST:
            seconds, images, before = seconds + new / rate, images + new, shown_images
    return seconds, images / seconds if seconds > 0 else 0.0


_PACE = ("kimg", "images_per_second")
_LONGEST = 1e12  # seconds between two lines; more is no time that a training took


def _treatment(record: RunRecord) -> str:
    given = _mapping(record.config.get("treatment"))
    names = [name for name in ("nog", "olr") if given.get(name) is True]
    names += [f"ol {shown(given['ol'], most=12)}"] if given.get("ol") else []
    names += [f"{name} {shown(given[name], most=20)}" for name in ("mode", "scale", "retraction")
              if given.get(name) not in (None, "none", "gradient")]  # fmt: skip
    return ", ".join(names) or ("none" if given else "")


def _versions(record: RunRecord) -> str:
    names = [name for name in ("disentangle", "torch", "python") if name in record.environment]
    return ", ".join(f"{name} {shown(record.environment[name], most=30)}" for name in names)


def _numbers(record: RunRecord) -> Iterator[tuple[str, str]]:
    losses: Mapping[str, Any] = next((line["losses"] for line in reversed(record.lines) if line.get("losses")), {})
    whole = ("loss", "accuracy")  # the others are what these are made of
    for name, value in sorted(losses.items(), key=lambda item: item[0] not in whole):
        yield name if name in whole else f"loss: {shown(name, most=60)}", _number(value)
    checks = [line["validation"] for line in record.lines if line.get("validation")]
    for name in ("accuracy", "loss"):
        values = [check[name] for check in checks if check.get(name) is not None]
        if values:
            best = max(values) if name == "accuracy" else min(values)
            more = f" (best: {_number(best)})" if best != values[-1] else ""
            yield f"validation {name}", f"{_number(values[-1])}{more}"
    rows = list(next((line["projections"] for line in reversed(record.lines) if line.get("projections")), {}).values())
    for key, name in (("orthogonality_error", "orthogonality error"), ("condition_number", "condition number")):
        values = [row[key] for row in rows if row.get(key) is not None]
        if values:
            yield f"{name}{', largest of the projections' if len(values) > 1 else ''}", _number(max(values))
    accepted = [row["olr_acceptance"] for row in rows if row.get("olr_acceptance") is not None]
    if accepted:
        yield "steps with OLR accepted", f"{100 * sum(accepted) / len(accepted):.1f} %"
    for name, score in record.scores.items():
        if name == "confusion":  # a matrix, which has a picture; its one number is the accuracy again
            continue
        yield f"score: {shown(name, most=60)}", _number(score.value)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        path = f"{prefix}{shown(name, most=60)}"
        if isinstance(value, Mapping) and value and path.count(".") < 6:
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _word(value: Any) -> str:
    return "" if value is None else shown(value, most=60)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _number(value: Any) -> str:
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3e}"
