"""Model files and training states.

A model file is one ``.safetensors`` whose header says how to build the model, so that the file alone is enough. A
training state is a second file of tensors and plain containers. Neither ever holds code, and nothing is unpickled:
states are read by :mod:`disentangle.inert`, which makes tensors and plain containers only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.config import Config, parse_config
from disentangle.errors import CheckpointError, DisentangleError, InputError, unknown_name
from disentangle.files import sha256_of
from disentangle.io.building import build_as_described, fill
from disentangle.io.described import MODEL_FILE, configuration_in, network_header, write_network
from disentangle.io.published import fetched
from disentangle.io.run_checkpoints import MODEL, damage, newest_checkpoint
from disentangle.io.zoo import PublishedEntry, published_entries, zoo_entries, zoo_entry
from disentangle.models.base import build_model, config_class, model_kinds, needs_own_code
from disentangle.own_code import own_network
from disentangle.signatures import checks_arguments, described
from disentangle.tensor_files import read_state, read_tensors, write_state
from disentangle.text import shown

__all__ = ["find_model", "load", "load_state", "model_config", "model_info", "save", "save_state"]


@checks_arguments
def save(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a model of the toolkit, or a wrapped module, to one ``.safetensors`` file.

    Of a wrapped module the file has the weights, how it was wrapped and projected, and the name of what builds it: not
    its code. :func:`load` needs that again.

    Args:
        model: a model with a ``config`` (all registered kinds have one), compiled or data-parallel or not.
        path: the file; an existing one is replaced at the end, atomically.
        dtype: store floating point weights in this type, e.g. ``torch.float16`` to halve the file.
        provenance: anything worth keeping about where the weights come from, as plain JSON values.

    Raises:
        InputError: if the model has no configuration to store.
    """
    model = _without_wrappers(model)
    config = getattr(model, "config", None)
    kind = getattr(config, "kind", None)
    if not isinstance(config, Config) or kind not in model_kinds() or not isinstance(config, config_class(kind)):
        raise InputError(
            f"A{described(model)[1:]} has no model configuration to store; expected one of the toolkit's models. "
            "A module of your own is saved as disentangle.wrap makes it a generator."
        )
    strange = [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if strange:
        raise InputError(
            f"{shown(strange[0])} in the model's state_dict is no tensor, and a model file holds tensors; leave it out."
        )
    write_network(model, config, path, kind=MODEL_FILE, dtype=dtype, provenance=provenance)


def _without_wrappers(model: nn.Module) -> nn.Module:
    """The network inside of ``torch.compile`` and data parallelism, which share its weights."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@checks_arguments
def load(
    model: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    generator: Any = None,
) -> nn.Module:
    """A model from a zoo name, a run folder or a model file, in evaluation mode.

    Args:
        model: see :func:`find_model`.
        device: where its weights are put.
        dtype: floating point type of its weights.
        generator: for the file of a wrapped module, whose code is yours: the module, what :func:`disentangle.wrap` made
            of it, a function that returns either, or the name of one, ``"module:function"`` or ``"file.py:function"``.
            A name is imported, which runs the code there; one that stands in the file never is. A module is used and
            not copied: it gets the weights of the file.

    Raises:
        CheckpointError: if the file is damaged, is not a model file, or its tensors do not fit its configuration.
        InputError: if there is no such model, or a ``generator`` is needed, not needed, or does not fit.
    """
    path = find_model(model)
    config = _config_in(path)
    tensors = read_tensors(path, what=MODEL_FILE.what)
    if needs_own_code(config):
        built = _around(config, tensors, generator, path)
    elif generator is not None:
        raise InputError(
            f"generator was given, but {path} holds all of a {getattr(config, 'kind', 'model')}; leave it out."
        )
    else:
        built = build_as_described(
            lambda: build_model(config, seed=0),
            config.model_dump(mode="json"),
            tensors,
            lead=f"{path} cannot be built:",
        )
    return built.to(device=device, dtype=dtype).eval().requires_grad_(False)


def _around(config: Config, tensors: Mapping[str, Tensor], generator: Any, path: Path) -> nn.Module:
    """A generator around a module of the user's, with the tensors of a file."""
    module = None if generator is None else own_network(generator, what="generator")
    try:
        built = build_model(config, module=module)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    fill(built, tensors, lead=f"{path} does not fit what was given:")
    return built


@checks_arguments
def model_config(model: str | os.PathLike[str]) -> Config:
    """The configuration of the model behind a zoo name, a run folder or a path; its weights are not read.

    Raises:
        CheckpointError: if the file is damaged, is not a model file, or its configuration does not validate.
        InputError: if there is no such model.
    """
    return _config_in(find_model(model))


def _config_in(path: Path) -> Config:
    record = configuration_in(model_info(path))
    kind = record.get("kind")
    if not isinstance(kind, str):
        raise CheckpointError(f"{path} cannot be built: its header names no kind of model, it is damaged.")
    try:
        return parse_config(config_class(kind), record, source="its configuration")
    except DisentangleError as error:
        raise CheckpointError(f"{path} cannot be built: {error}") from error


@checks_arguments
def model_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a model file: ``format``, ``version``, ``kind``, the configuration's fields, ``provenance``.

    Raises:
        CheckpointError: if the file is missing, damaged or no model file of the toolkit.
    """
    return network_header(path, kind=MODEL_FILE)


@checks_arguments
def find_model(model: str | os.PathLike[str]) -> Path:
    """The model file behind a zoo name, a run folder, a checkpoint folder or a path.

    Of a run folder it is that of the checkpoint that counts, see :mod:`disentangle.io.run_checkpoints`.

    Raises:
        InputError: if nothing of that name exists; the nearest zoo names are suggested.
        CheckpointError: if a folder holds no whole model, or a zoo file's content does not have the registered sha256.
    """
    path = Path(model)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # a name that no file system takes
        is_file = is_folder = False
    if is_file:
        return path
    if is_folder:
        checkpoint = newest_checkpoint(path, files=(MODEL,))
        folder = path if checkpoint is None else checkpoint.folder
        file = folder / MODEL
        if file.is_file():
            problem = damage(folder, (MODEL,))
            if problem is not None:
                raise CheckpointError(f"{folder} is damaged: {problem}; give another checkpoint.")
        else:
            raise CheckpointError(
                f"{model} holds no model: {file} is missing; expected a run folder with a finished checkpoint, a "
                "checkpoint folder, or a .safetensors file."
            )
        return file
    names = [*(entry.name for entry in zoo_entries()), *(entry.name for entry in published_entries())]
    if str(model) not in names:
        raise unknown_name("model", str(model), names, hint="Or give a run folder or a .safetensors file.")
    entry = zoo_entry(str(model))
    if isinstance(entry, PublishedEntry):
        return fetched(entry)
    if sha256_of(entry.path) != entry.sha256:
        raise CheckpointError(
            f"The bundled file of {entry.name!r} is damaged: its sha256 differs from the registry's; "
            "reinstall disentangle-toolkit."
        )
    return entry.path


@checks_arguments
def save_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a training state, tensors and plain containers only, atomically."""
    write_state(path, state)


@checks_arguments
def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a training state.

    Raises:
        CheckpointError: if it is missing, damaged, or holds anything but tensors and plain containers.
    """
    return read_state(path)
