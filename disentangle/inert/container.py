"""What kind of file something is, by its first bytes and never by its name."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from disentangle.errors import CheckpointError, reason

__all__ = ["is_legacy", "sniff"]

# torch's older format starts with a pickled long, the magic number; from protocol 4 on pickles have frames
_LEGACY = re.compile(
    rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0a" + re.escape(bytes.fromhex("6cfc9c46f9206aa85019")), re.DOTALL
)

_HELP = "give the checkpoint file itself"
_OTHERS = (  # first bytes, what it is, what to do
    (b"version https://git-lfs", "a git-lfs pointer, not the file it points to", "fetch it with `git lfs pull`"),
    (b"\x89PNG", "a PNG picture", _HELP),
    (b"\xff\xd8\xff", "a JPEG picture", _HELP),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
    (b"\x89HDF", "an HDF5 file", "Keras files are not read; save the weights with torch or as safetensors"),
    (b"\x93NUMPY", "a numpy array", _HELP),
    (b"\x08\x07\x12", "an ONNX graph", "convert the checkpoint it was exported from"),
    (b"%PDF", "a PDF document", _HELP),
    (b"GIF8", "a GIF picture", _HELP),
    (b"RIFF", "a media file", _HELP),
    (b"\x7fELF", "a program", _HELP),
)


def is_legacy(head: bytes) -> bool:
    """Whether these are the first bytes of one of torch's older files."""
    return _LEGACY.match(head) is not None


def sniff(path: str | os.PathLike[str]) -> str:
    """``"torch-zip"``, ``"torch-legacy"``, ``"pickle"``, ``"safetensors"`` or ``"directory"``.

    Raises:
        CheckpointError: if it is missing, empty, or anything else; the message says what it looks like.
    """
    path = Path(path)
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return "directory"
        if not stat.S_ISREG(found.st_mode):  # opening a FIFO would wait for somebody to write to it
            raise CheckpointError(f"{path} is a device, FIFO or socket; expected a checkpoint file or folder.")
        size = found.st_size
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; expected a checkpoint file or folder.") from None
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:  # a name with a zero in it is a ValueError
        raise CheckpointError(f"{path} cannot be read ({reason(error)}); expected a checkpoint file.") from None
    if not size:
        raise CheckpointError(f"{path} is empty; the download may have failed, get it anew.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script")):
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint; the download was redirected or needs a confirmation, get it anew."
        )
    if head.startswith(b"PK\x03\x04"):
        return "torch-zip"
    if is_legacy(head):
        return "torch-legacy"
    for start, what, action in _OTHERS:
        if head.startswith(start):
            raise CheckpointError(f"{path} is {what}; {action}.")
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if not head.strip(b"\0"):
        raise CheckpointError(f"{path} starts with zeros only; the download was broken off, get it anew.")
    if head[257:262] == b"ustar":
        raise CheckpointError(f"{path} is a tar archive, or a file of torch before 0.4; unpack it, or save it anew.")
    if head[:1] == b"\x80" and len(head) > 1 and 2 <= head[1] <= 5:
        return "pickle"
    if head[:1] in b"(]}c)" and _is_old_pickle(path, size):
        return "pickle"
    looks = "text" if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head) else "data of an unknown format"
    raise CheckpointError(
        f"{path} is {looks}, not a checkpoint; expected a pickle, a torch file, safetensors, or a folder of pythae or "
        "diffusers."
    )


def _is_old_pickle(path: Path, size: int) -> bool:
    """Protocols 0 and 1 have no mark at their start; all pickles end with a dot."""
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"."
