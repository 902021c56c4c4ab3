"""The page of runs that are damaged, still running, or have other files in their folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from disentangle.viz.run_lines import well_formed
from tests.cli.conftest import invoke


@pytest.fixture
def copied(vae_run, tmp_path) -> Path:
    return Path(shutil.copytree(vae_run, tmp_path / "run"))


@pytest.fixture(autouse=True)
def drawn(monkeypatch, request) -> None:
    """Figures are drawn where a test is about what is in them: each takes a second."""
    if request.node.name != "test_damaged_lines_among_good_ones":
        for module in ("figures", "matrices"):
            draw = lambda figure, path, **options: Image.new("L", (2, 2)).save(path)  # noqa: E731
            monkeypatch.setattr(f"disentangle.viz.{module}.save_figure", draw)


def page(run: Path, *others: Path) -> tuple[str, str]:
    """The page of runs, and what was said."""
    result = invoke("report", run, *others)
    assert result.exit_code == 0, (result.output, result.exception)
    return (run / "report.html").read_text(), result.stderr


def scores(run: Path, record: object) -> None:
    (run / "scores.json").write_text(json.dumps(record))


def test_other_files_among_the_samples(copied):
    for name in ("foo.png", "²³.png", "000001.jpg", "9" * 400 + ".png"):
        Image.new("L", (2, 2)).save(copied / "samples" / name) if len(name) < 200 else None
    (copied / "samples" / "999999.png").mkdir()
    text, told = page(copied)
    assert "Samples at step 4." in text
    assert told.count("\n") == 1


def test_the_newest_sample_by_its_number(copied):
    Image.new("L", (2, 2)).save(copied / "samples" / "1000000.png")
    assert "Samples at step 1000000." in page(copied)[0]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a"])
def test_a_sample_that_is_no_picture(copied, content):
    (copied / "samples" / "000009.png").write_bytes(content)
    text, told = page(copied)
    assert "000009.png is left out (it is no .png file)" in text
    assert "000009.png is left out" in told


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"\xff\xfe", b"{", b"[" * 5000, b"null\n1\n[]\n{}\n", b'{"step": "x"}\n', b'{"step": 1, "losses": []}\n',
        b'{"step": 1, "losses": {"a": "x"}, "projections": {}}\n', b'{"step": -1}\n', b'{"step": 1e400}\n',
        b'{"step": 1, "projections": {"a": {"orthogonality_error": []}}}\n', b'{"step": 1, "spectral": {"a": {}}}\n',
        b'{"step": 1, "losses": {"a": 1e308}}\n', b'{"step": 1, "validation": {"accuracy": {}}}\n',
        b'{"step": ' + b"9" * 5000 + b"}\n",
    ],
)  # fmt: skip
def test_damaged_statistics(copied, damage):
    (copied / "stats.jsonl").write_bytes(damage)
    text, told = page(copied)
    assert "Samples at step 4." in text
    assert "No run has logged a step yet" in text
    assert "No run has logged a step yet" in told


def test_damaged_lines_among_good_ones(copied):
    with (copied / "stats.jsonl").open("a") as file:
        file.write('{"step": "x"}\n')
    text, told = page(copied)
    assert "Means over each logging interval." in text
    assert "1 line of" in text
    assert "1 line of" in told


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 900 + b"]" * 900, b"\xff", b"[]", b"3"])
def test_damaged_configuration(copied, content):
    (copied / "config.json").write_bytes(content)
    text, _ = page(copied)
    assert "Means over each logging interval." in text


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "disentangle-scores", "version": 1, "scores": {"a": {}}, "subject": {}}']
)
def test_damaged_scores(copied, content):
    (copied / "scores.json").write_text(content)
    text, told = page(copied)
    assert "The scores of" in text
    assert "are left out" in told


def test_scores_of_a_classifier_without_its_classes(copied):
    score = {"name": "accuracy/per-class", "value": 1, "parts": {"per_class": [1], "points": [1]}, "settings": {},
             "higher_is_better": True, "seconds": 0}  # fmt: skip
    for subject in ({}, {"classes": 3}, {"classes": ["a", "b"]}):
        record = {"format": "disentangle-scores", "version": 1, "scores": {"accuracy/per-class": score}}
        scores(copied, {**record, "subject": subject})
        assert "are left out" in page(copied)[1]
    scores(copied, {**record, "subject": {"classes": ["<b>"]}})
    text, told = page(copied)
    assert "<td>&lt;b&gt;</td>" in text
    assert "left out" not in told


def test_a_run_that_has_just_begun(copied):
    for name in ("stats.jsonl", "latest"):
        (copied / name).unlink()
    shutil.rmtree(copied / "samples")
    text, told = page(copied)
    assert "No run has logged a step yet" in text
    assert "No run has logged" in told
    assert "latent_dim" in text


def test_one_begun_run_beside_a_finished_one(copied, vae_run, tmp_path):
    (copied / "stats.jsonl").unlink()
    text, _ = page(copied, vae_run)
    assert "Means over each logging interval." in text


def test_the_same_run_twice(copied):
    assert page(copied, copied)[0].count("<h2>") == 2


def test_what_is_no_run(tmp_path, fails):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("empty", "file", "none"):
        assert "is no run folder" in fails("report", tmp_path / name)


def test_lines_of_trainings_are_well_formed(vae_run, gan_run):
    for run in (vae_run, gan_run):
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
        assert well_formed(lines) == (lines, 0)
