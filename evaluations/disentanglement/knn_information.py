"""Mutual information of one code and one factor by nearest neighbours, in nats.

Kraskov, Stögbauer and Grassberger, "Estimating mutual information", Physical Review E 69 (2004), for two continuous
variables; Ross, "Mutual Information between Discrete and Continuous Data Sets", PLoS ONE 9 (2014), for a continuous and
a discrete one. The estimates are those of scikit-learn's ``mutual_info_regression`` and ``mutual_info_classif``.

With labels no tree is needed: on a line the k-th neighbour of a point lies at an end of one of the k + 1 windows of
k + 1 sorted points that hold it, and the points of a ball are between two places in the sorted whole.
"""

from __future__ import annotations

import numpy as np

__all__ = ["information_with_labels", "information_with_values", "jittered"]

_JITTER = 1e-10  # of the mean absolute value: what scikit-learn adds so that no two points are equal


def jittered(column: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(n,) scaled to variance 1, plus ``noise`` (standard normal) times 1e-10 of its size, or of 1 if that is more."""
    values = column.astype(np.float64)
    spread = values.std()
    if spread > 10 * np.finfo(np.float64).eps * abs(values.mean()):  # a constant stays as it is
        values = values / spread
    return values + _JITTER * max(1.0, float(np.mean(np.abs(values)))) * noise


def information_with_labels(
    code: np.ndarray, labels: np.ndarray, *, neighbors: int, order: np.ndarray | None = None
) -> float:
    """I(z; y) of a continuous code and a label.

    With N_i points of the label of point i, its k-th neighbour among them at distance r_i, and m_i points of any
    label closer than that, I = psi(N) + psi(k) - <psi(N_i)> - <psi(m_i)>. A label with N_i <= k points uses N_i - 1;
    one with a single point is left out. Negative estimates are set to 0.

    Args:
        code: (n,) finite, no two equal (see :func:`jittered`).
        labels: (n,) integers from 0.
        neighbors: k, at least 1.
        order: (n,) positions that sort the code, where they are known but for exact ties.
    """
    from scipy.special import digamma

    counts = np.bincount(labels)
    if order is None or np.any(np.diff(code[order]) < 0):
        order = np.argsort(code)
    ranked = labels[order]
    if counts[counts > 0].min() == 1:
        order = order[counts[ranked] > 1]
        ranked = labels[order]
    n = len(order)
    if n == 0:
        return 0.0
    line = code[order]
    # sorted codes, label after label; short integers are sorted by counting
    by_label = np.argsort(ranked.astype(np.int16) if len(counts) < 2**15 else ranked, kind="stable")
    values = line[by_label]
    present = counts[counts > 1]
    inside = _count_closer(line, values, _distance_of_neighbor(values, present, neighbors))
    psi = np.concatenate([[0.0], digamma(np.arange(1, n + 1))])
    k = np.minimum(neighbors, present - 1)
    estimate = psi[n] + (present @ psi[k] - present @ psi[present]) / n - psi[np.maximum(inside, 1)].mean()
    return max(0.0, float(estimate))


def _count_closer(line: np.ndarray, values: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How many of the sorted ``line`` (n,) are closer to each value (m,) than its ``radius`` (m,), itself included."""
    limit = np.nextafter(radius, 0) ** 2  # compared in squares, as a tree does
    first = np.searchsorted(line, values - radius, side="left")
    last = np.searchsorted(line, values + radius, side="right")  # one past
    # The sums above are rounded; differences of near numbers are not. Each end is moved until it is right.
    ends = np.concatenate([[-np.inf], line, [np.inf]])
    while True:
        step = ((values - ends[first]) ** 2 <= limit).astype(int) - ((values - ends[first + 1]) ** 2 > limit)
        step[(first == last) & (step < 0)] = 0
        if not step.any():
            break
        first -= step
    while True:
        step = ((ends[last + 1] - values) ** 2 <= limit).astype(int) - ((ends[last] - values) ** 2 > limit)
        if not step.any():
            return last - first
        last += step


def _distance_of_neighbor(values: np.ndarray, counts: np.ndarray, neighbors: int) -> np.ndarray:
    """Distance of each point to its k-th neighbour of the same label, or to the farthest where there are fewer.

    Args:
        values: (n,) runs of sorted values, one for each label.
        counts: lengths of the runs, 2 at least.
        neighbors: k.
    """
    n, ends = len(values), np.cumsum(counts)
    first, last = np.repeat(ends - counts, counts), np.repeat(ends - 1, counts)
    place = np.arange(n)
    before, after = place - first, last - place  # points of the run on either side
    padded = np.concatenate([np.zeros(neighbors), values, np.zeros(neighbors)])
    best = np.full(n, np.inf)
    for left in range(neighbors + 1):  # the window of k + 1 points that has so many before this one
        down = values - padded[neighbors - left : neighbors - left + n]
        up = padded[2 * neighbors - left : 2 * neighbors - left + n] - values
        np.minimum(best, np.maximum(down, up), out=best, where=(before >= left) & (after >= neighbors - left))
    few = counts <= neighbors
    if few.any():
        rows = np.repeat(few, counts)
        best[rows] = np.maximum(values - values[first], values[last] - values)[rows]
    return best


def information_with_values(code: np.ndarray, targets: np.ndarray, *, neighbors: int) -> float:
    """I(z; y) of a continuous code and a continuous variable of one or more dimensions.

    With r_i the distance of point i to its k-th neighbour in the larger of the two differences, n_z and n_y the points
    closer than that in each, I = psi(N) + psi(k) - <psi(n_z + 1) + psi(n_y + 1)>. Negative estimates are set to 0.

    Args:
        code: (n,) finite, no two equal (see :func:`jittered`).
        targets: (n, q), the same.
        neighbors: k, at least 1.
    """
    from scipy.spatial import cKDTree
    from scipy.special import digamma

    n = len(code)
    neighbors = min(neighbors, n - 1)
    both = np.column_stack([code, targets])
    distance, _ = cKDTree(both).query(both, k=[neighbors + 1], p=np.inf)
    radius = distance[:, 0]
    near = _count_closer(np.sort(code), code, radius)
    if targets.shape[1] == 1:
        also = _count_closer(np.sort(targets[:, 0]), targets[:, 0], radius)
    else:
        also = cKDTree(targets).query_ball_point(targets, np.nextafter(radius, 0), p=np.inf, return_length=True)
    estimate = digamma(n) + digamma(neighbors) - np.mean(digamma(near)) - np.mean(digamma(also))
    return max(0.0, float(estimate))
