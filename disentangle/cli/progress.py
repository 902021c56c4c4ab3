"""Progress of long work: a bar on a terminal, nothing but a last line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click

from disentangle.cli.results import console
from disentangle.text import escaped

__all__ = ["counting_progress", "stages_progress", "training_progress"]


@contextmanager
def training_progress(
    ctx: click.Context, what: str
) -> Iterator[Callable[[int, int, float, Mapping[str, float]], None] | None]:
    """A callback for a training loop: step, steps, images per second, latest losses; shows the time left."""
    if (ctx.find_root().obj or {}).get("quiet") or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}", markup=False),
    )
    with Progress(*columns, console=console(stderr=True)) as bar:
        task = bar.add_task(escaped(what, most=60), total=None, rate=0.0, losses="")

        def update(step: int, steps: int, rate: float, losses: Mapping[str, float]) -> None:
            latest = escaped(" ".join(f"{name} {value:.3g}" for name, value in losses.items()), most=200)
            bar.update(task, completed=step, total=steps, rate=rate, losses=latest)

        yield update


@contextmanager
def stages_progress(ctx: click.Context) -> Iterator[Callable[[str, int, int], None] | None]:
    """A callback for work in stages that count things: stage, done, in all; a bar a stage."""
    if (ctx.find_root().obj or {}).get("quiet") or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        tasks = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(escaped(stage, most=60))
            bar.update(tasks[stage], completed=done, total=total)

        yield update


@contextmanager
def counting_progress(ctx: click.Context, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A callback for work that counts things: done, in all."""
    with stages_progress(ctx) as progress:
        yield None if progress is None else lambda done, total: progress(what, done, total)
