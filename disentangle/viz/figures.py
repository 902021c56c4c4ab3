"""Curves of a training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from disentangle.errors import InputError
from disentangle.viz.canvas import plain_label, save_figure

__all__ = ["logarithmic", "save_curves", "save_training_curves"]

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


def save_training_curves(stats: Mapping[str, Sequence[Mapping[str, Any]]], path: str | os.PathLike[str]) -> None:
    """Losses, orthogonality error, condition number and accepted OLR steps over the steps of one or more runs.

    Args:
        stats: lines of ``stats.jsonl`` by the run's name.
        path: a .png file.

    Raises:
        InputError: if no run has logged a step.
    """
    if not any(line["step"] for run in stats.values() for line in run):
        raise InputError("No run has logged a step yet; nothing to draw.")
    from matplotlib.figure import Figure

    lines = [line for run in stats.values() for line in run]
    losses = sorted({name for line in lines for name in line.get("losses", {})})[:_MOST_PANELS]
    panels = [(name if name == "accuracy" else f"loss: {name}", False, _loss_values(name)) for name in losses]
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
    if not panels:
        raise InputError("The logged lines hold no losses, no accuracy and no projections; there is nothing to draw.")
    figure = Figure(figsize=(10, 2.6 * ((len(panels) + 1) // 2)), layout="constrained")
    axes = figure.subplots((len(panels) + 1) // 2, 2, squeeze=False).flatten()
    for axis, (title, log, read) in zip(axes, panels, strict=False):
        for run, own in stats.items():
            curves: dict[str, list[tuple[int, float]]] = {}
            for line in own:
                for name, value in read(line).items():
                    if value is not None:
                        curves.setdefault(name, []).append((line["step"], value))
            for name, points in curves.items():
                label = " ".join(part for part in (run if len(stats) > 1 else "", name) if part)
                axis.plot(*zip(*points, strict=True), label=plain_label(label) if label else "", linewidth=1.2)
        axis.set_title(plain_label(title), fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        if log:
            logarithmic(axis)
        if axis.get_legend_handles_labels()[1] and any(axis.get_legend_handles_labels()[1]):
            axis.legend(fontsize=7)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    save_figure(figure, path)


def _loss_values(name: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda line: {"": line.get("losses", {}).get(name)}


def _projection_values(key: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda line: {name: row.get(key) for name, row in line.get("projections", {}).items()}
