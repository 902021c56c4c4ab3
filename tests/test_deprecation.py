"""What leaves works for one minor release, and says so where the user's own line is."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from types import ModuleType

import pytest

from disentangle.deprecation import DisentangleDeprecationWarning, deprecated, moved_names, renamed_arguments


@deprecated("disentangle.new(x)", removed_in="0.4")
def old(x: int, *, y: int = 1) -> int:
    """What it does."""
    return x + y


@renamed_arguments(removed_in="0.4", n="num", k="top")
def draw(num: int, *, top: int = 1) -> tuple[int, int]:
    return num, top


def test_a_function_that_leaves_works_and_names_what_replaces_it() -> None:
    with pytest.warns(DisentangleDeprecationWarning) as said:
        assert old(2, y=3) == 5
    assert str(said[0].message) == "old() leaves in version 0.4; use disentangle.new(x)."
    assert Path(said[0].filename).name == Path(__file__).name, "the line of the caller, not of the helper"
    assert old.__doc__ == "What it does."
    assert list(inspect.signature(old).parameters) == ["x", "y"]
    assert issubclass(DisentangleDeprecationWarning, FutureWarning)  # shown by default


def test_arguments_by_their_old_names() -> None:
    with pytest.warns(DisentangleDeprecationWarning, match=r"draw\(n=\) is called num= now"):
        assert draw(n=4) == (4, 1)
    with pytest.warns(DisentangleDeprecationWarning) as said:
        assert draw(n=4, k=2) == (4, 2)
    assert len(said) == 2
    with pytest.raises(TypeError, match="both k= and top="):
        draw(4, k=2, top=3)
    with pytest.raises(TypeError, match="has no argument width"):
        renamed_arguments(removed_in="0.4", w="width")(draw)


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_of_the_new_ones() -> None:
    assert draw(4, top=2) == (4, 2)


def test_names_that_moved() -> None:
    module = ModuleType("disentangle.before")
    module.__getattr__ = moved_names(module.__name__, {"hypot": "math"}, removed_in="0.4")  # type: ignore[method-assign]
    with pytest.warns(DisentangleDeprecationWarning, match=r"disentangle.before.hypot is math.hypot now"):
        assert module.hypot is math.hypot
    with pytest.raises(AttributeError, match="'disentangle.before' has no attribute 'sqrt'"):
        module.sqrt  # noqa: B018
