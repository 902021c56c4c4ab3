"""Objects of a user's own Python code by name, ``module:name`` or ``file.py:name``. To take one is to run that code.

Only what somebody wrote on a command line, or handed to a function as an argument, comes here. A name that stands in a
file never does: it is shown, and left to the reader to give.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from disentangle.errors import ArgumentError, DisentangleError, InputError, reason
from disentangle.signatures import described
from disentangle.text import quoted, shown

__all__ = ["guarded", "own_network", "own_object"]


def own_object(text: str, *, what: str) -> Any:
    """What a name stands for, found as Python would from the working folder.

    Args:
        text: ``module:name``, ``package.module:Class.method``, or ``file.py:name``, whose folder is then searched for
            what it imports.
        what: the option or argument that holds the name, for messages.

    Raises:
        ArgumentError: if it is no such name, or there is no such file or nothing of that name in it.
        InputError: if the module cannot be imported.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        example = f"{place or name}:function" if (place or name).endswith(".py") else "my_model:encode"
        raise ArgumentError(f"{what} is {quoted(text)}; expected module:function or file.py:function, as in {example}.")
    try:
        module = _from_file(place, name, what) if place.endswith(".py") else _from_path(place)
    except DisentangleError:
        raise
    except (Exception, SystemExit) as error:  # the module is the user's: whatever it raises
        raise InputError(
            f"{what} {shown(text)}: module {quoted(place)} cannot be imported ({_told(error)})."
        ) from error
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ArgumentError(f"{what} {shown(text)}: {shown(place)} has no {quoted(name)}.") from None
        except (Exception, SystemExit) as error:  # a property of the user's
            raise InputError(f"{what} {shown(text)}: {quoted(name)} cannot be had ({_told(error)}).") from error
    return found


def own_network(given: Any, *, what: str) -> Any:
    """A network of the user's: a torch module, or a generator as the toolkit's protocol describes one.

    Args:
        given: one of these, a function or class that makes one without arguments, or the name of any of them.
        what: the option or argument that holds it, for messages.

    Raises:
        InputError: if there is none behind it.
    """
    from torch import nn

    found = own_object(given, what=what) if isinstance(given, str) else given
    name = f"{what} {shown(given)}" if isinstance(given, str) else what
    if _is_network(found, nn.Module):
        return found
    if not callable(found):
        raise InputError(f"{name} is {described(found)}; expected a torch.nn.Module, or a function that returns one.")
    made = guarded(found, name, "called without arguments, it failed")()
    if not _is_network(made, nn.Module):
        raise InputError(
            f"{name} returned {described(made)}; expected a torch.nn.Module, or what disentangle.wrap makes of one."
        )
    return made


def guarded(function: Callable[..., Any], name: str, failed: str) -> Callable[..., Any]:
    """A function of the user's, whose exceptions become a sentence: ``name: failed (why)``."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (MemoryError, DisentangleError):
            raise
        except (Exception, SystemExit) as error:
            raise InputError(f"{name}: {failed} ({_told(error)}).") from error

    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call


def _is_network(thing: Any, module: type) -> bool:
    return isinstance(thing, module) or (
        not isinstance(thing, type) and hasattr(thing, "spaces") and hasattr(thing, "sample_latents")
    )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {reason(error)}"


def _from_path(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    return importlib.import_module(name)


def _from_file(place: str, name: str, what: str) -> ModuleType:
    """The module in a file: under its own name where Python finds just that file by it, else under one of ours."""
    file = Path(place)
    if not file.is_file():
        raise ArgumentError(
            f"{what} {shown(place)}:{shown(name)}: there is no file {shown(place)}; give the path of one, or "
            f"{shown(file.stem)}:{shown(name)} for a module that can be imported."
        )
    folder = str(file.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as Python does for a script
    if "." not in file.stem:
        spec = sys.modules[file.stem].__spec__ if file.stem in sys.modules else importlib.util.find_spec(file.stem)
        if spec is not None and spec.origin and os.path.exists(spec.origin) and os.path.samefile(spec.origin, file):
            return importlib.import_module(file.stem)
    called = f"{file.stem.replace('.', '_')}_{zlib.crc32(os.fsencode(file.resolve())):08x}"
    if called in sys.modules:
        return sys.modules[called]
    spec = importlib.util.spec_from_file_location(called, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[called] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[called]
        raise
    return module
