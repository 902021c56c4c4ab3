"""No code in a file ever runs, and no file breaks the reader."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile_files import files
from sample_files import samples

from disentangle.errors import CheckpointError
from disentangle.io import foreign

FILES = files()
WATCHED = ("pickle.find_class", "exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork",
           "subprocess.Popen", "marshal.loads", "ctypes.dlopen")  # fmt: skip

_seen: list[tuple[str, object]] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is None:
        return
    if event in WATCHED or event.startswith("socket."):
        _seen.append((event, arguments[:1]))
    elif event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = isinstance(mode, str) and set(mode) & set("wax+")
        if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            _seen.append((event, arguments[0]))


sys.addaudithook(_hook)  # for good: Python has no way to take one out


@contextmanager
def watched() -> Iterator[list[tuple[str, object]]]:
    global _seen
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


def refusal(reader: Callable[[Path], object], path: Path) -> str:
    """What a reader says of a file; empty if it reads it."""
    try:
        reader(path)
    except CheckpointError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported(tmp_path_factory):
    for name, content in samples().items():
        path = tmp_path_factory.mktemp("valid") / name
        path.write_bytes(content)
        foreign.read_inert(path)
        refusal(foreign.read, path)
    for codec in ("raw_unicode_escape", "unicode_escape", "cp437", "latin1", "ascii"):
        b"x".decode(codec)


def test_the_hook_sees_what_it_should(tmp_path):
    import pickle

    with watched() as seen:
        pickle.loads(b"cos\ngetcwd\n.")
        eval("1")
        (tmp_path / "x").write_text("")
    assert {event for event, _ in seen} >= {"pickle.find_class", "exec", "compile", "open"}


def test_there_are_many():
    assert len(FILES) >= 40


@pytest.mark.parametrize("name", sorted(FILES))
def test_hostile_files_are_refused_or_inert(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pkl"
    path.write_bytes(FILES[name])
    start = time.perf_counter()
    with watched() as seen:
        messages = [refusal(foreign.read_inert, path), refusal(foreign.read, path)]
    for message in messages:
        assert "file.pkl" in message or not message
        assert "\n" not in message
        assert len(message) < 500
    assert messages[1], "no hostile file makes a model"
    assert seen == []
    assert sorted(os.listdir(tmp_path)) == ["file.pkl"]
    assert time.perf_counter() - start < 60  # a hang, not a measurement


def _survives(content: bytes, path) -> None:
    path.write_bytes(content)
    with watched() as seen:
        message = refusal(foreign.read_inert, path)
    assert "\n" not in message
    assert path.name in message or not message
    assert seen == []


@pytest.mark.parametrize("name", sorted(samples()))
def test_files_that_were_cut_off(name, tmp_path):
    content = samples()[name]
    path = tmp_path / name
    for length in range(0, len(content), 10):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=name):
            foreign.read_inert(path)


def flips(count: int, seed: int, path) -> None:
    source = random.Random(seed)
    valid = sorted(samples().items())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in range(count):
        content = bytearray(valid[index % len(valid)][1])
        for _ in range(source.choice([1, 1, 1, 2, 8])):
            content[source.randrange(len(content))] = source.randrange(256)
        _survives(bytes(content), path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kilobytes: one GiB


def test_flipped_bytes(tmp_path):
    flips(300, 0, tmp_path / "flipped")


@pytest.mark.slow
def test_two_thousand_flipped_bytes(tmp_path):
    flips(2000, 1, tmp_path / "flipped")
