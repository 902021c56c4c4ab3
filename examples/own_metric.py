"""A metric of yours, registered: `evaluate`, the command line and reports know it by its name.

A package does the same for all its users with an entry point in the group `disentangle.plugins`.
"""

import numpy as np

from disentangle.evaluations import Score, evaluate
from disentangle.evaluations.disentanglement import Metric, register


def largest_correlation(points, *, power: float, protocol: str) -> Score:
    """How well the best code follows each factor, by absolute correlation."""
    k = points.codes.shape[1]
    table = np.abs(np.corrcoef(points.codes.T, points.factors.T))[:k, k:]
    per_factor = table.max(axis=0) ** power
    settings = {"power": power, "protocol": protocol}
    return Score("correlation", float(per_factor.mean()), {"per_factor": per_factor}, settings)


register(Metric("correlation", "Correlation", largest_correlation, {"ours-2026": {"power": 1.0}}))

rng = np.random.default_rng(0)
factors = rng.integers(0, 5, size=(2000, 2))
codes = factors + rng.normal(size=(2000, 2))
score = evaluate(codes, factors, "correlation")["correlation"]
print(f"{score.value:.3f} (chance {score.chance:.3f}, ceiling {score.ceiling:.3f})", score.parts["per_factor"].round(3))
