"""What the command line says of a failure: one sentence for the user's, a traceback for ours."""

from __future__ import annotations

import concurrent.futures
import io
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from disentangle._version import __version__
from disentangle.cli.results import forget_standard_output, open_standard_streams, standard_output
from disentangle.errors import DisentangleError, reason
from disentangle.text import escaped, shown

__all__ = ["told", "wants_tracebacks"]


@contextmanager
def told(*, tracebacks: bool) -> Iterator[None]:
    """Ends the process with a sentence on standard error for whatever is raised inside: 2 for wrong usage, else 1.

    An interruption passes, as does a SystemExit.

    Args:
        tracebacks: show where each failure came from.
    """
    open_standard_streams()
    try:
        yield
        with standard_output():
            pass
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort as error:  # click's name for a KeyboardInterrupt, and for the end of a file
        if not isinstance(error.__cause__, EOFError):
            raise KeyboardInterrupt from None
        _report(error.__cause__, tracebacks)
        sys.exit(1)
    except click.ClickException as error:
        _say(_usage(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        forget_standard_output()
        sys.exit(1)
    except Exception as error:
        if type(error).__name__ == "Interrupted":
            raise
        _report(error, tracebacks)
        forget_standard_output()
        sys.exit(error.exit_status if isinstance(error, DisentangleError) else 1)


def wants_tracebacks(arguments: Sequence[str]) -> bool:
    """Whether ``-vv`` is among the arguments, in any of its spellings."""
    short = (a[1:].count("v") for a in arguments if a[:1] == "-" and set(a[1:]) and set(a[1:]) <= {"v", "q"})
    return sum(short) + list(arguments).count("--verbose") >= 2


def _report(error: Exception, tracebacks: bool) -> None:
    sentence = _sentence(error)
    if tracebacks or sentence is None:
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip().split("\n")
        _say("\n".join(escaped(line, most=2000) for line in lines))
    _say(
        f"This is a bug in disentangle {__version__}: please report it, with the command line and the traceback above."
        if sentence is None
        else f"Error: {sentence}"
    )


def _sentence(error: Exception) -> str | None:
    """What is said of a failure that is the user's, the disk's or the machine's; None for one of ours."""
    if isinstance(error, DisentangleError):
        return str(error)
    if isinstance(error, MemoryError) or _is_of_memory(error):
        asked = re.search(r"tried to allocate (\d+) bytes", str(error)[:2000])
        why = f"{int(asked[1]):,} bytes were asked for" if asked else reason(error)
        return f"There is not enough memory for this ({why}); ask for less at once, or use a larger machine."
    if isinstance(error, concurrent.futures.BrokenExecutor):
        return (
            "A process that shared the work was ended from outside, mostly for want of memory; "
            "try again with --jobs 1 or fewer points."
        )
    if isinstance(error, RecursionError):
        return "What was given is nested too deep to be worked on; expected plainer files and options."
    if isinstance(error, OSError):
        name = getattr(error, "filename", None)
        if isinstance(name, (str, bytes)) and name:
            name = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
            return f"{escaped(name, most=1000)} cannot be read or written ({reason(error)})."
        if _is_of_printing(error):
            return f"Standard output cannot be written ({reason(error)})."
        return f"A file or connection could not be read or written ({reason(error)}); -vv shows which part of the work."
    if isinstance(error, ImportError) and not (error.name or "disentangle").startswith("disentangle"):
        return f"The package {shown(error.name)} cannot be imported ({reason(error)}); install it, or install it anew."
    return None


def _is_of_printing(error: OSError) -> bool:
    """Whether it was raised while click printed a page of its own, such as help: that has no name of a file."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__") == "click.utils"


def _is_of_memory(error: Exception) -> bool:
    """torch reports the memory of the machine as a RuntimeError, that of a GPU as a kind of one."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)[:2000] if isinstance(error, RuntimeError) else ""
    return any(word in text for word in ("can't allocate memory", "out of memory", "not enough memory"))


def _usage(error: click.ClickException) -> str:
    """Click's own text, in which what was given is quoted in many ways."""
    shortened: Any = error
    for name in () if type(error).__name__ == "NoArgsIsHelpError" else ("message", "param_hint"):  # that is a page
        if isinstance(getattr(error, name, None), str):
            setattr(shortened, name, escaped(getattr(error, name), most=2000))
    page = io.StringIO()
    error.show(file=page)
    return "\n".join(escaped(line) for line in page.getvalue().replace("\t", "    ").rstrip("\n").split("\n"))


def _say(text: str) -> None:
    with suppress(OSError):  # there is nobody left to tell
        click.echo(text, err=True)
