"""Latents on disk: where a photograph lies in a generator's space."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from disentangle.errors import CheckpointError, InputError
from disentangle.files import write_atomically

__all__ = ["Latents"]

_FORMAT, _VERSION = "disentangle-latent", 1


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
        if self.values.ndim < 2 or not self.values.is_floating_point():
            raise InputError(
                f"latents have shape {tuple(self.values.shape)} and dtype {self.values.dtype}; expected (n, ...) "
                "floating point."
            )

    def save(self, path: str | os.PathLike[str], *, note: dict[str, Any] | None = None) -> None:
        """Write one ``.safetensors`` file; ``note`` is anything worth keeping, as plain JSON values."""
        header = {"format": _FORMAT, "version": _VERSION, "space": self.space, "note": note or {}}
        metadata = {"format": "pt", "disentangle": json.dumps(header)}
        tensors = {"latents": self.values.detach().cpu().contiguous()}
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Latents:
        """Read a file written by :meth:`save`.

        Raises:
            CheckpointError: if it is missing, damaged, or holds no latents.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("disentangle", "null"))
                if not isinstance(header, dict) or header.get("format") != _FORMAT:
                    raise CheckpointError(f"{path} holds no latents; expected a file written by `disentangle invert`.")
                return cls(values=file.get_tensor("latents"), space=str(header["space"]))
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist; expected a file of latents.") from None
        except (SafetensorError, OSError, json.JSONDecodeError, KeyError) as error:
            raise CheckpointError(f"{path} is not a readable file of latents ({error}).") from None
