"""docs/checkpoints.md says of each format which settings its files leave open, as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from disentangle.io.foreign.registry import FORMATS
from disentangle.io.foreign.unstated import Setting

PAGE = Path(__file__).parents[3] / "docs" / "checkpoints.md"
ALL = {family.name: family.settings for family in FORMATS.values()}


def rows() -> dict[str, str]:
    """The last cell of each format's row, by what its first begins with."""
    table = PAGE.read_text("utf-8").split("## What is known of each format")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {row[0]: row[-1] for row in cells if len(row) == 4 and row[0] != "format"}


def row_of(name: str) -> str:
    found = [last for first, last in rows().items() if first.startswith(name)]
    assert len(found) == 1, f"{name} has {len(found)} rows in {PAGE.name}"
    return found[0]


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_format_and_its_settings_are_documented(name):
    row = row_of(name)
    for setting in ALL[name]:
        assert f"`{documented(setting)}`" in row, f"{documented(setting)} of {name}"


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_other_setting_is_documented(name):
    known = {setting.name for setting in ALL[name]}
    named = {match[1] for match in re.finditer(r"`([a-z_]+)(?:=[^`]*)?`", row_of(name))}
    every = {setting.name for settings in ALL.values() for setting in settings}
    assert named & every <= known


def documented(setting: Setting) -> str:
    """``tanh=true``, ``lr_mlp=0.01``, ``clamp=none``; those of each layer by their names alone."""
    if isinstance(setting.default, tuple):
        return setting.name
    plain = setting.default is None or isinstance(setting.default, bool)
    return f"{setting.name}={str(setting.default).lower() if plain else f'{setting.default:g}'}"
