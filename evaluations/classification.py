"""How well a classifier names pictures: pure functions of its logits and the true labels.

All take ``logits (n, c)`` (or probabilities: only their order counts) and integer ``labels (n,)`` in 0 to c - 1, as
numpy arrays, torch tensors or nested lists, and return a :class:`~disentangle.evaluations.score.Score`.

Equal logits are ordered by class number, lower first, so that a score never depends on a sorting algorithm.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer, read_array
from disentangle.errors import InputError
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["accuracy", "classification_scores", "confusion_matrix", "per_class_accuracy"]


@checks_arguments
def accuracy(logits: ArrayLike, labels: ArrayLike, *, k: int = 1) -> Score:
    """Share of the points whose true class is among the ``k`` largest logits.

    Args:
        logits: (n, c) numbers without NaN, n at least 1.
        labels: (n,) integers in 0 to c - 1.
        k: 1 to c.

    Returns:
        Score named ``"accuracy/top-k"``, value in [0, 1]. Parts: ``"correct"``, the number of such points, and
        ``"standard_error"``, the binomial one, sqrt(p (1 - p) / n), of the value.

    Raises:
        InputError: when the arrays do not fit, or there are fewer than ``k`` classes.

    >>> float(accuracy([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [0, 1]))
    0.5
    >>> float(accuracy([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [0, 1], k=2))
    1.0
    """
    start = time.perf_counter()
    scores, classes = _read(logits, labels)
    k = check_integer("k", k, least=1, most=scores.shape[1])
    correct = int((_ranks(scores, classes) < k).sum())
    value = correct / len(classes)
    return Score(
        name=f"accuracy/top-{k}",
        value=value,
        parts={"correct": correct, "standard_error": (value * (1 - value) / len(classes)) ** 0.5},
        settings=_settings(scores, k=k),
        seconds=time.perf_counter() - start,
    )


@checks_arguments
def confusion_matrix(logits: ArrayLike, labels: ArrayLike) -> Score:
    """How often each class is taken for each.

    Returns:
        Score named ``"confusion"`` whose value is the accuracy, the matrix's trace over its sum. Parts: ``"matrix"``
        (c, c) int64, true classes in rows, predicted ones in columns.

    Raises:
        InputError: when the arrays do not fit.

    >>> confusion_matrix([[2.0, 1.0], [3.0, 1.0], [0.0, 1.0]], [0, 1, 1]).parts["matrix"].tolist()
    [[1, 0], [1, 1]]
    """
    start = time.perf_counter()
    scores, classes = _read(logits, labels)
    matrix = _confusion(scores, classes)
    return Score(
        name="confusion",
        value=float(np.trace(matrix) / matrix.sum()),
        parts={"matrix": matrix},
        settings=_settings(scores),
        seconds=time.perf_counter() - start,
    )


@checks_arguments
def per_class_accuracy(logits: ArrayLike, labels: ArrayLike) -> Score:
    """Share of the points of each class that are named right (the class's recall).

    Returns:
        Score named ``"accuracy/per-class"`` whose value is the mean over the classes that occur, also called balanced
        accuracy. Parts: ``"per_class"`` (c,), NaN for a class without points, and ``"points"`` (c,) int64.

    Raises:
        InputError: when the arrays do not fit.

    >>> per_class_accuracy([[2.0, 1.0], [3.0, 1.0], [0.0, 1.0]], [0, 1, 1]).parts["per_class"].tolist()
    [1.0, 0.5]
    """
    start = time.perf_counter()
    scores, classes = _read(logits, labels)
    matrix = _confusion(scores, classes)
    points = matrix.sum(axis=1)
    per_class = np.where(points > 0, np.diag(matrix) / np.maximum(points, 1), np.nan)
    return Score(
        name="accuracy/per-class",
        value=float(per_class[points > 0].mean()),
        parts={"per_class": per_class, "points": points},
        settings=_settings(scores, absent_classes=np.flatnonzero(points == 0).tolist()),
        seconds=time.perf_counter() - start,
    )


@checks_arguments
def classification_scores(logits: ArrayLike, labels: ArrayLike) -> dict[str, Score]:
    """Top-1, top-5 (where there are more than five classes), per-class accuracy and the confusion matrix, by name.

    Raises:
        InputError: when the arrays do not fit.
    """
    scores, classes = _read(logits, labels)
    made = [accuracy(scores, classes)]
    if scores.shape[1] > 5:
        made.append(accuracy(scores, classes, k=5))
    made += [per_class_accuracy(scores, classes), confusion_matrix(scores, classes)]
    return {score.name: score for score in made}


# ----------------------------------------------------------------------------------------------------- internals


def _ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) how many classes stand before the true one, equal logits by class number."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)


def _confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    c = logits.shape[1]
    # argmax takes the first of equal logits, as _ranks does
    return np.bincount(labels * c + logits.argmax(axis=1), minlength=c * c).reshape(c, c)


def _settings(logits: np.ndarray, **more: Any) -> dict[str, Any]:
    n, c = logits.shape
    return {"n": n, "classes": c, "ties": "lower class first", **more, "packages": package_versions("numpy")}


def _read(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Checked (n, c) logits in their own dtype and (n,) int64 labels."""
    scores, classes = read_array(logits, "logits", finite=False), read_array(labels, "labels", finite=False)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise InputError(
            f"logits have shape {scores.shape} and dtype {scores.dtype}; expected real numbers (n, c), one column for "
            "each of two classes or more."
        )
    if classes.shape != (len(scores),) or classes.dtype.kind not in "iu":
        raise InputError(
            f"labels have shape {classes.shape} and dtype {classes.dtype}; expected ({len(scores)},) integers, one for "
            "each row of logits."
        )
    if not len(scores):
        raise InputError("logits have no rows; expected at least one point to score.")
    bad = int(np.isnan(scores).any(axis=1).sum()) if scores.dtype.kind == "f" else 0
    if bad:
        raise InputError(f"{bad} of {len(scores)} rows of logits hold NaN; expected numbers: did the training diverge?")
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= scores.shape[1]:
        raise InputError(f"labels lie in [{low}, {high}]; expected 0 to {scores.shape[1] - 1}, the columns of logits.")
    return scores, classes.astype(np.int64)
