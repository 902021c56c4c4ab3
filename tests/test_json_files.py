"""JSON of unknown origin: a value, or one sentence of the class that was asked for."""

from __future__ import annotations

import os
import threading

import pytest

from disentangle import json_files
from disentangle.errors import ConfigError, InputError
from disentangle.json_files import parse_json, read_json


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\xfa",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        b"[1,]",
        b"\x00",
        b'"\xff"',
        b"{'a': 1}",
    ],
    ids=["empty", "open", "bytes", "lists", "objects", "digits", "comma", "zero", "latin", "quotes"],
)
def test_damaged_json_is_one_sentence(tmp_path, content):
    file = tmp_path / "scores.json"
    file.write_bytes(content)
    for error in (InputError, ConfigError):
        with pytest.raises(error, match="is not valid JSON"):
            read_json(file, what="scores", error=error)
        with pytest.raises(error, match="the header is not valid JSON"):
            parse_json(content, source="the header", error=error)


def test_what_is_read(tmp_path):
    file = tmp_path / "c.json"
    file.write_text('{"a": [1, 2.5, null, "é"]}', encoding="utf-8")
    assert read_json(file, what="a configuration") == {"a": [1, 2.5, None, "é"]}
    file.write_bytes(b"\xef\xbb\xbf{}")  # Windows' editors put a mark in front
    assert read_json(file, what="a configuration") == {}
    assert parse_json("3", source="it") == 3


def test_missing_forbidden_and_folders(tmp_path):
    with pytest.raises(InputError, match="does not exist; expected scores"):
        read_json(tmp_path / "none.json", what="scores")
    with pytest.raises(InputError, match="cannot be read .*expected scores"):
        read_json(tmp_path, what="scores")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "file" / "x.json", what="scores")
    with pytest.raises(InputError, match="cannot be read"):
        read_json("a\0b", what="scores")


def test_a_large_file_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "_LARGEST", 100)
    (tmp_path / "x.json").write_bytes(b" " * 101)
    with pytest.raises(InputError, match="more than 100 bytes"):
        read_json(tmp_path / "x.json", what="scores")
    (tmp_path / "x.json").write_bytes(b" " * 99 + b"1")
    assert read_json(tmp_path / "x.json", what="scores") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_of_the_shell_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b"[1]"))
    writer.start()
    assert read_json(tmp_path / "pipe", what="a configuration") == [1]
    writer.join()
