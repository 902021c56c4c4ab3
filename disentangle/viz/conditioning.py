"""Conditioning of the covariances in front of SVD meta-layers, over a training."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from disentangle.errors import InputError
from disentangle.viz.canvas import plain_label, save_figure
from disentangle.viz.figures import logarithmic

__all__ = ["CONDITIONING_NOTE", "conditioning_rows", "save_conditioning_panels"]

CONDITIONING_NOTE = (
    "Solid: condition number over the directions that the features have. Dashed: over all of them; dotted: the same "
    "with the layer's eps added. Where the rank is below the number of channels, the dashed curve only measures "
    "rounding and the dotted one only eps (a 3x3 stem on colour pictures has rank 27 at most): the solid one tells "
    "about the layer in front."
)

_MOST_LAYERS = 40  # that a figure can tell apart, with room to spare
Stats = Mapping[str, Sequence[Mapping[str, Any]]]
_STYLES = (
    ("effective_condition_number", "-", 1.4, "effective"),
    ("condition_number", "--", 0.8, "all directions"),
    ("ridged_condition_number", ":", 0.8, "all, with eps"),
)


def save_conditioning_panels(stats: Stats, folder: str | os.PathLike[str]) -> list[tuple[str, Path]]:
    """Condition numbers, rank and last spectrum of every spectral layer of one or more runs, as pictures.

    Args:
        stats: lines of ``stats.jsonl`` by the run's name.
        folder: where the three .png files go; a small screen can show each.

    Returns:
        What each is, and its file.

    Raises:
        InputError: if no line has such a layer.
    """
    from matplotlib.figure import Figure

    figures = [Figure(figsize=(3.75, 2.9), layout="constrained") for _ in range(3)]
    axes = [figure.subplots() for figure in figures]
    _draw(stats, axes)
    drawn = []
    for number, (figure, axis) in enumerate(zip(figures, axes, strict=True)):
        path = Path(folder) / f"conditioning-{number}.png"
        save_figure(figure, path, dpi=100)
        drawn.append((axis.get_title(), path))
    return drawn


def _draw(stats: Stats, axes: Sequence[Any]) -> None:
    layers = _layers(stats)
    if not layers:
        raise InputError("No run has logged the covariance of a whitening or pooling layer; nothing to draw.")
    conditions, ranks, spectra = axes
    for number, (run, layer) in enumerate(layers):
        rows = [(line["step"], line["spectral"][layer]) for line in stats[run] if layer in line.get("spectral", {})]
        label = plain_label(f"{run} {layer}" if len(stats) > 1 else layer)
        colour = f"C{number % 10}"
        for key, style, width, _ in _STYLES:
            points = [(step, row[key]) for step, row in rows if row[key] is not None]
            if points:
                dot = "." if len(points) == 1 else None  # a line of one point is not seen
                conditions.plot(*zip(*points, strict=True), style, color=colour, linewidth=width, marker=dot)
        conditions.plot([], [], color=colour, label=label)
        dot = "." if len(rows) == 1 else None
        ranks.plot([step for step, _ in rows], [row["rank"] for _, row in rows], color=colour, label=label, marker=dot)
        ranks.axhline(rows[-1][1]["size"], color=colour, linewidth=0.6, linestyle="--")
        spectrum = [value if value is not None and value > 0 else math.nan for value in rows[-1][1]["spectrum"]]
        if spectrum and spectrum[0] > 0:
            shares = [value / spectrum[0] for value in spectrum]
            spectra.plot(range(1, len(shares) + 1), shares, color=colour, marker=".", markersize=3, linewidth=1)
    for _, style, width, name in _STYLES:
        conditions.plot([], [], style, color="grey", linewidth=width, label=name)
    for axis, title, below in (
        (conditions, "condition number of the covariance", "step"),
        (ranks, "rank (dashed: channels)", "step"),
        (spectra, "last eigenvalues over the largest", "number"),
    ):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(below, fontsize=8)
        axis.tick_params(labelsize=8)
    logarithmic(conditions)
    logarithmic(spectra)
    ranks.set_ylim(bottom=0)
    conditions.legend(fontsize=7)


def conditioning_rows(stats: Stats) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: for each run and layer the rank and the geometric means of its condition numbers.

    The means are over all logged steps and over their last fifth, as a single step says little.
    """
    header = [
        "layer",
        "channels",
        "rank",
        "effective, all steps",
        "effective, last fifth",
        "all directions",
        "with eps",
    ]
    rows = []
    for run, layer in _layers(stats):
        lines = [line["spectral"][layer] for line in stats[run] if layer in line.get("spectral", {})]
        last = lines[-max(1, len(lines) // 5) :]
        effective = "effective_condition_number"
        rows.append(
            [
                f"{run} {layer}" if len(stats) > 1 else layer,
                str(lines[-1]["size"]),
                str(lines[-1]["rank"]),
                _mean(lines, effective),
                _mean(last, effective),
                _mean(last, "condition_number"),
                _mean(last, "ridged_condition_number"),
            ]
        )
    return header, rows


def _layers(stats: Stats) -> list[tuple[str, str]]:
    """(run, layer) in the order they come."""
    found = [(run, layer) for run, lines in stats.items() for line in lines for layer in line.get("spectral", {})]
    return list(dict.fromkeys(found))[:_MOST_LAYERS]


def _mean(lines: Sequence[Mapping[str, Any]], key: str) -> str:
    """Geometric mean of the finite values."""
    values = [line[key] for line in lines if line[key] is not None and 0 < line[key] < math.inf]
    return f"{math.exp(sum(map(math.log, values)) / len(values)):.3g}" if values else "infinite"
