"""Names and arguments on their way out: for one minor release the old one works and says what replaces it.

The policy stands in ``UPGRADING.md``. A public name is not removed, and no argument renamed, without one of these.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

__all__ = ["DisentangleDeprecationWarning", "deprecated", "moved_names", "renamed_arguments"]

P = ParamSpec("P")
R = TypeVar("R")


class DisentangleDeprecationWarning(FutureWarning):
    """Shown by default, as scripts of users need to see it too."""


def deprecated(instead: str, *, removed_in: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: the function works, and says that it leaves.

    Args:
        instead: what to use, as one would write it.
        removed_in: the version that has it no more, as in ``"0.3"``.

    >>> @deprecated("new()", removed_in="0.3")
    ... def old():
    ...     return 1
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     old()
    1
    >>> print(said[0].message)
    old() leaves in version 0.3; use new().
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def leaving(*args: P.args, **kwargs: P.kwargs) -> R:
            _say(f"{function.__name__}() leaves in version {removed_in}; use {instead}.")
            return function(*args, **kwargs)

        return leaving

    return decorate


def renamed_arguments(*, removed_in: str, **new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: keywords by their old names are taken, said, and handed on by their new names.

    Args:
        removed_in: the version that takes the old names no more.
        new: old name to new name.

    Raises:
        TypeError: from the function, if both names are given; at decoration, if a new name is no argument of it.

    >>> @renamed_arguments(removed_in="0.3", colour="color")
    ... def paint(*, color):
    ...     return color
    >>> with warnings.catch_warnings(record=True):
    ...     warnings.simplefilter("always")
    ...     paint(colour="red")
    'red'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        missing = set(new.values()) - set(inspect.signature(function).parameters)
        if missing:
            raise TypeError(f"{function.__name__}() has no argument {', '.join(sorted(missing))}.")

        @functools.wraps(function)
        def renaming(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in [name for name in kwargs if name in new]:
                if new[old] in kwargs:
                    raise TypeError(f"{function.__name__}() got both {old}= and {new[old]}=, which are one argument.")
                _say(f"{function.__name__}({old}=) is called {new[old]}= now; the old name leaves in {removed_in}.")
                kwargs[new[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return renaming

    return decorate


def moved_names(module: str, places: Mapping[str, str], *, removed_in: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``: names that went elsewhere are still found, and said.

    Args:
        module: ``__name__`` of the module that they left.
        places: name to the module that has it now.
        removed_in: the version that finds them no more.

    Raises:
        AttributeError: from what is returned, for any other name.

    >>> find = moved_names("old.place", {"sqrt": "math"}, removed_in="0.3")
    >>> with warnings.catch_warnings(record=True):
    ...     warnings.simplefilter("always")
    ...     find("sqrt")(4)
    2.0
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _say(f"{module}.{name} is {places[name]}.{name} now; the old place leaves in version {removed_in}.")
        return getattr(importlib.import_module(places[name]), name)

    return find


def _say(text: str) -> None:
    warnings.warn(text, DisentangleDeprecationWarning, stacklevel=3)
