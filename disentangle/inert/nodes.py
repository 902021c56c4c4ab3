"""What an inert reading of a pickle is made of, besides plain containers, numbers, strings and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

__all__ = ["DamagedError", "LimitError", "Limits", "Name", "Node"]


class DamagedError(Exception):
    """Why a file cannot be read; the reader puts the file's name in front of it, and the advice behind.

    Args:
        why: half a sentence.
        advice: a sentence.
    """

    def __init__(self, why: str, *, advice: str = "Get the file anew.") -> None:
        super().__init__(why)
        self.advice = advice


class LimitError(DamagedError):
    """Which of its :class:`Limits` a file met."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask of the machine.

    A file of n bytes may take ``memory + growth * n`` bytes beside itself, for everything that is unpacked, copied or
    made of it, with what its objects take in Python; so that with the defaults a small file takes no more than half a
    gigabyte, and a large one eight times its size.

    Attributes:
        bytes: of the file.
        objects: instructions of all pickles in it, about one each for what they hold; and entries that a reader walks.
        depth: containers inside containers.
        memory, growth: see above.
        text: characters of names and printouts that are made of a file, beside four for each of its bytes.
    """

    bytes: int = 16 * 2**30
    objects: int = 3_000_000
    depth: int = 200
    memory: int = 256 * 2**20
    growth: int = 7
    text: int = 16 * 2**20

    def times(self, factor: int) -> Limits:
        """These limits, each so many times as large; the depth stays, which real files do not come near."""
        return replace(
            self, bytes=self.bytes * factor, objects=self.objects * factor, memory=self.memory * factor,
            growth=self.growth * factor, text=self.text * factor,
        )  # fmt: skip


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


_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(eq=False, repr=False, slots=True)
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
    kwargs: Mapping[Any, Any] = field(default_factory=lambda: _NOTHING)
    state: Any = None
    items: list[Any] | tuple[()] = ()  # a list from the first on: a file may hold a million objects without any
    pairs: list[tuple[Any, Any]] | tuple[()] = ()

    def __repr__(self) -> str:
        # The graph may be small and its printout endless.
        return f"Node({self.path[:200]!r})"

    @property
    def attributes(self) -> dict[str, Any]:
        """``state`` if it is a dictionary, else an empty one."""
        return self.state if isinstance(self.state, dict) else {}
