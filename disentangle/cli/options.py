"""Option types and decorators that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["Assignments", "IntegerRanges", "device_option", "json_option", "note", "seed_option", "setting"]

F = TypeVar("F", bound=Callable[..., Any])


class IntegerRanges(click.ParamType):
    """``0-3,8`` as ``(0, 1, 2, 3, 8)``."""

    name = "ranges"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        numbers: list[int] = []
        for piece in str(value).split(","):
            first, dash, last = piece.strip().partition("-")
            try:
                low = int(first)
                high = int(last) if dash else low
            except ValueError:
                self.fail(f"{piece!r} is neither a number nor a range; expected e.g. 0-3,8.", param, ctx)
            if high < low:
                self.fail(f"the range {piece!r} runs backwards; expected e.g. {high}-{low}.", param, ctx)
            numbers.extend(range(low, high + 1))
        return tuple(numbers)


class Assignments(click.ParamType):
    """``model.basis=4`` as ``("model.basis", 4)``; the value is JSON, or a string if it is not."""

    name = "field=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        path, equals, text = str(value).partition("=")
        if not equals or not path:
            self.fail(f"{value!r} is no assignment; expected field=value, e.g. model.basis=4.", param, ctx)
        try:
            return path, json.loads(text)
        except json.JSONDecodeError:
            return path, text


def device_option(function: F) -> F:
    return click.option("--device", default=None, help="auto, cpu, cuda, cuda:N; overrides the root option.")(function)


def seed_option(function: F) -> F:
    return click.option("--seed", type=int, default=None, help="Overrides the root option; default 0.")(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def setting(ctx: click.Context, name: str, given: Any, default: Any) -> Any:
    """The command's own option if given, else the root's, else the default."""
    if given is not None:
        return given
    root = (ctx.find_root().obj or {}).get(name)
    return default if root is None else root


def note(ctx: click.Context, message: str) -> None:
    """A message on stderr, unless --quiet."""
    if not (ctx.find_root().obj or {}).get("quiet"):
        click.echo(message, err=True)
