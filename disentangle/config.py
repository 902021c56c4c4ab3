"""The base of every configuration: frozen pydantic models, unknown keys refused, JSON on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import pydantic

from disentangle.errors import ConfigError, FieldError
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
    _check_kind(kind, record, source)
    try:
        return kind.model_validate(record)
    except pydantic.ValidationError as error:
        problems = _problems(error, record)
        shortened = [f"{name}: {text}" for name, _, text in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            shortened.append(f"and {len(problems) - _SHOWN} more")
        raise ConfigError(f"{source} does not validate: {'; '.join(shortened)}.") from None


def with_fields(config: ConfigT, assignments: Mapping[str, Any]) -> ConfigT:
    """A copy with some fields replaced, addressed by dotted path as in ``{"model.basis": 4}``.

    Raises:
        FieldError: if a path does not exist or the result does not validate.
    """
    record = config.model_dump(mode="json")
    for path, value in assignments.items():
        node: Any = record
        own: Any = config  # beside it, to tell a table that takes any key from a group of fields
        *parents, last = path.split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
            own = own.get(parent) if isinstance(own, dict) else getattr(own, parent, None)
        if not isinstance(node, dict) or (last not in node and not isinstance(own, dict)) or not last:
            problem = f"There is no field {quoted(path)}; fields here: {', '.join(sorted(_paths(record)))}"
            raise FieldError(f"{problem}.", [(path, problem)])
        node[last] = value
    try:
        return type(config).model_validate(record)
    except pydantic.ValidationError as error:
        problems = _problems(error, record)[:_SHOWN]
        told = "; ".join(f"{name}: {text}" for name, _, text in problems)
        raise FieldError(
            f"the configuration with --set applied does not validate: {told}.", [(p, t) for _, p, t in problems]
        ) from None


def _check_kind(kind: type[Config], record: Mapping[str, Any], source: str) -> None:
    """One plain sentence where a configuration is of another kind, in place of all the fields that differ."""
    field = kind.model_fields.get("kind")
    known = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    given = record.get("kind") if isinstance(record, Mapping) else None
    if known and isinstance(given, str) and given not in known:
        raise ConfigError(f"{source} is of the kind {quoted(given)}; expected {' or '.join(map(quoted, known))}.")


def _problems(error: pydantic.ValidationError, record: Any) -> list[tuple[str, str, str]]:
    """Of each problem the field as pydantic names it, its dotted path, and what is wrong."""
    found = []
    for problem in error.errors(include_url=False, include_context=False):
        steps, node = [], record
        for part in problem["loc"]:  # in which the tag of a union is a step too
            inside = isinstance(node, Mapping) and part in node
            if inside or (isinstance(node, list) and isinstance(part, int) and part < len(node)):
                node = node[part]
            elif part != problem["loc"][-1]:
                continue
            steps.append(shown(part))
        text = shown(problem["msg"].removeprefix("Value error, "), most=400)
        if problem["type"] == "extra_forbidden":
            text = "Extra inputs are not permitted"
        elif problem["type"] != "missing" and not isinstance(problem["input"], Mapping | Config):
            text += f", got {quoted(problem['input'])}"
        found.append((".".join(map(shown, problem["loc"])) or "(whole)", ".".join(steps), text))
    return found


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
