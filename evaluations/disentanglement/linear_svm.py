"""Linear support vector machines that see one number: the optimum that scikit-learn's ``LinearSVC`` approaches.

Each code alone and each value against the rest: minimise

    (w^2 + b^2) / 2 + sum_i C_i max(0, 1 - s_i (w x_i + b))^2,   s_i = +1 for the value, -1 for the rest,

where, as liblinear has it, a value's own points weigh C times n over (number of values times number of its points), and
the rest C; with two values both sides are weighted. The bias is penalised as the weight is.

On a line the points that still cost something are those on one side of a threshold, so with sums of 1, x and x^2 over
sorted points every Newton step costs a binary search, for all codes and values at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LineMachines", "SortedCodes", "fit_line_machines"]

_STEPS = 100
_MOST_PENALTY = 1e300  # of a weight, which is then 0
_TOLERANCE = 1e-10  # of the gradient against that at zero


@dataclass(frozen=True)
class SortedCodes:
    """Codes divided by their largest absolute value, sorted once for all factors.

    Attributes:
        scale: (d,) what they were divided by.
        order: (d, n) positions of the points in rising order.
        values: (d, n) in that order.
        sums: (3, d, n + 1) of 1, x and x^2 over the first points.
    """

    scale: np.ndarray
    order: np.ndarray
    values: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray) -> SortedCodes:
        """From (n, d) codes."""
        columns = np.ascontiguousarray(codes.T, dtype=np.float64)
        scale = np.abs(columns).max(axis=1)
        scale[scale == 0] = 1.0
        columns = columns / scale[:, None]
        order = np.argsort(columns, axis=1)
        values = np.take_along_axis(columns, order, axis=1)
        return cls(scale, order, values, _running_sums(values))


@dataclass(frozen=True)
class LineMachines:
    """Machines of every code for one factor.

    Attributes:
        classes: number of values.
        weight, bias: (d, T), T the number of values, or 1 for two values.
    """

    classes: int
    weight: np.ndarray
    bias: np.ndarray

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """(m, d) codes to (d, m) values, as positions in the sorted list of values; the first where several tie."""
        x = np.ascontiguousarray(codes.T, dtype=np.float64)
        if self.classes == 2:
            return (x * self.weight + self.bias > 0).astype(np.int32)
        winner = np.zeros(x.shape, dtype=np.int32)
        score, better = np.empty(x.shape[1]), np.empty(x.shape[1], dtype=bool)
        for row, won, weights, biases in zip(x, winner, self.weight.tolist(), self.bias.tolist(), strict=True):
            best = row * weights[0] + biases[0]  # a code at a time, which stays in the cache
            for c in range(1, self.classes):
                np.multiply(row, weights[c], out=score)
                np.add(score, biases[c], out=score)
                np.greater(score, best, out=better)
                np.copyto(won, c, where=better)
                np.maximum(best, score, out=best)
        return winner

    def right(self, codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(d, m) whether each point of (m, d) codes is given its label (m,), -1 for one that no machine stands for.

        A value's score is the largest on an interval of the line, so one look at both ends tells.
        """
        x = np.ascontiguousarray(codes.T, dtype=np.float64)
        if self.classes == 2:
            return np.asarray((x * self.weight + self.bias > 0) == labels)
        steeper = self.weight[:, None, :] - self.weight[:, :, None]  # (d, value, other)
        higher = self.bias[:, None, :] - self.bias[:, :, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            crossing = -higher / steeper
        low = np.where(steeper < 0, crossing, -np.inf).max(axis=2)
        high = np.where(steeper > 0, crossing, np.inf).min(axis=2)
        earlier = np.tri(self.classes, k=-1, dtype=bool)  # of parallel lines at one height the first wins
        beaten = np.any((steeper == 0) & ((higher > 0) | ((higher == 0) & earlier)), axis=2)
        low, high = np.where(beaten, np.inf, low), np.where(beaten, -np.inf, high)
        return np.asarray((labels >= 0) & (x >= low[:, labels]) & (x <= high[:, labels]))


def fit_line_machines(codes: SortedCodes, labels: np.ndarray, *, cost: float = 0.01) -> LineMachines:
    """Fit the machines of every code.

    Args:
        codes: of n points.
        labels: (n,) from 0 to the number of values less 1, each of which occurs; two at least.
        cost: C, above 0.
    """
    counts = np.bincount(labels)
    classes, (d, n) = len(counts), codes.values.shape
    balanced = cost * n / (classes * counts)
    ranked = labels.astype(np.int16 if classes < 2**15 else np.int64)[codes.order]  # sorted by counting where short
    by_label = np.argsort(ranked, axis=1, kind="stable")
    values = np.take_along_axis(codes.values, by_label, axis=1)
    own = _Segments(values, _running_sums(values), np.concatenate([[0], np.cumsum(counts)]))
    everyone = _Segments(codes.values, codes.sums, np.array([0, n]))
    if classes == 2:
        chosen, above, below = np.array([1]), balanced[1:], balanced[:1]
    else:
        chosen, above, below = np.arange(classes), balanced, np.full(classes, cost)
    with np.errstate(over="ignore", divide="ignore"):  # none of it on huge codes; on tiny ones the bias alone is left
        penalty = np.broadcast_to(np.minimum(1 / codes.scale[:, None] ** 2, _MOST_PENALTY), (d, len(chosen)))
    weight, bias = _Problem(own, everyone, chosen, above, below, penalty).solve()
    return LineMachines(classes, weight / codes.scale[:, None], bias)


def _running_sums(values: np.ndarray) -> np.ndarray:
    """(3, d, n + 1) sums of 1, x and x^2 over the first points of (d, n)."""
    d, n = values.shape
    sums = np.zeros((3, d, n + 1))
    sums[0] = np.arange(n + 1)
    np.cumsum(values, axis=1, out=sums[1, :, 1:])
    np.cumsum(values * values, axis=1, out=sums[2, :, 1:])
    return sums


class _Segments:
    """Rows of sorted runs, one run after the other, with running sums."""

    def __init__(self, values: np.ndarray, sums: np.ndarray, ends: np.ndarray) -> None:
        self.d, self.n = values.shape
        self.values, self.sums = values.ravel(), sums.reshape(3, -1)
        self.ends = ends

    def below(self, limit: np.ndarray, runs: np.ndarray) -> np.ndarray:
        """(3, d, r) sums over the points of the runs (r,) that are at most ``limit`` (d, r)."""
        first = np.arange(self.d)[:, None] * self.n + self.ends[runs]
        low = first.copy()
        high = np.arange(self.d)[:, None] * self.n + np.broadcast_to(self.ends[runs + 1], low.shape)
        for _ in range(int(np.max(self.ends[1:] - self.ends[:-1])).bit_length()):
            middle = (low + high) // 2
            open_ = low < high
            right = open_ & (self.values[np.minimum(middle, self.values.size - 1)] <= limit)
            low = np.where(right, middle + 1, low)
            high = np.where(open_ & ~right, middle, high)
        row = np.arange(self.d)[:, None]  # a row of sums has one entry more than a row of values
        return self.sums[:, low + row] - self.sums[:, first + row]

    def total(self, runs: np.ndarray) -> np.ndarray:
        """(3, d, r) sums over all points of the runs."""
        row = np.arange(self.d)[:, None] * (self.n + 1)
        return self.sums[:, row + self.ends[runs + 1]] - self.sums[:, row + self.ends[runs]]


class _Problem:
    """All machines of one factor, (d, T) each."""

    def __init__(
        self, own: _Segments, everyone: _Segments, chosen: np.ndarray, above: np.ndarray, below: np.ndarray,
        penalty: np.ndarray,
    ) -> None:  # fmt: skip
        self.own, self.everyone, self.chosen = own, everyone, chosen
        self.above, self.below, self.penalty = above, below, penalty
        self.whole = np.zeros(len(chosen), dtype=np.int64)
        self.own_total, self.rest_total = own.total(chosen), everyone.total(self.whole) - own.total(chosen)

    def _costly(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(3, d, T) sums over the points inside the margin, of the value and of the rest."""
        flat = weight == 0
        slope = np.where(flat, 1.0, weight)
        with np.errstate(over="ignore"):
            inner, outer = (1 - bias) / slope, (-1 - bias) / slope
        both = self.own.below(np.concatenate([inner, outer], axis=1), np.tile(self.chosen, 2))
        own, outside = np.split(both, 2, axis=2)
        rest = self.everyone.below(outer, self.whole) - outside  # own: w x + b <= 1; rest: >= -1 (where w > 0)
        own = np.where(weight > 0, own, self.own_total - own)
        rest = np.where(weight > 0, self.rest_total - rest, rest)
        own = np.where(flat, self.own_total * (bias < 1), own)
        rest = np.where(flat, self.rest_total * (bias > -1), rest)
        return own, rest

    def _value(self, weight: np.ndarray, bias: np.ndarray, sums: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        total = (self.penalty * weight**2 + bias**2) / 2
        for (one, x, xx), sign, cost in zip(sums, (1, -1), (self.above, self.below), strict=True):
            squares = weight**2 * xx + 2 * weight * bias * x + bias**2 * one
            total = total + cost * (one - 2 * sign * (weight * x + bias * one) + squares)
        return total

    def solve(self) -> tuple[np.ndarray, np.ndarray]:
        """Newton's method, the step halved until the value falls: finite on a convex, piecewise quadratic function."""
        weight, bias = np.zeros(self.penalty.shape), np.zeros(self.penalty.shape)
        sums = self._costly(weight, bias)
        value = self._value(weight, bias, sums)
        first: np.ndarray | None = None
        for _ in range(_STEPS):
            (one_p, x_p, xx_p), (one_n, x_n, xx_n) = sums
            ww = self.penalty + 2 * (self.above * xx_p + self.below * xx_n)
            wb = 2 * (self.above * x_p + self.below * x_n)
            bb = 1 + 2 * (self.above * one_p + self.below * one_n)
            slope_w = ww * weight + wb * bias - 2 * (self.above * x_p - self.below * x_n)
            slope_b = wb * weight + bb * bias - 2 * (self.above * one_p - self.below * one_n)
            determinant = ww * bb - wb * wb
            step_w = (wb * slope_b - bb * slope_w) / determinant
            step_b = (wb * slope_w - ww * slope_b) / determinant
            decrease = -(slope_w * step_w + slope_b * step_b)  # Newton decrement: scaled as the value is
            first = decrease if first is None else first
            moving = decrease > _TOLERANCE * np.maximum(first, 1e-300)
            if not moving.any():
                break
            length = moving.astype(float)
            for _ in range(30):
                new_w, new_b = weight + length * step_w, bias + length * step_b
                new_sums = self._costly(new_w, new_b)
                new_value = self._value(new_w, new_b, new_sums)
                worse = (length > 0) & (new_value > value - 1e-4 * length * decrease + 1e-13 * np.abs(value))
                if not worse.any():
                    break
                length = np.where(worse, length / 2, length)
            weight, bias, sums, value = new_w, new_b, new_sums, new_value
        return weight, bias
