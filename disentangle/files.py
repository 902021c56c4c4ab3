"""Writing files so that a reader, a crash or a full disk never meets half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from disentangle.errors import InputError, OutputError, reason
from disentangle.text import escaped

__all__ = [
    "cache_folder",
    "check_destination",
    "check_folder",
    "failure_of",
    "is_leftover",
    "open_regular",
    "sha256_of",
    "sync_folder",
    "write_atomically",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
]

PathLike = str | os.PathLike[str]
_NOTHING = 1 << 16  # free bytes below which a disk is taken for full, where a writer only says that it failed


def write_atomically(path: PathLike, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path beside ``path``, flush it to the disk, then rename it over ``path``.

    If anything raises, the temporary file is removed and an existing ``path`` stays as it was. The temporary name
    cannot be foretold, and the file is made under it before ``write`` is called, so that no link that lies there is
    followed. Of an existing file the permissions are kept; a new one has those that the umask gives. A link is kept:
    what it points to is replaced.

    Raises:
        OutputError: if the disk or its permissions do not allow it, or ``path`` is a folder, a device or a FIFO.
    """
    given, path = Path(path), _resolved(Path(path))
    with writing(given):
        mode = _check_kind(given, path)
        _nearest(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Some writers take no name that is not UTF-8, so that the temporary one is plain whatever ``path`` is.
        plain = "".join(char if char.isascii() and char.isprintable() else "_" for char in path.name[:40])
        temporary = path.with_name(f".{plain}.{secrets.token_hex(8)}.part")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o666))
        try:
            created = stat.S_IMODE(temporary.stat().st_mode)
            if mode is not None:  # before anything private is in it
                os.chmod(temporary, mode)
            write(temporary)
            # Some writers replace the file by one of their own, with permissions of their own.
            os.chmod(temporary, created if mode is None else mode)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: PathLike, record: Any) -> None:
    """Write indented JSON atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def check_destination(path: PathLike, *, inputs: tuple[PathLike, ...] = ()) -> None:
    """Whether a file can be written to ``path``, before the work whose result it is to hold; nothing is left there.

    Args:
        path: a file that is to be made or replaced.
        inputs: files that were given and must not be written over.

    Raises:
        OutputError: if it is one of ``inputs``, a folder, a device, or lies where nothing can be written.
    """
    given, path = Path(path), _resolved(Path(path))
    for source in inputs:
        if _same(path, Path(source)):
            raise OutputError(f"{given} is one of the files that were given; choose another name for what is written.")
    with writing(given):
        _check_kind(given, path)
        _check_writable(path.parent)


def check_folder(path: PathLike) -> None:
    """Whether files can be written into the folder ``path``, which is made if it is missing.

    Raises:
        OutputError: if it is a file, or lies where nothing can be written.
    """
    with writing(path):
        _check_writable(_resolved(Path(path)))


def _check_writable(folder: Path) -> None:
    """Whether a small file can be made in a folder, or where it will be: permissions alone do not tell."""
    probe = _nearest(folder) / f".{secrets.token_hex(8)}.part"
    handle = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.write(handle, bytes(512))
    finally:
        os.close(handle)
        probe.unlink(missing_ok=True)


def _nearest(folder: Path) -> Path:
    """A folder, or what there is of the way to it."""
    nearest = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{nearest} is no folder")
    return nearest


@contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """Turns what the operating system and the libraries that write files raise into an :class:`OutputError`."""
    try:
        yield
    except OutputError:
        raise
    except (OSError, UnicodeEncodeError) as error:  # the latter of a name that this file system has no bytes for
        raise _failed(path, error) from error
    except Exception as error:
        if not _is_of_a_writer(error):
            raise
        raise _failed(path, error) from error


def _failed(path: PathLike, error: BaseException) -> OutputError:
    number = getattr(error, "errno", None)
    why = reason(error)
    # safetensors and torch report the system's errors as texts of their own, Pillow and numpy by numbers of theirs
    if number is None and ("os error 28" in str(error) or "No space left" in str(error) or _free(path) < _NOTHING):
        number = errno.ENOSPC
    if number == errno.ENOSPC:
        why = os.strerror(errno.ENOSPC)
    elif number is None and "unexpected pos" in str(error):
        why = "the file was not written to its end"
    advice = {
        errno.ENOSPC: "make room, or choose another place",
        errno.EDQUOT: "make room, or choose another place",
        errno.EISDIR: "give the name of a file",
    }.get(number or 0, "choose another place")
    failed = OutputError(f"{path} cannot be written ({why}); {advice}. Nothing that was there is lost.")
    failed.errno, failed.strerror, failed.filename = number, why, os.fspath(path)
    return failed


def failure_of(error: OSError) -> tuple[str, str]:
    """What could not be written and why, and the beginning of what to do, for the sentence of a longer work."""
    name = escaped(os.fsdecode(error.filename), most=400) if isinstance(error.filename, (str, bytes)) else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = reason(error) if full or not name else f"{name}: {reason(error)}"
    return why, "Make room" if full else "Mend that"


def _is_of_a_writer(error: BaseException) -> bool:
    """Whether safetensors or torch's writer of zip files failed: both speak of the disk only."""
    kind = type(error)
    return (kind.__module__.startswith("safetensors") or kind.__name__ == "SafetensorError") or (
        isinstance(error, RuntimeError) and ("inline_container" in str(error) or "PytorchStreamWriter" in str(error))
    )


def _free(path: PathLike) -> float:
    """Bytes free where a file was to be written; infinite where that is not known."""
    try:
        return shutil.disk_usage(next(folder for folder in Path(path).absolute().parents if folder.is_dir())).free
    except (OSError, StopIteration, ValueError):
        return float("inf")


def _resolved(path: Path) -> Path:
    """Where a link leads to, be there something or not; other paths as they are."""
    if "\0" in str(path):
        raise OutputError(f"{path} is no name of a file: it holds a zero byte; choose another name.")
    try:
        return Path(os.path.realpath(path)) if path.is_symlink() else path
    except OSError:
        return path


def _check_kind(given: Path, path: Path) -> int | None:
    """The permissions of an existing regular file, None where there is nothing yet."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        kind = "a link that leads in a circle" if stat.S_ISLNK(found.st_mode) else "a device, FIFO or socket"
        raise OutputError(f"{given} is {kind}, which is not replaced; expected the name of a file.")
    if not os.access(path, os.W_OK):  # a rename asks the folder only
        raise PermissionError(errno.EACCES, "it is there and is read-only")
    return stat.S_IMODE(found.st_mode)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)


def sync_folder(folder: PathLike) -> None:
    """Flush a folder's entries to the disk: without it a power cut may undo a rename."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some file systems cannot
            raise
    finally:
        os.close(handle)


# ".NAME.<16 hex digits>.part"; older versions had ".NAME.<process id>.part", and of a checkpoint ".NUMBER.part".
_LEFTOVER = re.compile(r"\.(.+\.([0-9a-f]{16}|[0-9]{1,10})|[0-9]{6,18})\.part", re.ASCII)


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is what a killed process left of a file it was writing.

    Only names that the toolkit makes: another program's ".film.part" is not meant.

    >>> [is_leftover(name) for name in (".latest.0123456789abcdef.part", ".config.json.4711.part", ".film.part")]
    [True, True, False]
    """
    return _LEFTOVER.fullmatch(name) is not None


def open_regular(path: PathLike) -> BinaryIO:
    """A regular file (or a link to one), opened for reading bytes.

    A FIFO would be waited for without end, a device read without end, and a name says nothing of either.

    Raises:
        OSError: if it is a folder, a device, a FIFO or a socket, or the system does not allow it.
    """
    _check_regular(os.stat(path))
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(os.fstat(handle))  # what was opened, should the name have changed hands
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a device, FIFO or socket, not a file")


def cache_folder(kind: str) -> Path:
    """Where what was fetched is kept: ``~/.cache/disentangle/KIND``, or below ``XDG_CACHE_HOME``; it need not exist.

    Raises:
        InputError: if there is no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "disentangle" / kind
    except RuntimeError as error:
        raise InputError(f"There is no home folder to keep {kind} in ({reason(error)}); set HOME.") from None


def sha256_of(path: PathLike) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
