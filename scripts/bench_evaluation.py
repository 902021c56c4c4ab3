"""CPU time of the Fréchet distance's routes against scipy's matrix square root, interleaved in one process.

    python scripts/bench_evaluation.py            # a minute or two

Features of 2048 dimensions, two sets of n images each; one thread, median CPU seconds of 3 rounds. Both sides begin
with the covariances at full rank, and ours with the features below it, where the covariances are singular.
"""

from __future__ import annotations

import warnings

import click
import numpy as np
from threadpoolctl import threadpool_limits
from timing import medians

DIMENSIONS = 2048


def features(seed: int, n: int, shift: float = 0.0) -> np.ndarray:
    """Correlated and not negative, as pooled features are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(64, DIMENSIONS))
    return np.maximum(0.4 + 0.1 * rng.normal(size=(n, 64)) @ mixing + 0.3 * rng.normal(size=(n, DIMENSIONS)) + shift, 0)


def by_square_root(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> float:
    """What most packages do."""
    from scipy.linalg import sqrtm

    root = np.real(sqrtm(s1 @ s2))
    return float(np.sum((m1 - m2) ** 2) + np.trace(s1) + np.trace(s2) - 2 * np.trace(root))


@click.command()
@click.option("--rounds", default=3, show_default=True)
def main(rounds: int) -> None:
    from disentangle.evaluations.generation import FeatureStatistics, frechet_distance

    warnings.simplefilter("ignore")
    print("| images | sqrtm, CPU s | ours, CPU s | ratio | difference |\n|---|---|---|---|---|")
    for n in (2500, 1000, 300):
        one, two = features(0, n), features(1, n, 0.02)
        moments = (one.mean(0), np.cov(one.T), two.mean(0), np.cov(two.T))
        sides = (FeatureStatistics.of(one), FeatureStatistics.of(two)) if n > DIMENSIONS else (one, two)
        with threadpool_limits(1):
            times = medians(
                {
                    "sqrtm": lambda moments=moments: by_square_root(*moments),
                    "ours": lambda sides=sides: frechet_distance(*sides),
                },
                rounds,
            )
        before, after = times["sqrtm"] / 1000, times["ours"] / 1000
        difference = abs(by_square_root(*moments) - frechet_distance(*sides).value)
        print(f"| {n} | {before:.2f} | {after:.2f} | {before / after:.1f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
