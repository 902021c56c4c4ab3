"""Weight files of other projects' plain networks: tensors by name, read without unpickling anything else."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from disentangle.errors import CheckpointError

__all__ = ["read_weights"]

_WRAPPERS = ("state_dict", "model", "model_state_dict")  # names under which training scripts keep the weights


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a torch file, by name.

    Torch files are read with the restricted loader, which admits tensors and plain containers only. Weights that lie
    under "state_dict" or "model" are taken from there, and the prefix "module." of a parallel wrapper is cut off.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds anything but named tensors.
    """
    path = Path(path).expanduser()
    expected = "expected a .safetensors file or a torch file of named tensors"
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}; {expected}.")
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({first}); {expected}.") from None
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not content or not all(isinstance(t, Tensor) for t in content.values()):
        held = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(f"{path} holds no plain set of weights (it holds: {held or 'nothing'}); {expected}.")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
