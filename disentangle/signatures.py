"""Arguments against the annotations of a function, so that a slip ends in a sentence and not deep inside the work.

A module where a generator is meant, a number where a list is, a path for a picture: what the annotations rule out is
refused when the call begins. What they allow is left to the function, which knows bounds and names; numbers are only
told from what is none.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import itertools
import numbers
import os
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from disentangle.errors import ArgumentError
from disentangle.text import quoted

__all__ = ["checks_arguments", "described"]

P = ParamSpec("P")
R = TypeVar("R")

_LONG = 1_000  # entries of a list that are looked at
_LISTS = (
    collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection, collections.abc.Set,
    list, tuple, set, frozenset,
)  # fmt: skip
# How kinds are called in a sentence, and what to do for one; by name, since torch is not imported here.
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "str": "a text",
    "PathLike": "a path",
    "Path": "a path",
    "Mapping": "a dictionary",
    "dict": "a dictionary",
    "Callable": "a function",
    "Tensor": "a torch tensor",
    "Image": "a picture of Pillow's",
    "Module": "a torch module, an instance of torch.nn.Module",
    "Optimizer": "a torch optimizer",
    "device": "a device",
    "Generator": "a generator",
    "Directions": "directions, as disentangle.latents.sefa(generator) finds them; vectors of your own become some by "
    "disentangle.latents.Directions",
    "Latents": "latents, as disentangle.latents.invert finds them, or disentangle.latents.Latents of your own",
}
_PLURALS = {
    "int": "whole numbers",
    "float": "numbers",
    "str": "texts",
    "Tensor": "torch tensors",
    "bool": "truth values",
}


def checks_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a function or a dataclass: what the annotations rule out is refused before the call begins.

    Raises (of the decorated function):
        InputError: naming the argument, what it is, and what was expected.

    >>> @checks_arguments
    ... def walk(steps: int, seeds: list[int]) -> int:
    ...     return steps * len(seeds)
    >>> walk(3, [0, 1])
    6
    >>> walk(3, 0)
    Traceback (most recent call last):
    disentangle.errors.ArgumentError: seeds is 0; expected a list of whole numbers.
    """
    if isinstance(function, type):
        function.__init__ = checks_arguments(function.__init__)  # type: ignore[misc]
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given: dict[str, Any] | None = signature.bind(*args, **kwargs).arguments
        except TypeError:  # arguments that are missing or too many, of which Python's own words are better
            given = None
        if given is None:  # outside of the other error, which would stand above these words
            return function(*args, **kwargs)
        for name, value in given.items():
            kind = _annotations(function).get(name, Any)
            if not _fits(value, kind):
                where, value, kind = _first_misfit(name, value, kind)
                expected = f"{_expected(kind)}{_way_to_one(value) if _is_generator(kind) else ''}"
                raise ArgumentError(f"{where} is {described(value)}; expected {expected}.")
        return function(*args, **kwargs)

    return checked


def described(value: Any) -> str:
    """What an argument is, for a message: short values as they are, others by their kind.

    >>> described(3), described("walk.png"), described(len)
    ('3', "'walk.png'", 'a function')
    """
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    if value is None or isinstance(value, (str, bytes, numbers.Number, bool, os.PathLike)):
        return quoted(os.fspath(value) if isinstance(value, os.PathLike) else value)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        of = f" of shape {tuple(shape)}" if len(shape) else ""
        return ("a tensor" if type(value).__module__.startswith("torch") else "an array") + of
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return "a function"
    if type(value) in (list, tuple, dict, set, range) and len(value) <= 8 and not any(map(_is_large, value)):
        return quoted(value)
    name = type(value).__name__
    return f"{'an' if name[:1].upper() in 'AEIO' else 'a'} {name}"


def _is_large(value: Any) -> bool:
    return not (value is None or isinstance(value, (str, bytes, numbers.Number)))


@functools.cache
def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations that can be evaluated: names that are imported for type checkers alone rule nothing out."""
    inner = inspect.unwrap(function)
    names = getattr(inner, "__globals__", {})
    found = {}
    for name, text in getattr(inner, "__annotations__", {}).items():
        if "ArrayLike" in str(text):  # of numpy, whatever makes an array: read_array tells what does not
            found[name] = Any
            continue
        try:
            # the function's own source, as typing.get_type_hints has it, which gives up whole where one name is missing
            found[name] = eval(text, names) if isinstance(text, str) else text
        except Exception:
            found[name] = Any
        kind: Any = found[name]
        if isinstance(kind, TypeVar):
            found[name] = kind.__bound__ or Any
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in inspect.signature(inner).parameters.values():
        if parameter.kind in variadic:
            found[parameter.name] = Any
    return found


def _fits(value: Any, kind: Any) -> bool:
    """Whether an annotation allows a value; True where that cannot be told."""
    if kind is None or kind is type(None):
        return value is None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if _is_union(kind):
        return any(_fits(value, each) for each in arguments)
    if origin is typing.Literal:
        return any(_fits(value, type(each)) for each in arguments)
    if kind in (int, float, bool):
        return _is_number(value) and (kind is not int or not _has_fraction(value))
    if origin in _LISTS or kind in _LISTS:
        return _is_list(value, origin or kind, arguments)
    try:
        if origin is not None:
            return callable(value) if origin is collections.abc.Callable else isinstance(value, origin)
        if not isinstance(kind, type):
            return True
        return isinstance(value, kind) and not (isinstance(value, type) and getattr(kind, "_is_protocol", False))
    except TypeError:  # a protocol that is not checked at run time, and the like
        return True


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number) or (getattr(value, "ndim", None) == 0 and hasattr(value, "__float__"))


def _has_fraction(value: Any) -> bool:
    """Whether a number is of a kind with fractions, though it may be whole; an array's kind is in its dtype."""
    dtype = str(getattr(value, "dtype", ""))
    return "float" in dtype if dtype else not isinstance(value, numbers.Integral)


def _is_list(value: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    if isinstance(value, (str, bytes, collections.abc.Mapping, type)):
        return False
    if not isinstance(value, collections.abc.Sized):
        return origin is collections.abc.Iterable and isinstance(value, collections.abc.Iterable)
    if getattr(value, "ndim", 1) == 0 or not isinstance(value, collections.abc.Iterable):
        return False
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    most = _LONG if isinstance(value, (list, tuple)) or hasattr(value, "dtype") else 1  # entries may be dear to make
    return not arguments or all(_fits(each, arguments[0]) for each in itertools.islice(value, most))


def _first_misfit(name: str, value: Any, kind: Any) -> tuple[str, Any, Any]:
    """What is wrong: the argument, or the first entry of a list that is one; with its name and the kind expected."""
    kinds = [each for each in typing.get_args(kind) if each is not type(None)]
    lists = [each for each in kinds if typing.get_origin(each) in _LISTS] if _is_union(kind) else [kind]
    entry = typing.get_args(lists[0])[:1] if len(lists) == 1 and (typing.get_origin(lists[0]) in _LISTS) else ()
    if isinstance(value, (list, tuple)) and entry and _is_list(value, typing.get_origin(lists[0]), (Any, ...)):
        for position, each in enumerate(value[:_LONG]):
            if not _fits(each, entry[0]):
                return f"{name}[{position}]", each, entry[0]
    return name, value, kind


def _is_generator(kind: Any) -> bool:
    """Whether a generator of images is meant, not torch's of random numbers."""
    return any(_is_generator(each) for each in typing.get_args(kind)) if _is_union(kind) else (
        getattr(kind, "__name__", "") == "Generator" and not kind.__module__.startswith("torch")
    )  # fmt: skip


def _way_to_one(value: Any) -> str:
    """What makes a generator of what was given instead."""
    if isinstance(value, (str, os.PathLike)):
        return f": load it first, disentangle.load({described(value)})"
    if isinstance(value, collections.abc.Mapping):
        return ": save it, and `disentangle convert` makes a model file of it"
    if isinstance(value, type):
        return ": make an object of the class"
    return "; a module of your own becomes one by disentangle.wrap(module, z_dim)"


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _expected(kind: Any) -> str:
    """``float | Sequence[int]`` as "a number or a list of whole numbers"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if _is_union(kind):
        known = [each for each in arguments if each is not type(None)]
        if {str, os.PathLike, pathlib.Path} >= {typing.get_origin(each) or each for each in known}:
            return "a path" if str not in known else "a name or a path"
        return " or ".join(dict.fromkeys(_expected(each) for each in known)) or "None"
    if origin is typing.Literal:
        return " or ".join(quoted(each) for each in arguments)
    if origin in _LISTS or kind in _LISTS:
        of = arguments[0] if arguments else Any
        name = "pairs" if typing.get_origin(of) is tuple else _PLURALS.get(getattr(of, "__name__", ""), "")
        if (origin or kind) is tuple and arguments and arguments[-1] is not Ellipsis:
            return f"{len(arguments)} {name or 'values'} in a tuple"
        if getattr(of, "__name__", "") == "Image":
            return "a list of pictures, as disentangle.viz.animation_frames(walks) makes them of all walks"
        return f"a list of {name}" if name else "a list"
    name = getattr(origin or kind, "__name__", str(kind))
    return _KINDS.get(name, f"a {name}")
