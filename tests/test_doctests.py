"""The examples in docstrings say what happens."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.test_architecture import sources

WITH_EXAMPLES = [
    ".".join(("disentangle", name)).removesuffix(".__init__")
    for name, path in sources()
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried
    assert not failed
