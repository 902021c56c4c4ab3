"""How strongly factors depend on each other, which no score of codes can undo: a code of one tells of the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import read_array
from disentangle.evaluations.disentanglement.kinds import FactorKinds, read_kinds

__all__ = ["factor_dependence"]

_PARTS = 10  # of equally many points, that factors which are not discrete are cut into


def factor_dependence(factors: ArrayLike, *, factor_kinds: FactorKinds = None) -> np.ndarray:
    """Cramér's V of each pair of factors, without its bias.

    ``V^2 = max(0, phi^2 - (r-1)(c-1)/(n-1)) / min(r~ - 1, c~ - 1)`` with ``r~ = r - (r-1)^2/(n-1)``: Bergsma, "A
    bias-correction for Cramér's V and Tschuprow's T", Journal of the Korean Statistical Society 42, 2013.

    Args:
        factors: (n, k) values; NaN where one is missing, and a pair is compared on the points that have both.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; factors that are not
            discrete are cut into ten parts of equally many points.

    Returns:
        (k, k) from 0, independent, to 1, one says what the other is; 1 on the diagonal, 0 where a factor has one value.

    Raises:
        InputError: on other arrays.

    >>> float(factor_dependence([[0, 0], [0, 0], [1, 1], [1, 1]])[0, 1])
    1.0
    """
    values = read_array(factors, "factors", ndim=2, finite=False)
    known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, dtype=bool)
    kinds = read_kinds(factor_kinds, np.where(known, values, 0) if not known.all() else values)
    labels = np.zeros(values.shape, dtype=np.int64)
    for k, kind in enumerate(kinds):
        column = values[known[:, k], k]
        if kind.name != "discrete" and len(column):
            edges = np.unique(np.quantile(column, np.linspace(0, 1, _PARTS + 1)[1:-1]))
            column = np.searchsorted(edges, column, side="right")
        labels[known[:, k], k] = np.unique(column, return_inverse=True)[1]
    found = np.eye(len(kinds))
    for i in range(len(kinds)):
        for j in range(i):
            both = known[:, i] & known[:, j]
            found[i, j] = found[j, i] = _cramers_v(labels[both, i], labels[both, j])
    return found


def _cramers_v(first: np.ndarray, second: np.ndarray) -> float:
    n = len(first)
    rows, columns = (np.unique(labels, return_inverse=True)[1] for labels in (first, second))
    r, c = (int(labels.max(initial=-1)) + 1 for labels in (rows, columns))
    if min(r, c) < 2 or n < 3:
        return 0.0
    # The cells that occur alone are counted: two factors of many values each would have a table of their product.
    cells, counts = np.unique(rows.astype(np.int64) * c + columns, return_counts=True)
    product = np.bincount(rows)[cells // c].astype(np.float64) * np.bincount(columns)[cells % c]
    phi = float(np.sum(counts / product * counts)) - 1  # chi^2 / n
    phi = max(0.0, phi - (r - 1) * (c - 1) / (n - 1))
    fewest = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi / fewest))) if fewest > 0 else 0.0
