"""Names and texts from files and arguments are shown as they are: no markup, no formulas, nothing a terminal obeys."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.cli.progress import counting_progress
from disentangle.cli.results import print_json, print_line, print_table, print_text
from disentangle.cli.tables import print_scores
from disentangle.evaluations import Score, save_scores
from disentangle.viz.canvas import plain_label
from disentangle.viz.conditioning import save_conditioning_panels
from disentangle.viz.confusion import save_confusion_matrix
from disentangle.viz.figures import save_curves, save_training_panels
from disentangle.viz.grid import image_grid
from disentangle.viz.matrices import save_score_matrices
from disentangle.viz.report import Picture, Section, Table, save_report
from tests.cli.conftest import invoke

HOSTILE = [
    "[/x]", "[bold red]", "[link=file:///etc]x[/link]", ":skull:", "$x^$", "$\\frac{$", "\\$", "_hidden", "",
    "\x1b]0;owned\x07\x1b[2J", "two\nlines\r", "\u202egnp.exe", "\udcff", "\x9b2J", "<script>alert(1)</script>",
    "a" * 10_000, "\N{CJK UNIFIED IDEOGRAPH-8DDD}", "%s{0}{x}", "\t", "\0",
]  # fmt: skip


def assert_harmless(text: str) -> None:
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_what_is_printed(name, capsys):
    print_line(name)
    print_table([name, "b"], [[name, name]], title=name)
    print_text(f"{name}\nx")
    print_json({name: name})
    output = capsys.readouterr().out
    assert_harmless(output)
    for kept in ("[/x]", "[bold red]", ":skull:", "$x^$", "%s{0}{x}"):
        assert (kept in output) == (kept == name)


def test_figures_and_grids(tmp_path):
    every = np.eye(len(HOSTILE))
    layer = {
        "condition_number": 3.0, "effective_condition_number": 2.0, "ridged_condition_number": 2.5, "rank": 2,
        "size": 2, "spectrum": [1.0, 0.1],
    }  # fmt: skip
    projection = {"orthogonality_error": 1.0, "condition_number": 1.0}
    line = {
        "step": 1, "losses": {"a": 1.0, "$b": 2.0}, "spectral": dict.fromkeys(HOSTILE[:8], layer),
        "projections": dict.fromkeys(HOSTILE, projection),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        save_confusion_matrix(every, HOSTILE, tmp_path / "c.png")
        save_curves(dict.fromkeys(HOSTILE, (1.0, 0.5)), tmp_path / "l.png", title="$x^$")
        score = Score("$x^$\x1b", 0.5, parts={"matrix": every, "factors": np.arange(len(HOSTILE))})
        save_score_matrices({"a": score}, HOSTILE, tmp_path / "m.png")
        later = [line, {**line, "step": 2}]
        save_training_panels({"$x^$": later, "_b": later}, tmp_path)
        save_conditioning_panels({"$x^$": [line], "_b": [line]}, tmp_path)
        pictures = torch.zeros(len(HOSTILE), 2, 3, 16, 16)
        grid = image_grid(pictures, row_labels=HOSTILE, column_labels=["\x1b", "b"])
    assert grid.width < 2000
    for name in HOSTILE:
        assert plain_label(name).replace("\\$", "").count("$") == 0


def test_a_legend_shows_names_that_begin_with_an_underscore():
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    axis.plot([1], [1], label=plain_label("_hidden"))
    assert [text.strip() for text in axis.get_legend_handles_labels()[1]] == ["_hidden"]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_the_page(name, tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "p.png")
    section = Section(
        name, [name], f"{name}\n{{}}", [Table([name], [[name]])], [Picture(tmp_path / "p.png", f'{name}"')]
    )
    save_report(tmp_path / "r.html", name, [section], lead=name)
    page = (tmp_path / "r.html").read_text()
    assert_harmless(page)
    assert "<script" not in page
    assert page.count("<img ") == page.count("<figcaption>") == 1
    assert 'alt="' in page


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_a_progress_bar(name, monkeypatch):
    import io

    import click

    from disentangle.cli import cli

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    with counting_progress(click.Context(cli), name) as progress:
        progress(1, 3)
    shown = terminal.getvalue()
    for forbidden in ("\x1b]", "\x1b[2J", "\x07", "\u202e", "\udcff", "\x9b"):
        assert forbidden not in shown


@pytest.mark.parametrize(
    "name", ["d[/x].npy", "d[bold].npy", ":smile:.npy", "$x^$.npy", "\x1b[2J.npy", "a\nb.npy", "\udcff.npy"]
)
def test_files_with_hostile_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    factors = np.random.default_rng(0).integers(0, 4, (300, 2))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    np.save(name, factors)
    files = ["--codes", name, "--factors", name, "--out", f"{name}.json", "--figure", f"{name}.png"]
    for further in ([], ["--json"]):
        result = invoke("evaluate", *files, "--report", f"{name}.html", "--metrics", "mig", "--jobs", 1, *further)
        assert result.exit_code == 0, (result.output, result.exception)
        assert_harmless(result.output)
    assert_harmless((tmp_path / f"{name}.html").read_text())
    compared = invoke("compare", f"{name}.json", f"{name}.json")
    assert compared.exit_code == 0, (compared.output, compared.exception)
    assert_harmless(compared.output)


def test_hostile_labels_of_directions(run, tmp_path):
    file = tmp_path / "d.safetensors"
    run("directions", "find", "vae-rooms", "--method", "basis", "--out", file)
    run("directions", "label", file, "0=[/x]", "1=\x1b[2J", "2=$x^$", "3=a\nb")
    listed = run("directions", "show", file)
    assert "[/x]" in listed
    assert_harmless(listed)
    run("traverse", "vae-rooms", "--directions", file, "--dims", "0-3", "--steps", 2, "--out", tmp_path / "w.png")
    result = invoke("directions", "label", file, f"0={'x' * 1000}")
    assert result.exit_code == 2


@pytest.mark.parametrize("factors", [1, 5, 30])
def test_no_cell_is_lost_in_80_columns(factors, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    values = np.arange(factors) / 100 + 0.001
    parts = {"per_factor": values, "factors": np.arange(factors), "completeness": 0.4321}
    scores = {name: Score(name, 0.9876, parts=parts, chance=0.1234) for name in ("mig", "med")}
    print_scores(scores, [f"factor_{i}" for i in range(factors)], "title")
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    for text in ("0.988", "0.123", "0.432", "…", *(f"{value:.3f}" for value in values)):
        assert (text in output) == (text != "…")


def test_logged_messages(caplog):
    import logging

    from disentangle.cli.results import EscapedMessages

    record = logging.LogRecord("a", logging.WARNING, "f", 1, "name %s", ("\x1b[2J\nError: forged",), None)
    assert EscapedMessages().format(record) == r"name \x1b[2J\nError: forged"


def test_compare_of_hostile_settings(tmp_path):
    for number, name in enumerate(("a.json", "b.json")):
        score = Score("mig", 0.5, settings={"bins": ["\x1b[2J" * 10**6, number]})
        save_scores(tmp_path / name, {"mig": score}, subject={})
    result = invoke("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert "different settings" in str(result.exception)
    assert_harmless(str(result.exception))
    assert len(str(result.exception)) < 4001
    both = invoke("compare", tmp_path / "a.json", tmp_path / "b.json", "--force", "--json")
    assert json.loads(both.stdout)[0]["settings_differ"] == ["bins"]
