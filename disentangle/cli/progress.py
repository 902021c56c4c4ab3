"""Progress of long work: a bar on a terminal; elsewhere a line now and then of a training, of others a last one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click

from disentangle.cli.options import note
from disentangle.cli.results import console
from disentangle.text import escaped, lasting, rounded

__all__ = ["Pace", "PlainLines", "counting_progress", "stages_progress", "training_progress"]


class Pace:
    """How long a training takes, at the pace of the steps after its first, which is slower than the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.now = self._begun = clock()
        self._first: int | None = None
        self._estimated = False

    def at(self, step: int, steps: int) -> None:
        """Take note that ``step`` of ``steps`` is done now."""
        self.now, self.step, self.steps = self.clock(), step, steps
        if self._first is None:
            self._first, self._begun = step, self.now

    @property
    def elapsed(self) -> float:
        """Seconds since the first step was done."""
        return self.now - self._begun

    @property
    def left(self) -> float | None:
        """Seconds until the last step is done; None where that is not known yet."""
        assert self._first is not None
        taken = self.step - self._first
        return (self.steps - self.step) * self.elapsed / taken if taken else None

    def estimate(self, rate: float) -> str | None:
        """Once, when enough steps are done to tell: a line that says how long it will take, if that is long."""
        if self._estimated or self.left is None or self.elapsed < _TELLING:
            return None
        self._estimated = True
        if self.left < _LONG:
            return None
        unit = 60 if self.left < 7200 else 600
        about = unit * round(self.left / unit)
        return (
            f"{self.steps:,} steps: about {lasting(about)} more at {rounded(rate)} images/s; Ctrl-C saves, the same "
            "command continues."
        )


_TELLING = 10.0  # seconds of steps that an estimate stands on
_LONG = 120.0  # seconds from which a training is worth an estimate


class PlainLines:
    """A line now and then where there is no terminal: at every tenth of a training, and twice a minute.

    After ten minutes the lines come further apart, up to one in five minutes, so that the log of a night can be read.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.say, self.pace = say, Pace(clock)
        self._told_at = self.pace.now
        self._tenth: int | None = None

    def __call__(self, step: int, steps: int, rate: float, losses: Mapping[str, float]) -> None:
        pace = self.pace
        pace.at(step, steps)
        estimate = pace.estimate(rate)
        if estimate is not None:
            self.say(estimate)
        tenth = 10 * step // steps
        if self._tenth is None:  # the first step of this call, which may continue a run; loading took its time before
            self._tenth, self._told_at = tenth, pace.now
        since = pace.now - self._told_at
        due = since >= min(max(30.0, pace.elapsed / 20), 300.0) or (tenth > self._tenth and since >= _APART)
        if not due or step == steps:  # the last step has a line of its own
            return
        self._told_at, self._tenth = pace.now, tenth
        left = "" if pace.left is None else f", {lasting(pace.left)} left"
        shown = f": {_named(losses)}" if losses else ""
        self.say(f"step {step:,} of {steps:,}, {rounded(rate)} images/s{left}{shown}")


_APART = 2.0  # seconds between two lines at least


@contextmanager
def training_progress(
    ctx: click.Context, what: str
) -> Iterator[Callable[[int, int, float, Mapping[str, float]], None] | None]:
    """A callback for a training loop: step, steps, images per second, latest losses.

    A bar with the time left on a terminal, elsewhere a plain line now and then; in both an estimate of how long it
    takes, once the first steps have told.
    """
    if (ctx.find_root().obj or {}).get("quiet"):
        yield None
        return
    if not sys.stderr.isatty():
        yield PlainLines(lambda line: note(ctx, line))
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = console(stderr=True)
    wide = max(5, min(40, terminal.width // 8))
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=wide),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} images/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}", markup=False),
    )
    pace = Pace()
    with Progress(*columns, console=terminal) as bar:
        name = escaped(what, most=max(12, min(60, terminal.width // 4)))
        task = bar.add_task(name, total=None, rate="0", losses="")

        def update(step: int, steps: int, rate: float, losses: Mapping[str, float]) -> None:
            # The losses take what is left of the line: a table would take it from the step and the time.
            fixed = len(name) + wide + 2 * len(str(steps)) + 1 + len(f"{rounded(rate)} images/s") + 9 + 5
            latest = escaped(_named(losses), most=max(0, terminal.width - fixed - 1))
            bar.update(task, completed=step, total=steps, rate=rounded(rate), losses=latest)
            pace.at(step, steps)
            estimate = pace.estimate(rate)
            if estimate is not None:
                terminal.print(estimate)

        yield update


def _named(losses: Mapping[str, float]) -> str:
    return escaped(" ".join(f"{name} {value:.3g}" for name, value in losses.items()), most=200)


@contextmanager
def stages_progress(ctx: click.Context) -> Iterator[Callable[[str, int, int], None] | None]:
    """A callback for work in stages that count things: stage, done, in all; a bar a count.

    Stages that go on with the count of the one before, as metrics of one evaluation do, share its bar.
    """
    if (ctx.find_root().obj or {}).get("quiet") or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f}/s" if task.speed and task.speed >= 1 else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        bars: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            name = escaped(stage, most=60)
            if stage not in bars:
                last = bar.tasks[-1] if bar.tasks else None
                goes_on = last is not None and last.total == total and 0 < last.completed <= done and not last.finished
                bars[stage] = last.id if last is not None and goes_on else bar.add_task(name, total=total)
            bar.update(bars[stage], description=name, completed=done, total=total)

        yield update


@contextmanager
def counting_progress(ctx: click.Context, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A callback for work that counts things: done, in all."""
    with stages_progress(ctx) as progress:
        yield None if progress is None else lambda done, total: progress(what, done, total)
