"""The page of runs that are damaged, still running, or have other files in their folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from disentangle.evaluations import evaluate, save_scores
from disentangle.viz.run_lines import well_formed
from tests.cli.conftest import invoke


@pytest.fixture
def copied(vae_run, tmp_path) -> Path:
    """Without scores that another test may have left beside it."""
    return Path(shutil.copytree(vae_run, tmp_path / "run", ignore=shutil.ignore_patterns("scores*")))


@pytest.fixture(autouse=True)
def drawn(monkeypatch, request) -> None:
    """Figures are drawn where a test is about what is in them: each takes a second."""
    if request.node.name != "test_damaged_lines_among_good_ones":
        for module in ("figures", "matrices", "conditioning"):
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
    assert page(copied, copied)[0].count("<h2>") == 3  # training, pictures, configuration


def test_what_is_no_run(tmp_path, fails):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("empty", "file", "none"):
        assert "is no run folder" in fails("report", tmp_path / name)


def test_lines_of_trainings_are_well_formed(vae_run, gan_run):
    for run in (vae_run, gan_run):
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
        assert well_formed(lines) == (lines, 0)


def test_the_page_begins_with_what_was_run(copied):
    from disentangle.files import write_json

    sessions = [
        {"step": 0, "started": "2026-03-01T10:00:00+00:00"},
        {"step": 2, "started": "2026-03-02T10:00:00+00:00"},
    ]
    record = json.loads((copied / "environment.json").read_text())
    command = ["/usr/bin/disentangle", "train", "vae", "--data", "my <pictures>"]
    write_json(copied / "environment.json", {**record, "command": command, "sessions": sessions})
    (copied / "stats.jsonl").write_text(
        "".join(
            json.dumps({"step": step, "kimg": 8 * step / 1000, "images_per_second": rate, "losses": losses}) + "\n"
            for step, rate, losses in ((0, 0.0, {}), (2, 4.0, {"loss": 9.0}), (4, 1.0, {"loss": 7.25}))
        )
    )
    text, _ = page(copied)
    assert "<h1>run</h1>" in text
    command_at = text.index("disentangle train vae --data &#39;my &lt;pictures&gt;&#39;")
    order = [command_at]
    for shown in ("vae, sprites, 32 pixels", "2026-03-01 10:00 UTC, continued once", "20 s", ">4<", "Final numbers",
                  "7.25", "<h2>Training", "<h2>Pictures", "<details>", "schema_version"):  # fmt: skip
        order.append(text.index(shown))
    assert order == sorted(order), "16 images at 4 a second, and 16 at 1: 20 s"
    assert ">1.6<" in text
    assert "Traversal of the newest checkpoint" in text
    assert "<table" not in text[text.index("<details>") :]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"sessions": [3], "command": "x"}', b'{"sessions": [{"started": "now"}], "command": [1]}',
     b'{"started": 5, "device": {"a": []}, "torch": ' + b'"' + b"x" * 10**6 + b'"}'],
)  # fmt: skip
def test_damaged_environment(copied, content):
    (copied / "environment.json").write_bytes(content)
    text, _ = page(copied)
    assert "vae, sprites, 32 pixels" in text
    assert len(text) < 10**6


@pytest.mark.parametrize(
    "damage", [{"kimg": "x", "images_per_second": []}, {"kimg": 1e300, "images_per_second": 1e-300}, {"kimg": True}]
)
def test_a_pace_that_is_none(copied, damage):
    line = {"step": 4, "losses": {"loss": 1.0}, **damage}
    (copied / "stats.jsonl").write_text(json.dumps(line) + "\n")
    assert "time of training" not in page(copied)[0]


def test_several_runs_show_what_differs_and_not_two_dumps(copied, tmp_path):
    other = Path(shutil.copytree(copied, tmp_path / "other"))
    record = json.loads((other / "config.json").read_text())
    record["optimizer"]["lr"] = 0.25
    (other / "config.json").write_text(json.dumps({**record, "new_field": None}))
    text, _ = page(copied, other)
    assert "<h1>run and other</h1>" in text
    shown = text[text.index("What differs") : text.index("<details>")]
    assert [field for field in ("optimizer.lr", "0.25", "new_field") if field not in shown] == []
    assert "latent_dim" not in shown
    assert text.count("<details>") == 2
    (other / "config.json").write_text((copied / "config.json").read_text())
    assert "The runs have one configuration." in page(copied, other)[0]


def test_samples_on_the_way(copied):
    for step in range(10, 100, 10):
        Image.new("L", (2, 2)).save(copied / "samples" / f"{step:06d}.png")
    text, _ = page(copied)
    assert "Samples at step 90." in text
    assert [step for step in range(0, 100) if f"<figcaption>Step {step}." in text] == [4, 30, 50, 80]


def test_scores_of_every_part_have_a_file_and_a_place(copied):
    score = {
        "name": "accuracy/top-1",
        "value": 0.5,
        "parts": {},
        "settings": {},
        "higher_is_better": True,
        "seconds": 0,
    }
    for name, split in (("scores", "test"), ("scores-train", "train")):
        record = {"format": "disentangle-scores", "version": 1, "scores": {"accuracy/top-1": score}}
        (copied / f"{name}.json").write_text(json.dumps({**record, "subject": {"split": split, "data": "d"}}))
    text, _ = page(copied)
    assert "Scores of run, data d, split test" in text
    assert "Scores of run, data d, split train" in text
    assert "score: accuracy/top-1 (train)" in text


def test_each_runs_matrices_are_its_own(copied, tmp_path, monkeypatch):
    """Two files of scores in one run and one in another: no figure takes the place of another's."""
    other = Path(shutil.copytree(copied, tmp_path / "other"))
    rng = np.random.default_rng(0)
    for folder, name in ((copied, "scores-x.json"), (copied, "scores.json"), (other, "scores.json")):
        factors = rng.integers(0, 3, (60, 2))
        found = evaluate(factors + rng.normal(size=(60, 2)), factors, "mig", baselines=False)
        save_scores(folder / name, found, subject={"data": "sprites"})
    drawn: list[Path] = []
    monkeypatch.setattr(
        "disentangle.viz.matrices.save_figure",
        lambda figure, path, **options: (drawn.append(Path(path)), Image.new("L", (2, 2)).save(path)),
    )
    page(copied, other)
    assert len(drawn) >= 3
    assert len(set(drawn)) == len(drawn)


def test_what_a_file_says_of_its_data_is_bounded_and_a_strange_speed_left_out(copied):
    factors = np.random.default_rng(0).integers(0, 3, (60, 2))
    record = evaluate(factors.astype(float), factors, "mig", baselines=False)
    save_scores(copied / "scores.json", record, subject={"data": "x" * 100_000, "factors": ["y" * 100_000, "b"]})
    line = {"step": 4, "kimg": 1e14, "images_per_second": 1e-300, "losses": {}}
    (copied / "stats.jsonl").write_text(json.dumps(line) + "\n")
    text, _ = page(copied)
    assert "x" * 80 in text
    assert "x" * 81 not in text
    assert "y" * 81 not in text
