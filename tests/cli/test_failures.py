"""What the command line says when something fails: a sentence for the user's, a traceback for ours."""

from __future__ import annotations

import concurrent.futures.process
import os
import subprocess
import sys

import click
import numpy as np
import pytest

from disentangle._version import __version__
from disentangle.cli import main
from disentangle.cli.failures import wants_tracebacks
from disentangle.errors import CheckpointError, InputError, OutputError


@pytest.fixture
def failing(monkeypatch, capsys):
    """Runs a command that raises; returns its exit status and what it says on standard error."""
    from disentangle.cli import doctor

    def call(error: BaseException, *options: str) -> tuple[int, str]:
        def callback(as_json: bool) -> None:
            raise error

        monkeypatch.setattr(doctor.command, "callback", callback)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*options, "doctor"])
        output, errors = capsys.readouterr()
        assert output == ""
        return int(ended.value.code or 0), errors

    return call


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("steps is 0; expected 1 or more."), "steps is 0; expected 1 or more."),
        (CheckpointError("\x1b[2J\nError: all is well"), r"\x1b[2J\nError: all is well"),
        (OutputError("a.png cannot be written."), "a.png cannot be written."),
        (PermissionError(13, "Permission denied", "a\x1b"), r"a\x1b cannot be read or written (Permission denied)."),
        (FileNotFoundError(2, "No such file or directory", b"\xff.npy"), r"\udcff.npy cannot be"),
        (OSError(28, "No space left on device"), "could not be read or written (No space left on device); -vv"),
        (TimeoutError("timed out"), "connection could not be read or written (timed out)"),
        (MemoryError(), "There is not enough memory"),
        (np._core._exceptions._ArrayMemoryError((10**14,), np.dtype("f8")), "Unable to allocate 728. TiB"),
        (RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes. E"),
         "not enough memory for this (4,000 bytes were asked for)"),
        (RuntimeError("CUDA out of memory. Tried"), "There is not enough memory"),
        (RecursionError("maximum"), "nested too deep"),
        (concurrent.futures.process.BrokenProcessPool("A process"), "for want of memory; try again with --jobs 1"),
        (ModuleNotFoundError("No module named 'lmdb'", name="lmdb"), "The package lmdb cannot be imported"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_failures_that_are_none_of_ours_are_one_sentence(failing, error, sentence):
    status, errors = failing(error)
    assert status == 1
    assert errors.startswith("Error: ")
    assert sentence in errors
    assert errors.count("\n") == 1
    status, errors = failing(error, "-vv")
    assert status == 1
    assert errors.startswith("Traceback")
    assert sentence in errors.splitlines()[-1]
    assert "\x1b" not in errors


@pytest.mark.parametrize(
    "error", [KeyError("kind"), ValueError("\x1b]0;x\x07"), AssertionError(), EOFError("cut short")]
)
def test_a_bug_of_ours_has_a_traceback_and_says_so(failing, error):
    status, errors = failing(error)
    assert status == 1
    assert errors.lstrip().startswith("Traceback")
    assert errors.splitlines()[-1] == (
        f"This is a bug in disentangle {__version__}: please report it, with the command line and the traceback above."
    )
    assert all(line.isprintable() for line in errors.split("\n"))


def test_wrong_usage(failing, capsys):
    assert failing(click.UsageError("give\x1b[2J one"))[0] == 2
    for arguments, message in (
        (["doctor", "--n\x1b[2Jo"], r"\x1b[2J"),
        (["doct\nor"], r"doct\nor"),
        (["train", "vae", "--mode", "\x1b"], r"\x1b"),
        (["--seed", "-1", "doctor"], "--seed"),
        (["--seed", "9" * 5000, "doctor"], "--seed"),
        (["sample", "m", "--seeds", "0-9999999", "--out", "a.png"], "expected at most 10,000"),
        (["sample", "m", "--seeds", "9" * 4000, "--out", "a.png"], "too large"),
        (["evaluate", "m", "--jobs", "100000"], "--jobs"),
        ([], "Usage: disentangle"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        errors = capsys.readouterr().err
        assert message in errors
        assert len(errors) < 5000
        assert all(line.isprintable() for line in errors.split("\n"))


def test_help_and_version_end_well(capsys):
    for arguments in (["--help"], ["--version"], ["train", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
        assert "disentangle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["-vv", "x"], True), (["-v", "-v", "x"], True), (["-qvv"], True), (["--verbose", "-v"], True),
        (["-v"], False), (["x"], False), (["-"], False), ([""], False), (["--verbose"], False),
    ],
)  # fmt: skip
def test_spellings_of_verbosity(arguments, wanted):
    assert wants_tracebacks(arguments) == wanted


# ------------------------------------------------------------------------------------------------ a true process


def command(arguments: str, *, redirect: str) -> subprocess.CompletedProcess[str]:
    line = f"{sys.executable} -m disentangle {arguments} {redirect}"
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, errors="replace")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("redirect", "status", "message"),
    [
        (">/dev/full", 1, "Error: Standard output cannot be written (No space left on device).\n"),
        (">&-", 1, "Error: Standard output cannot be written (Bad file descriptor).\n"),
        ("| true", 1, ""),
        (">/dev/null", 0, ""),
        (">/dev/null <&-", 0, ""),
        (">/dev/null 2>&-", 0, ""),
    ],
)
@pytest.mark.parametrize("arguments", ["data list", "--help"])
def test_standard_output_that_cannot_be_written(arguments, redirect, status, message):
    ended = command(arguments, redirect=redirect)
    assert ended.stderr == message
    if redirect != "| true":  # which may have left before or after
        assert ended.returncode == status


def test_characters_that_the_terminal_has_not(tmp_path):
    (tmp_path / "ż.json").write_text("{")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    arguments = [sys.executable, "-m", "disentangle", "compare", str(tmp_path / "ż.json"), "b.json"]
    ended = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert ended.returncode == 1
    assert r"\u017c.json is not valid JSON" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.faults
def test_a_worker_that_is_killed(tmp_path):
    """As the system does when memory runs out."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "y.npy", rng.integers(0, 4, (2000, 4)))
    np.save(tmp_path / "z.npy", rng.normal(size=(2000, 5)))
    (tmp_path / "kill.py").write_text(
        "import os, signal, sys\n"
        "import sklearn.ensemble._gb as gb\n"
        "import disentangle.evaluations.disentanglement.dci_estimators as e\n"
        "from disentangle.cli import main\n"
        "import disentangle.evaluations.disentanglement.dci as dci\n"
        "import joblib\n"
        "original = joblib.Parallel.__call__\n"
        "def call(self, tasks):\n"
        "    return original(self, [(os.kill, (os.getpid(), 0), {}), (os.abort, (), {}), (os.abort, (), {})])\n"
        "joblib.Parallel.__call__ = call\n"
        "main(['evaluate', '--codes', 'z.npy', '--factors', 'y.npy', '--metrics', 'dci', '--jobs', '2'])\n"
    )
    ended = subprocess.run([sys.executable, "kill.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "worker processes was killed before it was done" in ended.stderr
    assert "Traceback" not in ended.stderr
