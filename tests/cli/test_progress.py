"""How far a training is: plain lines where there is no terminal, a line that fits where there is one."""

from __future__ import annotations

import io
import itertools
import re

import click
import pytest

from disentangle.cli import cli
from disentangle.cli.progress import Pace, PlainLines, stages_progress, training_progress
from disentangle.text import lasting
from disentangle.training.presets.tables import CLASSIFIER, GAN, PROGAN, STYLEGAN, VAE
from tests.cli.conftest import SMALL_VAE, invoke


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def lines(steps: int, seconds: float, *, first: int = 1) -> list[tuple[float, str]]:
    """What is said in a training whose steps each take so many seconds, and when."""
    clock, said = Clock(), []
    begun = clock.time
    progress = PlainLines(lambda line: said.append((clock.time - begun, line)), clock)
    for step in range(first, steps + 1):
        clock.time += seconds
        progress(step, steps, 64 / seconds, {"loss": 1.0 / step})
    return said


def test_a_line_at_every_tenth():
    said = [line for _, line in lines(1000, 0.1)]
    assert [int(line.split()[1]) for line in said if line.startswith("step")] == [*range(100, 1000, 100)]
    assert said[0] == "step 100 of 1,000, 640 images/s, 1 min 30 s left: loss 0.01"


def test_half_a_minute_is_never_silent_at_first():
    times = [0.0, *(when for when, _ in lines(5000, 1.7) if when < 600)]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 32


@pytest.mark.parametrize(("steps", "seconds", "most"), [(100, 0.01, 0), (20, 0.5, 9), (400_000, 1.0, 2000)])
def test_never_a_flood(steps: int, seconds: float, most: int):
    said = lines(steps, seconds)
    assert len(said) <= most
    assert all(later - earlier >= 2 for (earlier, _), (later, _) in itertools.pairwise(said[1:]))


def test_the_estimate_comes_once_after_the_first_steps():
    said = lines(100_000, 0.18)
    (when, estimate), *others = said
    assert when < 12
    assert estimate == "100,000 steps: about 5 h more at 356 images/s; Ctrl-C saves, the same command continues."
    assert not any("about" in line for _, line in others)
    assert not any("about" in line for _, line in lines(500, 0.1)), "nothing to plan for"


def test_the_first_step_of_all_does_not_count():
    clock = Clock()
    pace = Pace(clock)
    clock.time += 60  # compiling, filling caches
    pace.at(1, 101)
    assert pace.left is None
    clock.time += 2
    pace.at(2, 101)
    assert pace.left == pytest.approx(198)


def test_a_run_that_is_continued_estimates_what_is_left():
    assert lines(100_000, 0.18, first=90_001)[0][1].startswith("100,000 steps: about 30 min more")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue()).rstrip())


def terminal_of(width: int, monkeypatch) -> Terminal:
    shown = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stderr", shown)
    return shown


@pytest.mark.parametrize("width", [60, 80, 120])
def test_step_and_time_fit_the_terminal(width: int, monkeypatch):
    terminal = terminal_of(width, monkeypatch)
    losses = {"discriminator": 1.33, "generator": 0.76, "penalty": 0.0095}
    with training_progress(click.Context(cli), "train eigengan") as progress:
        assert progress is not None
        progress(1233, 100_000, 64.3, losses)
        progress(1234, 100_000, 64.3, losses)
    shown = terminal.lines()
    assert len(shown[-1]) <= width
    assert "1234/100000" in shown[-1]
    assert re.search(r"images/s +[-0-9:]{7,}", shown[-1])
    assert ("penalty 0.0095" in shown[-1]) == (width >= 120)


def test_stages_of_one_count_share_a_bar(monkeypatch):
    """No bar stands still where the next metric goes on; another count, and one that begins anew, have their own."""
    terminal = terminal_of(80, monkeypatch)
    with stages_progress(click.Context(cli)) as progress:
        assert progress is not None
        for stage, done, total in (("encode", 9, 9), ("mig", 0, 4), ("mig", 2, 4), ("sap", 4, 4), ("images", 4, 4)):
            progress(stage, done, total)
    shown = [re.sub(r"[^ -~]+", " ", line).split()[:2] for line in terminal.lines()][-3:]
    assert shown == [["encode", "9/9"], ["sap", "4/4"], ["images", "4/4"]]


def test_a_training_without_a_terminal_says_only_what_took_its_time(tmp_path):
    result = invoke(*SMALL_VAE, "--out", tmp_path / "run")
    assert result.exit_code == 0, (result.output, result.exception)
    assert re.fullmatch(r"4 steps in [0-9.]+ s: \S+\n", result.stderr)
    before = (tmp_path / "run" / "environment.json").read_bytes()
    again = invoke(*SMALL_VAE, "--out", tmp_path / "run")
    assert "has its 4 steps already: nothing is left to train. More of them: --steps 8." in again.stderr
    assert (tmp_path / "run" / "environment.json").read_bytes() == before
    more = invoke(*SMALL_VAE, "--out", tmp_path / "run", "--steps", 6)
    assert re.search(r"^2 steps in .*, 6 in all: ", more.stderr)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0.4 s"), (9.97, "10 s"), (59.7, "1 min"), (3599.7, "1 h"), (18_120, "5 h 2 min"), (90_000, "1 day 1 h"),
     (2 * 86_400, "2 days")],
)  # fmt: skip
def test_lengths_of_time(seconds: float, said: str):
    assert lasting(seconds) == said


@pytest.mark.parametrize("kind", ["vae", "classifier", "eigengan", "gan", "progan", "stylegan2", "projection"])
def test_help_tells_defaults_and_the_length(kind: str):
    text = " ".join(invoke("train", kind, "--help").output.split())
    for row in (*VAE.values(), *GAN.values(), *PROGAN.values(), *STYLEGAN.values()):
        if row[0] == kind:
            assert f"{row[-1]:,}" in text
    assert kind != "classifier" or f"{CLASSIFIER['classifier-small-32'][-3]} epochs" in text
    command = cli.get_command(click.Context(cli), "train").get_command(click.Context(cli), kind)  # type: ignore
    without = {"data", "fields", "config_file", "out", "device", "init", "discriminator", "dry_run"}
    for param in command.params:
        if param.name not in without and not param.is_flag:
            assert "default" in param.help or param.show_default, param.name


@pytest.mark.parametrize("kind", ["vae", "classifier"])
def test_the_field_that_help_sets_is_one(kind: str):
    """Of every kind of training, not of an EigenGAN alone."""
    said = invoke("train", kind, "--help").output
    ((field, value),) = re.findall(r"--dry-run\s+shows,\s+e\.g\.\s+(\w+)=(\d+)", said)
    result = invoke(
        "train", kind, "--data", "fashion-mnist", "--resolution", 32, "--dry-run", "--set", f"{field}={value}"
    )
    assert f'"{field}": {value}' in result.output
