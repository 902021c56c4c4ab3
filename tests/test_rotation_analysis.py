"""The statistics of the study ROT against scipy and by hand."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import pytest
from scipy import stats

FIRST, SECOND = [1.0, 2.5, 2.0, 4.0, 3.0], [0.5, 1.0, 2.0, 0.0]


@pytest.fixture(scope="module")
def analysis():
    folder = str(Path(__file__).parents[1] / "scripts")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("rotation_analysis")
    finally:
        sys.path.remove(folder)


def test_contrasts_are_welchs_and_the_paired_t_tests(analysis):
    found, expected = analysis.contrast(FIRST, SECOND, paired=False), stats.ttest_ind(FIRST, SECOND, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    found, expected = analysis.contrast(FIRST[:4], SECOND, paired=True), stats.ttest_rel(FIRST[:4], SECOND)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_equivalence_is_the_larger_of_two_one_sided_tests(analysis):
    shifted = [value - 1.2 for value in FIRST], [value + 1.2 for value in FIRST]
    above = stats.ttest_ind(shifted[1], SECOND, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(shifted[0], SECOND, equal_var=False, alternative="less").pvalue
    found = analysis.contrast(FIRST, SECOND, paired=False, margin=1.2).equivalence
    assert found == pytest.approx(max(above, below))
    # and it is below alpha exactly where the interval of 1 - 2 alpha lies inside the margins
    close = analysis.contrast(FIRST, [value + 0.1 for value in FIRST], paired=False, margin=2.0)
    inside = stats.ttest_ind(FIRST, [v + 0.1 for v in FIRST], equal_var=False).confidence_interval(0.90)
    assert (close.equivalence < 0.05) == (inside.low > -2 and inside.high < 2)


def test_holm_by_hand(analysis):
    def one(p):
        return analysis.Contrast(0.0, 0.0, 0.0, p, math.nan, (2, 2))

    adjusted = analysis.holm({"a": one(0.01), "b": one(0.04), "c": one(0.03), "d": one(0.005)})
    assert [round(c.adjusted, 6) for c in adjusted.values()] == [0.03, 0.06, 0.06, 0.02]
    assert list(adjusted) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("primary", "trained", "expected"),
    [
        ((-0.5, 0.01, 0.9), (-0.6, 0.01, 0.9), "training adds something"),
        ((0.5, 0.01, 0.9), (-0.6, 0.01, 0.9), "training takes something away"),
        ((-0.05, 0.01, 0.01), (-0.6, 0.01, 0.9), "the axes explain it"),  # significant, and too small to count
        ((-0.05, 0.5, 0.01), (0.6, 0.01, 0.9), "undecided"),  # worse as trained
        ((-0.05, 0.5, 0.01), (0.01, 0.9, 0.01), "no effect at any axes"),
        ((-0.05, 0.5, 0.30), (-0.6, 0.01, 0.9), "undecided"),
    ],
)
def test_verdicts(analysis, primary, trained, expected):
    def one(estimate, adjusted, equivalence):
        return analysis.Contrast(estimate, 0.0, 0.0, 0.0, equivalence, (12, 12), adjusted)

    assert analysis.verdict("log_cosine", one(*primary), one(*trained), 0.04) == expected
