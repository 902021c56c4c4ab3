"""What an inert reading of a pickle is made of, besides plain containers, numbers, strings and tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["DamagedError", "Limits", "Name", "Node"]


class DamagedError(Exception):
    """Why a file cannot be read; the reader puts the file's name in front of it."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask of the machine.

    Attributes:
        bytes: of the file, and of what its compressed parts unpack to.
        objects: instructions of all pickles in it; about one each for what they hold.
        depth: containers inside containers.
    """

    bytes: int = 16 * 2**30
    objects: int = 3_000_000
    depth: int = 200


class Name:
    """A class or function that a file names. It is never imported.

    Attributes:
        path: "module.qualified_name".
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Name({self.path!r})"


@dataclass(eq=False, repr=False)
class Node:
    """An object of a class this toolkit does not know: what a pickle handed to it.

    Attributes:
        path: its class, or the function that was to make it, as "module.qualified_name"; objects in NVIDIA's
            containers are "torch_utils.persistence:ClassName".
        args: arguments of the call.
        kwargs: keyword arguments of the call.
        state: what its ``__setstate__`` was to get, usually its attributes.
        items: what was to be appended to it.
        pairs: what was to be set in it by key.
    """

    path: str
    args: tuple[Any, ...] = ()
    kwargs: dict[Any, Any] = field(default_factory=dict)
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        # The graph may be small and its printout endless.
        return f"Node({self.path!r})"

    @property
    def attributes(self) -> dict[str, Any]:
        """``state`` if it is a dictionary, else an empty one."""
        return self.state if isinstance(self.state, dict) else {}
