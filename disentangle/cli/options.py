"""Option types and decorators that several commands share."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import click

from disentangle.text import escaped, quoted

__all__ = [
    "DEVICE",
    "LARGEST_SEED",
    "SEED",
    "Assignments",
    "FiniteFloat",
    "IntegerRanges",
    "NameOf",
    "bad_image_option",
    "check_pictures",
    "device_option",
    "json_option",
    "json_or_text",
    "note",
    "refuse_root_seed",
    "refuse_unread",
    "seed_option",
    "setting",
    "was_given",
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


class NameOf(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A name of a :class:`~disentangle.plugins.Registry`, which is asked once a name is given: that may take torch.

    Args:
        module, registry: where it is.
        name: what the help calls it.
    """

    def __init__(self, module: str, registry: str, name: str) -> None:
        self.module, self.registry, self.name = module, registry, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from disentangle.errors import InputError

        try:
            getattr(importlib.import_module(self.module), self.registry).find(str(value))
        except InputError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class FiniteFloat(click.FloatRange):
    """A number within bounds; neither NaN nor an infinity, which pass all comparisons or none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number


class DeviceName(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; whether there is such a device is found out where it is used."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", str(value)):
            self.fail(f"{quoted(value)} is no device; expected auto, cpu, cuda or cuda:N.", param, ctx)
        return str(value)


DEVICE = DeviceName()


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
        ArgumentError: if they would take more than 8 GB, or a sixth of the machine's memory: drawn, they are there
            three times.
    """
    from disentangle.errors import ArgumentError

    side = getattr(getattr(generator, "config", None), "resolution", None) or 64
    size = number * 3 * 4 * side**2
    most = _most_memory()
    if size > most:
        raise ArgumentError(
            f"{number:,} pictures of {side} x {side} pixels would take {size / 1e9:,.0f} GB of memory; ask for "
            f"{most // (size // number):,} at most."
        )


def _most_memory() -> int:
    """Bytes."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system tells
        machine = 48 * 10**9
    return min(8 * 10**9, machine // 6)


SEED = click.IntRange(0, LARGEST_SEED)


def device_option(function: F) -> F:
    return click.option(
        "--device", type=DEVICE, default=None, help="auto, cpu, cuda, cuda:N; overrides the root option."
    )(function)


def seed_option(function: F) -> F:
    return click.option("--seed", type=SEED, default=None, help="Overrides the root option; default 0.")(function)


def bad_image_option(function: F) -> F:
    text = "Stop at an unreadable picture (default), or leave such pictures out and name them."
    return click.option("--on-bad-image", type=click.Choice(["raise", "skip"]), help=text)(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def setting(ctx: click.Context, name: str, given: Any, default: Any) -> Any:
    """The command's own option if given, else the root's, else the default."""
    if given is not None:
        return given
    root = (ctx.find_root().obj or {}).get(name)
    return default if root is None else root


def was_given(ctx: click.Context, name: str) -> bool:
    """Whether somebody wrote an option or argument, even with its default as the value."""
    source = ctx.get_parameter_source(name)
    return source in (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)


def refuse_unread(
    ctx: click.Context, way: str, read: Mapping[str, Collection[str]], *, hints: Mapping[str, str] | None = None
) -> None:
    """End a command that was given an option which it does not read the way it is used.

    Args:
        ctx: of the command.
        way: how it is used, a key of ``read``.
        read: each way of using the command, as in "--num is not for WAY", and the names of the parameters that are read
            then. Parameters in none of them are read always.
        hints: parameter to a half sentence on what to do instead of leaving it out.

    Raises:
        click.UsageError: if there is one.
    """
    for param in ctx.command.params:
        name = str(param.name)
        ways = [each for each, names in read.items() if name in names]
        rooted = name == "seed" and (ctx.find_root().obj or {}).get("seed") is not None
        if not ways or way in ways or not (rooted or was_given(ctx, name)):
            continue
        written = [*param.opts, *param.secondary_opts]
        option = written[-1] if ctx.params.get(name) is False and param.secondary_opts else written[0]
        if isinstance(param, click.Argument):
            option = str(param.human_readable_name)
        advice = (hints or {}).get(name) or f"it is for {' and for '.join(ways[:3])}{' and others' if ways[3:] else ''}"
        raise click.UsageError(f"{option} is not for {way}: {advice}; leave it out.")


def refuse_root_seed(ctx: click.Context, command: click.Command | None, arguments: Collection[str]) -> None:
    """End a command line whose ``--seed``, written before the command, the command would not read.

    Raises:
        click.UsageError: if that is so.
    """
    rest = list(arguments)
    names = [] if command is None else [str(command.name)]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
        names.append(str(command.name))
    if ctx.resilient_parsing or command is None or isinstance(command, click.Group):
        return
    own = {param.name for param in command.params}
    if ctx.params.get("seed") is None or "seed" in own or {"-h", "--help"} & set(rest):
        return
    instead = "; which pictures it draws, its --seeds say" if "seeds" in own else ", which draws nothing at random"
    raise click.UsageError(f"--seed is not for `disentangle {' '.join(names)}`{instead}; leave it out.", ctx)


def note(ctx: click.Context, message: str) -> None:
    """A message on stderr, one line, unless --quiet. Where nobody reads it, it is lost, and the work goes on."""
    if not (ctx.find_root().obj or {}).get("quiet"):
        with suppress(OSError):
            click.echo(escaped(message, most=4000), err=True)
