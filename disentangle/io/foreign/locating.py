"""Which format a file has, and which of the networks in it is meant, wherever it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.boundary import reading
from disentangle.inert.nodes import Node
from disentangle.io.foreign import chains
from disentangle.io.foreign.formats import ONLY, Content, ForeignFormat, Options
from disentangle.io.foreign.network import find
from disentangle.io.foreign.places import Place, places_in, standing
from disentangle.io.foreign.registry import formats
from disentangle.text import shown

__all__ = ["Located", "format_of", "located", "said_of_counters"]

_MOST_LISTED = 8
_MOST = 256  # networks of a file
_ASKED = 200  # entries that asking all formats about one place counts for: it takes about as long as reading so many


@dataclass(frozen=True)
class Located:
    """A network that was found in a file.

    Attributes:
        family: the format that knows it.
        content: the file as if it held nothing but the dictionary in which the format finds the network.
        options: what the caller decided, in the names of that dictionary.
        path: of keys to that dictionary; empty at the file's top.
        decisions: what is to be said of the choice.
        module: the network itself, where the file has it whole.
    """

    family: ForeignFormat
    content: Content
    options: Options
    path: str = ""
    decisions: tuple[str, ...] = ()
    module: Node | None = None

    def which(self, name: str) -> str:
        """What the file calls a network, given what its dictionary calls it."""
        return name if not self.path else self.path if name == ONLY else f"{self.path}.{name}"


def format_of(content: Content) -> ForeignFormat:
    """The format that knows this file.

    Raises:
        CheckpointError: if none does.
    """
    with reading(content.path, "a checkpoint"):
        for family in formats():
            if family.recognise(content):
                return family
        found = _found(content)
    if found:
        return found[0][0]
    raise _unknown(content)


def located(content: Content, options: Options) -> Located:
    """The network to take: of the file's top where a format knows that, else of the place that is meant.

    Raises:
        CheckpointError: if no format knows any, if several are meant, or the wanted one is not there.
    """
    wanted = options.weights
    with reading(content.path, "a checkpoint"):
        for family in formats():
            if family.recognise(content):
                if wanted is None:
                    better = _check_one_stands_out(content, family)
                    inner = None if better is None else _wanted(_found(content), better[0])
                    if better is not None and inner is not None:
                        return _made(content, options, *inner, decisions=[_said_of_others(better[1])])
                    return Located(family, content, options, decisions=_said_of_nameless(content.data))
                known = not isinstance(content.data, Mapping) or _has(family, content.data, wanted)
                inner = None if known else _wanted(_found(content), wanted)
                return _made(content, options, *inner) if inner else Located(family, content, options)
        found = _found(content)
    if not found:
        raise _unknown(content)
    if wanted is not None:
        inner = _wanted(found, wanted)
        if inner is None:
            names = _named([place for _, place in found])
            raise CheckpointError(f"{content.path} has no weights {wanted!r}; it has {names}.")
        return _made(content, options, *inner)
    outer = _outermost(found)
    best = min(standing(place.path) for _, place in outer)
    chosen = [(family, place) for family, place in outer if standing(place.path) == best]
    if len(chosen) > 1:
        raise _several([shown(place.path, most=60) or "the file itself" for _, place in chosen], content)
    with reading(content.path, "a checkpoint"):
        family, place = chosen[0]
        better = _check_one_stands_out(replace(content, data=place.data), family)
        inner = None if better is None else _wanted(found, f"{place.path}.{better[0]}".strip("."))
        if better is not None and inner is not None:
            prefix = f"{place.path}." if place.path else ""
            return _made(content, options, *inner, decisions=[_said_of_others([prefix + name for name in better[1]])])
    others = [place for _, place in outer if place is not chosen[0][1] and standing(place.path) < 3]
    decisions = [_said_of_others([place.path or "the file itself" for place in others])] if others else []
    return _made(content, options, *chosen[0], None, [*decisions, *_said_of_nameless(content.data)])


def said_of_counters(names: Sequence[str]) -> str:
    """The sentence about numbers that a wrapper kept beside a network."""
    return f"Left out, since they only count: {', '.join(shown(name, most=40) for name in names)}."


def _has(family: ForeignFormat, data: Mapping[Any, Any], name: str) -> bool:
    """Whether a dictionary has a network of this name, which is one that the format itself knows."""
    return name in family.networks and isinstance(find(data, name), (Mapping, Node))


def _said_of_others(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name, most=60) for name in names[:_MOST_LISTED])
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"The file also holds {listed}{more}, which --weights takes."


def _said_of_nameless(data: Any) -> tuple[str, ...]:
    """A sentence where an average of the parameters lies beside them without their names."""
    for key, held in data.items() if isinstance(data, Mapping) and len(data) <= _MOST else ():
        listed = held.get("shadow_params") if isinstance(held, Mapping) else None
        if (
            isinstance(key, str)
            and isinstance(listed, (list, tuple))
            and any(isinstance(t, Tensor) for t in listed[:8])
        ):
            return (
                f"The average of its parameters in {shown(key, most=60)} has no names and is not taken: copy it to the "
                "network with what wrote it (copy_to) and save that, if it is the average that is wanted.",
            )
    return ()


def _check_one_stands_out(content: Content, family: ForeignFormat) -> tuple[str, list[str]] | None:
    """Of the networks side by side in a dictionary that a format knows, one must be the one that is meant.

    Returns:
        The name of that one and those of the others, where it is another than the format would take by its names.
    """
    if not isinstance(content.data, Mapping) or len(content.data) > _MOST:
        return None
    found: dict[tuple[int, ...], str] = {}
    for key, held in content.data.items():
        if isinstance(key, str) and isinstance(held, Mapping) and family.recognise(replace(content, data=held)):
            found.setdefault(_identity(held.get("state_dict", held)), key)
    names = list(found.values())
    best = [name for name in names if standing(name) == min(map(standing, names))]
    if len(best) > 1:
        raise _several([shown(name, most=60) for name in best], content)
    known = [name for name in names if name in family.networks]
    if not best or best[0] in known or not known:
        return None
    return best[0], [name for name in names if name != best[0] and standing(name) < 3]


def _identity(held: Any) -> tuple[int, ...]:
    values = held.values() if isinstance(held, Mapping) else ()
    return tuple(sorted(id(value) for value in values if isinstance(value, Tensor)))


def _several(names: Sequence[str], content: Content) -> CheckpointError:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    listed = ", ".join(names[:_MOST_LISTED]) + more
    return CheckpointError(
        f"{content.path} holds {len(names)} networks of equal standing: {listed}; choose one with --weights."
    )


def _made(
    content: Content, options: Options, family: ForeignFormat, place: Place, inner: str | None = None,
    decisions: Sequence[str] = (),
) -> Located:  # fmt: skip
    said = list(decisions)
    if place.dropped:
        said.append(said_of_counters(place.dropped))
    at_place = replace(content, data=place.data, module=place.module)
    return Located(family, at_place, replace(options, weights=inner), place.path, tuple(said), place.module)


def _found(content: Content) -> list[tuple[ForeignFormat, Place]]:
    """Places that a format knows; general ones count only where no other knows any."""
    if not isinstance(content.data, (Mapping, list, tuple, Node)):
        return []
    places = places_in(content.data, content.budget)
    for general in (False, True):
        families = formats(general=general)
        found: list[tuple[ForeignFormat, Place]] = []
        taken: set[tuple[int, ...]] = set()
        for place in places:
            content.budget.steps(_ASKED)
            family = next((f for f in families if f.recognise(replace(content, data=place.data))), None)
            if family is None or (general and not _may_be_plain(place)):
                continue
            same = _identity(place.data)
            if same and same in taken:  # one network in two places
                continue
            taken.add(same)
            found.append((family, place))
            if len(found) > _MOST:
                raise CheckpointError(f"{content.path} holds more than {_MOST} networks; it is no checkpoint of one.")
        if found:
            return found
    return []


def _may_be_plain(place: Place) -> bool:
    """Whether shapes alone may tell: of a whole network, or of one that is called a generator."""
    level = standing(place.path)
    return level < 2 or (level == 2 and place.whole)


def _outermost(found: list[tuple[ForeignFormat, Place]]) -> list[tuple[ForeignFormat, Place]]:
    """Without the networks inside of a dictionary that the same format knows as a whole."""

    def inside(family: ForeignFormat, place: Place) -> bool:
        return any(
            other is not place and of is family and (not other.path or place.path.startswith(f"{other.path}."))
            for of, other in found
        )

    return [(family, place) for family, place in found if not inside(family, place)]


def _wanted(found: list[tuple[ForeignFormat, Place]], wanted: str) -> tuple[ForeignFormat, Place, str | None] | None:
    """The place of that name, or the dictionary that has an entry of it."""
    for family, place in found:
        name = wanted.removeprefix(f"{place.path}.")
        if place.path and name != wanted and _has(family, place.data, name):
            return family, place, name
    for family, place in _outermost(found):
        if _has(family, place.data, wanted):
            return family, place, wanted
    for family, place in found:
        if place.path == wanted:
            return family, place, None
    matching = [(family, place) for family, place in found if place.path.endswith(f".{wanted}")]
    return (*matching[0], None) if len(matching) == 1 else None


def _named(places: Sequence[Place]) -> str:
    names = [shown(place.path, most=60) if place.path else "the file itself" for place in places]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def _unknown(content: Content) -> CheckpointError:
    path, known = content.path, "`disentangle convert --help` and docs/checkpoints.md list what is known"
    if content.container == "directory":
        return CheckpointError(f"{path} is a folder without a model of pythae, diffusers or accelerate; {known}.")
    if content.container == "safetensors" and content.data is None:
        return CheckpointError(f"{path} was written by this toolkit and needs no conversion; load it as it is.")
    with reading(path, "a checkpoint"):
        why = _explained(content)
    if why is not None:
        return CheckpointError(f"{path} is of no known format: {why}; {known}.")
    return CheckpointError(f"{path} is of no known format: it holds {_described(content.data)}; {known}.")


def _explained(content: Content) -> str | None:
    """Why the network that is likeliest a generator is none that shapes alone tell."""
    if not isinstance(content.data, (Mapping, list, tuple, Node)):
        return None
    places = [place for place in places_in(content.data, content.budget) if place.whole]
    for place in sorted(places, key=lambda place: standing(place.path)):
        why = chains.explained(replace(content, data=place.data))
        if why is not None:
            return f"{shown(place.path, most=60)}: {why}" if place.path else why
    return None


def _described(data: Any) -> str:
    if isinstance(data, Mapping):
        names = ", ".join(shown(key, most=40) for key in islice(data, 5))
        return f"{len(data)} entries ({names}{', ...' if len(data) > 5 else ''})"
    if isinstance(data, Node):
        return f"an object of the class {shown(data.path, most=80)}"
    return f"a {type(data).__name__}"
