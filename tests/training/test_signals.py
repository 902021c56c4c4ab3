"""Signals stop a training between two steps; the command line ends as shells expect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from disentangle import cli
from disentangle.training import Interrupted, train_vae
from disentangle.training.session import Session
from disentangle.training.signals import StopSignals
from tests.training.test_training import vae


def exit_status(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Any:
    """How the command line ends if this comes out of a command, or of the import of its module."""

    def fail(name: str) -> Any:
        raise error

    monkeypatch.setattr(cli.importlib, "import_module", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor"])
    return caught.value.code


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stopped_training_ends_with_128_and_the_signal(number, status, monkeypatch, capsys):
    assert exit_status(monkeypatch, Interrupted("Stopped.", number)) == status
    assert "Error: Stopped." in capsys.readouterr().err


def test_ctrl_c_at_any_other_time_ends_with_130(monkeypatch, capsys):
    assert exit_status(monkeypatch, KeyboardInterrupt()) == 130
    assert "Aborted" not in capsys.readouterr().err


def test_the_message_of_a_terminal_that_is_gone(monkeypatch):
    def gone(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cli.click, "echo", gone)
    assert exit_status(monkeypatch, Interrupted("Stopped.", signal.SIGHUP)) == 129


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_is_noted_and_the_second_acts(number):
    calls: list[int] = []
    before = signal.signal(number, lambda received, frame: calls.append(received))
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), number)
            assert (signals.received, calls) == (number, [])
            os.kill(os.getpid(), number)
            assert (signals.received, calls) == (number, [number])
        os.kill(os.getpid(), number)
        assert calls == [number, number]
    finally:
        signal.signal(number, before)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_leave_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("step", [5, 6])
def test_a_signal_in_the_last_steps_loses_nothing(step, tmp_path):
    """In the last step the training is finished by the time it could stop; in the one before, it stops."""

    def send(done: int, *_: object) -> None:
        if done == step - 1:  # so that it arrives within ``step``
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    if step == 6:
        assert train_vae(vae(checkpoint_every=100), tmp_path, device="cpu", progress=send).steps == 6
    else:
        with pytest.raises(Interrupted, match="SIGTERM at step 5 of 6") as caught:
            train_vae(vae(checkpoint_every=100), tmp_path, device="cpu", progress=send)
        assert caught.value.exit_status == 143
    assert (tmp_path / "latest").read_text() == f"00000{step}\n"
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / ".lock").exists()


def test_a_signal_while_a_checkpoint_is_written_waits_for_it(tmp_path, monkeypatch):
    save = Session._checkpoint

    def interrupted(self: Session) -> None:
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        save(self)

    monkeypatch.setattr(Session, "_checkpoint", interrupted)
    with pytest.raises(Interrupted, match="SIGINT at step 4 of 6"):  # saved at 3; the signal is seen in the next step
        train_vae(vae(), tmp_path, device="cpu")
    assert (tmp_path / "latest").read_text() == "000004\n"


def test_a_second_ctrl_c_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    def impatient(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr("disentangle.io.runs.seal", impatient)
        with pytest.raises(KeyboardInterrupt):
            train_vae(vae(), tmp_path, device="cpu")
    assert not (tmp_path / "latest").exists()
    assert not list(tmp_path.rglob(".*"))
    assert train_vae(vae(), tmp_path, device="cpu").steps == 6


def test_handlers_are_given_back_when_a_step_raises(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    session = Session(vae(), tmp_path / "run", device="cpu")
    with pytest.raises(RuntimeError, match="a step"), session:  # noqa: PT012
        session.prepare({}, model=session, projections={}, treatment=None)  # type: ignore[arg-type]
        steps = session.steps()  # kept alive, as a traceback keeps it
        next(steps)
        assert signal.getsignal(signal.SIGINT) is not before
        raise RuntimeError("a step")
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_clock_that_stands_still(tmp_path, monkeypatch):
    monkeypatch.setattr("time.perf_counter", lambda: 1.0)
    rates: list[float] = []
    train_vae(vae(), tmp_path, device="cpu", progress=lambda step, steps, rate, losses: rates.append(rate))
    assert rates == [0.0] * 6


INTERRUPTED_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from disentangle.cli import main
main(["train", "vae", "--data", "sprites", "--resolution", "32", "--out", sys.argv[1]])
"""


def test_ctrl_c_while_torch_is_imported(tmp_path):
    command = [sys.executable, "-c", INTERRUPTED_IMPORT, str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr
