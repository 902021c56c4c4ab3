"""One way to plug: what a registry takes, what it refuses, and packages that name theirs as an entry point."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from disentangle import plugins
from disentangle.errors import InputError
from disentangle.plugins import Registry


@dataclass(frozen=True)
class Colour:
    name: str
    shade: int
    about: str = ""


def builtin() -> Iterator[Colour]:
    yield Colour("red", 1)
    yield Colour("blue", 2)


@pytest.fixture
def colours() -> Registry[Colour]:
    return Registry("colour", Colour, builtin)


def test_a_registry_is_a_mapping_in_order(colours: Registry[Colour]) -> None:
    green = Colour("green", 3)
    assert colours.register(green) is green
    assert list(colours) == ["red", "blue", "green"]
    assert len(colours) == 3
    assert colours["green"] is green
    assert colours.find("blue").shade == 2
    with pytest.raises(InputError, match=r"Unknown colour 'gren'; did you mean 'green'.* Known: blue, green, red"):
        colours.find("gren")
    assert colours.register(green) is green, "the same record a second time, as a module that is loaded again"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Colour("red", 4), "The colour 'red' exists already; choose another name"),
        (Colour("", 4), "The name of the colour is ''; expected a text without"),
        (Colour(" red", 4), "expected a text without spaces"),
        (Colour(None, 4), "expected a text without spaces"),
        (Colour("green", None), "The colour 'green' lacks shade; expected one"),
        ("green", "'str' is no colour; expected an instance of Colour"),
        (Colour, "'type' is no colour"),
    ],
)
def test_what_is_refused_changes_nothing(colours: Registry[Colour], record: Colour, message: str) -> None:
    with pytest.raises(InputError, match=message):
        colours.register(record)
    assert [colour.shade for colour in colours.values()] == [1, 2]


def test_the_toolkits_own_may_look_into_their_registry() -> None:
    def own() -> Iterator[Colour]:
        yield Colour("red", 1)
        yield replace(colours["red"], name="dark red")

    colours = Registry("colour", Colour, own)
    assert list(colours) == ["red", "dark red"]


def test_packages_that_plug_in(
    colours: Registry[Colour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One is a module, one a function; one does not exist, one fails, one takes a name; the good ones are there."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "COLOURS", colours, raising=False)
    start = f"from {__name__} import COLOURS, Colour\n"
    (tmp_path / "painter.py").write_text(f"{start}COLOURS.register(Colour('pink', 7))\n")
    (tmp_path / "later.py").write_text(f"{start}def plug():\n    COLOURS.register(Colour('grey', 8))\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaver.py").write_text("raise SystemExit(7)\n")
    (tmp_path / "thief.py").write_text(f"{start}COLOURS.register(Colour('red', 9))\n")
    points = [
        importlib.metadata.EntryPoint(name, value, plugins.GROUP)
        for name, value in (
            ("gone", "no_such_package"), ("broken", "broken"), ("leaver", "leaver"),
            ("thief", "thief"), ("a", "painter"), ("b", "later:plug")
        )
    ]  # fmt: skip
    monkeypatch.setattr(plugins, "_entry_points", lambda: points)
    assert {name: colour.shade for name, colour in colours.items()} == {"red": 1, "blue": 2, "pink": 7, "grey": 8}
    said = caplog.text
    assert "the plug-in 'gone' ('no_such_package') cannot be loaded (ModuleNotFoundError: No module named" in said
    assert "the plug-in 'broken' ('broken') cannot be loaded (ZeroDivisionError: division by zero)" in said
    assert "the plug-in 'thief' ('thief') cannot be loaded (InputError: The colour 'red' exists already" in said
    assert "the plug-in 'leaver' ('leaver') cannot be loaded (SystemExit: 7)" in said
    caplog.clear()
    assert len(colours) == 4
    assert not caplog.text, "each is loaded, or named, once"


def test_installed_entry_points_are_asked_for() -> None:
    assert list(plugins._entry_points()) == list(importlib.metadata.entry_points(group="disentangle.plugins"))
