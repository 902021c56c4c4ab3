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


def information_with_labels(code: np.ndarray, labels: np.ndarray, *, neighbors: int) -> float:
    """I(z; y) of a continuous code and a label.

    With N_i points of the label of point i, its k-th neighbour among them at distance r_i, and m_i points of any
    label closer than that, I = psi(N) + psi(k) - <psi(N_i)> - <psi(m_i)>. A label with N_i <= k points uses N_i - 1;
    one with a single point is left out. Negative estimates are set to 0.

    Args:
        code: (n,) finite, no two equal (see :func:`jittered`).
        labels: (n,) integers from 0.
        neighbors: k, at least 1.
    """
    from scipy.special import digamma

    counts = np.bincount(labels)
    order = np.argsort(code)
    keep = counts[labels[order]] > 1
    order = order[keep]
    n = len(order)
    if n == 0:
        return 0.0
    line = code[order]
    by_label = np.argsort(labels[order], kind="stable")  # sorted codes, label after label
    values = line[by_label]
    own = labels[order][by_label]
    size = counts[own]
    k = np.minimum(neighbors, size - 1)
    radius = _distance_of_neighbor(values, own, k)
    inside = _count_closer(line, values, radius)
    psi = np.concatenate([[0.0], digamma(np.arange(1, n + 1))])
    estimate = psi[n] + psi[k].mean() - psi[size].mean() - psi[np.maximum(inside, 1)].mean()
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


def _distance_of_neighbor(values: np.ndarray, labels: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Distance of each point to its k-th neighbour of the same label; (n,) values sorted within runs of labels."""
    n = len(values)
    most = int(k.max())
    padded = np.concatenate([np.full(most, -np.inf), values, np.full(most, np.inf)])
    runs = np.concatenate([np.full(most, -1), labels, np.full(most, -1)])
    place = np.arange(most, most + n)
    best = np.full(n, np.inf)
    for before in range(most + 1):
        first, last = place - before, place - before + k
        valid = (before <= k) & (runs[first] == labels) & (runs[np.minimum(last, n + 2 * most - 1)] == labels)
        last = np.where(valid, last, place)
        first = np.where(valid, first, place)
        distance = np.maximum(values - padded[first], padded[last] - values)
        np.minimum(best, distance, out=best, where=valid)
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
