"""Latents on disk: where a photograph lies in a generator's space."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from disentangle.errors import CheckpointError, InputError
from disentangle.signatures import checks_arguments
from disentangle.tensor_files import FLOATS, FileKind, read_header, read_tensors, write_tensors
from disentangle.text import shown

__all__ = ["Latents"]

_KIND = FileKind("disentangle-latent", "a file of latents", "`disentangle invert`")


@checks_arguments
@dataclass(frozen=True)
class Latents:
    """Points of one latent space.

    Attributes:
        values: (n, *shape of a latent) floating point.
        space: name of the space.
    """

    values: Tensor
    space: str

    def __post_init__(self) -> None:
        if self.values.ndim < 2 or self.values.dtype not in FLOATS:
            raise InputError(
                f"latents have shape {tuple(self.values.shape)} and dtype {self.values.dtype}; expected (n, ...) "
                "floating point."
            )

    def __repr__(self) -> str:
        return f"Latents({len(self.values)} in {shown(self.space)}, each {'x'.join(map(str, self.values.shape[1:]))})"

    def save(self, path: str | os.PathLike[str], *, note: dict[str, Any] | None = None) -> None:
        """Write one ``.safetensors`` file; ``note`` is anything worth keeping, as plain JSON values."""
        write_tensors(path, {"latents": self.values}, kind=_KIND, header={"space": self.space, "note": note or {}})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Latents:
        """Read a file written by :meth:`save`.

        Raises:
            CheckpointError: if it is missing, damaged, or holds no latents.
        """
        header, tensors = read_header(path, kind=_KIND), read_tensors(path, what=_KIND.what)
        if "latents" not in tensors or not isinstance(header.get("space"), str):
            raise CheckpointError(f"{path} lacks its latents or the name of their space; it is damaged.")
        try:
            return cls(values=tensors["latents"], space=header["space"])
        except InputError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from None
