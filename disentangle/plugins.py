"""One way to plug: a registry of records by name, open to a user's own package.

Every kind of thing that can be added (data sets, metrics, treatments, ...) has one :class:`Registry`. What belongs to
the toolkit is in its list; anybody else calls ``register`` or names a module under the entry points group
``disentangle.plugins``, whose import does it::

    [project.entry-points."disentangle.plugins"]
    mine = "my_package.disentangle_parts"

Such modules are imported once, when a registry is first asked. One that cannot be imported is named in the log, and the
rest goes on.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from disentangle.errors import InputError, reason, unknown_name
from disentangle.text import quoted

__all__ = ["GROUP", "Registry", "load_plugins"]

GROUP = "disentangle.plugins"
_log = logging.getLogger(__name__)
_loaded: set[str] = set()
_searched: tuple[str, ...] | None = None

R = TypeVar("R")


class Registry(Mapping[str, R], Generic[R]):
    """Records of one kind by their ``name``, in the order of registration.

    Args:
        what: the kind, for messages: ``"data set"``.
        kind: the class of the records, a dataclass with a field ``name``, a text.
        builtin: gives the toolkit's own records; called once, when the first is asked for.
    """

    def __init__(self, what: str, kind: type[R], builtin: Callable[[], Iterable[R]]) -> None:
        self.what, self.kind = what, kind
        self._builtin: Callable[[], Iterable[R]] | None = builtin
        self._records: dict[str, R] = {}

    def register(self, record: R) -> R:
        """Add a record; it is returned.

        Raises:
            InputError: it is of another kind, lacks a part, or has a name that is taken.
        """
        self._fill()
        return self._add(record)

    def find(self, name: str) -> R:
        """The record of a name.

        Raises:
            InputError: there is none; the nearest names are suggested.
        """
        if name not in self:
            raise unknown_name(self.what, name, self)
        return self[name]

    def __getitem__(self, name: str) -> R:
        self._open()
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        self._open()
        return iter(tuple(self._records))

    def __len__(self) -> int:
        self._open()
        return len(self._records)

    def _open(self) -> None:
        self._fill()
        load_plugins()

    def _fill(self) -> None:
        builtin, self._builtin = self._builtin, None  # before the call, which may ask for a record
        for record in builtin() if builtin is not None else ():
            self._add(record)

    def _add(self, record: R) -> R:
        if not isinstance(record, self.kind):
            raise InputError(
                f"{quoted(type(record).__name__)} is no {self.what}; expected an instance of {self.kind.__name__}."
            )
        name = getattr(record, "name", None)
        if not isinstance(name, str) or not name or name != name.strip():
            raise InputError(f"The name of the {self.what} is {name!r:.60}; expected a text without spaces around it.")
        for field in dataclasses.fields(record):  # type: ignore[arg-type]
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and getattr(record, field.name) is None:
                raise InputError(f"The {self.what} {name!r} lacks {field.name}; expected one.")
        if self._records.get(name, record) is not record:
            raise InputError(f"The {self.what} {name!r} exists already; choose another name.")
        self._records[name] = record
        return record


def load_plugins() -> None:
    """Import what other packages name under :data:`GROUP`, each once; a second call does nothing.

    They are looked for again only where ``sys.path`` has changed: that reads a file of every installed package.
    """
    global _searched
    if _searched == (places := tuple(sys.path)):
        return
    _searched = places
    for point in _entry_points():
        if point.value in _loaded:
            continue
        _loaded.add(point.value)  # before the import, which may ask a registry
        try:
            found: Any = point.load()
            if callable(found):
                found()
        except (Exception, SystemExit) as error:  # whatever somebody else's module does, the others stay usable
            _log.warning(
                "the plug-in %s (%s) cannot be loaded (%s: %s); going on without it",
                quoted(point.name), quoted(point.value), type(error).__name__, reason(error),
            )  # fmt: skip


def _entry_points() -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=GROUP)
