"""Files of named tensors: safetensors, with a JSON header where the file is one of the toolkit's own.

Every file of the toolkit that holds tensors (models, discriminators, directions, latents) is one ``.safetensors`` whose
metadata say under the key "disentangle" what it is: ``{"format": ..., "version": ..., ...}``. Here is the one place
where such files are written and read, where versions are compared, and where what can go wrong becomes a sentence.
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
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from disentangle.errors import CheckpointError, DisentangleError, reason
from disentangle.files import write_atomically
from disentangle.json_files import parse_json
from disentangle.text import shown

__all__ = ["FileKind", "read_header", "read_tensors", "reading", "tensor_shapes", "write_tensors"]

PathLike = str | os.PathLike[str]

_KEY = "disentangle"  # in the safetensors metadata
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
        OutputError: if the file cannot be written.
    """
    metadata = {"format": "pt"}
    if kind is not None:
        record = {"format": kind.format, "version": kind.version, **(header or {})}
        metadata[_KEY] = json.dumps(record, allow_nan=False)
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


@contextmanager
def reading(path: PathLike, what: str) -> Iterator[None]:
    """Turns whatever a library, or the system, makes of a damaged file into a :class:`CheckpointError`.

    Only calls that read the file belong into the block: an error of the toolkit's own would be taken for the file's.

    Args:
        path: the file.
        what: was expected, with its article.
    """
    try:
        yield
    except DisentangleError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable file ({reason(error)}); expected {what}.") from None


def check_regular(path: PathLike, what: str) -> None:
    """Whether there is an ordinary file, which can be opened without waiting for anybody.

    Raises:
        CheckpointError: if it is missing, a folder, a device or a FIFO.
    """
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
def _opened(path: PathLike, what: str) -> Iterator[Any]:
    expected = f"{what}, a safetensors file"
    check_regular(path, expected)
    try:
        opened = safe_open(path, framework="pt")
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({reason(error)}); expected {what}."
        ) from None
    with opened as file, reading(path, expected):
        yield file


def read_tensors(path: PathLike, *, what: str = "named tensors") -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    with _opened(path, what) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def tensor_shapes(path: PathLike, *, what: str = "named tensors") -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a safetensors file by name; no tensor is read.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    with _opened(path, what) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


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
