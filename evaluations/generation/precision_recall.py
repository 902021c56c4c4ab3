"""Precision, recall, density and coverage by balls around neighbours."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer
from disentangle.errors import InputError
from disentangle.evaluations.generation.statistics import distances, read_features
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["precision_recall"]

_CELLS = 2**23  # distances in hand at once


@checks_arguments
def precision_recall(
    generated: ArrayLike,
    real: ArrayLike,
    *,
    neighbors: int = 3,
    closed: bool = True,
    extractor: str = "features",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Score]:
    """How much of the generated images is real-looking, and how much of the real ones is generated.

    A ball around each image reaches to its k-th nearest neighbour of its own set. *Precision* is the share of generated
    images in some real ball, *recall* of real images in some generated ball: Kynkäänniemi et al., NeurIPS 2019.
    *Density* is the number of real balls a generated image lies in, over k, *coverage* the share of real balls that
    hold a generated image: Naeem et al., ICML 2020. Density may exceed 1.

    Args:
        generated, real: features (n, d) and (m, d), more than ``neighbors`` rows each.
        neighbors: k: 3 in torch-fidelity and StyleGAN's code, 5 in prdc's.
        closed: whether an image on the edge of a ball is in it (<=, as torch-fidelity), or not (<, as prdc). It matters
            where images occur twice.
        extractor: name of what the features come from; part of the scores' names.
        progress: called with (rows done, rows in all).

    Returns:
        Scores ``"precision"``, ``"recall"``, ``"density"``, ``"coverage"``, named with the extractor behind a slash.

    Distances are differences squared and added up in float64, a block of rows at a time: (n + m) d numbers and 64 MB.

    Raises:
        InputError: if there are too few images, or the features do not fit.
    """
    start = time.perf_counter()
    k = check_integer("neighbors", neighbors, least=1)
    one, two = read_features(generated, "the generated features"), read_features(real, "the real features")
    if one.shape[1] != two.shape[1]:
        raise InputError(
            f"the features have {one.shape[1]} and {two.shape[1]} columns; both sides need the same extractor."
        )
    if min(len(one), len(two)) <= k:
        raise InputError(f"there are {min(len(one), len(two))} images on one side; {k} neighbours need more than {k}.")
    total, done = 2 * len(one) + len(two), 0

    def step(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    ball_one, ball_two = _radii(one, k, step), _radii(two, k, step)
    inside = np.less_equal if closed else np.less
    precise, dense = np.zeros(len(one), dtype=bool), np.zeros(len(one))
    recalled, nearest = np.zeros(len(two), dtype=bool), np.full(len(two), np.inf)
    block = max(1, _CELLS // len(two))
    for first in range(0, len(one), block):
        rows = slice(first, first + block)
        distance = distances(one[rows], two)
        within = inside(distance, ball_two)
        precise[rows], dense[rows] = within.any(axis=1), within.sum(axis=1)
        recalled |= inside(distance, ball_one[rows, None]).any(axis=0)
        np.minimum(nearest, distance.min(axis=0), out=nearest)
        step(len(distance))
    values = {
        "precision": float(precise.mean()),
        "recall": float(recalled.mean()),
        "density": float(dense.mean() / k),
        "coverage": float(inside(nearest, ball_two).mean()),
    }
    settings = {
        "extractor": extractor,
        "n_1": len(one),
        "n_2": len(two),
        "features": one.shape[1],
        "neighbors": k,
        "edge": "<=" if closed else "<",
        "packages": package_versions("numpy", "scipy"),
    }
    seconds = time.perf_counter() - start
    return {name: Score(f"{name}/{extractor}", value, {}, settings, seconds=seconds) for name, value in values.items()}


def _radii(features: np.ndarray, k: int, step: Callable[[int], None]) -> np.ndarray:
    """Distance of each image to its k-th neighbour, itself not counted."""
    radii = np.empty(len(features))
    block = max(1, _CELLS // len(features))
    for first in range(0, len(features), block):
        rows = slice(first, first + block)
        radii[rows] = np.partition(distances(features[rows], features), k, axis=1)[:, k]
        step(len(features[rows]))
    return radii
