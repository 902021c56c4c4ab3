"""Curves of a training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from disentangle.errors import InputError
from disentangle.viz.canvas import plain_label, save_figure

__all__ = ["logarithmic", "save_curves", "save_training_panels"]

_MOST_PANELS = 40


def logarithmic(axis: Any) -> None:
    """Give a matplotlib axis a logarithmic y whose ticks are plain numbers: 3.6 rather than 3.6 x 10^0."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(Plain())
    axis.yaxis.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    axis.tick_params(axis="y", which="both", labelsize=8)


def save_curves(
    curves: Mapping[str, Sequence[float]], path: str | os.PathLike[str], *, title: str = "loss", made_by: str = ""
) -> None:
    """Positive numbers over steps, on a logarithmic axis: one line a name, as a .png file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axis = figure.subplots()
    for name, values in curves.items():
        axis.plot(range(len(values)), values, label=plain_label(name), linewidth=1.2)
    logarithmic(axis)
    axis.set_title(plain_label(title), fontsize=10)
    axis.set_xlabel("step", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=7)
    save_figure(figure, path, made_by=made_by)


def save_training_panels(
    stats: Mapping[str, Sequence[Mapping[str, Any]]], folder: str | os.PathLike[str]
) -> list[tuple[str, Path]]:
    """Losses, orthogonality error, condition number and accepted OLR steps over the steps of one or more runs.

    Each is a picture of its own, which a small screen can show. What was logged once is a number, and no curve.

    Args:
        stats: lines of ``stats.jsonl`` by the run's name.
        folder: where the .png files go.

    Returns:
        What each picture shows, and its file.

    Raises:
        InputError: if no run has logged a step, or nothing that has a curve.
    """
    if not any(line["step"] for run in stats.values() for line in run):
        raise InputError("No run has logged a step yet; nothing to draw.")
    drawn: list[tuple[str, Path]] = []
    for title, log, read in _panels(stats):
        curves = {run: _curves(own, read) for run, own in stats.items()}
        title, curves = _told_apart(title, curves)
        if all(len(points) < 2 for own in curves.values() for points in own.values()):
            continue
        path = Path(folder) / f"curve-{len(drawn)}.png"
        _save_panel(title, log, curves, path)
        drawn.append((title, path))
    if not drawn:
        raise InputError("Nothing was logged twice yet, so there are no curves.")
    return drawn


Curves = dict[str, list[tuple[int, float]]]  # points (step, value) by name


def _panels(
    stats: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[tuple[str, bool, Callable[[Mapping[str, Any]], dict[str, Any]]]]:
    """Title, whether its axis is logarithmic, and what is read of a line, of each panel that has something to show."""
    lines = [line for run in stats.values() for line in run]
    losses = {name for line in lines for name in line.get("losses", {})}
    whole = ("loss", "accuracy")  # the others are what these are made of
    panels = [
        (name if name in whole else f"loss: {name}", False, _loss_values(name))
        for name in sorted(losses, key=lambda name: (name not in whole, name))[:_MOST_PANELS]
    ]
    if any("validation" in line for line in lines):
        panels.append(("validation accuracy", False, lambda line: {"": line.get("validation", {}).get("accuracy")}))
    if any("learning_rate" in line for line in lines):
        panels.append(("learning rate", False, lambda line: {"": line.get("learning_rate")}))
    for key, title, log in (
        ("orthogonality_error", "orthogonality error", False),
        ("condition_number", "condition number of the projections", True),
        ("row_error", "orthogonality error of their rows at length one", False),
        ("row_length", "length of their rows", False),
        ("olr_acceptance", "share of steps with OLR accepted", False),
    ):
        if any(row.get(key) is not None for line in lines for row in line.get("projections", {}).values()):
            panels.append((title, log, _projection_values(key)))
    return panels


def _curves(lines: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Curves:
    curves: Curves = {}
    for line in lines:
        for name, value in read(line).items():
            if value is not None:
                curves.setdefault(name, []).append((line["step"], value))
    return curves


def _told_apart(title: str, curves: dict[str, Curves]) -> tuple[str, dict[str, Curves]]:
    """The curves, or, of more than can be told apart, the largest value of each run at each step."""
    most = max(map(len, curves.values()), default=0)
    if most <= 1 or sum(map(len, curves.values())) <= _MOST_LINES:
        return title, curves
    largest: dict[str, Curves] = {}
    for run, own in curves.items():
        steps: dict[int, float] = {}
        for points in own.values():
            for step, value in points:
                steps[step] = max(value, steps.get(step, value))
        largest[run] = {"": sorted(steps.items())}
    return f"{title}, largest of {most}", largest


_MOST_LINES = 8  # in one panel


def _save_panel(title: str, log: bool, curves: dict[str, Curves], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.75, 2.5), layout="constrained")
    axis = figure.subplots()
    for run, own in curves.items():
        for name, points in own.items():
            several = sum(map(len, curves.values())) > 1
            label = " ".join(part for part in (run if len(curves) > 1 else "", name) if part) if several else ""
            axis.plot(
                *zip(*points, strict=True), label=plain_label(label) if label else "", linewidth=1.3,
                marker="." if len(points) == 1 else None,
            )  # fmt: skip
    axis.set_title(plain_label(title), fontsize=10)
    axis.set_xlabel("step", fontsize=9)
    axis.tick_params(labelsize=9)
    if log:
        logarithmic(axis)
    if any(axis.get_legend_handles_labels()[1]):
        axis.legend(fontsize=8)
    save_figure(figure, path, dpi=100)


def _loss_values(name: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda line: {"": line.get("losses", {}).get(name)}


def _projection_values(key: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda line: {name: row.get(key) for name, row in line.get("projections", {}).items()}
