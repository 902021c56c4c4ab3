"""Codes and factors from anywhere: arrays in, scores with chance, ceiling and interval out."""

import numpy as np

from disentangle.evaluations import dci, evaluate, mig

rng = np.random.default_rng(0)
factors = rng.integers(0, [4, 3, 6], size=(3000, 3))  # what is known of each sample
mixing = np.array([[1.0, 0.0, 0.2], [0.0, 1.0, 0.0], [0.0, 0.3, 1.0], [0.0, 0.0, 0.0]])
codes = factors @ mixing.T + 0.2 * rng.normal(size=(3000, 4))  # what some encoder made of it; the last one is noise

scores = evaluate(codes, factors, ["mig", "sap", "modularity"], bootstrap=20)
for name, score in scores.items():
    low, high = score.interval
    print(
        f"{name:12} {score.value:.3f} [{low:.3f}, {high:.3f}]  chance {score.chance:.3f}, ceiling {score.ceiling:.3f}"
    )

print("MIG of each factor:", mig(codes, factors).parts["per_factor"].round(3))
print("which code predicts which factor:\n", dci(codes, factors).parts["importance"].round(2))
