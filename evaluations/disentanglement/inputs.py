"""Checks and converts what every metric takes: codes ``(n, d)`` beside factors ``(n, k)``.

The rules, the same for all metrics:

* codes are finite numbers and keep their own dtype;
* factors are class labels: integers, or floats that are integers exactly (converted, and noted in the settings);
* a factor with a single class in the training part says nothing about a code (its entropy is zero), so it takes no part
  in the score; its column is listed under ``constant_factors`` in the settings, and ``parts["factors"]`` lists the
  columns that remain. When none remains, that is an error;
* nothing is repaired silently: everything else that does not fit raises :class:`~disentangle.errors.InputError`.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.errors import InputError

__all__ = ["DEAD_CODE_STD", "Points", "check_integer", "check_jobs", "read_points", "split_indices"]

DEAD_CODE_STD = 0.05  # the pruning threshold of the FactorVAE score in the 2018 protocol; only counted here


@dataclass(frozen=True)
class Points:
    """Checked arrays of one evaluation.

    Attributes:
        codes: (n, d) of the training part (all points where nothing is held out), in the dtype given.
        factors: (n, k') int64 labels of the factors that vary (float64 values when read with ``continuous=True``).
        kept: (k',) columns of the given factors that ``factors`` holds.
        test_codes: (m, d) of the held-out part, or None.
        test_factors: (m, k') of the held-out part, or None.
        settings: counts and conventions to be copied into a score's settings.
    """

    codes: np.ndarray
    factors: np.ndarray
    kept: np.ndarray
    test_codes: np.ndarray | None = None
    test_factors: np.ndarray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_points(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    hold_out: bool = False,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    continuous: bool = False,
    min_codes: int = 1,
    min_factors: int = 1,
    metric: str = "this metric",
) -> Points:
    """Check ``(codes, factors)`` and, if asked, provide a held-out part.

    Args:
        codes: (n, d) numbers; a numpy array, a torch tensor on any device, or nested lists.
        factors: (n, k) labels, see the rules of this module.
        hold_out: whether a held-out part is needed; without ``test`` it is split off by ``seed``.
        test: held-out ``(codes, factors)`` with the same numbers of columns.
        seed: of the split, a whole number from 0.
        test_fraction: share of the points to hold out, in (0, 1).
        continuous: factors are real values, not labels.
        min_codes, min_factors: the fewest columns the metric is defined for (factors: that vary).
        metric: its name in the messages.

    Raises:
        InputError: on anything that does not fit, with a sentence that says what.
    """
    train_codes, train_factors, labels = _read_pair(codes, factors, continuous=continuous, prefix="")
    test_codes: np.ndarray | None = None
    test_factors: np.ndarray | None = None
    part = "none"
    if hold_out and test is not None:
        test_codes, test_factors = _read_test(test, train_codes, train_factors, continuous=continuous)
        part = "given"
    elif hold_out:
        rows, test_rows = split_indices(len(train_codes), seed=seed, test_fraction=test_fraction)
        test_codes, test_factors = train_codes[test_rows], train_factors[test_rows]
        train_codes, train_factors = train_codes[rows], train_factors[rows]
        part = "split by seed"
    n, d = train_codes.shape
    if n < 2:
        raise InputError(f"{metric} needs at least 2 points to measure on; got {n}.")
    if d < min_codes:
        raise InputError(f"{metric} compares codes, so it needs at least {min_codes} columns of them; got {d}.")

    sizes = [len(np.unique(column)) for column in train_factors.T]
    kept = np.flatnonzero(np.array(sizes) > 1)
    if len(kept) < min_factors:
        raise InputError(
            f"{metric} needs at least {min_factors} factor{'s' if min_factors > 1 else ''} with two classes or more; "
            f"got {len(kept)} of {len(sizes)} (classes seen per factor: {', '.join(map(str, sizes))})."
        )
    with np.errstate(over="ignore"):  # an overflowing spread is certainly not a dead code
        spread = train_codes.std(axis=0, dtype=np.float64)
    settings = {
        "n_train": n,
        "n_test": 0 if test_codes is None else len(test_codes),
        "test_part": part,
        "n_codes": d,
        "n_factors": len(sizes),
        "factor_sizes": sizes,
        "constant_factors": [i for i, size in enumerate(sizes) if size < 2],
        "factor_labels": labels,
        "dead_codes": int(np.sum(spread < DEAD_CODE_STD)),
        "dead_code_std": DEAD_CODE_STD,
    }
    if part == "split by seed":
        settings |= {"test_fraction": float(test_fraction), "split_seed": int(seed)}
    return Points(
        codes=train_codes,
        factors=np.ascontiguousarray(train_factors[:, kept]),
        kept=kept,
        test_codes=test_codes,
        test_factors=None if test_factors is None else np.ascontiguousarray(test_factors[:, kept]),
        settings=settings,
    )


def split_indices(n: int, *, seed: int = 0, test_fraction: float = 1 / 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training and of the held-out part: a random partition of ``range(n)``, each part in rising order.

    ``round(test_fraction * n)`` points are held out, so that 15,000 points at the default third give the
    10,000 and 5,000 of the 2018 protocol.

    >>> [len(rows) for rows in split_indices(15000)]
    [10000, 5000]

    Raises:
        InputError: when the fraction lies outside (0, 1) or a part would be empty.
    """
    check_integer("seed", seed, least=0, most=2**32 - 1)
    if not isinstance(test_fraction, numbers.Real) or not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction!r}; expected a number between 0 and 1, both excluded.")
    held_out = round(test_fraction * n)
    if held_out < 1 or n - held_out < 2:
        raise InputError(
            f"{n} points cannot be split into a training and a held-out part with test_fraction {test_fraction:g}; "
            "give more points, or a held-out part as test=(codes, factors)."
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def check_integer(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """``value`` as an int, or an :class:`InputError` that names the argument."""
    bound = f"from {least} to {most}" if most is not None else f"from {least}"
    number = None if isinstance(value, bool) or not isinstance(value, numbers.Integral) else int(value)
    if number is None or number < least or (most is not None and number > most):
        raise InputError(f"{name} is {value!r}; expected a whole number {bound}.")
    return number


def check_jobs(n_jobs: Any) -> int:
    """``n_jobs`` in joblib's sense: a count from 1, or -1 for all cores, -2 for all but one, and so on."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral) or n_jobs == 0:
        raise InputError(f"n_jobs is {n_jobs!r}; expected a whole number from 1, or -1 for all cores.")
    return int(n_jobs)


def _read_pair(codes: Any, factors: Any, *, continuous: bool, prefix: str) -> tuple[np.ndarray, np.ndarray, str]:
    codes, factors = _array(codes, prefix + "codes"), _array(factors, prefix + "factors")
    if len(codes) != len(factors):
        raise InputError(
            f"{prefix}codes have {len(codes)} rows but {prefix}factors have {len(factors)}; each row of both must "
            "describe the same point."
        )
    for array, name in ((codes, prefix + "codes"), (factors, prefix + "factors")):
        if array.shape[1] == 0:
            raise InputError(f"{name} have no columns (shape {array.shape}); expected at least one.")
        _check_finite(array, name)
    if continuous:
        return codes, factors.astype(np.float64), "real values"
    if factors.dtype.kind != "f":
        return codes, factors.astype(np.int64), "integers"
    fractional = np.flatnonzero(np.any(factors != np.rint(factors), axis=0))
    if len(fractional):
        row = int(np.argmax(factors[:, fractional[0]] != np.rint(factors[:, fractional[0]])))
        raise InputError(
            f"{prefix}factors must be class labels, but column {fractional[0]} holds {factors[row, fractional[0]]:g}; "
            "give integer labels (numpy.unique(column, return_inverse=True) makes them, after binning if need be)."
        )
    return codes, factors.astype(np.int64), "integers, given as floats"


def _read_test(test: Any, codes: np.ndarray, factors: np.ndarray, *, continuous: bool) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise InputError(f"test is a {type(test).__name__}; expected a pair (codes, factors).")
    test_codes, test_factors, _ = _read_pair(*test, continuous=continuous, prefix="test ")
    for held_out, train, name in ((test_codes, codes, "codes"), (test_factors, factors, "factors")):
        if held_out.shape[1] != train.shape[1]:
            raise InputError(
                f"test {name} have {held_out.shape[1]} columns but {name} have {train.shape[1]}; they must agree."
            )
    if len(test_codes) == 0:
        raise InputError("the held-out part has no points; leave test out to split it off by seed.")
    return test_codes, test_factors


def _array(value: Any, name: str) -> np.ndarray:
    try:
        if hasattr(value, "detach"):  # a torch tensor, without importing torch
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError) as error:  # a dtype that numpy lacks, rows of different lengths
        raise InputError(f"{name} cannot be read as an array of numbers: {error}.") from error
    if array.ndim != 2:
        raise InputError(
            f"{name} have shape {array.shape}; expected two dimensions, one row a point and one column each."
        )
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} have dtype {array.dtype}; expected real numbers.")
    return array


def _check_finite(array: np.ndarray, name: str) -> None:
    if array.dtype.kind != "f":
        return
    bad = np.sum(~np.isfinite(array), axis=0)
    columns = np.flatnonzero(bad)
    if not len(columns):
        return
    shown = ", ".join(f"{column} ({bad[column]})" for column in columns[:5])
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    total = int(bad.sum())
    raise InputError(
        f"{name} hold {total} value{'s' if total > 1 else ''} that {'are' if total > 1 else 'is'} NaN or infinite, in "
        f"column{'s' if len(columns) > 1 else ''} {shown}{more}; drop those rows or repair their source."
    )
