"""The base of every configuration: frozen pydantic models, unknown keys refused, JSON on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from disentangle.errors import ConfigError
from disentangle.text import quoted, shown

__all__ = ["Config", "differences", "parse_config", "with_fields"]

_SHOWN = 20  # problems in one message


class Config(pydantic.BaseModel):
    """An immutable record of settings. Fields are checked when it is made; unknown ones are errors."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


def parse_config(kind: type[ConfigT], record: Mapping[str, Any], *, source: str = "the configuration") -> ConfigT:
    """A configuration of type ``kind`` from plain containers.

    Raises:
        ConfigError: one line a problem, with the dotted path of the field, what was given and what is expected.
    """
    try:
        return kind.model_validate(record)
    except pydantic.ValidationError as error:
        problems = []
        found = error.errors(include_url=False, include_context=False)
        for problem in found[:_SHOWN]:
            path = ".".join(shown(part) for part in problem["loc"]) or "(whole)"
            given = "" if problem["type"] in ("missing", "extra_forbidden") else f", got {quoted(problem['input'])}"
            problems.append(f"{path}: {shown(problem['msg'].removeprefix('Value error, '), most=400)}{given}")
        if len(found) > _SHOWN:
            problems.append(f"and {len(found) - _SHOWN} more")
        raise ConfigError(f"{source} does not validate: {'; '.join(problems)}.") from None


def with_fields(config: ConfigT, assignments: Mapping[str, Any]) -> ConfigT:
    """A copy with some fields replaced, addressed by dotted path as in ``{"model.basis": 4}``.

    Raises:
        ConfigError: if a path does not exist or the result does not validate.
    """
    record = config.model_dump(mode="json")
    for path, value in assignments.items():
        node: Any = record
        *parents, last = path.split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise ConfigError(f"There is no field {quoted(path)}; fields here: {', '.join(sorted(_paths(record)))}.")
        node[last] = value
    return parse_config(type(config), record, source="the configuration with --set applied")


def differences(first: Config, second: Config, *, ignoring: tuple[str, ...] = ()) -> list[str]:
    """Dotted paths at which two configurations differ, each as ``path: first value != second value``.

    Paths in ``ignoring`` are left out. An empty group of fields differs from one with fields in these only.
    """
    one, two = _paths(first.model_dump(mode="json")), _paths(second.model_dump(mode="json"))
    absent = object()
    rows = []
    for path in sorted((set(one) | set(two)) - set(ignoring)):
        a, b = one.get(path, absent), two.get(path, absent)
        if (a == {} and b is absent) or (b == {} and a is absent):
            continue
        if a != b:
            both = ["absent" if x is absent else quoted(x) for x in (a, b)]
            rows.append(f"{path}: {both[0]} != {both[1]}")
    return rows


def _paths(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            leaves.update(_paths(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
