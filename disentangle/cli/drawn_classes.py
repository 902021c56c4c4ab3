"""Which classes of a conditional generator ``disentangle evaluate`` draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle.cli.options import note

if TYPE_CHECKING:
    from disentangle.evaluations import Score

__all__ = ["as_in_reference", "drawn_classes"]


def drawn_classes(
    ctx: click.Context, generator: Any, reference: str | None, data_dir: Path | None, *, label: int | None,
    classes: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The keyword of a score that says which classes are drawn, none for all alike; what was chosen is said."""
    from disentangle.errors import ArgumentError

    count = getattr(generator, "c_dim", 0)
    if not count:
        if label is not None or classes is not None:
            raise ArgumentError("--label or --classes was given, but this generator has no classes; leave it out.")
        return {}
    if label is not None:
        if label >= count:
            raise ArgumentError(f"--label is {label}; expected a class from 0 to {count - 1}.")
        note(ctx, f"{count} classes: class {label} alone.")
        return {"label": label}
    if classes == "uniform":
        note(ctx, f"{count} classes, drawn uniformly.")
        return {}
    shares, why = _shares(reference, data_dir, count)
    if shares is None:
        if classes == "reference":
            raise ArgumentError(f"--classes is reference, but {why}; give --classes uniform, or one class by --label.")
        note(ctx, f"{count} classes, drawn uniformly, since {why}.")
        return {}
    note(ctx, f"{count} classes, drawn as often as in {reference}.")
    return {"class_shares": shares}


def _shares(reference: str | None, data_dir: Path | None, count: int) -> tuple[list[int] | None, str]:
    """Pictures of each class in the reference; or None, and why that cannot be told."""
    import torch

    from disentangle.data import open_data
    from disentangle.errors import DisentangleError

    if reference is None:
        return None, "there is no reference"
    without = f"{reference} has no classes"
    place = Path(reference)
    if place.suffix.lower() in (".npz", ".npy"):
        return None, without
    try:
        source: Any = open_data(reference, data_dir=data_dir, resolution=8 if place.exists() else None)
    except DisentangleError:  # whatever is wrong with it is said where its pictures are read
        return None, without
    labels, names = getattr(source, "labels", None), getattr(source, "class_names", ())
    if labels is None or not len(names):
        return None, without
    if len(names) != count:
        return None, f"{reference} has {len(names)} classes and the model {count}"
    return torch.bincount(labels, minlength=count).tolist(), ""


def as_in_reference(score: Score) -> Score:
    """A score whose shares are those of the reference, so named."""
    if "class_shares" not in score.settings:
        return score
    return replace(score, settings={**score.settings, "classes_drawn": "as often as in the reference"})
