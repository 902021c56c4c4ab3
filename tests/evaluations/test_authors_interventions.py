"""Interventional scores of ``ubisoft-2023`` against that code, which draws from a table of points and has no seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from disentangle.evaluations.disentanglement import CodeTable, beta_vae, factor_vae, z_max_variance

SIZES = (4, 3, 5)
# Mean and standard deviation over 40 draws (z-diff: 6) of z_max_var, z_min_var and z_diff of
# ubisoft/ubisoft-laforge-DisentanglementMetrics 05d5667, continuous_factors=False and all else as it is, on 400 points
# of each combination of the factors below.
PRINTED = {"z-max": (0.6330, 0.0306, 40), "z-min": (0.9459, 0.0109, 40), "z-diff": (0.9981, 0.0010, 6)}


def representation(stream: np.random.RandomState) -> CodeTable:
    def encode(factors: np.ndarray) -> np.ndarray:
        a, b, c = (factors[:, i] / (size - 1) for i, size in enumerate(SIZES))
        e = stream.randn(len(factors), 5)
        codes = (a + 0.3 * e[:, 0], 0.6 * b + 0.5 * c + 0.15 * e[:, 1], np.sin(3 * a) * b + 0.4 * e[:, 2])
        return np.stack([*codes, c * c - a + 0.3 * e[:, 3], 0.02 * e[:, 4]], axis=1)

    return CodeTable(encode, SIZES, batch=2**20, cache=False)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("function", "key", "draws"), [(z_max_variance, "z-max", 12), (factor_vae, "z-min", 12), (beta_vae, "z-diff", 1)]
)
def test_agrees_within_the_spread_of_draws(function: Callable[..., Any], key: str, draws: int) -> None:
    found = []
    for seed in range(draws):
        stream = np.random.RandomState(seed)
        found.append(function(representation(stream), protocol="ubisoft-2023", stream=stream).value)
    mean, deviation, printed = PRINTED[key]
    assert abs(np.mean(found) - mean) < 4 * deviation * (1 / printed + 1 / draws) ** 0.5
