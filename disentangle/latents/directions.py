"""Directions: vectors in one latent space, with everything needed to walk along them again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import ArgumentError, CheckpointError, InputError
from disentangle.models.base import Generator
from disentangle.signatures import checks_arguments
from disentangle.tensor_files import FLOATS, FileKind, read_header, read_tensors, write_tensors
from disentangle.text import quoted, shown

__all__ = ["Directions", "fingerprint"]

_MOST_NAMED = 10  # labels that printed directions show
_KIND = FileKind("disentangle-directions", "a file of directions", "`disentangle directions find` or Directions.save")


@checks_arguments
@dataclass(frozen=True, repr=False)
class Directions:
    """Some directions of a latent space.

    Attributes:
        vectors: (k, latent size) float32, one direction a row, in the flattened latent.
        space: name of the space they live in; walking another one raises.
        labels: one name a direction.
        method: how they were found, e.g. ``"basis"`` or ``"sefa"``.
        scale: (k,) natural length of one unit along each direction, e.g. a standard deviation.
        layers: of directions in w: the rows of a W+ latent that move, for all directions together or a tuple for each;
            None for all rows.
        mean: (latent size,) where the directions cross, e.g. the mean of the latents they were found from; None for the
            origin.
        eigenvalues: (k,) how much each direction changes the pictures, in the units of its method; None where it says
            nothing.
        note: how they were found, as plain JSON values.
        generator: :func:`fingerprint` of the generator they belong to; walking one of another kind or latent shape
            raises. None, as in files of others, fits every generator that has the space.
    """

    vectors: Tensor
    space: str
    labels: tuple[str, ...]
    method: str
    scale: Tensor
    layers: tuple[int, ...] | tuple[tuple[int, ...], ...] | None = None
    mean: Tensor | None = None
    generator: str | None = None
    eigenvalues: Tensor | None = None
    note: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.dtype not in FLOATS:
            raise InputError(
                f"vectors have shape {tuple(self.vectors.shape)} and dtype {self.vectors.dtype}; "
                "expected (k, size) floating point."
            )
        if not torch.isfinite(self.vectors).all():
            raise InputError("vectors hold NaN or infinity; expected finite directions.")
        if len(self.labels) != len(self.vectors) or self.scale.shape != (len(self.vectors),):
            raise InputError(
                f"{len(self.vectors)} directions with {len(self.labels)} labels and scale of shape "
                f"{tuple(self.scale.shape)}; expected one of each a direction."
            )
        if not torch.isfinite(self.scale).all():
            raise InputError("scale holds NaN or infinity; expected finite lengths.")
        values = self.eigenvalues
        if values is not None and (values.shape != self.scale.shape or not torch.isfinite(values).all()):
            raise InputError(
                f"eigenvalues have shape {tuple(values.shape)}; expected a finite number for each of "
                f"{len(self.vectors)} directions."
            )
        if self.layers is not None and self.space != "w":
            raise ArgumentError(
                f"layers were given for directions in {self.space!r}; expected them in 'w', or no layers."
            )
        if self.layers == ():
            raise InputError("layers is empty, so that nothing would move; expected one row of w+ or more, or None.")
        if self._each_has_layers and len(self.layers or ()) != len(self.vectors):
            raise InputError(
                f"{len(self.vectors)} directions and layers of {len(self.layers or ())}; expected as many."
            )
        if self.mean is not None and self.mean.shape != self.vectors.shape[1:]:
            raise InputError(f"mean has shape {tuple(self.mean.shape)}; expected {tuple(self.vectors.shape[1:])}.")

    def __repr__(self) -> str:
        """One line: how many, of which space, found how, and their names."""
        names = ", ".join(shown(label, most=30) for label in self.labels[:_MOST_NAMED])
        more = ", ..." if len(self) > _MOST_NAMED else ""
        rows = "" if self.layers is None else f", layers {shown(self.layers, most=40)}"
        return (
            f"Directions({len(self)} of {self.vectors.shape[1]} numbers in {shown(self.space, most=20)} by "
            f"{shown(self.method, most=30)}{rows}: {names}{more})"
        )

    @property
    def _each_has_layers(self) -> bool:
        return bool(self.layers) and isinstance(self.layers[0], tuple)  # type: ignore[index]

    def rows(self, position: int) -> tuple[int, ...] | None:
        """The rows of a W+ latent that a direction moves; None for all."""
        if self._each_has_layers:
            return self.layers[position]  # type: ignore[index, return-value]
        return self.layers  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.vectors)

    @checks_arguments
    def select(self, positions: Sequence[int]) -> Directions:
        """The directions at ``positions``, in that order.

        Raises:
            InputError: if there is no such position.
        """
        positions = [int(position) for position in positions]
        for position in positions:
            if not 0 <= position < len(self):
                raise ArgumentError(f"There is no direction {position}; expected 0 to {len(self) - 1}.")
        index = torch.tensor(list(positions), dtype=torch.int64)
        layers: Any = self.layers
        if self._each_has_layers:
            layers = tuple(layers[i] for i in positions)
        return dataclasses.replace(
            self,
            vectors=self.vectors[index],
            labels=tuple(self.labels[i] for i in positions),
            scale=self.scale[index],
            layers=layers,
            eigenvalues=None if self.eigenvalues is None else self.eigenvalues[index],
        )

    @checks_arguments
    def label(self, position: int, name: str) -> Directions:
        """A copy in which one direction is called ``name``."""
        self.select([position])
        labels = list(self.labels)
        labels[position] = name
        return dataclasses.replace(self, labels=tuple(labels))

    @checks_arguments
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one ``.safetensors`` file."""
        header = {
            "space": self.space,
            "labels": list(self.labels),
            "method": self.method,
            "layers": None if self.layers is None else list(self.layers),
            "generator": self.generator,
            "note": self.note,
        }
        tensors = {"vectors": self.vectors, "scale": self.scale}
        if self.mean is not None:
            tensors["mean"] = self.mean
        if self.eigenvalues is not None:
            tensors["eigenvalues"] = self.eigenvalues
        write_tensors(path, tensors, kind=_KIND, header=header)

    @classmethod
    @checks_arguments
    def load(cls, path: str | os.PathLike[str]) -> Directions:
        """Read a file written by :meth:`save`.

        Raises:
            CheckpointError: if it is missing, damaged, of a later version, or holds no directions.
        """
        header, tensors = read_header(path, kind=_KIND), read_tensors(path, what=_KIND.what)
        own, note = header.get("generator"), header.get("note", {})  # left out by the first files of this version
        try:
            if not isinstance(own, str | None):
                raise TypeError(f"generator is {quoted(own)}")
            if not isinstance(note, dict):
                raise TypeError(f"note is {quoted(note)}")
            return cls(
                vectors=tensors["vectors"],
                space=str(header["space"]),
                labels=tuple(str(label) for label in header["labels"]),
                method=str(header["method"]),
                scale=tensors["scale"],
                layers=_rows(header["layers"]),
                mean=tensors.get("mean"),
                generator=own,
                eigenvalues=tensors.get("eigenvalues"),
                note=note,
            )
        except KeyError as error:
            raise CheckpointError(f"{path} is no complete file of directions: it lacks {error}.") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{path} is not a readable file of directions ({error}).") from None


def _rows(record: Any) -> tuple[Any, ...] | None:
    """Layers as a file keeps them: null, a list of rows, or a list of such lists."""
    if record is None:
        return None
    return tuple(tuple(int(row) for row in entry) if isinstance(entry, list) else int(entry) for entry in record)


@checks_arguments
def fingerprint(generator: Generator, space: str) -> str:
    """The kind of a generator and the shape of a latent: ``"stylegan2, w+ 18x512"``.

    Networks trained from one another share it, and directions carry over between them; weights are not compared. One
    whose z was turned (:func:`disentangle.latents.turn`) says so: the same numbers mean other pictures in it.
    """
    config = getattr(generator, "config", None)
    kind = getattr(generator, "family", None) or getattr(config, "kind", None) or type(generator).__name__
    turned = getattr(config, "turned", None) or getattr(generator, "turned", None)
    shape = "x".join(map(str, generator.spaces[space].shape))
    return f"{kind}, {space} {shape}" + (f", turned ({turned})" if turned and space == "z" else "")
