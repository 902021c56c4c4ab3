"""What is public is written down: no name goes, and no argument changes, by accident."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest

import disentangle

INVENTORY = Path(__file__).with_name("public_names.json")
PACKAGES = [
    "disentangle",
    *(f"disentangle.{name}" for name in ("data", "evaluations", "io", "latents", "linalg", "models", "nn", "optim")),
    "disentangle.evaluations.disentanglement",
    "disentangle.evaluations.features",
    "disentangle.evaluations.generation",
    "disentangle.training",
    "disentangle.viz",
]


def public_names() -> dict[str, dict[str, str]]:
    """Package to name to its arguments as one writes them, or to what it is."""
    return {
        package: {name: described(getattr(module, name)) for name in sorted(module.__all__)}
        for package in PACKAGES
        for module in (importlib.import_module(package),)
    }


def described(thing: object) -> str:
    """``(weight, *, steps=)`` for what is called: its arguments, their order and kinds, and which may be left out."""
    if not callable(thing) or (isinstance(thing, type) and issubclass(thing, tuple | dict | list | BaseException)):
        return f"a {type(thing).__name__}"
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return f"a {type(thing).__name__}"
    parts, starred = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        parts.append(f"{stars}{parameter.name}{'' if parameter.default is parameter.empty else '='}")
    return f"({', '.join(parts)})"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_inventory_is_what_is_there(package: str) -> None:
    """Something else on purpose: `python scripts/list_public_names.py`, and UPGRADING.md for what went or changed."""
    assert public_names()[package] == json.loads(INVENTORY.read_text())[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_shows_what_is_public(package: str) -> None:
    module = importlib.import_module(package)
    assert dir(module) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


def test_every_package_that_has_an_inventory_is_reached_from_the_first() -> None:
    for package in PACKAGES[1:]:
        first = package.split(".")[1]
        assert getattr(disentangle, first) is importlib.import_module(f"disentangle.{first}")


def test_arguments_are_described_as_they_are_written() -> None:
    def function(first, second=1, *rest, third, fourth=2, **others):
        pass

    assert described(function) == "(first, second=, *rest, third, fourth=, **others)"
    assert described(lambda a, *, b: None) == "(a, *, b)"
    assert described(3) == "a int"
