"""The gap between the two codes that know most about a factor, on which MIG and SAP rest."""

from __future__ import annotations

import numpy as np

__all__ = ["divided", "top_two_gap"]


def top_two_gap(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per column, the largest entry less the second largest, and the row of the largest.

    Args:
        matrix: (d, k), d at least 2: how well code j tells factor k.

    Returns:
        gaps (k,), at least 0, and best codes (k,), the lowest row on ties.

    >>> gaps, best = top_two_gap(np.array([[0.9, 0.2], [0.1, 0.5], [0.3, 0.5]]))
    >>> gaps.round(3).tolist(), best.tolist()
    ([0.6, 0.0], [0, 1])
    """
    ordered = np.sort(matrix, axis=0)
    return ordered[-1] - ordered[-2], np.argmax(matrix, axis=0)


def divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """``numerator / denominator``, and 0 where the latter is 0: a code without information has none to share out."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)
