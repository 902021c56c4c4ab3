"""Option types and decorators that several commands share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click

from disentangle.text import escaped, quoted

__all__ = [
    "LARGEST_SEED",
    "SEED",
    "Assignments",
    "FiniteFloat",
    "IntegerRanges",
    "check_pictures",
    "device_option",
    "json_option",
    "json_or_text",
    "note",
    "seed_option",
    "setting",
]

F = TypeVar("F", bound=Callable[..., Any])


class IntegerRanges(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """``0-3,8`` as ``(0, 1, 2, 3, 8)``; at most 10,000 numbers, none of which is built before they are counted."""

    name = "ranges"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        ranges: list[range] = []
        for piece in str(value).split(","):
            first, dash, last = piece.strip().partition("-")
            try:
                low = int(first)
                high = int(last) if dash else low
            except ValueError:
                self.fail(f"{quoted(piece)} is neither a number nor a range; expected e.g. 0-3,8.", param, ctx)
            if high < low:
                self.fail(f"the range {piece!r} runs backwards; expected e.g. {high}-{low}.", param, ctx)
            if high > LARGEST_SEED:
                self.fail(f"{quoted(piece)} is too large; expected numbers up to {LARGEST_SEED}.", param, ctx)
            ranges.append(range(low, high + 1))
        count = sum(map(len, ranges))
        if count > _MOST:
            self.fail(f"{quoted(str(value))} are {count:,} numbers; expected at most {_MOST:,}.", param, ctx)
        return tuple(number for each in ranges for number in each)


_MOST = 10_000
LARGEST_SEED = 2**32 - 1  # of numpy's and scikit-learn's generators


class FiniteFloat(click.FloatRange):
    """A number within bounds; neither NaN nor an infinity, which pass all comparisons or none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number


class Assignments(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """``model.basis=4`` as ``("model.basis", 4)``; the value is JSON, or a string if it is not."""

    name = "field=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        path, equals, text = str(value).partition("=")
        if not equals or not path:
            self.fail(f"{quoted(value)} is no assignment; expected field=value, e.g. model.basis=4.", param, ctx)
        return path, json_or_text(text)


def json_or_text(text: str) -> Any:
    """A value of ``--set``: JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def check_pictures(number: int, generator: Any) -> None:
    """Whether so many pictures of a generator fit into memory, before they are made.

    Raises:
        InputError: if they would take more than 8 GB.
    """
    from disentangle.errors import InputError

    side = getattr(getattr(generator, "config", None), "resolution", None) or 64
    size = number * 3 * 4 * side**2
    if size > _MOST_MEMORY:
        raise InputError(
            f"{number:,} pictures of {side} x {side} pixels would take {size / 1e9:,.0f} GB of memory; ask for "
            f"{_MOST_MEMORY // (size // number):,} at most."
        )


_MOST_MEMORY = 8 * 10**9  # bytes


SEED = click.IntRange(0, LARGEST_SEED)


def device_option(function: F) -> F:
    return click.option("--device", default=None, help="auto, cpu, cuda, cuda:N; overrides the root option.")(function)


def seed_option(function: F) -> F:
    return click.option("--seed", type=SEED, default=None, help="Overrides the root option; default 0.")(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def setting(ctx: click.Context, name: str, given: Any, default: Any) -> Any:
    """The command's own option if given, else the root's, else the default."""
    if given is not None:
        return given
    root = (ctx.find_root().obj or {}).get(name)
    return default if root is None else root


def note(ctx: click.Context, message: str) -> None:
    """A message on stderr, one line, unless --quiet. Where nobody reads it, it is lost, and the work goes on."""
    if not (ctx.find_root().obj or {}).get("quiet"):
        with suppress(OSError):
            click.echo(escaped(message, most=4000), err=True)
