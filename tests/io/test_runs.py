"""Run folders: which checkpoint counts, what is kept, whose folder it is, what the log survives."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import disentangle
from disentangle.config import with_fields
from disentangle.errors import CheckpointError, ConfigError, OutputError
from disentangle.io import RunFolder, find_model, lock_owner, run_lock
from disentangle.io.lock_owner import Owner, this_process
from disentangle.io.run_checkpoints import checkpoints, newest_checkpoint
from disentangle.io.run_lock import RunInUse, RunLock
from disentangle.io.runs import read_stats
from disentangle.models.base import build_model
from disentangle.training import preset_config

FIELDS = {"model.channels": (2, 2, 2), "model.hidden": 2, "model.latent_dim": 2}
CONFIG = preset_config("vae", data={"name": "sprites", "resolution": 32}, **FIELDS)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return build_model(CONFIG.model, seed=0)


def save(run: Path, model: torch.nn.Module, *steps: int, keep: int = 2) -> None:
    """A run with these checkpoints, as one training after the other leaves it."""
    folder = RunFolder(run, CONFIG, keep=keep)
    folder.open()
    folder.start("cpu")
    for step in steps:
        folder.save_checkpoint(step, model, {"step": step, "parts": {}}, provenance={"step": step})
    folder.close()


def names(run: Path) -> list[str]:
    return sorted((path.name for path in (run / "checkpoints").iterdir()), key=int)


def opened(run: Path, **fields: Any) -> int | None:
    """The step that a training would continue from."""
    folder = RunFolder(run, with_fields(CONFIG, fields), may_differ=CONFIG.may_differ)
    folder.open()
    try:
        state = folder.load_state()
        return None if state is None else state["step"]
    finally:
        folder.close()


# ------------------------------------------------------------------------------------------- by number, never by name


def test_beyond_a_million_steps_the_newest_are_kept(model, tmp_path):
    save(tmp_path, model, 999_980, 999_990, 1_000_000, 1_000_010)
    assert names(tmp_path) == ["1000000", "1000010"]
    assert opened(tmp_path) == 1_000_010
    assert find_model(tmp_path) == tmp_path / "checkpoints" / "1000010" / "model.safetensors"


def test_folders_that_are_no_checkpoints_are_left_alone(model, tmp_path):
    save(tmp_path, model, 10)
    for name in ("7", "0000009", "٣", "best", "000005.bak", "9" * 30):
        (tmp_path / "checkpoints" / name).mkdir()
    (tmp_path / "checkpoints" / "000020").write_text("a file")
    save(tmp_path, model, 30, 40)
    assert [checkpoint.step for checkpoint in checkpoints(tmp_path)] == [30, 40]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 9


LOST: dict[str, Any] = {
    "lost": None,
    "empty": b"",
    "blank": b" \n",
    "not UTF-8": b"\xff\xfe0\x00",
    "10 MB": b"0" * 10_000_000,
    "a path": b"../../x",
    "another name": b"best",
    "not there": b"000500\n",
    "digits of another script": "٢".encode(),
    "a folder": "folder",
    "a FIFO": "fifo",
}


@pytest.mark.parametrize("what", LOST)
def test_without_latest_the_newest_checkpoint_is_taken_and_said(what, model, tmp_path, caplog):
    save(tmp_path, model, 5, 999_999, 1_000_000)
    latest, content = tmp_path / "latest", LOST[what]
    latest.unlink()
    if content == "folder":
        latest.mkdir()
    elif content == "fifo":
        os.mkfifo(latest)
    elif content is not None:
        latest.write_bytes(content)
    assert opened(tmp_path) == 1_000_000
    assert re.search(r"latest .*; .*1000000 is taken instead", caplog.text)
    caplog.clear()
    assert find_model(tmp_path).parent.name == "1000000"
    assert len(caplog.text) < 1000
    assert "1000000 is taken instead" in caplog.text
    assert names(tmp_path) == ["999999", "1000000"]
    if content not in ("folder", "fifo"):
        save(tmp_path, model, 1_000_001)
        assert latest.read_text() == "1000001\n"


def test_an_older_checkpoint_named_by_hand_is_continued_and_nothing_newer_is_lost(model, tmp_path, caplog):
    save(tmp_path, model, 3, 6, 9, keep=0)
    (tmp_path / "latest").write_text("3")
    assert opened(tmp_path) == 3
    assert not caplog.text
    save(tmp_path, model, 4, keep=1)
    assert names(tmp_path) == ["000004", "000006", "000009"]
    assert opened(tmp_path) == 4
    folder = RunFolder(tmp_path, CONFIG, keep=1)  # the old course of the run is removed as the new one passes it
    folder.open()
    folder.save_checkpoint(7, model, {"step": 7, "parts": {}}, provenance={})
    folder.close()
    assert names(tmp_path) == ["000007", "000009"]


def test_checkpoints_that_are_gone_are_no_new_run(model, tmp_path):
    save(tmp_path, model, 3)
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match=r"names the checkpoint 000003, which does not exist.*delete .*latest to"):
        opened(tmp_path)
    (tmp_path / "latest").unlink()
    assert opened(tmp_path) is None


def test_what_a_killed_removal_left_is_removed(model, tmp_path):
    save(tmp_path, model, 1, 2, 3, 4, keep=0)
    (tmp_path / "checkpoints" / ".000002.0123456789abcdef.part").mkdir()
    (tmp_path / "checkpoints" / ".000005.part").mkdir()  # of an older version
    (tmp_path / ".config.json.4711.part").write_text("{")
    (tmp_path / ".report.html.0123456789abcdef.part").write_text("being written")
    (tmp_path / ".film.part").write_text("of a browser")
    folder = RunFolder(tmp_path, CONFIG, keep=2)
    folder.open()
    folder.close()
    assert names(tmp_path) == ["000003", "000004"]
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".film.part", ".report.html.0123456789abcdef.part"]


# -------------------------------------------------------------------------------------------------------- integrity


def test_digests_are_those_of_sha256sum(model, tmp_path):
    save(tmp_path, model, 3)
    folder = tmp_path / "checkpoints" / "000003"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["model.safetensors", "run_config.json", "state.pt"]
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt"])
def test_one_turned_bit_costs_one_checkpoint(name, model, tmp_path, caplog):
    save(tmp_path, model, 3, 6)
    file = tmp_path / "checkpoints" / "000006" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    assert opened(tmp_path) == 3
    assert f"000006: {name} does not have the digest in SHA256SUMS" in caplog.text
    assert find_model(tmp_path).parent.name == ("000003" if name == "model.safetensors" else "000006")
    if name == "model.safetensors":
        with pytest.raises(CheckpointError, match="000006 is damaged: model.safetensors does not have the digest"):
            disentangle.load(tmp_path / "checkpoints" / "000006")
    assert names(tmp_path) == ["000003", "000006"]
    save(tmp_path, model, 8)  # continued from 3, so that the damaged one counts for nothing
    assert names(tmp_path) == ["000003", "000008"]


def test_no_whole_checkpoint_is_one_sentence(model, tmp_path):
    save(tmp_path, model, 3, 6)
    for folder in (tmp_path / "checkpoints").iterdir():
        (folder / "model.safetensors").write_bytes(b"")
    for look in (opened, find_model):
        with pytest.raises(CheckpointError, match=r"No checkpoint of .* is whole .*000006: .*000003: .*begin again"):
            look(tmp_path)


def test_a_run_of_an_older_version_has_no_digests_and_goes_on(model, tmp_path, caplog):
    save(tmp_path, model, 3, 6)
    for folder in (tmp_path / "checkpoints").iterdir():
        (folder / "SHA256SUMS").unlink()
        (folder / "run_config.json").unlink()
    assert opened(tmp_path) == 6
    assert not caplog.text
    (tmp_path / "checkpoints" / "000006" / "state.pt").write_bytes(b"half")
    assert opened(tmp_path) == 3
    assert "000006: " in caplog.text
    wrong: list[Any] = [{}, {"step": 3}, {"step": 4, "parts": {}}, {"step": "3", "parts": {}}, {"step": 3, "parts": 0}]
    for state in wrong:
        disentangle.io.save_state(tmp_path / "checkpoints" / "000003" / "state.pt", state)
        with pytest.raises(CheckpointError, match=r"000003: state\.pt (holds no training state|is not of step 3)"):
            opened(tmp_path)


def test_a_lost_or_edited_configuration_is_found_again_in_the_checkpoints(model, tmp_path, caplog):
    save(tmp_path, model, 3)
    file = tmp_path / "config.json"
    record = json.loads(file.read_text())
    for content in (None, b"{", json.dumps({**record, "batch": 1}).encode(), b"[" * 100_000, b"\xed\xa0\x80"):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        caplog.clear()
        assert opened(tmp_path) == 3
        assert "has the configuration that was given, and the run goes on" in caplog.text
        with pytest.raises(ConfigError, match=r"config\.json|batch: 1 != 7"):
            opened(tmp_path, batch=7)
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "latest").unlink()
    with pytest.raises(ConfigError, match="not valid JSON.*--dry-run"):
        opened(tmp_path)


# ------------------------------------------------------------------------------------------- whose folder, which run


def test_a_folder_of_leftovers_is_empty_and_one_of_the_users_is_not(tmp_path):
    for number, name in enumerate((".config.json.4711.part", ".config.json.0123456789abcdef.part", ".lock")):
        run = tmp_path / str(number)
        run.mkdir()
        (run / name).write_text(json.dumps(asdict(replace(this_process(), pid=2**22 + 1, started=1))))
        assert opened(run) is None
        assert list(run.iterdir()) == []
    for name in (".film.part", "config.part", ".hidden"):
        run = tmp_path / name
        run.mkdir()
        (run / name).write_text("mine")
        with pytest.raises(ConfigError, match="exists and is no run"):
            opened(run)
        assert (run / name).read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be read as a folder"):
        opened(tmp_path / "file")


def test_a_folder_made_for_nothing_is_removed(tmp_path):
    assert opened(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 7},
        {"data.options": {"on_bad_image": "skip"}},
        {"data.data_dir": "elsewhere"},
        {"data.download": True},
        {"tracker": "tensorboard"},
        {"keep_checkpoints": 1, "checkpoint_every": 7, "log_every": 3, "sample_every": 9},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_messages_say_to_change_may_be_changed(fields, model, tmp_path):
    save(tmp_path, model, 3)
    assert opened(tmp_path, **fields) == 3
    with pytest.raises(ConfigError, match="data.options.flip: absent != True"):
        opened(tmp_path, **{**fields, "data.options": {"on_bad_image": "skip", "flip": True}})


# ------------------------------------------------------------------------------------------------------------ the log

GOOD = [b'{"step": 0, "losses": {}}', b'{"step": 2, "losses": {"loss": 1.5}}', b'{"step": 4, "losses": {"loss": null}}']


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"\0" * 40, b'{"st', b"[1]", b'{"step": "3"}', b'{"step": true}', b"\xff\xfe", b"[" * 100_000, b"9" * 5000,
        b'{"step": 3, "losses": 5}', b'{"step": 3, "losses": {"loss": "x"}}', b'{"step": 3, "projections": {"a": 1}}',
    ],
    ids=lambda line: repr(line[:16]),
)  # fmt: skip
def test_a_damaged_line_costs_that_line(bad, tmp_path, caplog):
    file = tmp_path / "stats.jsonl"
    file.write_bytes(b"\n".join([GOOD[0], bad, *GOOD[1:]]) + b"\n")
    assert [line["step"] for line in read_stats(tmp_path)] == [0, 2, 4]
    assert caplog.text.count("line 2 is damaged") == 1
    run = RunFolder(tmp_path, CONFIG)
    run.forget_after(4)
    assert file.read_bytes() == b"\n".join([GOOD[0], bad, *GOOD[1:]]) + b"\n"
    run.forget_after(2)
    assert file.read_bytes() == b"\n".join([GOOD[0], bad, GOOD[1]]) + b"\n"
    run.forget_after(-1)
    assert file.read_bytes() == bad + b"\n"


def test_nothing_is_glued_to_a_line_that_was_cut_short(tmp_path):
    run = RunFolder(tmp_path, CONFIG)
    run.log({"step": 0})
    with open(tmp_path / "stats.jsonl", "ab") as file:
        file.write(b'{"step": 1, "los')
    run.log({"step": 1, "losses": {"loss": float("nan")}}, sync=True)
    assert [line["step"] for line in read_stats(tmp_path)] == [0, 1]
    assert (tmp_path / "stats.jsonl").read_bytes().count(b"\n") == 3


# ----------------------------------------------------------------------------------------------------------- the lock


def plant(run: Path, owner: Owner, *, silent: float = 0.0) -> Path:
    """A lock of some owner that was last renewed so many seconds ago."""
    lock = run / ".lock"
    lock.write_text(json.dumps(asdict(owner)))
    then = time.time() - silent
    os.utime(lock, (then, then))
    return lock


ALIVE_ELSEWHERE = {"host": "elsewhere", "boot": "other", "space": "pid:[1]"}
HOLDERS: dict[str, tuple[dict[str, Any], float, bool]] = {
    "this process, in another place of the program": ({}, 0.0, True),
    "the parent": ({"pid": os.getppid(), "started": lock_owner._stat(os.getppid())[1]}, 1e6, True),
    "a process of that number that began later": ({"pid": os.getppid(), "started": 1}, 0.0, False),
    "a number that no process has": ({"pid": 2**22 + 1}, 0.0, False),
    "another machine, alive": (ALIVE_ELSEWHERE, 30.0, True),
    "another machine, silent": (ALIVE_ELSEWHERE, 61.0, False),
    "another machine, with a clock ahead": (ALIVE_ELSEWHERE, -1e5, True),
    "this machine before its last start": ({"boot": "earlier"}, 1e9, False),
    "another container, alive": ({"space": "pid:[1]"}, 30.0, True),
    "another container, silent": ({"space": "pid:[1]"}, 61.0, False),
}


@pytest.mark.parametrize("who", HOLDERS)
def test_whose_lock_is_taken_over(who, tmp_path):
    changes, silent, held = HOLDERS[who]
    owner = replace(this_process(), **changes)
    lock = plant(tmp_path, owner, silent=silent)
    if not changes:
        run_lock._held.add(owner.token)
    if not held:
        with RunLock(tmp_path) as taken:
            taken.check()
            assert json.loads(lock.read_text())["pid"] == os.getpid()
        assert list(tmp_path.iterdir()) == []
        return
    with pytest.raises(RunInUse, match=rf"is in use: process {owner.pid}( \(this one\))? on {owner.host} since 20"):
        RunLock(tmp_path).__enter__()
    assert json.loads(lock.read_text()) == asdict(owner)
    assert list(tmp_path.iterdir()) == [lock]


def test_an_attempt_of_this_process_that_was_cut_short_does_not_lock_it_out(tmp_path):
    plant(tmp_path, this_process())
    with RunLock(tmp_path):
        pass


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 4000, b'{"pid": -1}', json.dumps({**asdict(this_process()), "token": "../../x"}).encode(),
     json.dumps({**asdict(this_process()), "pid": 0}).encode()],
)  # fmt: skip
def test_a_lock_that_says_nothing_holds_for_its_time(content, tmp_path):
    (tmp_path / ".lock").write_bytes(content)
    with pytest.raises(RunInUse, match="does not say by whom; it counts as left behind 60 s after"):
        RunLock(tmp_path).__enter__()
    os.utime(tmp_path / ".lock", (1, 1))
    with RunLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_names_in_a_lock_cannot_drive_a_terminal(tmp_path):
    plant(tmp_path, replace(this_process(), host="\x1b[2J" + 1000 * "h", boot="x"))
    with pytest.raises(RunInUse) as caught:
        RunLock(tmp_path).__enter__()
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    plant(tmp_path, replace(this_process(), pid=2**22 + 1))
    with RunLock(tmp_path), pytest.raises(RunInUse, match="this one"):
        RunLock(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_lost_stops_the_run_that_held_it(model, tmp_path, caplog):
    folder = RunFolder(tmp_path, CONFIG)
    folder.open()
    folder.start("cpu")
    folder.save_checkpoint(1, model, {"step": 1, "parts": {}}, provenance={})
    (tmp_path / ".lock").unlink()
    folder.log({"step": 1})
    assert "is made again" in caplog.text
    taker = replace(this_process(), pid=os.getppid(), started=lock_owner._stat(os.getppid())[1])
    plant(tmp_path, taker)
    with pytest.raises(RunInUse, match=rf"process {taker.pid} on .* took it over"):
        folder.log({"step": 2})
    with pytest.raises(RunInUse):
        folder.save_checkpoint(2, model, {"step": 2, "parts": {}}, provenance={})
    folder.close()
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == taker.pid
    assert names(tmp_path) == ["000001"]
    assert newest_checkpoint(tmp_path).step == 1  # readers are not locked out


def test_a_heartbeat_renews_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "HEARTBEAT", 0.01)
    with RunLock(tmp_path):
        os.utime(tmp_path / ".lock", (1, 1))
        end = time.monotonic() + 30
        while (tmp_path / ".lock").stat().st_mtime == 1:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_folder_that_takes_no_lock_is_one_sentence(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_lock, "_write_new", full)
    with pytest.raises(OutputError, match=r"\.lock cannot be written \(No space left on device\)"):
        opened(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------- before the first checkpoint


def begun(run: Path, **fields: Any) -> RunFolder:
    """A run that has logged and drawn, and saved nothing."""
    folder = RunFolder(run, with_fields(CONFIG, fields), may_differ=CONFIG.may_differ)
    folder.open()
    folder.start("cpu")
    folder.log({"step": 0, "losses": {}, "projections": {}})
    (run / "samples").mkdir(exist_ok=True)
    (run / "samples" / "000500.png").write_bytes(b"drawn")
    return folder


def test_a_run_without_a_checkpoint_begins_afresh_with_another_configuration(tmp_path, caplog):
    begun(tmp_path).close()
    folder = RunFolder(tmp_path, with_fields(CONFIG, {"optimizer.lr": 1e-3, "data.name": "rooms"}))
    folder.open()
    assert "ended before its first checkpoint" in caplog.text
    assert folder.load_state() is None
    folder.start("cpu")
    folder.close()
    assert json.loads((tmp_path / "config.json").read_text())["data"]["name"] == "rooms"
    assert list((tmp_path / "samples").iterdir()) == [], "those were of another one"


def test_a_run_without_a_checkpoint_that_is_still_training_is_not_taken_over(tmp_path):
    folder = begun(tmp_path)
    with pytest.raises(RunInUse):
        opened(tmp_path, **{"optimizer.lr": 1e-3})
    folder.close()
    assert (tmp_path / "samples" / "000500.png").exists()


def test_once_there_was_a_checkpoint_the_configuration_is_kept(model, tmp_path):
    save(tmp_path, model, 10)
    for lost in ("latest", "checkpoints/000010/state.pt", "checkpoints/000010/run_config.json"):
        (tmp_path / lost).unlink()
        with pytest.raises(ConfigError, match="another configuration"):
            opened(tmp_path, **{"optimizer.lr": 1e-3})


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", '{"architectures": ["Bert"]}'), ("config.json", "[]"), ("model.pt", ""), ("latest", "10")],
)  # fmt: skip
def test_what_is_not_only_a_begun_run_stays(tmp_path, name: str, content: str):
    begun(tmp_path).close()
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError):
        opened(tmp_path, **{"optimizer.lr": 1e-3})
    assert (tmp_path / name).read_text() == content
    assert (tmp_path / "samples" / "000500.png").exists()


def test_the_environment_tells_when_a_run_was_begun_and_continued(model, tmp_path):
    save(tmp_path, model, 10)
    for step in (10, 20):
        folder = RunFolder(tmp_path, CONFIG)
        folder.start("cpu", step=step)
    folder.start("cpu", step=20, finished=True)
    record = json.loads((tmp_path / "environment.json").read_text())
    assert [session["step"] for session in record["sessions"]] == [0, 10, 20]
    assert record["sessions"][-1]["command"] == record["command"]
    assert record["sessions"][-1]["started"] == record["started"]
    (tmp_path / "environment.json").write_text('{"sessions": 3}')
    folder.start("cpu", step=20)
    assert len(json.loads((tmp_path / "environment.json").read_text())["sessions"]) == 1
