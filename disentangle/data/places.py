"""Where data sets are looked for on this machine.

In this order: the folder given as ``data_dir``, the folder in the environment variable ``DISENTANGLE_DATA``, and
``~/.cache/disentangle/data``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from disentangle import files
from disentangle.errors import DataError, DisentangleError, reason

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "PathLike",
    "cache_folder",
    "decoding",
    "expanded",
    "listed",
    "pick_file",
    "reading",
    "reads_files",
    "search_places",
]

ENVIRONMENT_VARIABLE = "DISENTANGLE_DATA"

PathLike = str | os.PathLike[str]


_OF_PATHS = ("home directory", "embedded null", "surrogates not allowed")  # pathlib's and the system's own words

Given = ParamSpec("Given")
Found = TypeVar("Found")


@contextmanager
def reading(place: object) -> Iterator[None]:
    """Turns what the operating system says of a file or folder into a DataError, which names it."""
    try:
        yield
    except DisentangleError:
        raise
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        if isinstance(error, (RuntimeError, ValueError)) and not any(said in str(error) for said in _OF_PATHS):
            raise
        named = getattr(error, "filename", None)
        raise DataError(
            f"{place if named is None else named} cannot be read ({reason(error)}); expected files that may be read, "
            "and room for what is in them."
        ) from error


@contextmanager
def decoding(path: Path, kind: str, advice: str) -> Iterator[None]:
    """Turns whatever a library makes of a damaged file into a DataError.

    Args:
        path: of the file.
        kind: what it cannot be read as.
        advice: what to do, for the end of the sentence.
    """
    try:
        yield
    except DisentangleError:
        raise
    except MemoryError:
        raise DataError(f"There is not the memory for what {path} holds; free some.") from None
    except Exception as error:  # libraries raise many kinds on damaged files
        raise DataError(f"{path} cannot be read as {kind} ({reason(error)}); {advice}.") from error


def reads_files(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """The same for all that a function does, the place being its first argument."""

    @functools.wraps(function)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        with reading(args[0] if args else "a data set"):
            return function(*args, **kwargs)

    return guarded


def cache_folder() -> Path:
    """The folder that downloads go to, ``~/.cache/disentangle/data``; it need not exist."""
    return files.cache_folder("data")


def expanded(path: PathLike) -> Path:
    """The path with ``~`` replaced, or a DataError where nobody has that home folder."""
    with reading(path):
        return Path(path).expanduser()


@reads_files
def search_places(data_dir: PathLike | None = None) -> list[Path]:
    """The folders to search, the most specific first; the last two need not exist.

    Raises:
        DataError: ``data_dir`` is given and does not exist.
    """
    places = []
    if data_dir is not None:
        places.append(Path(data_dir).expanduser())
        if not places[0].exists():
            raise DataError(f"There is no folder {places[0]}; expected data_dir= (--data-dir) to name an existing one.")
    if os.environ.get(ENVIRONMENT_VARIABLE):
        places.append(Path(os.environ[ENVIRONMENT_VARIABLE]).expanduser())
    places.append(cache_folder())
    return list(dict.fromkeys(places))


@reads_files
def pick_file(path: PathLike, usual_names: Iterable[str], what: str) -> Path:
    """The file at ``path``; in a folder, the first of the usual names that it holds.

    Raises:
        DataError: where there is no such file.
    """
    path, names = Path(path).expanduser(), tuple(usual_names)
    if path.is_file():
        return path
    if path.is_dir():
        for name in names:
            if (path / name).is_file():
                return path / name
        raise DataError(
            f"The folder {path} holds no {what} file (looked for {listed(names)}); give the path of the file itself."
        )
    raise DataError(f"There is no {what} file {path}; expected the path of {listed(names)}.")


def listed(items: Iterable[object], last: str = "or") -> str:
    """``a, b or c``, for messages."""
    words = [str(item) for item in items]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
