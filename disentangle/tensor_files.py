"""Files of tensors: safetensors, with a JSON header where the file is one of the toolkit's own; states; plain weights.

Every file of the toolkit that holds tensors (models, discriminators, directions, latents) is one ``.safetensors`` whose
metadata say under the key "disentangle" what it is: ``{"format": ..., "version": ..., ...}``. Training states are
torch's files of tensors and plain containers, and so are most weights of others; nothing in them is unpickled. Here is
the one place where such files are written and read, where versions are compared, and where what can go wrong becomes a
sentence.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from disentangle.errors import CheckpointError, DisentangleError, InputError, reason
from disentangle.files import write_atomically
from disentangle.inert import Limits, read_plain, sniff
from disentangle.json_files import parse_json
from disentangle.text import shown

__all__ = [
    "FLOATS",
    "FileKind",
    "is_own",
    "read_header",
    "read_state",
    "read_tensors",
    "read_weights",
    "tensor_shapes",
    "without_wrappers",
    "write_state",
    "write_tensors",
]

PathLike = str | os.PathLike[str]
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of numbers that can be computed with."""

_KEY = "disentangle"  # in the safetensors metadata
_MOST_TENSORS = 100_000  # in a file; each takes more than a kilobyte, whatever it holds
_WRAPPERS = ("state_dict", "model", "model_state_dict")  # names under which training scripts keep the weights
_PREFIXES = ("module.", "_orig_mod.")  # of data parallelism and of torch.compile
_FORMATS = {  # of the toolkit's files, for messages about one in another's place
    "disentangle-model": "a model",
    "disentangle-discriminator": "a discriminator",
    "disentangle-directions": "directions",
    "disentangle-latent": "latents",
}


@dataclass(frozen=True)
class FileKind:
    """One kind of the toolkit's files.

    Attributes:
        format: its name in the header, as in "disentangle-model".
        what: with its article, for messages: "a model".
        writer: what writes such files, for messages.
        version: the newest that this release writes, and reads.
    """

    format: str
    what: str
    writer: str
    version: int = 1


# ---------------------------------------------------------------------------------------------------- writing


def write_tensors(
    path: PathLike,
    tensors: Mapping[str, Tensor],
    *,
    kind: FileKind | None = None,
    header: Mapping[str, Any] | None = None,
) -> None:
    """Write named tensors; an existing file is replaced at the end, atomically. Equal content gives equal bytes.

    Args:
        path: the file.
        tensors: of any layout, device and memory: what shares its memory with others is copied.
        kind: of the toolkit's files; None for tensors alone.
        header: plain JSON values beside the kind's format and version.

    Raises:
        InputError: if the header holds what JSON has not.
        OutputError: if the file cannot be written.
    """
    metadata = {"format": "pt"}
    if kind is not None:
        record = {"format": kind.format, "version": kind.version, **(header or {})}
        try:
            metadata[_KEY] = json.dumps(record, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"what is to be noted in {path} is no plain JSON ({reason(error)}); expected texts, finite numbers, "
                "lists and dictionaries."
            ) from None
    alone = _alone(tensors)

    def write(temporary: Path) -> None:
        save_file(alone, temporary, metadata)
        _sort_metadata(temporary)

    write_atomically(path, write)


def _alone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, on the CPU and each the only one in its memory, as the format wants it; copied only where not."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.nbytes() != tensor.nbytes or (tensor.nbytes and storage.data_ptr() in taken):
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        found[name] = tensor
    return found


def _sort_metadata(path: Path) -> None:
    """Put the metadata in the order of their names: the library writes them in another order each time."""
    with path.open("rb+") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        if len(text) <= length:  # always so, unless the library one day writes JSON in another way
            file.seek(8)
            file.write(text.ljust(length))


# ---------------------------------------------------------------------------------------------------- reading


def _check_regular(path: PathLike, what: str) -> None:
    """Whether there is an ordinary file, which can be opened without waiting for anybody."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} does not exist; expected {what}.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({reason(error)}); expected {what}.") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no ordinary file"
        raise CheckpointError(f"{path} is {kind}; expected {what}.")


@contextmanager
def _name_in_utf8(path: PathLike) -> Iterator[PathLike]:
    """The library opens no other names; a file that has one is reached by a link."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        with TemporaryDirectory() as folder:
            link = Path(folder) / "file.safetensors"
            link.symlink_to(os.path.abspath(path))
            yield link
    else:
        yield path


@contextmanager
def _opened(path: PathLike, what: str) -> Iterator[Any]:
    """The file, open; whatever the library or the system makes of a damaged one is a sentence.

    Only calls that read the file belong into the block: an error of the toolkit's own would be taken for the file's.
    """
    _check_regular(path, what)
    try:
        with _name_in_utf8(path) as named, safe_open(named, framework="pt") as file:
            yield file
    except DisentangleError:
        raise
    except Exception as error:
        why = f"is not a readable safetensors file ({reason(error)})"
        raise CheckpointError(f"{path} {why}; expected {what}.") from None


def read_tensors(path: PathLike, *, what: str = "named tensors") -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    with _opened(path, what) as file:
        return {name: file.get_tensor(name) for name in _names(file, path, what)}


def _names(file: Any, path: PathLike, what: str) -> list[str]:
    names = list(file.keys())
    if len(names) > _MOST_TENSORS:
        raise CheckpointError(f"{path} holds {len(names):,} tensors; expected {what}, {_MOST_TENSORS:,} at most.")
    return names


def tensor_shapes(path: PathLike, *, what: str = "named tensors") -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a safetensors file by name; no tensor is read.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    with _opened(path, what) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in _names(file, path, what)}


def is_own(path: PathLike) -> bool:
    """Whether a safetensors file is one of the toolkit's own, by its header.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    with _opened(path, "named tensors") as file:
        return _KEY in (file.metadata() or {})


def read_header(path: PathLike, *, kind: FileKind) -> dict[str, Any]:
    """The header of one of the toolkit's files: ``format``, ``version`` and what it was written with.

    Args:
        path: the file.
        kind: what it must be.

    Raises:
        CheckpointError: if the file is missing, damaged, of another kind, or of a later version.
    """
    expected = f"{kind.what} written by {kind.writer}"
    with _opened(path, expected) as file:
        text = (file.metadata() or {}).get(_KEY, "null")
    try:
        header = parse_json(text, source="its header", error=CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {str(error).rstrip('.')}; expected {expected}.") from None
    held = header.get("format") if isinstance(header, dict) else None
    if held != kind.format:
        other = _FORMATS.get(held) if isinstance(held, str) else None
        raise CheckpointError(f"{path} holds {other or f'tensors but no {kind.format} header'}; expected {expected}.")
    version = header.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= kind.version:
        raise CheckpointError(
            f"{path} has format version {shown(version)}; this toolkit reads version "
            f"{'1' if kind.version == 1 else f'1 to {kind.version}'}. Update disentangle-toolkit."
        )
    return dict(header)


# ---------------------------------------------------------------------------------------------------- states, weights


def write_state(path: PathLike, state: Mapping[str, Any]) -> None:
    """Write a training state, tensors and plain containers only, atomically.

    Raises:
        OutputError: if the file cannot be written.
    """
    write_atomically(path, lambda temporary: torch.save(dict(state), temporary))


def read_state(path: PathLike, *, limits: Limits = Limits()) -> dict[str, Any]:  # noqa: B008 (frozen)
    """A training state. Its stored checksums are compared: a flipped bit is an error.

    Args:
        path: the file.
        limits: what it may ask of the machine.

    Raises:
        CheckpointError: if it is missing, damaged, or holds anything but tensors and plain containers.
    """
    expected = "a training state, a file written by torch.save"
    _check_regular(path, expected)
    state = read_plain(path, limits=limits)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{path} holds {shown(type(state).__name__)}, not named parts; expected {expected}.")
    return state


def read_weights(path: PathLike, *, limits: Limits = Limits()) -> dict[str, Tensor]:  # noqa: B008 (frozen)
    """The tensors of a safetensors file, or of a file written by torch, by name; told by its content.

    Weights that lie under "state_dict", "model" or "model_state_dict" are taken from there; prefixes that data
    parallelism and ``torch.compile`` put before every name are cut off.

    Args:
        path: the file.
        limits: what a file of torch may ask of the machine.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds anything but named tensors.
    """
    expected = "a .safetensors file or a torch file of named tensors"
    path = Path(path).expanduser()
    _check_regular(path, expected)
    content: Any = read_tensors(path) if sniff(path) == "safetensors" else read_plain(path, limits=limits)
    while isinstance(content, Mapping):
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content or not all(isinstance(t, Tensor) for t in content.values()):
        held = ", ".join(shown(key, most=40) for key in list(content)[:5]) if isinstance(content, Mapping) else ""
        raise CheckpointError(
            f"{path} holds no plain set of weights (it holds: {held or shown(type(content).__name__)}); "
            f"expected {expected}."
        )
    weights = {without_wrappers(str(name)): tensor for name, tensor in content.items()}
    if len(weights) < len(content):
        raise CheckpointError(f"{path} holds two weights of the same name, with and without a prefix; expected one.")
    return weights


def without_wrappers(name: str) -> str:
    """The name of a tensor without what data parallelism and ``torch.compile`` put before it, in any order.

    >>> without_wrappers("module._orig_mod.conv1.weight")
    'conv1.weight'
    """
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name
