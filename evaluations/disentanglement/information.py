"""Entropy and mutual information of binned codes and labelled factors, in nats, from counts (plug-in estimates)."""

from __future__ import annotations

import functools

import numpy as np

from disentangle.errors import InputError

__all__ = ["class_indices", "entropy", "equal_width_bins", "mutual_information", "unit_bins"]

_CHUNK = 2**23  # points times codes counted in one call: bounds the memory on wide codes


def equal_width_bins(codes: np.ndarray, bins: int) -> np.ndarray:
    """Cut every code into ``bins`` intervals of equal width between its smallest and its largest value.

    The edges are those of :func:`numpy.histogram` in the code's own dtype (in float32 they round differently than in
    float64, and points on an edge change bins); the largest value belongs to the last bin.

    Args:
        codes: (n, d) finite numbers.
        bins: number of intervals, at least 2.

    Returns:
        (n, d) int64 in ``range(bins)``. A constant code falls into one bin. Where the range is so narrow that the
        edges coincide in the code's dtype, at most ``bins + 1`` distinct values exist and each has its own bin (so
        the result then lies in ``range(bins + 1)``).

    Raises:
        InputError: when a code's range overflows float64.
    """
    cells = np.empty(codes.shape, dtype=np.int64, order="F")  # everything below runs along columns
    for j in range(codes.shape[1]):
        column = np.ascontiguousarray(codes[:, j])
        low, high = column.min(), column.max()
        if low == high:
            cells[:, j] = 0
            continue
        edges = _edges(column, bins)
        if edges is None:
            values, inverse = np.unique(column, return_inverse=True)
            if len(values) > bins + 1:
                raise InputError(f"code {j} spans from {low:g} to {high:g}, too wide a range to cut into bins.")
            cells[:, j] = inverse
        else:
            cells[:, j] = _place(column, edges)
    return cells


def _place(column: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Interval of each value between rising edges of nearly equal distance; the last one is closed.

    Equal to ``searchsorted(edges[:-1], column, "right") - 1``, but guessed by a division and put right by one step.
    """
    bins = len(edges) - 1
    low, high = float(edges[0]), float(edges[-1])
    from_low, scale = column.astype(np.float64) - low, bins / (high - low)
    if np.isfinite(scale):
        guess = (from_low * scale).astype(np.int64)
    else:  # the range is a subnormal number
        guess = (from_low / (high - low) * bins).astype(np.int64)
    np.clip(guess, 0, bins - 1, out=guess)
    guess -= column < edges[guess]
    guess += (column >= edges[guess + 1]) & (guess < bins - 1)
    return guess


def _edges(column: np.ndarray, bins: int) -> np.ndarray | None:
    """Rising edges in the column's dtype, in float64 where that is too coarse, or None."""
    for array in (column, column.astype(np.float64)):
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                edges = np.histogram_bin_edges(array, bins)
            except ValueError:  # numpy refuses a range that overflows
                continue
        if np.all(edges[:-1] < edges[1:]):
            return edges
    return None


def unit_bins(codes: np.ndarray, bins: int) -> np.ndarray:
    """As :func:`equal_width_bins`, but of codes first brought to [0, 1], the steps rounded in the codes' own dtype.

    ``x * (1 / range) - min * (1 / range)`` is cut at multiples of 1 / bins in float64. A point near an edge may land in
    the neighbouring bin; the sources that scale first are met exactly this way only.
    """
    values = codes if codes.dtype in (np.float32, np.float64) else codes.astype(np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = np.where(high > low, 1 / (high - low), 0).astype(values.dtype)
        unit = values * scale + (0 - low * scale)
    if not np.all(np.isfinite(unit)):  # the range over- or underflows
        return equal_width_bins(codes, bins)
    edges = np.linspace(0, 1, bins + 1)[:-1]
    return np.asfortranarray(np.maximum(np.searchsorted(edges, unit, side="right") - 1, 0))


def mutual_information(cells: np.ndarray, factors: np.ndarray, *, device: str | None = None) -> np.ndarray:
    """I(z_j; y_k) of every binned code with every factor.

    I = sum over cells (b, c) of p(b, c) log(p(b, c) / (p(b) p(c))), with p the shares counted.

    Args:
        cells: (n, d) whole numbers from 0, the bin of every code.
        factors: (n, k) integer labels.
        device: where to count, by torch; None for numpy.

    Returns:
        (d, k) nats, at least 0.
    """
    n, d = cells.shape
    bins = int(cells.max()) + 1
    labels = [class_indices(column) for column in factors.T]
    information = np.empty((d, len(labels)))
    width = max(1, _CHUNK // n)
    count = np.bincount if device is None else functools.partial(_bincount, device=device)
    for start in range(0, d, width):
        part = cells[:, start : start + width]
        offset = bins * np.arange(part.shape[1])
        for k, (index, classes) in enumerate(labels):
            # every (code, bin, class) is one number, so one count gives the tables of all codes
            flat = ((part + offset) * classes + index[:, None]).ravel(order="K")
            counts = count(flat, minlength=part.shape[1] * bins * classes)
            information[start : start + width, k] = _information(counts.reshape(-1, bins, classes) / n)
    return information


def _bincount(flat: np.ndarray, *, minlength: int, device: str) -> np.ndarray:
    """As numpy's, by torch; the numbers are copied to the device as they are needed."""
    import torch

    counts = torch.bincount(torch.from_numpy(flat).to(device), minlength=minlength)
    return np.asarray(counts.cpu().numpy())


def _information(joint: np.ndarray) -> np.ndarray:
    """(d, bins, classes) shares to (d,) nats."""
    independent = joint.sum(axis=2, keepdims=True) * joint.sum(axis=1, keepdims=True)
    seen = joint > 0
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=seen)
    return np.maximum(np.sum(joint * np.log(ratio), axis=(1, 2)), 0.0)  # rounding can leave -1e-17


def entropy(factors: np.ndarray) -> np.ndarray:
    """H(y_k) = - sum over classes c of p(c) log p(c).

    Args:
        factors: (n, k) integer labels.

    Returns:
        (k,) nats.
    """
    result = np.empty(factors.shape[1])
    for k, column in enumerate(factors.T):
        index, classes = class_indices(column)
        shares = np.bincount(index, minlength=classes) / len(column)
        result[k] = -np.sum(shares * np.log(shares))
    return np.maximum(result, 0.0)


def class_indices(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels (n,) as positions (n,) in the sorted list of the classes seen, and the number of classes."""
    low, high = int(labels.min()), int(labels.max())
    if high - low < 2 * len(labels):  # a table of the values is quicker than sorting
        seen = np.bincount(labels - low) > 0
        return (np.cumsum(seen) - 1)[labels - low], int(seen.sum())
    values, index = np.unique(labels, return_inverse=True)
    return index, len(values)
