"""Gradient boosted trees for classification: the trees of scikit-learn's exact search, found many times faster.

Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics 29 (2001), algorithm 6 with
the constants of scikit-learn's ``GradientBoostingClassifier``: 100 stages, depth 3, rate 0.1, no subsampling, squared
error splits, any leaf size. Every cut between two distinct values competes, as there; nothing is binned away.

The speed comes from bounds. Each code is sorted once and divided into short blocks of neighbouring points. A node's
residuals and their squares are summed per block, which gives the gain of a cut at every block's border and a bound on
the gain of any cut inside it. Only blocks whose bound reaches the best border are opened and searched point by point.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BoostedTrees", "fit_boosted_trees"]

_BLOCK = 48  # points in a block: shorter ones bound better, longer ones are fewer
_SLICE = 2**15  # node-blocks scanned in one call, so that the temporaries stay in the processor's cache
_SAME_VALUE = np.float32(1e-7)  # scikit-learn's FEATURE_THRESHOLD: closer values are not cut apart
_TIE = 1e-9  # relative difference of gains that rounding can explain
_EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True)
class BoostedTrees:
    """A fitted ensemble; T is the number of classes, or 1 for two classes.

    Attributes:
        classes: (K,) sorted labels.
        base: (T,) scores before the first stage: log class shares less their mean, or for two classes the log-odds.
        features: (stages, T, 2^depth - 1) code looked at by each node, in level order.
        thresholds: float32 of the same shape; a point goes right when its code is larger. Infinite at unsplit nodes.
        values: (stages, T, 2^depth) added to the score of a point in each leaf.
        feature_importances_: (d,) share of each code in the squared error removed, summing to 1, or all 0 when no tree
            was split.
    """

    classes: np.ndarray
    base: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    values: np.ndarray
    feature_importances_: np.ndarray

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """(m, d) codes to (m, T) scores before the softmax or logistic function."""
        columns = np.ascontiguousarray(np.asarray(codes, dtype=np.float32).T)
        scores = np.repeat(self.base[:, None], columns.shape[1], axis=1)
        for features, thresholds, values in zip(self.features, self.thresholds, self.values, strict=True):
            for tree in range(len(self.base)):
                scores[tree] += values[tree][_leaves(columns, features[tree], thresholds[tree])]
        return scores.T

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """(m, d) codes to (m,) labels."""
        scores = self.scores(codes)
        return self.classes[scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] >= 0).astype(int)]


def fit_boosted_trees(
    codes: np.ndarray,
    labels: np.ndarray,
    *,
    stages: int = 100,
    depth: int = 3,
    learning_rate: float = 0.1,
    seed: int = 0,
    threads: int = 1,
) -> BoostedTrees:
    """Boost regression trees on the multinomial (for two classes: binomial) deviance.

    Args:
        codes: (n, d) finite, used as float32.
        labels: (n,) of two classes or more.
        stages: rounds of boosting; each grows one tree a class.
        depth: levels of splits in a tree.
        learning_rate: factor on every leaf's Newton step.
        seed: of the choice among cuts of exactly equal gain.
        threads: that grow the trees of a stage, one a class, side by side; the result does not depend on them.

    Returns:
        The ensemble. Importances and predictions are those of ``GradientBoostingClassifier`` up to how equal gains are
        decided, which moves importances by 1e-3 or so, as another ``random_state`` does there.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    blocks = _Blocks(np.asarray(codes, dtype=np.float32))
    n, trees = blocks.n, len(classes) if len(classes) > 2 else 1
    shares = np.bincount(targets) / n
    base = np.log(shares) - np.log(shares).mean() if trees > 1 else np.log(shares[1:] / shares[:1])

    scores = np.repeat(base[:, None], n, axis=1)
    truth = (targets == (np.arange(len(classes))[:, None] if trees > 1 else 1)).astype(float).reshape(trees, n)
    importance = np.zeros(blocks.d)
    features = np.zeros((stages, trees, 2**depth - 1), dtype=np.int64)
    thresholds = np.full((stages, trees, 2**depth - 1), np.inf, dtype=np.float32)
    values = np.zeros((stages, trees, 2**depth))
    width = max(1, _SLICE // (blocks.count * 2 ** (depth - 1)))
    with ThreadPoolExecutor(threads) as pool:
        for stage in range(stages):
            shares = _probabilities(scores)
            residuals = truth - shares

            def grow(start: int, stage: int = stage, residuals: np.ndarray = residuals) -> tuple[Any, np.ndarray]:
                part = slice(start, start + width)
                rngs = [np.random.default_rng([seed, stage, tree]) for tree in range(trees)[part]]
                return _grow(blocks, residuals[part], features[stage, part], thresholds[stage, part], rngs)

            grown = pool.map(grow, range(0, trees, width)) if threads > 1 else map(grow, range(0, trees, width))
            for start, (leaves, gains) in zip(range(0, trees, width), grown, strict=True):
                importance += gains
                for tree, leaf in zip(range(start, start + width), leaves, strict=False):
                    steps = _newton_steps(leaf, residuals[tree], shares[tree], 2**depth)
                    values[stage, tree] = learning_rate * steps * ((trees - 1) / trees if trees > 1 else 1.0)
                    scores[tree] += values[stage, tree][leaf]
    total = importance.sum()
    return BoostedTrees(classes, base, features, thresholds, values, importance / total if total > 0 else importance)


def _probabilities(scores: np.ndarray) -> np.ndarray:
    """(T, n) scores to the probability of each class (of the second one when T is 1)."""
    if len(scores) == 1:
        from scipy.special import expit

        return expit(scores)
    shares = np.exp(scores - scores.max(axis=0))
    return shares / shares.sum(axis=0)


def _newton_steps(leaf: np.ndarray, residuals: np.ndarray, shares: np.ndarray, leaves: int) -> np.ndarray:
    """sum r / sum p (1 - p) over each leaf's points; 0 where the curvature vanishes."""
    slopes = np.bincount(leaf, weights=residuals, minlength=leaves)
    curvatures = np.bincount(leaf, weights=shares * (1 - shares), minlength=leaves)
    return np.divide(slopes, curvatures, out=np.zeros(leaves), where=curvatures > 1e-150)


def _leaves(columns: np.ndarray, features: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Position (m,) among the leaves of one tree, for (d, m) codes."""
    node = np.zeros(columns.shape[1], dtype=np.int64)
    for first in 2 ** np.arange(int(np.log2(len(features) + 1))) - 1:
        node = _descend(columns, node, features[first : 2 * first + 1], thresholds[first : 2 * first + 1])
    return node


def _descend(columns: np.ndarray, node: np.ndarray, features: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """From a node of one level to its left (2 node) or right (2 node + 1) child."""
    right = columns[features[0]] > thresholds[0]
    for v in range(1, len(features)):
        right = np.where(node == v, columns[features[v]] > thresholds[v], right)
    return 2 * node + right


class _Blocks:
    """The codes sorted, each cut into blocks of at most ``_BLOCK`` points that end between distinct values.

    A run of equal values longer than that is a block of its own. Blocks of all codes are numbered in one sequence, and
    a place is a position in the sorted codes written one after the other.
    """

    def __init__(self, codes: np.ndarray) -> None:
        self.n, self.d = codes.shape
        self.columns = np.ascontiguousarray(codes.T)
        order = np.argsort(self.columns, axis=1, kind="stable")
        values = np.take_along_axis(self.columns, order, axis=1)
        cut_after = np.zeros((self.d, self.n), dtype=bool)  # may a cut follow this place
        cut_after[:, :-1] = values[:, 1:] > values[:, :-1] + _SAME_VALUE

        starts, lengths, self.of_point = [], [], np.empty((self.d, self.n), dtype=np.int64)
        for j in range(self.d):
            begins = _pack(np.append(np.flatnonzero(cut_after[j]) + 1, self.n))
            ends = np.append(begins[1:], self.n)
            self.of_point[j, order[j]] = np.repeat(np.arange(len(begins)), ends - begins)
            starts.append(begins + j * self.n)
            lengths.append(ends - begins)
        counts = np.array([len(begins) for begins in starts])
        self.first = np.concatenate([[0], np.cumsum(counts)])  # (d + 1,) where each code's blocks begin
        self.of_point += self.first[:-1, None]
        self.feature = np.repeat(np.arange(self.d), counts)
        self.start, self.length = np.concatenate(starts), np.concatenate(lengths)
        self.count = len(self.start)
        self.order, self.values, self.cut_after = order.ravel(), values.ravel(), cut_after.ravel()
        inner = np.concatenate([[0], np.cumsum(self.cut_after)])
        self.divisible = inner[self.start + self.length - 1] > inner[self.start]  # can be cut inside


def _pack(ends: np.ndarray) -> np.ndarray:
    """Beginnings of blocks, given the places (g,) where the runs of equal values end."""
    begins, run = [0], 0
    while True:
        # as many whole runs as fit, but at least one
        run = max(run + 1, int(np.searchsorted(ends, begins[-1] + _BLOCK, side="right")))
        if run >= len(ends):
            return np.array(begins)
        begins.append(int(ends[run - 1]))


def _grow(
    blocks: _Blocks,
    residuals: np.ndarray,
    features: np.ndarray,
    thresholds: np.ndarray,
    rngs: list[np.random.Generator],
) -> tuple[np.ndarray, np.ndarray]:
    """Grow one tree on each row of ``residuals`` (T, n), writing its nodes to ``features`` and ``thresholds``.

    Returns:
        (T, n) leaves of the points, and (d,) squared error removed by each code.
    """
    trees, n = residuals.shape
    removed = np.zeros(blocks.d)
    node = np.zeros((trees, n), dtype=np.int64)
    moments = np.empty((3, trees, 0, blocks.count))
    for level in range(int(np.log2(features.shape[1] + 1))):
        nodes, first = 2**level, 2**level - 1
        moments = _moments_of_children(blocks, residuals, node, moments) if level else _moments(blocks, residuals)
        scan = _Scan(blocks, *moments.reshape(3, -1, blocks.count))
        scan.open_blocks(residuals, node)
        for slot in np.flatnonzero(scan.worthwhile()).tolist():
            tree, v = divmod(slot, nodes)
            inside = node[tree] == v
            feature, place = scan.choose(slot, residuals[tree], inside, rngs[tree])
            features[tree, first + v] = feature
            thresholds[tree, first + v] = _threshold(blocks, feature, place, inside)
            removed[feature] += scan.best[slot]
        level_nodes = slice(first, first + nodes)
        for tree in range(trees):
            node[tree] = _descend(
                blocks.columns, node[tree], features[tree, level_nodes], thresholds[tree, level_nodes]
            )
    return node, removed


def _moments(blocks: _Blocks, residuals: np.ndarray) -> np.ndarray:
    """Per block its number of points and the sums of their residuals and squares: (T, n) to (3, T, 1, blocks)."""
    moments = np.empty((3, len(residuals), 1, blocks.count))
    moments[0] = blocks.length
    for j in range(blocks.d):
        begin, end = blocks.first[j], blocks.first[j + 1]
        index = blocks.of_point[j] - begin
        for tree, row in enumerate(residuals):
            moments[1, tree, 0, begin:end] = np.bincount(index, weights=row, minlength=end - begin)
            moments[2, tree, 0, begin:end] = np.bincount(index, weights=row * row, minlength=end - begin)
    return moments


def _moments_of_children(blocks: _Blocks, residuals: np.ndarray, node: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The children's moments (3, T, 2 nodes, blocks) from the parents' (3, T, nodes, blocks).

    Only the smaller child is summed; its sibling is what remains of the parent.
    """
    _, trees, parents, _ = moments.shape
    children = np.empty((3, trees, 2 * parents, blocks.count))
    for tree in range(trees):
        sizes = np.bincount(node[tree], minlength=2 * parents)
        for parent in range(parents):
            small = 2 * parent + int(sizes[2 * parent] > sizes[2 * parent + 1])
            points = np.flatnonzero(node[tree] == small)
            index = blocks.of_point[:, points].ravel()
            weights = np.tile(residuals[tree, points], blocks.d)
            children[0, tree, small] = np.bincount(index, minlength=blocks.count)
            children[1, tree, small] = np.bincount(index, weights=weights, minlength=blocks.count)
            children[2, tree, small] = np.bincount(index, weights=weights * weights, minlength=blocks.count)
            children[:, tree, small ^ 1] = moments[:, tree, parent] - children[:, tree, small]
    return children


class _Scan:
    """Gains of the cuts of several nodes ("slots"), (slots, blocks) arrays in.

    With residuals less the node's mean, a cut that leaves c of N points with sum S on its left removes
    S^2 N / (c (N - c)) of the squared error.
    """

    def __init__(self, blocks: _Blocks, counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> None:
        self.blocks = blocks
        self.size = counts[:, : blocks.first[1]].sum(axis=1)
        total = sums[:, : blocks.first[1]].sum(axis=1)
        self.mean = np.divide(total, self.size, out=np.zeros_like(total), where=self.size > 0)
        size, mean = self.size[:, None], self.mean[:, None]

        centred = sums - mean * counts
        after = np.cumsum(centred, axis=1)  # starts anew with each code, for a code's centred sum is 0
        count = np.cumsum(counts, axis=1) - size * blocks.feature
        self.before, self.count_before = after - centred, count - counts
        weight = count * (size - count)
        self.border = np.full_like(after, -np.inf)
        np.divide(after * after * size, weight, out=self.border, where=weight > 0.5)
        self.gains = np.maximum.reduceat(self.border, blocks.first[:-1], axis=1)  # (slots, d)
        self.best = self.gains.max(axis=1)
        self.place = np.full(self.gains.shape, -1)  # of the best cut; -1 while it is a border

        # Inside a block the sum strays from its values at the ends by no more than the smaller of what the positive
        # and what the negative centred residuals add up to. Their difference is the block's sum; together they come to
        # at most sqrt(count * sum of squares), by Cauchy's inequality.
        squares = np.maximum(squares - mean * (sums + centred), 0)
        stray = (np.sqrt(counts * squares) - np.abs(centred)) / 2
        reach = np.maximum(np.abs(self.before), np.abs(after)) + stray
        low, high = np.maximum(self.count_before, 1), np.minimum(count, size - 1)
        lightest = np.minimum(low * (size - low), high * (size - high))  # c (N - c) is concave
        floor = np.maximum(self.best, _EPSILON * self.size)[:, None] * (1 - _TIE)
        self.candidates = blocks.divisible & (counts > 1.5) & (reach * reach * size >= floor * lightest)

    def open_blocks(self, residuals: np.ndarray, node: np.ndarray) -> None:
        """Try every cut inside the candidate blocks; ``residuals`` and ``node`` are (T, n)."""
        slots, opened = np.nonzero(self.candidates)
        for start in range(0, len(slots), 2**14):
            self._open(slots[start : start + 2**14], opened[start : start + 2**14], residuals, node)
        self.best = self.gains.max(axis=1)

    def _open(self, slots: np.ndarray, opened: np.ndarray, residuals: np.ndarray, node: np.ndarray) -> None:
        blocks, nodes = self.blocks, len(self.size) // len(node)
        places = blocks.start[opened][:, None] + np.arange(_BLOCK)
        np.minimum(places, blocks.order.size - 1, out=places)
        points = blocks.order.take(places) + ((slots // nodes) * blocks.n)[:, None]
        inside = node.ravel().take(points) == (slots % nodes)[:, None]
        inside &= np.arange(_BLOCK) < blocks.length[opened][:, None]
        centred = (residuals.ravel().take(points) - self.mean[slots][:, None]) * inside
        size = self.size[slots][:, None]
        count = np.cumsum(inside, axis=1, dtype=np.float64) + self.count_before[slots, opened][:, None]
        left = np.cumsum(centred, axis=1) + self.before[slots, opened][:, None]
        weight = count * (size - count)
        gain = np.full_like(left, -np.inf)
        np.divide(left * left * size, weight, out=gain, where=(weight > 0.5) & blocks.cut_after.take(places))
        column = gain.argmax(axis=1)
        rows = np.arange(len(slots))
        feature, top = blocks.feature[opened], gain[rows, column]
        rising = np.argsort(top, kind="stable")  # so that the largest is written last
        rising = rising[top[rising] > self.gains[slots[rising], feature[rising]]]
        self.gains[slots[rising], feature[rising]] = top[rising]
        self.place[slots[rising], feature[rising]] = places[rows, column][rising]

    def worthwhile(self) -> np.ndarray:
        """Slots whose best cut removes more than rounding does."""
        return self.best > _EPSILON * self.size

    def choose(self, slot: int, residuals: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """Code and place of the best cut; ``residuals`` and ``inside`` (in the node or not) are (n,).

        Cuts of several codes often have equal gains: they part the points alike, or isolate one of several points with
        the same residual. Which of them scikit-learn takes hangs on the rounding of its sums; its additions are
        repeated here in its order, so that ties fall as there, and what is still equal is drawn.
        """
        tied = np.flatnonzero(self.gains[slot] >= self.best[slot] * (1 - _TIE)).tolist()
        if len(tied) == 1:
            return tied[0], self._place(slot, tied[0])
        rng.shuffle(tied)
        total = residuals[inside].cumsum()[-1]
        best, winner = -np.inf, (0, 0)
        for feature in tied:
            place = self._place(slot, feature)
            sequence = self.blocks.order[feature * self.blocks.n : place + 1]
            sequence = sequence[inside[sequence]]
            left, count = residuals[sequence].cumsum()[-1], len(sequence)
            right = total - left
            proxy = left * left / count + right * right / (self.size[slot] - count)
            if proxy > best:
                best, winner = proxy, (feature, place)
        return winner

    def _place(self, slot: int, feature: int) -> int:
        if self.place[slot, feature] >= 0:
            return int(self.place[slot, feature])
        begin, end = self.blocks.first[feature : feature + 2]
        block = begin + int(self.border[slot, begin:end].argmax())
        return int(self.blocks.start[block] + self.blocks.length[block] - 1)


def _threshold(blocks: _Blocks, feature: int, place: int, inside: np.ndarray) -> np.float32:
    """Midway between the node's values on both sides of the cut, rounded down so that float32 codes compare alike."""
    below = _nearest(blocks, inside, place, feature * blocks.n - 1, -1)
    above = _nearest(blocks, inside, place + 1, (feature + 1) * blocks.n, 1)
    middle = np.float64(blocks.values[below]) / 2 + np.float64(blocks.values[above]) / 2
    threshold = np.float32(middle)
    return np.nextafter(threshold, np.float32(-np.inf)) if threshold > middle else threshold


def _nearest(blocks: _Blocks, inside: np.ndarray, place: int, end: int, step: int) -> int:
    """First place from ``place`` towards ``end`` whose point is in the node; there is one."""
    width = 64
    while True:
        stop = min(place + width, end) if step > 0 else max(place - width, end)
        found = inside[blocks.order[np.arange(place, stop, step)]]
        first = int(found.argmax())
        if found[first]:
            return place + step * first
        place, width = stop, 8 * width
