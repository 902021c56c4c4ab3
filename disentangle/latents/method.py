"""What a method that finds directions is: a record at the foot of the file that has it.

A method of your own is added with :func:`disentangle.latents.register`, and is then known to
:func:`~disentangle.latents.find_directions` and the command line::

    def find(generator, *, top=10, seed=0):
        ...
        return Directions(...)

    disentangle.latents.register(DirectionMethod("mine", "Along which something changes.", find))
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from disentangle.errors import ArgumentError
from disentangle.latents.directions import Directions

__all__ = ["DirectionMethod", "keywords_of", "moving"]


@dataclasses.dataclass(frozen=True)
class DirectionMethod:
    """A way to find directions in a latent space.

    Attributes:
        name: for :func:`~disentangle.latents.find_directions`.
        about: what its directions are; a sentence.
        find: from a generator and keyword arguments to :class:`~disentangle.latents.Directions`. Its keywords are the
            options of the method: ``space``, ``layers``, ``top``, ``seed``, ``label`` and ``progress`` mean the same in
            all of them. Where it has no ``layers``, the directions found in w move those that are asked for.
        options: their names, where the function hands some of them on.
        replaces: of an option that takes the place of others, which these are.
    """

    name: str
    about: str
    find: Callable[..., Directions]
    options: tuple[str, ...] = ()
    replaces: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.options and self.find is not None:
            object.__setattr__(self, "options", keywords_of(self.find))

    def read_with(self, given: Collection[str]) -> tuple[str, ...]:
        """The options that are read beside those given: none that one of them takes the place of."""
        gone = {name for option, others in self.replaces.items() if option in given for name in others}
        return tuple(name for name in self.options if name not in gone)


def keywords_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of its keyword arguments."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def moving(directions: Directions, layers: Sequence[int]) -> Directions:
    """The same directions of w, which move these rows of w+ only.

    Raises:
        InputError: they live in another space.
    """
    if directions.space != "w":
        raise ArgumentError(f"layers chooses rows of w+, but these directions live in {directions.space!r}.")
    return dataclasses.replace(directions, layers=tuple(layers))
