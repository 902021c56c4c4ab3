"""The quickstart makes its report, pictures and scores, and trains nothing."""

from __future__ import annotations

import json
import re

import pytest

from disentangle.quickstart import quickstart


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    lines: list[str] = []
    return quickstart(tmp_path_factory.mktemp("quickstart"), progress=lines.append), lines


def test_report_is_one_self_contained_page(result):
    made, _ = result
    page = made.report.read_text()
    assert page.count("data:image/png;base64,") == 5  # two grids, a heat map of each of three scores
    assert page.count("data:image/webp;base64,") == 2
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "dci/gradient-boosting disentanglement" in page
    assert "orthogonality error" in page


def test_scores_are_kept_and_plausible(result):
    made, _ = result
    record = json.loads((made.report.parent / "scores.json").read_text())
    assert set(record["scores"]) == {"mig", "sap", "dci"}
    assert made.scores["mig"].value > 0.3
    assert made.factor_names[0] == "floor_hue"


def test_it_says_what_it_does_and_leaves_no_half_files(result):
    made, lines = result
    assert len(lines) == 3
    assert sorted(path.suffix for path in made.report.parent.iterdir()) == [
        ".html",
        ".json",
        ".png",
        ".png",
        ".png",
        ".webp",
        ".webp",
    ]
