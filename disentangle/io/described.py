"""A ``.safetensors`` file of one network whose header says how to build it, so that the file alone is enough."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from disentangle.config import Config
from disentangle.errors import CheckpointError
from disentangle.tensor_files import FileKind, read_header, write_tensors
from disentangle.text import shown

__all__ = ["DISCRIMINATOR_FILE", "MODEL_FILE", "configuration_in", "network_header", "write_network"]

MODEL_FILE = FileKind(
    "disentangle-model",
    "a model file",
    "`disentangle train`, `disentangle.save`, or `disentangle convert` of another project's file",
)
DISCRIMINATOR_FILE = FileKind(
    "disentangle-discriminator", "a discriminator file", "`disentangle convert --discriminator`"
)


def write_network(
    network: nn.Module,
    config: Config,
    path: str | os.PathLike[str],
    *,
    kind: FileKind,
    dtype: torch.dtype | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a network; an existing file is replaced at the end, atomically.

    Args:
        network: whose state is written.
        config: its configuration, with a ``kind``.
        path: the file.
        kind: :data:`MODEL_FILE` or :data:`DISCRIMINATOR_FILE`.
        dtype: floating point type to store, that of the tensors by default.
        provenance: plain JSON values for the header.
    """
    tensors = {
        name: tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    header = config.model_dump(mode="json")
    if provenance:
        header["provenance"] = dict(provenance)
    write_tensors(path, tensors, kind=kind, header=header)


def network_header(path: str | os.PathLike[str], *, kind: FileKind) -> dict[str, Any]:
    """The header: ``format``, ``version``, ``kind``, the configuration's fields, ``provenance``.

    Raises:
        CheckpointError: if the file is missing, damaged, or not one of this kind.
    """
    header = read_header(Path(path), kind=kind)
    if not isinstance(header.get("provenance", {}), dict):
        said = shown(header["provenance"], most=60)
        raise CheckpointError(f"{path} states the provenance {said}; expected an object: the file is damaged.")
    return header


def configuration_in(header: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's fields of a header."""
    return {key: value for key, value in header.items() if key not in ("format", "version", "provenance")}
