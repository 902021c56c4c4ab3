"""``disentangle compare``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from disentangle.cli.options import json_option, note
from disentangle.cli.results import print_json, print_table
from disentangle.text import quoted

__all__ = ["command", "differing_settings"]

# What may differ between two scores that are compared: it does not move a value, or it is what is being compared.
_FREE = {
    "packages", "dead_codes", "constant_codes", "duplicate_codes", "n_codes", "live_codes", "active_codes", "route",
    "warning", "notes", "pictures_encoded", "interval", "codes_dtype", "informative",
}  # fmt: skip


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Compare scores of different settings too; they are marked.")
@json_option
@click.pass_context
def command(ctx: click.Context, first: Path, second: Path, force: bool, as_json: bool) -> None:
    """Scores of two files side by side, if they were measured alike.

    Refuses when a setting that moves a value differs, and says which: protocol, bins, points, extractor, weights, seed.

    \b
    Examples:
      disentangle compare runs/plain/scores.json runs/nog/scores.json
      disentangle compare a.json b.json --json
    """
    from disentangle.errors import InputError
    from disentangle.evaluations import load_scores

    one, two = load_scores(first)[0], load_scores(second)[0]
    shared = [name for name in one if name in two]
    if not shared:
        raise InputError(
            f"{first} has {', '.join(one) or 'no score'} and {second} {', '.join(two) or 'none'}; no score is in both."
        )
    different = {name: differing_settings(one[name], two[name]) for name in shared}
    if not force:
        for name, settings in different.items():
            if settings:
                key = settings[0]
                raise InputError(
                    f"{name} was measured with different settings: {key} is {_value(one[name], key)} in {first} and "
                    f"{_value(two[name], key)} in {second}{_more(settings)}; measure both alike, or give --force."
                )
    rows: list[dict[str, Any]] = [
        {
            "score": one[name].name,
            "first": one[name].value,
            "second": two[name].value,
            "better": _better(one[name], two[name]),
            "settings_differ": different[name],
        }
        for name in shared
    ]
    if as_json:
        print_json(rows)
        return
    cells = [
        [
            f"{row['score']}{'*' if row['settings_differ'] else ''}", f"{row['first']:.4f}", f"{row['second']:.4f}",
            f"{row['second'] - row['first']:+.4f}", str(row["better"]),
        ]
        for row in rows
    ]  # fmt: skip
    print_table(["score", str(first), str(second), "difference", "better"], cells)
    if any(row["settings_differ"] for row in rows):
        note(ctx, "* measured with different settings")


def differing_settings(one: Any, two: Any) -> list[str]:
    """Names of the settings that differ and may move the value; ``name`` where the scores are not of one kind."""
    if one.name != two.name:
        return ["name"]
    keys = [*one.settings, *(key for key in two.settings if key not in one.settings)]
    return [key for key in keys if key not in _FREE and not _alike(one.settings.get(key), two.settings.get(key))]


def _alike(one: Any, two: Any) -> bool:
    """Whether two settings are equal; NaN, which equals nothing, is the same setting as NaN."""
    return bool(one == two) or (one != one and two != two)


def _value(score: Any, key: str) -> Any:
    value = score.name if key == "name" else score.settings.get(key)
    return f"{len(value)} entries" if isinstance(value, (list, Mapping)) and len(value) > 6 else quoted(value, most=60)


def _more(settings: list[str]) -> str:
    return f" (and {', '.join(settings[1:4])}{' ...' if len(settings) > 4 else ''})" if len(settings) > 1 else ""


def _better(one: Any, two: Any) -> str:
    if math.isnan(one.value) or math.isnan(two.value):
        return "not known"
    if one.value == two.value:
        return "equal"
    return "second" if (two.value > one.value) == one.higher_is_better else "first"
