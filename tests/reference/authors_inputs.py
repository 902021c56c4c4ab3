"""Regenerates the inputs behind ``authors_code.json``: codes of several models, and curves of loss over capacity.

Frozen ``RandomState`` streams and elementwise arithmetic only, so that every machine makes equal arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# codes that models have of three factors: some models have one twice, so that the similarity is not symmetric
UDR: dict[str, dict[str, Any]] = {
    "duplicated": {"columns": [[0, 1, 2], [0, 0, 1], [2, 2, 2], [1, 0, 2]], "divergences": [[1, 1, 1]] * 4},
    "uninformative": {
        "columns": [[0, 1, 1], [1, 0, 2], [0, 0, 1]],
        "divergences": [[1, 1, 0.001], [1, 1, 1], [1, 0, 1]],
    },
}
CURVES = ("falling", "late", "above the baseline", "rising")


def udr_models(case: str) -> list[np.ndarray]:
    """(600, 3) codes of each model: its factors with noise of its own."""
    stream = np.random.RandomState(len(case))
    factors = stream.standard_normal((600, 3))
    return [
        factors[:, columns] * (1 + i) + 0.2 * (1 + i) * stream.standard_normal((600, 3))
        for i, columns in enumerate(UDR[case]["columns"])
    ]


def curves(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) capacities, (T, K) losses and (K,) losses of a constant."""
    capacities = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    stream = np.random.RandomState(len(name))
    constant = 0.5 + 0.5 * stream.random_sample(4)
    share = np.sort(stream.random_sample((6, 4)), axis=0)[::-1]
    loss = {
        "falling": constant * (0.1 + 0.8 * share),
        "late": np.where(np.arange(6)[:, None] < 5, constant, 0.2 * constant),
        "above the baseline": constant * (0.3 + 1.2 * share),
        "rising": constant * (0.4 + 0.1 * share[::-1]),
    }[name]
    return capacities, loss, constant
