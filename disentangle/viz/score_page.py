"""Scores on a page: the numbers, how each was measured, what they are made of, and then what each means."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from disentangle.viz.matrices import save_score_panels
from disentangle.viz.report import Picture, Section, Table
from disentangle.viz.scores import (
    CONTEXT_LABELS,
    LOWER,
    all_settings,
    class_rows,
    explanations,
    score_table,
    settings_table,
)

__all__ = ["score_section"]

_CONTEXT = (
    "Chance is the score of the same codes dealt to other points; the ceiling is the score of a perfect "
    "representation of the same factors with as many live codes."
)


def score_section(
    scores: Mapping[str, Any],
    factors: Sequence[str],
    title: str,
    *,
    folder: str | os.PathLike[str],
    prefix: str = "matrix",
    classes: Sequence[str] = (),
    command: str = "",
) -> Section:
    """A section of :func:`disentangle.viz.report.save_report` that holds scores.

    Args:
        scores: :class:`disentangle.evaluations.Score` by name.
        factors: names of the factors.
        title: the heading.
        folder: where its pictures are written.
        prefix: of their names.
        classes: names of the classes, of a classifier.
        command: that gives these scores.

    Raises:
        InputError: if the scores do not have a number for each class.
    """
    header, rows = score_table(scores, factors)
    first = next((i for i in range(2, len(header)) if header[i] not in CONTEXT_LABELS), len(header))
    how, measured = settings_table(scores)
    labels = {score.name: cells for score, (_, *cells) in zip(scores.values(), measured, strict=True)}
    main = [[*row[:first], *labels.get(_name(row[0]), [""] * (len(how) - 1))] for row in rows]
    tables = [Table([*header[:first], *how[1:]], main)]
    cells = [[row[0], *row[first:]] for row in rows if any(row[first:])]
    if cells:
        tables.append(Table(["score", *header[first:]], cells, title="By factor"))
    if "accuracy/per-class" in scores:
        tables.append(Table(["class", "accuracy", "pictures"], class_rows(scores, classes), title="By class"))
    pictures = [
        Picture(path, "", narrow=True, alt=caption)
        for caption, path in save_score_panels(scores, factors, folder, prefix=prefix)
    ]
    context = any(score.chance is not None or score.ceiling is not None for score in scores.values())
    return Section(
        title,
        paragraphs=[f"{LOWER.strip()}: less is better."] if any(row[0].endswith(LOWER) for row in rows) else [],
        command=command,
        tables=tables,
        pictures=pictures,
        notes=[*([_CONTEXT] if context else []), *explanations(scores)],
        details=[("Every setting of each score", Table(*all_settings(scores), prose=True))] if scores else [],
    )


def _name(label: str) -> str:
    """The score that a row is of; the label of its first row is longer where it has several."""
    return label.removesuffix(LOWER).removesuffix(" disentanglement")
