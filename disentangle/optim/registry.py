"""All modes of a treatment by name."""

from __future__ import annotations

from collections.abc import Iterator

from disentangle.optim import landing, nog, pogo, scion, spel
from disentangle.optim.mode import Mode
from disentangle.plugins import Registry

__all__ = ["MODES", "register"]


def _builtin() -> Iterator[Mode]:
    yield from (nog.GRADIENT, nog.UPDATE, landing.MODE, pogo.MODE, spel.MODE, scion.MODE)


MODES = Registry("mode", Mode, _builtin)


def register(mode: Mode) -> Mode:
    """Add a mode of your own to what :func:`orthogonalize`, the configurations and the command line know.

    Raises:
        InputError: its name is taken, or a part is missing.
    """
    return MODES.register(mode)
