"""What a format is: a record at the foot of a module that recognises a family of files and turns one into tensors by
our names.

What the formats share lies here too: the choice among the networks of a file, and sizes that are read off tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.inert.budget import Budget
from disentangle.inert.nodes import Limits, Node
from disentangle.io.foreign.network import find
from disentangle.io.foreign.reflectors import Order
from disentangle.io.foreign.unstated import Setting
from disentangle.text import shown

__all__ = [
    "ONLY",
    "PICTURE_CHANNELS",
    "Content",
    "Converted",
    "ForeignFormat",
    "Options",
    "block_widths",
    "choose",
    "mapping_depth",
    "networks_in",
    "picture_channels",
]

PICTURE_CHANNELS = (1, 2, 3, 4)
ONLY = "the only one"  # name of the network of a file that holds nothing else


@dataclass(frozen=True)
class Options:
    """What a caller may decide.

    Attributes:
        weights: which of the networks in the file; the averaged one by default.
        order: of HouseholderGAN's factors, see :class:`disentangle.nn.HouseholderProjection`; "auto" is that of the
            weights its layers were last used with, where the file has them, else "usv".
        rank: of HouseholderGAN's projections where the file does not say.
        fused: whether ProGAN and StyleGAN were trained with upsampling and convolution in one, which meets kernels
            backwards; "auto" is the published rule, StyleGAN's from 128 pixels on.
        settings: by name, what the file does not state; a format's are its ``settings``, see
            :class:`disentangle.io.foreign.unstated.Setting`.
    """

    weights: str | None = None
    order: Order = "auto"
    rank: int | None = None
    fused: Literal["auto", "always", "never"] = "auto"
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """A file that was read.

    Attributes:
        path: where it lies.
        container: see :func:`disentangle.inert.sniff`.
        data: what is in it; None for a folder or a safetensors file, which formats open themselves.
        budget: what is left of its limits; whatever is made of its content is taken from it.
        limits: of it, and of files in a folder.
        module: the network, where ``data`` are the tensors of one that was pickled whole; it has their settings.
    """

    path: Path
    container: str
    data: Any
    budget: Budget
    limits: Limits
    module: Node | None = None


@dataclass
class Converted:
    """What a format makes of a file.

    Attributes:
        config: a model configuration of the toolkit, with its kind.
        state: tensors by the toolkit's names.
        which: the network that was taken, as the file calls it.
        decisions: one sentence for everything that the file left open or that was left out.
        used: of orthogonal layers, by name, the weights that the other software last used, where the file has them.
    """

    config: dict[str, Any]
    state: dict[str, Tensor]
    which: str
    decisions: list[str] = field(default_factory=list)
    used: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ForeignFormat:
    """What knows one family of files.

    Errors of its functions say what is wrong with the file in half a sentence that begins with "it": which file, and
    what it looks like, is put before it.

    Attributes:
        name: with an article, as in "it looks like ...".
        recognise: whether a file, or one dictionary in it, is of this family; asked of every file, so it looks at few
            names and changes nothing.
        convert: makes a configuration and tensors of it.
        settings: what its files do not state.
        networks: names under which it finds the generator by itself, the preferred one first.
        convert_discriminator: the same for the discriminator beside the generator, as one of StyleGAN2.
        general: whether it is told by shapes alone; such formats are asked where no other knows a name.
    """

    name: str
    recognise: Callable[[Content], bool]
    convert: Callable[[Content, Options], Converted]
    settings: tuple[Setting, ...] = ()
    networks: tuple[str, ...] = ()
    convert_discriminator: Callable[[Content], Converted] | None = None
    general: bool = False


# ---------------------------------------------------------------------------------------------------- networks


def networks_in(data: Any, names: Iterable[str], marks: Iterable[str]) -> dict[str, Mapping[Any, Any]]:
    """The networks of a dictionary that have one of the marking tensors, by their names in it.

    A dictionary that is itself such a network is :data:`ONLY`. They are the file's own dictionaries: see
    :func:`disentangle.io.foreign.network.tensors_of`.

    Args:
        data: what a file holds.
        names: under which its networks may lie; each may hold them under "state_dict".
        marks: names of tensors, one of which tells this format from others.
    """
    if not isinstance(data, Mapping):
        return {}
    marks = tuple(marks)
    candidates = {ONLY: data, **{name: data[name] for name in names if isinstance(data.get(name), Mapping)}}
    found = {}
    for name, held in candidates.items():
        inner = held.get("state_dict")
        state = inner if isinstance(inner, Mapping) else held
        if any(isinstance(find(state, mark), Tensor) for mark in marks):
            found[name] = state
    return found


def choose(data: Mapping[Any, Any], preferred: Sequence[str], wanted: str | None) -> str:
    """Which network of a file to take: the wanted one, else the first of ``preferred`` that is there.

    Raises:
        CheckpointError: if there is none.
    """
    present = [name for name in (*preferred, ONLY) if data.get(name) is not None]
    if wanted is not None:
        if wanted not in present:
            raise CheckpointError(
                f"it has no weights {wanted!r}; it has {', '.join(present) or 'none of a generator'}."
            )
        return wanted
    if not present:
        held = ", ".join(shown(key, most=40) for key in islice(data, 6)) or "nothing"
        raise CheckpointError(f"it holds no generator (it holds: {held}); expected one of {', '.join(preferred)}.")
    return present[0]


# ---------------------------------------------------------------------------------------------------- sizes


def block_widths(state: Mapping[str, Tensor], prefix: str = "synthesis.") -> tuple[int, ...]:
    """Features at 4, 8, ... pixels: outputs of ``b{resolution}.conv1``.

    Raises:
        CheckpointError: if there is none at 4 pixels.
    """
    widths: list[int] = []
    while f"{prefix}b{4 << len(widths)}.conv1.weight" in state:
        widths.append(state[f"{prefix}b{4 << len(widths)}.conv1.weight"].shape[0])
    if not widths:
        raise CheckpointError("it has no convolutions at 4 pixels; it is damaged.")
    return tuple(widths)


def mapping_depth(state: Mapping[str, Tensor]) -> int:
    """Layers of the mapping network."""
    return sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in state)


def picture_channels(count: int) -> int:
    """The channels of a picture that the last layer makes, which are few.

    Raises:
        CheckpointError: if they are those of a layer in the middle.
    """
    if count not in PICTURE_CHANNELS:
        raise CheckpointError(
            f"its last layer makes {count:,} features; expected a picture of 1 to 4 channels, it may be half of a "
            "checkpoint."
        )
    return count
