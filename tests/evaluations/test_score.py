"""A score is a number with its provenance, and survives JSON unchanged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from disentangle.errors import InputError
from disentangle.evaluations.score import Score, package_versions


def example(**changes: object) -> Score:
    fields: dict[str, object] = {
        "name": "dci/gradient-boosting",
        "value": 0.25,
        "parts": {
            "matrix": np.array([[0.1, 0.2], [0.3, math.nan]]),
            "counts": np.array([3, 4]),
            "used": np.array([True, False]),
            "completeness": np.float32(0.5),
            "lost": math.nan,
        },
        "settings": {"bins": np.int64(20), "packages": {"numpy": "2.4.6"}, "sizes": [3, 4], "test": None},
        "seconds": 1.5,
    }
    return Score(**{**fields, **changes})


def test_float_is_the_value() -> None:
    assert float(example()) == 0.25


def test_round_trip_is_equal_and_keeps_arrays() -> None:
    score = example()
    again = Score.from_json(score.to_json())
    assert again == score
    assert hash(again) == hash(score)
    assert again.parts["matrix"].dtype == np.float64
    np.testing.assert_array_equal(again.parts["matrix"], score.parts["matrix"])
    assert again.parts["counts"].dtype.kind == "i"
    assert again.parts["used"].dtype.kind == "b"
    assert again.settings == {"bins": 20, "packages": {"numpy": "2.4.6"}, "sizes": [3, 4], "test": None}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_json_lacks(value: float) -> None:
    text = example(value=value).to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = Score.from_json(text)
    np.testing.assert_equal(again.value, value)
    assert again == example(value=value)


@pytest.mark.parametrize(
    "changes", [{"value": 0.26}, {"name": "dci/other"}, {"settings": {}}, {"parts": {}}, {"higher_is_better": False}]
)
def test_different_records_are_not_equal(changes: dict[str, object]) -> None:
    assert example(**changes) != example()


def test_not_equal_to_a_number() -> None:
    assert example() != 0.25


def test_indentation_does_not_change_the_record() -> None:
    assert Score.from_json(example().to_json(indent=2)) == example()


@pytest.mark.parametrize("text", ["[]", "{}", '{"name": "mig", "value": 1}', "3"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a score record"):
        Score.from_json(text)


def test_versions_of_installed_packages_only() -> None:
    versions = package_versions("numpy", "no-such-package-at-all")
    assert versions == {"numpy": np.__version__}


def test_a_printed_score_fits_a_screen():
    parts = {"mutual_information": np.ones((500, 40)), "entropy": np.ones(40), "factors": np.arange(3), "size": 0.5}
    settings = {"protocol": "dlib-2018", "n_train": 10_000, "seed": 3, "estimator": ["x" * 10_000] * 40}
    score = Score("mig", 0.51234, parts=parts, settings=settings, chance=0.01, ceiling=0.9, interval=(0.4, 0.6))
    line = "mig = 0.5123, chance 0.01, ceiling 0.9, 95 % 0.4 to 0.6, protocol dlib-2018, 10000 points, seed 3"
    assert repr(score) == f"Score({line})"
    assert str(score).splitlines() == [
        f"Score({line})",
        "  parts: mutual_information 500x40, entropy 40, factors [0 1 2], size 0.5",
        "  settings: protocol, n_train, seed, estimator",
    ]
    assert "less is better" in repr(Score("fd", 1.0, higher_is_better=False))
