"""Where commands write: every option that names a file or folder to be written is checked before the work.

A destination is of a known kind, can be written, is none of the files that were given, and no other destination.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from disentangle.cli.options import note
from disentangle.errors import OutputError
from disentangle.files import check_destination, check_folder, open_regular
from disentangle.text import shown

__all__ = ["ANIMATIONS", "PICTURES", "OutputPath", "beside", "check_default", "output_option"]

F = TypeVar("F", bound=Callable[..., Any])

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
ANIMATIONS = (".gif", ".webp", ".mp4")

_LOOKED_INTO = ("data_dir", "weights")
_OF_RUNS = ("config.json", "environment.json", "stats.jsonl", "latest", "checkpoints", "samples")  # a training's own


class OutputPath(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """The name of a file to write, or of a folder to write files into.

    Args:
        suffixes: endings of which a file has one; none allows all.
        folder: whether it is a folder.
    """

    def __init__(self, *suffixes: str, folder: bool = False) -> None:
        self.suffixes, self.folder = suffixes, folder
        self.name = "folder" if folder else "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        text = os.fsdecode(value)
        path = Path(text)
        if not text.strip() or "\0" in text:
            self.fail(f"{text!r} is no name; expected the name of a {self.name}.", param, ctx)
        if self.folder:
            return path
        endings = ", ".join(self.suffixes[:-1]) + (" or " if self.suffixes[1:] else "") + (self.suffixes or ("",))[-1]
        if text.endswith(("/", os.sep)) or not path.name:
            self.fail(f"{shown(text)} is a folder; expected the name of a file{', ' if endings else ''}{endings}.")
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            kind = "picture ending" if ".png" in self.suffixes else "ending"
            self.fail(f"{shown(text)} has no known {kind}; expected a name that ends with {endings}.", param, ctx)
        return path


def output_option(
    *names: str, suffixes: tuple[str, ...] = (), folder: bool = False, in_place: str | None = None, **attributes: Any
) -> Callable[[F], F]:
    """An option whose value is written to; it is checked when the command begins, before its work.

    Args:
        names: as of :func:`click.option`.
        suffixes: see :class:`OutputPath`.
        folder: see :class:`OutputPath`.
        in_place: parameter that may name the same file, where the command is documented to change it.
        attributes: as of :func:`click.option`.
    """
    option = click.option(*names, type=OutputPath(*suffixes, folder=folder), **attributes)

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            context = click.get_current_context()
            if not context.params.get("dry_run"):
                _check(context, name, in_place)
            return function(*args, **kwargs)

        decorated: Any = option(checked)
        name: str = decorated.__click_params__[-1].name
        return cast(F, decorated)

    return decorate


def beside(ctx: click.Context, path: Path, made_by: str) -> Path:
    """A free name for a file that a command writes without being told its name.

    ``path`` itself where nothing is there, or a picture that the same command has made; else the next of ``NAME-2``,
    ``NAME-3`` ..., which is said. Files that were given are never taken.
    """
    from disentangle.viz.stamps import maker_of

    given = tuple(_given(ctx, None))
    for number in range(1, 10_000):
        tried = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if not os.path.lexists(tried) or (tried.is_file() and maker_of(tried) == made_by):
            check_destination(tried, inputs=given)
            if number > 1:
                note(ctx, f"{path} is there and was not made by `{made_by}`; taken is {tried.name}.")
            return tried
    raise OutputError(
        f"{path} is there, and so are 10,000 files with numbers; choose another name for what is written."
    )


def check_default(path: Path) -> None:
    """A destination that nobody named: there, only what this toolkit has written is replaced.

    Raises:
        OutputError: if something else is there, or it cannot be written.
    """
    check_destination(path)
    if os.path.lexists(path):
        with open_regular(path) as file:
            if b"disentangle" not in file.read(4096):
                raise OutputError(f"{path} is there, and nothing of this toolkit's; move it, or give another --out.")


def _check(ctx: click.Context, name: str, in_place: str | None) -> None:
    path: Path | None = ctx.params.get(name)
    if path is None:
        return
    outputs = {param.name: param for param in ctx.command.params if isinstance(param.type, OutputPath)}
    for other, param in outputs.items():
        given = ctx.params.get(other or "")
        if other != name and given is not None and os.path.realpath(given) == os.path.realpath(path):
            options = " and ".join(sorted((outputs[name].opts[0], param.opts[0])))
            raise click.UsageError(f"{options} are both {shown(str(path))}; give each a name of its own.")
    if outputs[name].type.folder:  # type: ignore[attr-defined]
        check_folder(path)
        return
    inputs = tuple(_given(ctx, in_place))
    check_destination(path, inputs=inputs)
    for run in path.parents[:3]:
        if _is_run(run) and _belongs_to(path, run):
            raise OutputError(f"{path} is a training's own file, of {run}; choose another name for what is written.")
    for folder in inputs:
        if folder.is_dir() and _belongs_to(path, folder):
            raise OutputError(f"{path} belongs to {folder}, which was given; choose another name for what is written.")


def _given(ctx: click.Context, in_place: str | None) -> Iterator[Path]:
    """Everything on the disk that the arguments and options name, except folders where something is looked for."""
    for param in ctx.command.params:
        if isinstance(param.type, OutputPath) or param.name == in_place:
            continue
        values = ctx.params.get(param.name or "")
        for value in values if isinstance(values, tuple) else (values,):
            named = isinstance(value, (str, Path)) and 0 < len(str(value)) < 4096 and os.path.lexists(value)
            if named and not (param.name in _LOOKED_INTO and Path(value).is_dir()):
                yield Path(value)


def _belongs_to(path: Path, folder: Path) -> bool:
    """Whether writing ``path`` would change what a given folder holds: a run's own files, or a data set's."""
    real, within = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if within not in real.parents:
        return False
    if _is_run(within):
        return real.relative_to(within).parts[0] in _OF_RUNS
    return real.exists() and real.suffix.lower() not in (".html", ".htm") and not _is_result(real)


def _is_run(folder: Path) -> bool:
    if not (folder / "config.json").is_file():  # so that torch is not loaded for what is no run at first sight
        return False
    from disentangle.io import is_run

    return is_run(folder)


def _is_result(path: Path) -> bool:
    """Whether a file is one of our scores, models, directions, latents or predictions, left by an earlier command."""
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            start = file.read(4096)
        if suffix == ".csv":
            return start.startswith(b"path,class,probability")
        return suffix in (".json", ".safetensors") and b'"disentangle' in start
    except OSError:
        return False
