"""Every command that writes, met with everything that can be wrong with where it is to write."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from disentangle.cli import _COMMANDS, cli, main
from disentangle.cli.destinations import OutputPath
from disentangle.files import is_leftover
from disentangle.viz.stamps import maker_of
from tests.cli.conftest import SMALL_VAE
from tests.full_disk import full_disk

# Arguments of each command that writes, without its outputs. The files need not exist: outputs are looked at first.
ARGUMENTS = {
    "quickstart": [],
    "sample": ["no-model"],
    "traverse": ["no-model"],
    "convert": ["no-file.pkl"],
    "directions find": ["no-model"],
    "directions label": ["no-file.safetensors", "0=age"],
    "invert": ["no-model", "no-photo.png"],
    "bake": ["no-model"],
    "turn": ["no-model"],
    "predict": ["no-model", "no-photo.png"],
    "evaluate": ["no-model", "--data", "rooms"],
    "report": [],
    "data preview": ["no-data"],
    **{f"train {kind}": ["--data", "no-data"] for kind in ("vae", "autoencoder", "classifier")},
    **{f"train {kind}": ["--data", "no-data"] for kind in ("eigengan", "gan", "progan", "stylegan2")},
    "train projection": ["--data", "no-data", "--from", "no-model"],
}  # fmt: skip
NEED_OUT = {"convert": ["--out", "other.safetensors"]}  # where an option alone says nothing of what to do


def commands(group: click.Group = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        elif command is not None:
            yield f"{path}{name}", command


OUTPUTS = [
    (name, parameter.opts[0], parameter.type)
    for name, command in commands()
    for parameter in command.params
    if isinstance(parameter.type, OutputPath)
]


def test_every_option_that_writes_is_declared_as_one():
    """A new command that writes needs `output_option` and a row in this file."""
    assert {name for name, _, _ in OUTPUTS} == set(ARGUMENTS)
    for name, command in commands():
        for parameter in command.params:
            if parameter.name in ("out", "figure", "page") or "--out" in parameter.opts:
                assert isinstance(parameter.type, OutputPath), (name, parameter.name)
    assert {"convert", "quickstart", *_COMMANDS} >= {name.split()[0] for name in ARGUMENTS}


def said(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["--device", "cpu", *map(str, arguments)]))
    output, errors = capsys.readouterr()
    return int(ended.value.code or 0), output, errors


def refused(capsys, *arguments: object, status: int = 1) -> str:
    """The one sentence with which a command ends."""
    code, output, errors = said(capsys, *arguments)
    assert code == status, errors
    assert output == ""
    assert "Traceback" not in errors
    line = errors.splitlines()[-1]
    assert line.startswith("Error: "), errors
    assert line.isprintable()
    assert errors.count("\n") in ((1,) if status == 1 else (1, 4)), errors  # click says how to get help
    return line


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def faults(suffix: str) -> list[tuple[str, str, int]]:
    """What can be wrong with a file's name: the name, a word of the sentence, the exit status."""
    return [
        (f"folder{suffix}", "is a folder", 1),
        (f"file/a{suffix}", "is no folder", 1),
        (f"circle{suffix}", "in a circle", 1),
        (f"gone/a{suffix}", "gone", 1),
        ("a" * 300 + suffix, "too long", 1),
        (f"/proc/a/b/c{suffix}", "cannot be written", 1),
        ("a.unknown", "ending", 2),
        (f"new{suffix}/", "is a folder", 2),
        ("", "no name", 2),
    ]


@pytest.mark.parametrize(
    ("name", "option", "suffix"),
    [(name, option, kind.suffixes[0]) for name, option, kind in OUTPUTS if not kind.folder],
)
def test_a_file_is_checked_before_anything_is_done(name, option, suffix, place, capsys, vae_run):
    (place / f"folder{suffix}").mkdir()
    (place / "file").write_bytes(b"kept")
    (place / f"circle{suffix}").symlink_to(f"circle{suffix}")
    (place / "gone").symlink_to("not-there")
    arguments = [*ARGUMENTS[name], *([vae_run] if name == "report" else []), *NEED_OUT.get(name, [])]
    for path, message, status in faults(suffix):
        if not Path("/proc/self").exists() and path.startswith("/proc"):
            continue
        line = refused(capsys, *name.split(), *arguments, option, path, status=status)
        assert message in line, line
    assert tree(place) == {"file": b"kept"}


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, option, kind in OUTPUTS if kind.folder])
def test_a_folder_is_checked_before_anything_is_done(name, option, place, capsys):
    (place / "file").write_bytes(b"kept")
    for path, message in (("file", "is no folder"), ("file/new", "is no folder"), ("/proc/a/b", "cannot be written")):
        assert message in refused(capsys, *name.split(), *ARGUMENTS[name], option, path)
    assert tree(place) == {"file": b"kept"}


# ------------------------------------------------------------------------------------------- what was given is kept


@pytest.fixture
def photo(place):
    Image.new("RGB", (40, 40), (90, 20, 200)).save("photo.png")
    return place / "photo.png"


@pytest.fixture
def codes(place):
    factors = np.random.default_rng(0).integers(0, 4, (300, 2))
    np.save("y.npy", factors)
    np.save("z.npy", factors + 0.1)
    return ["evaluate", "--codes", "z.npy", "--factors", "y.npy", "--metrics", "mig", "--no-baselines", "--jobs", 1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "photo.png", "--out", "photo.png"],
        ["sample", "photo.png", "--out", "./photo.png"],
        ["sample", "photo.png", "--out", "link.png"],
        ["sample", "photo.png", "--out", "hard.png"],
        ["traverse", "m.safetensors", "--start", "photo.png", "--out", "photo.png"],
        ["traverse", "m.safetensors", "--directions", "photo.png", "--out", "photo.png"],
        ["convert", "m.safetensors", "--out", "m.safetensors"],
        ["convert", "m.safetensors", "--out", "n.safetensors", "--discriminator", "m.safetensors"],
        ["directions", "find", "m.safetensors", "--out", "m.safetensors"],
        ["invert", "m.safetensors", "photo.png", "--out", "m.safetensors"],
        ["data", "preview", "pictures", "--out", "pictures/a.png"],
        ["data", "preview", "photo.png", "--out", "photo.png"],
        ["report", "m.html", "--out", "m.html"],
        ["evaluate", "--codes", "s.json", "--factors", "y.npy", "--out", "s.json"],
        ["evaluate", "--images", "pictures", "--reference", "rooms", "--out", "pictures/dataset.json"],
    ],
    ids=" ".join,
)
def test_no_command_writes_over_what_it_was_given(arguments, place, photo, capsys):
    (place / "link.png").symlink_to("photo.png")
    os.link(photo, place / "hard.png")
    for name in ("m.safetensors", "m.html", "s.json"):
        (place / name).write_bytes(b"kept")
    (place / "pictures").mkdir()
    (place / "pictures" / "a.png").write_bytes(b"kept")
    (place / "pictures" / "dataset.json").write_bytes(b"{}")
    before = tree(place)
    assert "given" in refused(capsys, *arguments)
    assert tree(place) == before


def test_results_of_an_earlier_time_may_be_replaced(place, photo, codes, capsys):
    """The same command in the folder that it was given, once more."""
    score = ["evaluate", "--codes", "z.npy", "--factors", "y.npy", "--metrics", "mig", "--jobs", 1, "--out", "s.json"]
    invert = [
        "invert",
        "vae-rooms",
        "photo.png",
        "--steps",
        1,
        "--pixels-only",
        "--out",
        "p.safetensors",
    ]
    preview = ["data", "preview", "sprites", "--resolution", 16, "--data-dir", ".", "--out", "q.png"]
    for arguments in (score, score, invert, invert, preview, preview):
        code, _, errors = said(capsys, *arguments)
        assert code == 0, errors
    assert "Unknown data set" in refused(
        capsys, "data", "preview", "no-data", "--data-dir", ".", "--out", "photo.png", status=2
    )


def test_two_outputs_of_one_name(place, codes, capsys):
    convert = ["convert", "a.pkl", "--out", "b.safetensors", "--discriminator", "./b.safetensors"]
    assert "--discriminator and --out are both" in refused(capsys, *convert, status=2)
    assert "known" in refused(capsys, *codes, "--out", "x.png", "--figure", "x.png", status=2)


def test_the_files_of_a_run_are_its_own(place, capsys, vae_run):
    before = tree(vae_run)
    for name in ("config.json", "environment.json", "checkpoints/new.json"):
        line = refused(capsys, "evaluate", vae_run, "--data", "sprites", "--out", vae_run / name)
        assert "'s own file" in line
    assert tree(vae_run) == before


def test_directions_are_named_in_place(place, capsys):
    assert said(capsys, "directions", "find", "vae-rooms", "--method", "basis", "--out", "d.safetensors")[0] == 0
    assert said(capsys, "directions", "label", "d.safetensors", "0=age")[0] == 0
    assert said(capsys, "directions", "label", "d.safetensors", "1=pose", "--out", "d.safetensors")[0] == 0
    shown = json.loads(said(capsys, "directions", "show", "d.safetensors", "--json")[1])
    assert [row["label"] for row in shown["directions"][:2]] == ["age", "pose"]


def test_the_photo_beside_its_latents_is_kept(place, photo, capsys):
    """README's line: `disentangle invert MODEL photo.png --out photo.safetensors`."""
    before = photo.read_bytes()
    invert = ["invert", "vae-rooms", "photo.png", "--steps", 1, "--pixels-only", "--out", "photo.safetensors"]
    assert said(capsys, *invert)[0] == 0
    assert photo.read_bytes() == before
    made = ["photo.invert.png", "photo.loss.png", "photo.png", "photo.safetensors"]
    assert sorted(tree(place)) == made
    assert maker_of("photo.invert.png") == maker_of("photo.loss.png") == "disentangle invert"
    assert said(capsys, *invert)[0] == 0  # its own are replaced
    assert sorted(tree(place)) == made

    Image.new("L", (3, 3)).save("photo.invert.png")
    others = Path("photo.invert.png").read_bytes()
    code, _, errors = said(capsys, *invert)
    assert code == 0
    assert "photo.invert-2.png" in errors
    assert Path("photo.invert.png").read_bytes() == others
    assert sorted(tree(place)) == ["photo.invert-2.png", *made]


def test_photos_with_the_names_of_what_is_made(place, photo, capsys):
    os.rename("photo.png", "a.invert.png")
    before = Path("a.invert.png").read_bytes()
    arguments = ["invert", "vae-rooms", "a.invert.png", "--steps", 1, "--pixels-only", "--out", "a.safetensors"]
    assert said(capsys, *arguments)[0] == 0
    assert Path("a.invert.png").read_bytes() == before
    # and one that this command has made, given to it as a photo
    made = Path("a.invert-2.png").read_bytes()
    assert "given" in refused(capsys, *arguments[:2], "a.invert-2.png", *arguments[3:])
    assert Path("a.invert-2.png").read_bytes() == made


def test_quickstart_replaces_only_its_own(place, capsys):
    from disentangle import quickstart

    (place / "mine").mkdir()
    (place / "mine" / "report.html").write_text("<p>my own</p>")
    assert "not of `disentangle quickstart`" in refused(capsys, "quickstart", "--out", "mine")
    assert tree(place) == {"mine/report.html": b"<p>my own</p>"}
    (place / "mine" / "report.html").write_text(f"<p>{quickstart._LEAD}</p>")
    quickstart._check_folder(place / "mine")


# ------------------------------------------------------------------------------- what was computed is still printed


@pytest.fixture
def broken(monkeypatch):
    """A disk that fails when files of some names are brought to it, after it has looked well."""

    def breaks(*names: str) -> None:
        replace = os.replace

        def fail(one: Path, other: Path) -> None:
            if Path(other).name in names:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            replace(one, other)

        monkeypatch.setattr("disentangle.files.os.replace", fail)

    return breaks


def test_scores_are_printed_though_no_file_can_be_written(place, codes, capsys, broken):
    broken("a.json", "a.png", "a.html")
    files = ["--out", "a.json", "--figure", "a.png", "--report", "a.html"]
    before = tree(place)
    code, output, errors = said(capsys, *codes, *files, "--json")
    assert tree(place) == before
    assert code == 1
    assert json.loads(output)["mig"]["value"] > 0.9
    assert [name in errors for name in ("a.json cannot be", "a.png cannot be", "a.html cannot be")] == [True] * 3
    assert "Traceback" not in errors
    assert errors.count("Error: ") == 1


def test_one_file_that_fails_does_not_keep_the_others_from_being_written(place, codes, capsys, broken):
    broken("a.json")
    code, output, _ = said(capsys, *codes, "--out", "a.json", "--figure", "a.png", "--report", "a.html")
    assert code == 1
    assert "mig" in output
    assert {"a.png", "a.html"} < set(tree(place))


def test_results_go_to_files_though_standard_output_is_full(place, codes):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = [sys.executable, "-m", "disentangle", *map(str, codes), "--out", "a.json"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "Error: Standard output cannot be written (No space left on device)."
    assert json.loads((place / "a.json").read_text())["scores"]["mig"]["value"] > 0.9


# ------------------------------------------------------------------------------------------------------- real disks

WRITING = {
    "sample": ["sample", "vae-rooms", "--out", "DISK/a.png"],
    "sample jpg": ["sample", "vae-rooms", "--seeds", "0-63", "--out", "DISK/a.jpg"],
    "traverse png": ["traverse", "vae-rooms", "--out", "DISK/a.png"],
    "traverse gif": ["traverse", "vae-rooms", "--out", "DISK/a.gif"],
    "traverse webp": ["traverse", "vae-rooms", "--out", "DISK/a.webp"],
    "traverse mp4": ["traverse", "vae-rooms", "--out", "DISK/a.mp4"],
    "directions": ["directions", "find", "vae-rooms", "--method", "basis", "--out", "DISK/a.safetensors"],
    "label": ["directions", "label", "DISK/d.safetensors", "0=age"],
    "preview": ["data", "preview", "rooms", "--resolution", 32, "--out", "DISK/a.png"],
    "invert": ["invert", "vae-rooms", "photo.png", "--steps", 1, "--pixels-only", "--out", "DISK/a.safetensors"],
    "scores": [*["evaluate", "--codes", "z.npy", "--factors", "y.npy", "--metrics", "mig", "--jobs", 1],
               "--out", "DISK/a.json", "--figure", "DISK/b.png", "--report", "DISK/c.html"],
    "report": ["report", "RUN", "--out", "DISK/a.html"],
    "train": [*SMALL_VAE, "--out", "DISK/run"],
    "quickstart": ["quickstart", "--out", "DISK/quick"],
}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("state", ["full", "nearly full", "read-only"])
@pytest.mark.parametrize("name", WRITING)
def test_full_and_read_only_disks(name, state, place, photo, codes, capsys, vae_run, tmp_path):
    with full_disk(place / "disk", size="200k") as disk:
        for ending in ("png", "jpg", "gif", "webp", "mp4", "safetensors", "json", "html"):
            (disk / f"a.{ending}").write_bytes(b"before")
        if name == "label":
            assert said(capsys, "directions", "find", "vae-rooms", "--method", "basis", "--out", disk / "d.safetensors")
        before = tree(disk)
        if "full" in state:
            with pytest.raises(OSError, match="No space"):
                (disk / "filling").write_bytes(bytes(1 << 20))
            if state == "nearly full":
                os.truncate(disk / "filling", (disk / "filling").stat().st_size - 4096)
        else:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        arguments = [str(a).replace("DISK", str(disk)).replace("RUN", str(vae_run)) for a in WRITING[name]]
        code, output, errors = said(capsys, *arguments)
        if code == 0 and state == "nearly full" and name in ("directions", "label", "invert"):
            return  # a small file
        assert code == 1, errors
        assert "Traceback" not in errors, errors
        assert ("No space left" if "full" in state else "ead-only") in errors
        assert errors.count("Error: ") == 1
        if name == "scores":
            assert ("mig" in output) == (state == "nearly full")
        after = tree(disk)
        after.pop("filling", None)
        if name not in ("train", "quickstart", "invert", "scores") or state != "nearly full":
            assert after == before
        assert not [path for path in after if is_leftover(Path(path).name)]


@pytest.mark.faults
def test_names_that_are_no_utf8(place, photo, codes, capsys):
    name = os.fsdecode(b"\xff\xfe")
    for arguments in (*WRITING.values(),):
        made = [str(a).replace("DISK", name) for a in arguments]
        if made[0] in ("report", "quickstart", "train") or made[1] == "label":
            continue
        code, _, errors = said(capsys, *made)
        assert code == 0, (made, errors)
        assert r"\udcff" in errors
    assert {Path(path).suffix for path in tree(place / name)} >= {".png", ".mp4", ".safetensors", ".json", ".html"}
