"""What the functions here look at: a generator, and nothing that only resembles one."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from disentangle.errors import InputError
from disentangle.looking import looks_at
from disentangle.text import shown

__all__ = ["looks_at_generator"]

P = ParamSpec("P")
R = TypeVar("R")


def looks_at_generator(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: :func:`looks_at` its ``generator``, which has to be one.

    Raises:
        InputError: from the function, if it is none; what makes one of it is said.
    """
    signature, looking = inspect.signature(function), looks_at("generator")(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        if "generator" in given:
            _check(given["generator"])
        return looking(*args, **kwargs)

    return checked


def _check(subject: Any) -> None:
    if isinstance(getattr(subject, "spaces", None), Mapping) and callable(subject):
        return
    kind = subject.__name__ if isinstance(subject, type) else type(subject).__name__
    if isinstance(subject, (str, os.PathLike)):
        advice = f"load it first: disentangle.load({shown(str(subject), most=60)!r})"
    elif isinstance(subject, Mapping):
        advice = "save it, and `disentangle convert` makes a model file of it"
    elif isinstance(subject, type):
        advice = "make an object of the class"
    else:
        advice = "disentangle.wrap(module, z_dim=...) makes one of a torch module"
    raise InputError(
        f"generator is of the type {shown(kind, most=60)}, without latent spaces; expected a generator: {advice}."
    )
