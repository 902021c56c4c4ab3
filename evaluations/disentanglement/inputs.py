"""Checks and converts what every metric takes: codes ``(n, d)`` beside factors ``(n, k)``.

The rules, the same for all metrics:

* codes are finite numbers and keep their own dtype;
* factors are class labels: integers, or floats that are integers exactly (converted, and noted in the settings), unless
  ``factor_kinds`` says that they are continuous or periodic;
* a factor with a single class in the training part says nothing about a code (its entropy is zero), so it takes no part
  in the score; its column is listed under ``constant_factors`` in the settings, and ``parts["factors"]`` lists the
  columns that remain. When none remains, that is an error;
* a code that is constant, dead or a copy of another stays in: no metric raises or returns NaN because of it. They are
  counted in the settings as ``constant_codes``, ``dead_codes`` (standard deviation below 0.05) and ``duplicate_codes``;
* a grid whose values do not occur equally often stays as it is; ``factor_evenness`` (entropy over its maximum, 1 where
  all do) is in the settings;
* a missing label, NaN, is refused unless ``missing`` says that it is one; then each factor is measured on the points
  that have it, or, by metrics that look at all factors of a point, on the points that have all, and ``missing_labels``
  in the settings counts them;
* nothing is repaired silently: everything else that does not fit raises :class:`~disentangle.errors.InputError`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_finite, check_integer, check_number, read_array
from disentangle.errors import InputError
from disentangle.evaluations.disentanglement.extremes import spread_of
from disentangle.evaluations.disentanglement.information import entropy
from disentangle.evaluations.disentanglement.kinds import FactorKind, FactorKinds, read_kinds
from disentangle.evaluations.disentanglement.points import DEAD_CODE_STD, Points

__all__ = ["read_points", "row_numbers", "split_indices"]


def read_points(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    hold_out: bool = False,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    factor_kinds: FactorKinds = None,
    min_codes: int = 1,
    min_factors: int = 1,
    metric: str = "this metric",
    missing: bool = False,
) -> Points:
    """Check ``(codes, factors)`` and, if asked, provide a held-out part.

    Args:
        codes: (n, d) numbers; a numpy array, a torch tensor on any device, or nested lists.
        factors: (n, k) labels, see the rules of this module.
        hold_out: whether a held-out part is needed; without ``test`` it is split off by ``seed``.
        test: held-out ``(codes, factors)`` with the same numbers of columns.
        seed: of the split, a whole number from 0.
        test_fraction: share of the points to hold out, in (0, 1).
        factor_kinds: what the factors' values mean, see
            :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`.
        min_codes, min_factors: the fewest columns the metric is defined for (factors: that vary).
        metric: its name in the messages.
        missing: whether NaN among the factors is a label that is missing.

    Raises:
        InputError: on anything that does not fit, with a sentence that says what.
    """
    train_codes, train_factors = _read_pair(codes, factors, prefix="", missing=missing)
    known = ~np.isnan(train_factors) if missing and train_factors.dtype.kind == "f" else None
    train_factors = _filled(train_factors, known, train_factors, known)
    test_known: np.ndarray | None = None
    kinds = read_kinds(factor_kinds, train_factors)
    train_factors, labels = _read_factors(train_factors, kinds, prefix="")
    test_codes: np.ndarray | None = None
    test_factors: np.ndarray | None = None
    part = "none"
    if hold_out and test is not None:
        test_codes, test_factors = _read_test(test, train_codes, train_factors, missing=missing)
        test_known = ~np.isnan(test_factors) if missing and test_factors.dtype.kind == "f" else None
        if test_known is not None and known is None:
            known = np.ones(train_factors.shape, dtype=bool)
        elif known is not None and test_known is None:
            test_known = np.ones(test_factors.shape, dtype=bool)
        test_factors = _filled(test_factors, test_known, train_factors, known)
        test_factors, _ = _read_factors(test_factors, kinds, prefix="test ")
        part = "given"
    elif hold_out:
        rows, test_rows = split_indices(len(train_codes), seed=seed, test_fraction=test_fraction)
        test_codes, test_factors = train_codes[test_rows], train_factors[test_rows]
        train_codes, train_factors = train_codes[rows], train_factors[rows]
        if known is not None:
            known, test_known = known[rows], known[test_rows]
        part = "split by seed"
    gaps = (
        None if known is None else np.sum(~known, axis=0) + (0 if test_known is None else np.sum(~test_known, axis=0))
    )
    if gaps is None or not gaps.any():
        known = test_known = gaps = None
    else:  # the values that stand for missing ones are of the training part
        train_factors = _filled(train_factors, known, train_factors, known)
        test_factors = None if test_factors is None else _filled(test_factors, test_known, train_factors, known)
    n, d = train_codes.shape
    if n < 2:
        raise InputError(f"{metric} needs at least 2 points to measure on; got {n}.")
    if d < min_codes:
        raise InputError(f"{metric} compares codes, so it needs at least {min_codes} columns of them; got {d}.")

    had = np.ones(train_factors.shape, dtype=bool) if known is None else known
    sizes = [len(np.unique(column[has])) for column, has in zip(train_factors.T, had.T, strict=True)]
    kept = np.flatnonzero(np.array(sizes) > 1)
    if len(kept) < min_factors:
        raise InputError(
            f"{metric} needs at least {min_factors} factor{'s' if min_factors > 1 else ''} with two classes or more; "
            f"got {len(kept)} of {len(sizes)} (classes seen per factor: {', '.join(map(str, sizes))})."
        )
    if test_known is not None and not test_known[:, kept].any(axis=0).all():
        bare = int(kept[np.flatnonzero(~test_known[:, kept].any(axis=0))[0]])
        raise InputError(
            f"the factor in column {bare} is missing of all held-out points; leave it out, or give points that have it."
        )
    settings = {
        "n_train": n,
        "n_test": 0 if test_codes is None else len(test_codes),
        "test_part": part,
        "n_codes": d,
        "n_factors": len(sizes),
        "factor_sizes": sizes,
        "factor_kinds": [str(kind) for kind in kinds],
        "factor_evenness": _evenness(train_factors, kinds, sizes, had),
        "constant_factors": [i for i, size in enumerate(sizes) if size < 2],
        "factor_labels": labels,
        **_count_codes(train_codes),
    }
    if gaps is not None:
        settings |= {"missing_labels": gaps.tolist(), "missing_policy": "each factor on the points that have it"}
    if part == "split by seed":
        settings |= {"test_fraction": float(test_fraction), "split_seed": int(seed)}
    return Points(
        codes=train_codes,
        factors=np.ascontiguousarray(train_factors[:, kept]),
        kept=kept,
        kinds=tuple(kinds[k] for k in kept),
        device=str(codes.device) if getattr(codes, "is_cuda", False) else None,  # type: ignore[union-attr]
        test_codes=test_codes,
        test_factors=None if test_factors is None else np.ascontiguousarray(test_factors[:, kept]),
        settings=settings,
        known=None if known is None else known[:, kept],
        test_known=None if test_known is None else test_known[:, kept],
    )


def _count_codes(codes: np.ndarray) -> dict[str, Any]:
    spread = spread_of(codes)
    distinct = {hashlib.blake2b(np.ascontiguousarray(column).data, digest_size=16).digest() for column in codes.T}
    return {
        "constant_codes": int(np.sum(np.all(codes == codes[:1], axis=0))),
        "dead_codes": int(np.sum(spread < DEAD_CODE_STD)),
        "dead_code_std": DEAD_CODE_STD,
        "duplicate_codes": codes.shape[1] - len(distinct),
    }


def _evenness(
    factors: np.ndarray, kinds: tuple[FactorKind, ...], sizes: list[int], known: np.ndarray
) -> list[float | None]:
    """Entropy of each factor over that of equally frequent values; None where it is not discrete or constant."""
    return [
        round(float(entropy(column[has, None].astype(np.int64))[0] / np.log(size)), 6)
        if kind.name == "discrete" and size > 1
        else None
        for column, kind, size, has in zip(factors.T, kinds, sizes, known.T, strict=True)
    ]


def _filled(
    factors: np.ndarray, known: np.ndarray | None, source: np.ndarray, source_known: np.ndarray | None
) -> np.ndarray:
    """Factors in which values of other points stand where one is missing, as often as these occur; none are counted.

    A perfect representation, the ceiling, knows a value for every point: these are its.
    """
    if known is None or known.all():
        return factors
    factors, rng = factors.copy(), np.random.default_rng(4)
    for k in np.flatnonzero(~known.all(axis=0)):
        values = source[:, k] if source_known is None else source[source_known[:, k], k]
        gaps = ~known[:, k]
        factors[gaps, k] = rng.choice(values, int(gaps.sum())) if len(values) else 0
    return factors


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
    test_fraction = check_number("test_fraction", test_fraction, above=0, below=1)
    held_out = round(test_fraction * n)
    if held_out < 1 or n - held_out < 2:
        raise InputError(
            f"{n} points cannot be split into a training and a held-out part with test_fraction {test_fraction:g}; "
            "give more points, or a held-out part as test=(codes, factors)."
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def row_numbers(codes: Any) -> np.ndarray:
    """(n, 1) in place of the factors of (n, d) codes, for metrics in which factors play no part."""
    try:
        n = len(codes)
    except Exception:  # no array of rows at all, which read_points says
        n = 0
    return np.arange(n)[:, None]


def _read_pair(codes: Any, factors: Any, *, prefix: str, missing: bool = False) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = (_read(array, prefix + name) for array, name in ((codes, "codes"), (factors, "factors")))
    if len(codes) != len(factors):
        raise InputError(
            f"{prefix}codes have {len(codes)} rows but {prefix}factors have {len(factors)}; each row of both must "
            "describe the same point."
        )
    for array, name in ((codes, prefix + "codes"), (factors, prefix + "factors")):
        if array.shape[1] == 0:
            raise InputError(f"{name} have no columns (shape {array.shape}); expected at least one.")
        gaps = missing and array is factors and array.dtype.kind == "f"
        check_finite(np.nan_to_num(array, nan=0.0, posinf=np.inf, neginf=-np.inf) if gaps else array, name)
    return codes, factors


def _read(array: Any, name: str) -> np.ndarray:
    expected = "two dimensions, one row a point and one column each"
    return read_array(array, name, ndim=2, expected=expected, finite=False)


def _read_factors(factors: np.ndarray, kinds: tuple[FactorKind, ...], *, prefix: str) -> tuple[np.ndarray, str]:
    """int64 labels where all kinds are discrete, else float64 values; and how they came."""
    discrete = np.array([kind.name == "discrete" for kind in kinds])
    if factors.dtype.kind == "f":
        fractional = np.flatnonzero(np.any(factors != np.rint(factors), axis=0) & discrete)
        if len(fractional):
            row = int(np.argmax(factors[:, fractional[0]] != np.rint(factors[:, fractional[0]])))
            raise InputError(
                f"{prefix}factors must be class labels, but column {fractional[0]} holds "
                f"{factors[row, fractional[0]]:g}; give integer labels (numpy.unique(column, return_inverse=True) "
                "makes them, after binning if need be), or call the column 'continuous' or 'periodic' in factor_kinds."
            )
    if not discrete.all():
        return factors.astype(np.float64), "real values"
    return factors.astype(np.int64), "integers, given as floats" if factors.dtype.kind == "f" else "integers"


def _read_test(test: Any, codes: np.ndarray, factors: np.ndarray, *, missing: bool) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise InputError(f"test is a {type(test).__name__}; expected a pair (codes, factors).")
    test_codes, test_factors = _read_pair(*test, prefix="test ", missing=missing)
    for held_out, train, name in ((test_codes, codes, "codes"), (test_factors, factors, "factors")):
        if held_out.shape[1] != train.shape[1]:
            raise InputError(
                f"test {name} have {held_out.shape[1]} columns but {name} have {train.shape[1]}; they must agree."
            )
    if len(test_codes) == 0:
        raise InputError("the held-out part has no points; leave test out to split it off by seed.")
    return test_codes, test_factors
