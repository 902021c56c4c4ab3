"""Settings that a format's files do not state: read from what lies beside them, given by the caller, or assumed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from disentangle.errors import CheckpointError, unknown_name
from disentangle.text import shown

__all__ = ["Setting", "check_given", "settled"]


@dataclass(frozen=True)
class Setting:
    """One setting of another software that its files do not state.

    Attributes:
        name: as a caller gives it.
        default: what its authors use: True or False, or a number.
        meaning: half a sentence.
    """

    name: str
    default: bool | float
    meaning: str

    def parsed(self, given: object) -> bool | float:
        """The value of a text as ``true`` or ``0.01``, or of a number.

        Raises:
            CheckpointError: if it is of another kind.
        """
        text = str(given).strip().lower() if isinstance(given, (str, bool, int, float)) else ""
        if isinstance(self.default, bool):
            if text in ("true", "false"):
                return text == "true"
            raise CheckpointError(f"{self.name} is {shown(given, most=40)}; expected true or false.")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise CheckpointError(f"{self.name} is {shown(given, most=40)}; expected a number, as {self.default:g}.")
        return value


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
        given: by the caller, which counts first.
        stated: those that the file itself has, of which nothing is said.
        beside: those that a file beside it, or an accidental part of it, has.
        where: the name of that.

    Returns:
        Values by name, and what was decided.

    Raises:
        CheckpointError: if a value is of another kind, or a setting is given that this network does not have.
    """
    for name in given:
        if name not in {setting.name for setting in known}:
            listed = ", ".join(setting.name for setting in known) or "none"
            raise CheckpointError(f"this network has no setting {shown(name, most=40)}; it has {listed}.")
    values: dict[str, Any] = {}
    sources: dict[str, list[str]] = {}
    for setting in known:
        if setting.name in given:
            value, source = setting.parsed(given[setting.name]), "As asked"
        elif setting.name in stated:
            values[setting.name] = setting.parsed(stated[setting.name])
            continue
        elif setting.name in beside:
            value, source = setting.parsed(beside[setting.name]), f"As {where} says"
        else:
            value, source = setting.default, "Not in the file and taken as its authors have it (--set-source sets it)"
        values[setting.name] = value
        sources.setdefault(source, []).append(f"{setting.name} {str(value).lower()}")
    return values, [f"{source}: {', '.join(named)}." for source, named in sources.items()]
