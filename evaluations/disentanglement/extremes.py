"""Numbers of extreme size, brought by powers of two to where their squares, ranges and single precision hold them.

A power of two changes no digit, so a metric that does not know the scale of a code gives the same number, which it
would not where a square overflows or a range underflows. Ordinary numbers stay as they are, bit for bit.
"""

from __future__ import annotations

import numpy as np

__all__ = ["common_exponent", "exponents", "scaled", "spread_of", "tree_warning"]

_SEEN_BY_TREES = 1e-4
_COMMON = 100  # exponents of 2 between which numbers are ordinary


def exponents(*parts: np.ndarray | None, small: bool = True) -> np.ndarray:
    """(d,) by column the exponent of 2 just above its largest number, 0 where that is ordinary or the column is 0.

    Args:
        parts: arrays (n, d) of equal columns, such as the training and the held-out part.
        small: whether columns of nothing but tiny numbers are extreme too.
    """
    largest = np.max([_largest(part) for part in parts if part is not None and len(part)], axis=0)
    found = np.frexp(largest)[1]
    return np.where((found > _COMMON) | ((found < -_COMMON) & small), found, 0)


def common_exponent(codes: np.ndarray) -> int:
    """The exponent of 2 just above the largest number of all, 0 where that is ordinary."""
    return int(exponents(codes.reshape(-1, 1))[0]) if codes.size else 0


def scaled(array: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """``array`` over 2 to the ``exponent`` of each column; the array itself where all are 0."""
    return np.ldexp(array, -np.asarray(exponent)) if np.any(exponent) else array


def spread_of(codes: np.ndarray) -> np.ndarray:
    """(d,) standard deviations in float64, infinite only where they are beyond it."""
    exponent = exponents(codes)
    with np.errstate(over="ignore"):
        return np.ldexp(scaled(codes, exponent).std(axis=0, dtype=np.float64), exponent)


def tree_warning(codes: np.ndarray) -> dict[str, str]:
    """A warning for a score's settings where codes vary less than the trees of scikit-learn, and ours, can see."""
    with np.errstate(over="ignore"):
        widest = float(np.ptp(codes, axis=0).max())
    if not 0 < widest < _SEEN_BY_TREES:
        return {}
    what = f"no code spans more than {widest:.2g}, and trees take values closer than 1e-7 for equal"
    return {"warning": f"{what}: give codes in a smaller unit"}


def _largest(part: np.ndarray) -> np.ndarray:
    return np.maximum(part.max(axis=0).astype(np.float64), -part.min(axis=0).astype(np.float64))
