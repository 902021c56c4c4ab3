"""Discriminator files: what a generator from elsewhere is trained further against."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pydantic
from torch import nn

from disentangle.errors import CheckpointError, DisentangleError
from disentangle.io.building import build_as_described
from disentangle.io.described import DISCRIMINATOR_FILE, configuration_in, network_header, write_network
from disentangle.models.discriminators import DiscriminatorConfig, build_discriminator
from disentangle.signatures import checks_arguments
from disentangle.tensor_files import read_tensors

__all__ = ["discriminator_config", "load_discriminator", "save_discriminator"]

_ANY: pydantic.TypeAdapter[DiscriminatorConfig] = pydantic.TypeAdapter(DiscriminatorConfig)


@checks_arguments
def save_discriminator(
    discriminator: nn.Module, path: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a discriminator of the toolkit to one ``.safetensors`` file, atomically.

    Args:
        discriminator: of :mod:`disentangle.models.discriminators`.
        path: the file.
        provenance: anything worth keeping about where the weights come from, as plain JSON values.
    """
    config: Any = discriminator.config
    write_network(discriminator, config, path, kind=DISCRIMINATOR_FILE, provenance=provenance)


@checks_arguments
def discriminator_config(path: str | os.PathLike[str]) -> DiscriminatorConfig:
    """The configuration in a discriminator file; its weights are not read.

    Raises:
        CheckpointError: if the file is damaged, is no discriminator file, or its configuration does not validate.
    """
    record = configuration_in(network_header(path, kind=DISCRIMINATOR_FILE))
    try:
        return _ANY.validate_python(record)
    except (pydantic.ValidationError, DisentangleError) as error:
        raise CheckpointError(f"{path} cannot be built: {error}") from error


@checks_arguments
def load_discriminator(path: str | os.PathLike[str]) -> nn.Module:
    """A discriminator from its file, on the CPU in float32.

    Raises:
        CheckpointError: as :func:`discriminator_config`, or if its tensors do not fit.
    """
    config = discriminator_config(path)
    tensors = read_tensors(path, what=DISCRIMINATOR_FILE.what)
    network = build_as_described(
        lambda: build_discriminator(config), config.model_dump(mode="json"), tensors, lead=f"{path} cannot be built:"
    )
    return network.float()
