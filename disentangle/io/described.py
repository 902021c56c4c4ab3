"""A ``.safetensors`` file of one network whose header says how to build it, so that the file alone is enough."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from disentangle.config import Config
from disentangle.errors import CheckpointError
from disentangle.files import write_atomically
from disentangle.models.base import misfits

__all__ = ["configuration_in", "load_into", "read_header", "write_network"]

_VERSION = 1
_KEY = "disentangle"  # in the safetensors metadata


def write_network(
    network: nn.Module,
    config: Config,
    path: str | os.PathLike[str],
    *,
    what: str,
    dtype: torch.dtype | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a network; an existing file is replaced at the end, atomically.

    Args:
        network: whose state is written.
        config: its configuration, with a ``kind``.
        path: the file.
        what: "model" or "discriminator".
        dtype: floating point type to store, that of the tensors by default.
        provenance: plain JSON values for the header.
    """
    tensors = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu()
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        tensors[name] = _alone(tensor)
    header = {"format": f"disentangle-{what}", "version": _VERSION, **config.model_dump(mode="json")}
    if provenance:
        header["provenance"] = dict(provenance)
    metadata = {"format": "pt", _KEY: json.dumps(header, allow_nan=False)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def _alone(tensor: Tensor) -> Tensor:
    """Contiguous and the only one in its memory, as the format wants it; copied only where it is not."""
    tensor = tensor.contiguous()
    own = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if own else tensor.clone()


def read_header(path: str | os.PathLike[str], *, what: str) -> dict[str, Any]:
    """The header: ``format``, ``version``, ``kind``, the configuration's fields, ``provenance``.

    Raises:
        CheckpointError: if the file is missing, damaged, or not one of a ``what`` ("model" or "discriminator").
    """
    path = Path(path)
    source = "`disentangle train` or `disentangle.save`"
    if what == "discriminator":
        source = "`disentangle convert --discriminator`"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; expected a {what} file.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}); expected a {what} file written by {source}."
        ) from None
    try:
        header = json.loads(metadata.get(_KEY, "null"))
    except json.JSONDecodeError:
        header = None
    held = header.get("format") if isinstance(header, dict) else None
    if held != f"disentangle-{what}":
        other = next((name for name in ("model", "discriminator") if held == f"disentangle-{name}"), None)
        if other is not None:
            raise CheckpointError(f"{path} holds a {other}; expected a {what} file written by {source}.")
        raise CheckpointError(
            f"{path} holds tensors but no disentangle-{what} header, so it does not say how to build a {what}; "
            f"expected a file written by {source}."
        )
    if header.get("version") != _VERSION:
        raise CheckpointError(
            f"{path} has format version {header.get('version')!r}; this toolkit reads version {_VERSION}. "
            "Update disentangle-toolkit."
        )
    return dict(header)


def configuration_in(header: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's fields of a header."""
    return {key: value for key, value in header.items() if key not in ("format", "version", "provenance")}


def load_into(network: nn.Module, path: Path) -> None:
    """Give a network built by the file's configuration the file's tensors.

    Raises:
        CheckpointError: if some are missing, unexpected or of other shapes.
    """
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    problems = misfits(found, network.state_dict())
    if problems:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise CheckpointError(f"The tensors in {path} do not fit the configuration in its header: {shown}.")
    network.load_state_dict(found)
