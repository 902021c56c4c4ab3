"""The recipes of CONTRIBUTING.md lead somewhere: every file, list and record that one names is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
TO_ADD = PAGE.split("## To add")[1].split("\n## ")[0]
RECIPES = dict(re.findall(r"^- \*\*an? (.+?)\*\*: (.+?)(?=^- \*\*|\Z)", TO_ADD, re.S | re.M))
PLACES = [ROOT, ROOT / "disentangle"]
# The list that a recipe ends in, and where it is.
LISTS = {
    "treatment": ("disentangle.optim.registry", "MODES"),
    "checkpoint of another project": ("disentangle.io.foreign.registry", "FORMATS"),
    "method that finds directions": ("disentangle.latents.methods", "METHODS"),
    "metric": ("disentangle.evaluations.disentanglement.registry", "METRICS"),
    "data set": ("disentangle.data.registry", "SOURCES"),
}


def test_there_are_recipes() -> None:
    assert set(LISTS) <= set(RECIPES)
    assert len(RECIPES) >= 9


@pytest.mark.parametrize("name", RECIPES)
def test_every_file_that_a_recipe_names_exists(name: str) -> None:
    named = [word for word in re.findall(r"`([^`]+)`", RECIPES[name]) if re.fullmatch(r"[\w./]+(\.\w+|/)", word)]
    assert named, "a recipe says where"
    for word in named:
        assert any((place / word).exists() for place in PLACES), f"{name}: {word}"


@pytest.mark.parametrize("name", LISTS)
def test_the_list_that_a_recipe_names_takes_the_record_that_it_names(name: str) -> None:
    module, registry = LISTS[name]
    assert f"{module.removeprefix('disentangle.').replace('.', '/')}.py" in RECIPES[name]
    records = getattr(importlib.import_module(module), registry)
    assert f"= {records.kind.__name__}(...)" in RECIPES[name]
    assert callable(importlib.import_module(module).register)
