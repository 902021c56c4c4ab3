"""All modes of a treatment by name."""

from __future__ import annotations

from collections.abc import Iterator

from disentangle.errors import InputError
from disentangle.optim import landing, nog, pogo, scion, spel
from disentangle.optim.mode import NAMED, Mode
from disentangle.plugins import Registry

__all__ = ["MODES", "register"]


def _builtin() -> Iterator[Mode]:
    yield from (nog.GRADIENT, nog.UPDATE, landing.MODE, pogo.MODE, spel.MODE, scion.MODE)


MODES = Registry("mode", Mode, _builtin)


def register(mode: Mode) -> Mode:
    """Add a mode of your own to what :func:`orthogonalize`, the configurations and the command line know.

    Raises:
        InputError: its name is taken, a part is missing, or an option has the name of an argument of
            :func:`orthogonalize` and another default than that.
    """
    for name, usual in NAMED.items():
        option = mode.options.get(name) if isinstance(mode, Mode) else None
        if option is not None and usual is not None and option.default != usual:
            raise InputError(
                f"The option {name!r} of the mode {mode.name!r} has the default {option.default!r}, but orthogonalize()"
                f" takes it as an argument whose default is {usual!r}; give the option another name."
            )
    return MODES.register(mode)
