"""Accuracy, per-class accuracy and the confusion matrix against scikit-learn's and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.errors import InputError
from disentangle.evaluations import (
    Score,
    accuracy,
    classification_scores,
    classify_dataset,
    confusion_matrix,
    per_class_accuracy,
)


def points(n: int = 300, c: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n)
    logits = rng.normal(size=(n, c)) + 1.5 * np.eye(c)[labels]
    return logits, labels


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_sklearns(k: int):
    logits, labels = points()
    expected = sklearn.metrics.top_k_accuracy_score(labels, logits, k=k, labels=range(7))
    score = accuracy(logits, labels, k=k)
    assert score.value == pytest.approx(expected, abs=1e-12)
    assert score.name == f"accuracy/top-{k}"
    assert score.parts["correct"] == round(expected * 300)
    p = score.value
    assert score.parts["standard_error"] == pytest.approx(np.sqrt(p * (1 - p) / 300), abs=1e-12)


def test_confusion_and_per_class_are_sklearns():
    logits, labels = points()
    predicted = logits.argmax(1)
    matrix = confusion_matrix(logits, labels)
    assert (matrix.parts["matrix"] == sklearn.metrics.confusion_matrix(labels, predicted)).all()
    assert matrix.value == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    recall = per_class_accuracy(logits, labels)
    assert recall.parts["per_class"] == pytest.approx(sklearn.metrics.recall_score(labels, predicted, average=None))
    assert recall.value == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, predicted))
    assert (recall.parts["points"] == np.bincount(labels)).all()


def test_a_class_without_points_has_no_accuracy_and_does_not_count():
    score = per_class_accuracy([[3.0, 0, 0], [0, 3.0, 0], [3.0, 0, 0]], [0, 1, 1])
    assert score.parts["per_class"].tolist()[:2] == [1.0, 0.5]
    assert np.isnan(score.parts["per_class"][2])
    assert score.value == 0.75
    assert score.settings["absent_classes"] == [2]


def test_equal_logits_are_ordered_by_class():
    flat = np.zeros((3, 3))
    assert [accuracy(flat, [0, 1, 2], k=k).value for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert confusion_matrix(flat, [0, 1, 2]).parts["matrix"][:, 0].tolist() == [1, 1, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 40))
def test_properties(seed: int, c: int, n: int):
    rng = np.random.default_rng(seed)
    logits, labels = rng.integers(-2, 3, (n, c)).astype(float), rng.integers(0, c, n)
    tops = [accuracy(logits, labels, k=k).value for k in range(1, c + 1)]
    assert tops == sorted(tops)  # more guesses are never worse
    assert tops[-1] == 1
    assert tops[0] == confusion_matrix(logits, labels).value  # the two ways to break ties are one
    order = rng.permutation(n)
    assert accuracy(logits[order], labels[order]).value == tops[0]
    assert accuracy(3 * logits + 7, labels).value == tops[0]


def test_tensors_and_lists_are_read_alike():
    logits, labels = points(40)
    one = classification_scores(logits, labels)
    two = classification_scores(torch.from_numpy(logits), torch.from_numpy(labels))
    three = classification_scores(logits.tolist(), labels.tolist())
    for name, score in one.items():
        assert score.value == two[name].value == three[name].value
    assert list(one) == ["accuracy/top-1", "accuracy/top-5", "accuracy/per-class", "confusion"]
    assert "accuracy/top-5" not in classification_scores(logits[:, :5], labels % 5)
    assert Score.from_json(one["confusion"].to_json()) == one["confusion"]


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros(3), [0, 1, 2], r"logits have shape \(3,\)"),
        (np.zeros((3, 1)), [0, 0, 0], "two classes or more"),
        (np.zeros((3, 2)), [0, 1], r"labels have shape \(2,\) and dtype int64; expected \(3,\)"),
        (np.zeros((3, 2)), [0.0, 1.0, 1.0], "dtype float64; expected"),
        (np.zeros((3, 2)), [0, 1, 2], r"labels lie in \[0, 2\]; expected 0 to 1"),
        (np.zeros((3, 2)), [0, -1, 1], r"labels lie in \[-1, 1\]"),
        (np.zeros((0, 2)), np.zeros(0, int), "no rows"),
        (np.array([[0, np.nan], [1, 2]]), [0, 1], "1 of 2 rows of logits hold NaN"),
        ([["a", "b"]], [0], "expected real numbers"),
        ([[1, 2], [3]], [0, 1], "cannot be read as an array"),
    ],
)
def test_bad_input(logits, labels, message: str):
    for metric in (accuracy, confusion_matrix, per_class_accuracy, classification_scores):
        with pytest.raises(InputError, match=message):
            metric(logits, labels)


def test_k_beyond_the_classes():
    with pytest.raises(InputError, match="k is 3; expected a whole number from 1 to 2"):
        accuracy(np.zeros((2, 2)), [0, 1], k=3)


class Source:
    """Pictures whose mean is their class."""

    image_shape = (1, 2, 2)

    def __init__(self, labels: torch.Tensor | None) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return 7

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        assert self.labels is not None
        return self.labels[indices].float()[:, None, None, None].expand(-1, 1, 2, 2) / 3


def test_classify_dataset_keeps_the_order():
    labels = torch.tensor([2, 0, 1, 1, 2, 0, 0])
    seen = []
    logits, read = classify_dataset(
        lambda images: -((3 * images.mean((1, 2, 3))[:, None] - torch.arange(3.0)) ** 2),
        Source(labels),
        batch=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert accuracy(logits, read).value == 1
    assert logits.argmax(1).tolist() == labels.tolist()
    assert seen == [(3, 7), (6, 7), (7, 7)]
    with pytest.raises(InputError, match="no labels"):
        classify_dataset(lambda images: images, Source(None))
    with pytest.raises(InputError, match=r"returned shape \(3, 1, 2, 2\) for 3 pictures"):
        classify_dataset(lambda images: images, Source(labels), batch=3)
