"""The picture files of a folder or a .zip archive: one list of suffixes, one rule for what is passed over.

A listing is whole or there is none: a folder that may not be read ends in an error, never in a smaller set.
"""

from __future__ import annotations

import os
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

from disentangle.archives import ArchiveError, open_zip, unpack
from disentangle.errors import DataError, DisentangleError, reason
from disentangle.files import open_regular
from disentangle.images.decoding import PictureError
from disentangle.images.per_process import PerProcess

__all__ = ["LARGEST", "SUFFIXES", "FolderShelf", "ZipShelf", "open_shelf", "read_picture_file"]

PathLike = str | os.PathLike[str]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

LARGEST = 1 << 30  # bytes of a picture file
_UNPACKED = 8 << 20  # bytes that a part of an archive may unpack to, and eight for each of its packed ones
_EACH = 8
_LARGEST_NOTE = 64 << 20


def read_picture_file(path: PathLike) -> bytes:
    """The bytes of a picture file, which is a regular file of at most 1 GiB.

    Raises:
        OSError: if it cannot be read.
        PictureError: if it is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise PictureError(f"it has {size:,} bytes; the limit is {LARGEST:,}")
        return file.read(LARGEST)


class FolderShelf:
    """The picture files under a folder, sorted by path.

    Attributes:
        paths: relative, with forward slashes.

    Raises:
        OSError: if a folder in it may not be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = sorted(_walk(root))

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, position: int) -> str:
        """What to call a picture in a message."""
        return str(self.root / self.paths[position])

    def read(self, position: int) -> bytes:
        """The bytes of a picture file; OSError or PictureError if they cannot be had."""
        return read_picture_file(self.root / self.paths[position])

    def beside(self, name: str) -> tuple[bytes, list[str]] | None:
        """A file that lies beside the pictures, and the pictures' paths as seen from it; None without it."""
        path = self.root / name
        if not path.is_file():
            return None
        with open_regular(path) as file:
            return file.read(_LARGEST_NOTE), self.paths


class ZipShelf:
    """The picture files in an archive, sorted by path. It is read in place, never unpacked to the disk.

    Attributes:
        paths: without a folder around everything.

    Raises:
        ArchiveError: if its table of contents cannot be read whole.
    """

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self._zip = PerProcess(partial(open_zip, archive))
        infos = self._zip().infolist()
        if sum(info.compress_size for info in infos) > archive.stat().st_size:
            raise ArchiveError("its parts overlap; it is damaged, or made to unpack without end")
        self._members = sorted({info.filename for info in infos if _is_picture(PurePosixPath(info.filename))})
        self._around = [""]  # folders around everything, each within the one before
        self.paths = list(self._members)
        while self.paths and all("/" in path for path in self.paths):
            first = {path.split("/", 1)[0] for path in self.paths}
            if len(first) > 1:
                break
            self._around.append(f"{self._around[-1]}{first.pop()}/")
            self.paths = [path.split("/", 1)[1] for path in self.paths]

    def __len__(self) -> int:
        return len(self._members)

    def name(self, position: int) -> str:
        """What to call a picture in a message."""
        return f"{self.archive}:{self._members[position]}"

    def read(self, position: int) -> bytes:
        """The bytes of a picture file; OSError or ArchiveError if they cannot be had."""
        archive = self._zip()
        info = archive.getinfo(self._members[position])
        return bytes(unpack(archive, info, most=min(LARGEST, _UNPACKED + _EACH * info.compress_size)))

    def beside(self, name: str) -> tuple[bytes, list[str]] | None:
        """A file that lies beside the pictures, and the pictures' paths as seen from it; None without it."""
        archive = self._zip()
        for folder in self._around:
            try:
                info = archive.getinfo(folder + name)
            except KeyError:
                continue
            return bytes(unpack(archive, info, most=_LARGEST_NOTE)), [path[len(folder) :] for path in self._members]
        return None


def open_shelf(path: PathLike, *, error: type[DisentangleError] = DataError) -> FolderShelf | ZipShelf:
    """The pictures of a folder or a .zip archive.

    Args:
        path: of the folder or archive.
        error: the class of what is raised.

    Raises:
        DisentangleError: of the class ``error``, where there are no pictures, or not all of them can be listed.
    """
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            shelf: FolderShelf | ZipShelf = FolderShelf(path)
        elif path.is_file() and zipfile.is_zipfile(path):
            shelf = ZipShelf(path)
        elif path.exists():
            raise error(
                f"{path} is neither a folder nor a readable .zip archive; expected one of the two, with pictures."
            )
        else:
            raise error(f"There is no folder or .zip archive {path}; expected one with pictures.")
    except ArchiveError as problem:
        raise error(f"{path} cannot be read as a .zip archive ({problem}); make or fetch it again.") from None
    except (OSError, RuntimeError) as problem:  # RuntimeError: no home folder of that name
        if isinstance(problem, DisentangleError):
            raise
        place = getattr(problem, "filename", None) or path
        raise error(
            f"{place} cannot be read ({reason(problem)}), so its pictures would be missing; allow reading it, or move "
            "it out of the folder."
        ) from None
    if not len(shelf):
        wanted = f"{', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]}"
        raise error(f"{path} holds no images (looked for {wanted}); give a folder or .zip archive of pictures.")
    return shelf


def _walk(root: Path) -> list[str]:
    """Picture files under a folder, relative, with forward slashes; linked folders are followed, but not in circles."""
    found, seen = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not _is_passed_over(name)]
        relative = PurePosixPath(Path(folder).relative_to(root).as_posix())
        found += [str(relative / name) for name in files if _is_picture(relative / name)]
    return found


def _refuse(error: OSError) -> None:
    raise error


def _is_picture(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES and not any(map(_is_passed_over, path.parts))


def _is_passed_over(name: str) -> bool:
    """Hidden files and folders, and what macOS puts into archives."""
    return (name.startswith(".") and name != "..") or name == "__MACOSX"
