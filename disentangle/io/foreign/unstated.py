"""Settings that a format's files do not state: read from what lies beside them, given by the caller, or assumed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from disentangle.errors import CheckpointError, unknown_name
from disentangle.text import shown

__all__ = ["Setting", "Value", "check_given", "settled", "written"]

Value = bool | float | tuple[int, ...] | None
_MOST = 64  # pixels of a stride or padding


@dataclass(frozen=True)
class Setting:
    """One setting of another software that its files do not state.

    Attributes:
        name: as a caller gives it.
        default: what its authors use: True or False, a number, whole numbers (one for each layer), or None for a limit
            that is not set.
        meaning: half a sentence.
        optional: whether it may be none, as a limit.
    """

    name: str
    default: Value
    meaning: str
    optional: bool = False

    def parsed(self, given: object) -> Value:
        """The value of a text as ``true``, ``0.01``, ``none`` or ``1,2,2``, or of a value itself.

        Raises:
            CheckpointError: if it is of another kind.
        """
        if isinstance(self.default, tuple):
            return self._of_layers(given)
        text = _text(given)
        if isinstance(self.default, bool):
            if text in ("true", "false"):
                return text == "true"
            raise CheckpointError(f"{self.name} is {shown(given, most=40)}; expected true or false.")
        if text == "none" and self.optional:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            example = "256, or none" if self.optional else f"{self.default:g}"
            raise CheckpointError(f"{self.name} is {shown(given, most=40)}; expected a number, as {example}.")
        return value

    def _of_layers(self, given: object) -> tuple[int, ...]:
        """Whole numbers, one for each layer; a single one is meant for all."""
        assert isinstance(self.default, tuple)
        parts = given[:1000].split(",") if isinstance(given, str) else given
        parts = [parts] if isinstance(parts, int) and not isinstance(parts, bool) else parts
        try:
            numbers = [int(part) for part in parts] if isinstance(parts, (list, tuple)) else []
        except (TypeError, ValueError):
            numbers = []
        count = len(self.default) or len(numbers)
        numbers = numbers * count if len(numbers) == 1 else numbers
        if not numbers or len(numbers) != count or not all(0 <= number <= _MOST for number in numbers):
            raise CheckpointError(
                f"{self.name} is {shown(given, most=40)}; expected {count or 'some'} whole numbers up to {_MOST}, one "
                f"for each layer, as {written(self.default) or '1,2,2'}, or one for all."
            )
        return tuple(numbers)


def _text(given: object) -> str:
    """Of a number, a word or nothing; empty for anything else."""
    if isinstance(given, int) and given.bit_length() > 100:
        return ""
    return "none" if given is None else str(given).strip().lower() if isinstance(given, (str, int, float)) else ""


def written(value: Value) -> str:
    """As a caller would give it: ``true``, ``0.01``, ``none``, ``1,2,2``."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()


def check_given(given: Mapping[str, object], known: Sequence[Setting], *, what: str) -> None:
    """Refuse names that a format does not have.

    Raises:
        InputError: if there is one.
    """
    for name in given:
        if name not in {setting.name for setting in known}:
            raise unknown_name(f"setting of {what}", name, [setting.name for setting in known])


def settled(
    known: Sequence[Setting], given: Mapping[str, object], *, stated: Mapping[str, Any] = {},
    beside: Mapping[str, Any] = {}, where: str = "",
) -> tuple[dict[str, Any], list[str]]:  # fmt: skip
    """Every setting's value, and one sentence for each kind of source.

    Args:
        known: the settings of this network.
        given: by the caller, for what the file leaves open.
        stated: those that the file itself has, of which nothing is said, and which no caller overrides.
        beside: those that another file beside it has, which a caller may know better.
        where: the name of that.

    Returns:
        Values by name, and what was decided.

    Raises:
        CheckpointError: if a value is of another kind, a setting is given that this network does not have, or one that
            the file states otherwise.
    """
    for name in given:
        if name not in {setting.name for setting in known}:
            listed = ", ".join(setting.name for setting in known) or "none"
            raise CheckpointError(f"this network has no setting {shown(name, most=40)}; it has {listed}.")
    values: dict[str, Any] = {}
    sources: dict[str, list[str]] = {}
    for setting in known:
        if setting.name in stated:
            value = setting.parsed(stated[setting.name])
            values[setting.name] = value
            if setting.name in given and setting.parsed(given[setting.name]) != value:
                raise CheckpointError(
                    f"the file states {setting.name} {written(value)}, which is read from it, so that "
                    f"{setting.name}={shown(given[setting.name], most=40)} cannot be; leave that out."
                )
            continue
        if setting.name in given:
            value, source = setting.parsed(given[setting.name]), "As asked"
        elif setting.name in beside:
            value, source = setting.parsed(beside[setting.name]), f"As {where} says"
        else:
            value, source = setting.default, "Not in the file and taken as is usual (--set-source sets it)"
        values[setting.name] = value
        sources.setdefault(source, []).append(f"{setting.name} {written(value)}")
    return values, [f"{source}: {', '.join(named)}." for source, named in sources.items()]
