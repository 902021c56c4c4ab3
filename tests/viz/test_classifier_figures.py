"""Figures of classifiers: what is drawn, and the numbers in the table beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from disentangle.errors import InputError
from disentangle.viz.conditioning import conditioning_rows, save_conditioning_panels
from disentangle.viz.confusion import save_confusion_matrix
from disentangle.viz.figures import save_training_panels


def line(step: int, effective: float | None, raw: float | None = None) -> dict:
    row = {
        "size": 4, "rank": 3, "condition_number": raw, "ridged_condition_number": 50.0,
        "effective_condition_number": effective, "spectrum": [8.0, 4.0, 2.0, -1e-17],
    }  # fmt: skip
    return {"step": step, "losses": {"loss": 1.0, "accuracy": 0.5}, "projections": {}, "spectral": {"bn1": row},
            "learning_rate": 0.1, "validation": {"step": step, "loss": 1.0, "accuracy": 0.4}}  # fmt: skip


START = {"step": 0, "losses": {}, "projections": {}, "spectral": {}}


def test_the_table_has_geometric_means():
    lines = [START, *(line(step, 10.0 ** (step % 3), 1e13) for step in range(1, 11))]
    header, rows = conditioning_rows({"run": lines})
    assert header[0] == "layer"
    (row,) = rows
    assert row[:3] == ["bn1", "4", "3"]
    assert float(row[3]) == pytest.approx(10.0 ** np.mean([step % 3 for step in range(1, 11)]), rel=1e-2)
    assert float(row[4]) == pytest.approx(10 ** np.mean([9 % 3, 10 % 3]), rel=1e-2)  # the last fifth
    assert float(row[5]) == pytest.approx(1e13)
    _, two = conditioning_rows({"a": lines, "b": [START, line(1, 3.0)]})
    assert [row[0] for row in two] == ["a bn1", "b bn1"]
    assert two[1][5] == "infinite"
    assert conditioning_rows({"gan": [{"step": 1, "losses": {}, "projections": {}}]})[1] == []


def test_conditioning_figure(tmp_path: Path):
    drawn = save_conditioning_panels({"a": [START, line(1, 5.0, 1e12), line(2, None)]}, tmp_path)
    assert len(drawn) == 3
    for _, path in drawn:
        with Image.open(path) as picture:
            assert picture.width > picture.height
            assert np.asarray(picture.convert("L")).std() > 5
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="nothing to draw"):
        save_conditioning_panels({"a": [START]}, tmp_path / "none")
    assert not list((tmp_path / "none").iterdir())


def test_what_was_looked_at_once_is_seen(tmp_path: Path):
    """A line of one point is none: the panels of condition numbers and ranks have a dot there."""
    for _, path in save_conditioning_panels({"a": [START, line(1, 5.0)]}, tmp_path)[:2]:
        with Image.open(path) as picture:
            middle = np.asarray(picture.convert("RGB"))[30:245, 120:250].astype(int)  # of the axes, beside the legend
        assert (middle[..., 2] - middle[..., 0] > 100).sum() >= 10


def test_training_curves_have_the_validation(tmp_path: Path):
    lines = [START, line(1, 5.0), line(2, 5.0)]
    titles = [title for title, _ in save_training_panels({"a": lines}, tmp_path)]
    assert titles == ["accuracy", "loss", "validation accuracy", "learning rate"]
    for rows in lines[1:2]:
        del rows["validation"]  # looked at once: a number, and no curve
    titles = [title for title, _ in save_training_panels({"a": lines}, tmp_path)]
    assert titles == ["accuracy", "loss", "learning rate"]


@pytest.mark.parametrize("classes", [3, 20, 60])
def test_confusion_figure(classes: int, tmp_path: Path):
    matrix = np.random.default_rng(0).integers(0, 9, (classes, classes))
    matrix[1] = 0  # a class without pictures
    save_confusion_matrix(matrix, [f"class {i}" for i in range(classes)], tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.height >= 300


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.zeros(4), np.zeros((3, 3))])
def test_matrices_that_do_not_fit(matrix, tmp_path: Path):
    with pytest.raises(InputError, match=r"expected \(c, c\) and c names"):
        save_confusion_matrix(matrix, ["a", "b"], tmp_path / "m.png")
