"""Writing: whole files or none, nothing written through a link, one sentence for whatever the disk does."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from disentangle import files
from disentangle.errors import OutputError
from disentangle.files import check_destination, check_folder, is_leftover, write_atomically, write_bytes, write_json
from tests.full_disk import full_disk

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_earlier_file_alone(tmp_path):
    target = tmp_path / "a.txt"
    target.write_bytes(b"before")

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, half)
    assert target.read_bytes() == b"before"
    assert names(tmp_path) == ["a.txt"]


def test_a_reader_sees_the_old_or_the_new_file(tmp_path):
    target = tmp_path / "deep" / "er" / "a.txt"
    write_bytes(target, b"one")
    write_atomically(target, lambda temporary: (temporary.write_bytes(b"two"), assert_old(target)))
    assert target.read_bytes() == b"two"
    assert names(target.parent) == ["a.txt"]


def assert_old(target: Path) -> None:
    assert target.read_bytes() == b"one"


def test_the_temporary_name_cannot_be_foretold_and_is_taken_by_nobody_else(tmp_path):
    seen = []

    def write(temporary: Path) -> None:
        seen.append(temporary.name)
        assert temporary.is_file()  # made before, so that no link can be planted
        temporary.write_bytes(b"x")

    for _ in range(20):
        write_atomically(tmp_path / "a.txt", write)
    assert len(set(seen)) == 20
    assert all(is_leftover(name) for name in seen)


def test_permissions_are_kept_and_otherwise_the_umask_s(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "new", b"x")
        save = lambda temporary: save_file({"a": torch.zeros(1)}, temporary)  # noqa: E731
        write_atomically(tmp_path / "new.safetensors", save)
        (tmp_path / "private").write_bytes(b"x")
        (tmp_path / "private").chmod(0o600)

        def look(temporary: Path) -> None:
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            temporary.write_bytes(b"y")

        write_atomically(tmp_path / "private", look)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new": 0o640, "new.safetensors": 0o640, "private": 0o600}


def test_links_are_kept_and_what_they_point_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"one")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "real")
    (tmp_path / "dangling").symlink_to("there/new")
    write_bytes(tmp_path / "link", b"two")
    write_bytes(tmp_path / "dangling", b"three")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "there" / "real").read_bytes() == b"two"
    assert (tmp_path / "there" / "new").read_bytes() == b"three"


def places(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Names that cannot be written, and what is said."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("not-there")
    found = {
        "folder": (tmp_path / "folder", "it is a folder"),
        "under a file": (tmp_path / "file" / "a.txt", "is no folder"),
        "circle": (tmp_path / "circle", "in a circle"),
        "device": (Path("/dev/null"), "a device"),
        "under a dangling link": (tmp_path / "nowhere" / "a.txt", "not-there|nowhere"),
        "zero byte": (tmp_path / "a\0b", "zero byte"),
        "long": (tmp_path / ("a" * 300), "too long"),
        "no name": (tmp_path / "\ud800", "surrogates not allowed"),
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        found["fifo"] = (tmp_path / "fifo", "a device, FIFO")
    if Path("/proc/self").exists():
        found["proc"] = (Path("/proc/self/a.txt"), "cannot be written")
    return found


def test_what_cannot_be_written_is_one_sentence_before_and_while_writing(tmp_path):
    for path, message in places(tmp_path).values():
        with pytest.raises(OutputError, match=message):
            write_bytes(path, b"x")
        with pytest.raises(OutputError, match=message):
            check_destination(path)
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert not [name for name in names(tmp_path) if is_leftover(name)]


def test_check_destination_makes_nothing(tmp_path):
    check_destination(tmp_path / "a" / "b" / "c.txt")
    check_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    (tmp_path / "a.txt").write_bytes(b"x")
    check_destination(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"x"


def test_check_folder(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("gone/deeper")
    for name in ("folder", "link", "new/deep", "dangling"):
        check_folder(tmp_path / name)
    for name in ("file", "file/x"):
        with pytest.raises(OutputError, match="is no folder"):
            check_folder(tmp_path / name)


def test_an_input_is_never_a_destination(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("photo.png")
    os.link(photo, tmp_path / "hard.png")
    for name in ("photo.png", "./photo.png", "link.png", "hard.png", tmp_path / "photo.png"):
        with pytest.raises(OutputError, match="one of the files that were given"):
            check_destination(name, inputs=(photo,))
    check_destination("other.png", inputs=(photo,))
    with pytest.raises(OutputError, match="one of the files"):
        check_destination("new.png", inputs=("./new.png",))  # not there yet


def test_a_name_that_is_no_utf8(tmp_path):
    for name in ("\udcff.safetensors", "żółw 距離.safetensors"):
        write_atomically(tmp_path / name, lambda temporary: save_file({"a": torch.zeros(1)}, temporary))
        assert (tmp_path / name).is_file()


def test_text_that_is_no_utf8(tmp_path):
    files.write_text(tmp_path / "a", "\udcff")
    assert (tmp_path / "a").read_bytes() == rb"\udcff"


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a", {"x": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_what_permissions_forbid():
    """As another user, for whom permission bits count."""
    with tempfile.TemporaryDirectory() as folder:
        _as_another(Path(folder))


def _as_another(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # pytest's own is closed to others
    (tmp_path / "closed").mkdir(mode=0o755)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "protected").write_bytes(b"kept")
    (tmp_path / "open" / "protected").chmod(0o444)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        said = []
        for path in (tmp_path / "closed" / "a", tmp_path / "closed" / "b" / "a", tmp_path / "open" / "protected"):
            for attempt in (lambda path=path: check_destination(path), lambda path=path: write_bytes(path, b"x")):
                try:
                    attempt()
                    said.append("written")
                except OutputError as error:
                    said.append(str(error))
        os.write(writer, "\n".join(said).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        said = pipe.read().splitlines()
    assert len(said) == 6
    assert all("cannot be written" in line for line in said), said
    assert "Permission denied" in said[0]
    assert "is read-only" in said[4]
    assert "is read-only" in said[5]
    assert (tmp_path / "open" / "protected").read_bytes() == b"kept"


# ------------------------------------------------------------------------------------------------- a full disk

WRITERS = {
    "bytes": lambda temporary: temporary.write_bytes(bytes(2 << 20)),
    "safetensors": lambda temporary: save_file({"a": torch.zeros(1 << 19)}, temporary),
    "torch": lambda temporary: torch.save({"a": torch.zeros(1 << 19)}, temporary),
    "numpy": lambda temporary: np.save(temporary.open("wb"), np.zeros(1 << 18)),
    "picture": lambda temporary: Image.effect_noise((1500, 1500), 90).save(temporary, format="png"),
}


@pytest.mark.faults
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path, writer):
    with full_disk(tmp_path / "disk", size="1m") as disk:
        (disk / "a").write_bytes(b"before")
        with pytest.raises(OutputError, match="No space left on device.*make room") as raised:
            write_atomically(disk / "a", WRITERS[writer])
        assert raised.value.errno == errno.ENOSPC
        assert names(disk) == ["a"]
        assert (disk / "a").read_bytes() == b"before"


@pytest.mark.faults
def test_a_read_only_disk(tmp_path):
    with full_disk(tmp_path / "disk", size="1m") as disk:
        (disk / "a").write_bytes(b"before")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for path in (disk / "a", disk / "b", disk / "c" / "d"):
            for attempt in (check_destination, lambda path: write_bytes(path, b"x")):
                with pytest.raises(OutputError, match="cannot be written"):
                    attempt(path)
        with pytest.raises(OutputError, match="Read-only"):
            check_folder(disk)
        assert (disk / "a").read_bytes() == b"before"


@pytest.mark.faults
def test_a_killed_writer_leaves_the_earlier_file_and_a_name_that_tells(tmp_path):
    (tmp_path / "a").write_bytes(b"before")
    script = (
        "import os, signal; from disentangle.files import write_atomically\n"
        "def write(t): t.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_atomically({str(tmp_path / 'a')!r}, write)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (tmp_path / "a").read_bytes() == b"before"
    (leftover,) = [name for name in names(tmp_path) if name != "a"]
    assert is_leftover(leftover)


def test_free_bytes_of_a_place_that_is_not_there():
    assert files._free("/nowhere/at/all") <= shutil.disk_usage("/").total
