"""Mutual information gap (MIG)."""

from __future__ import annotations

import time
from dataclasses import replace

from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.gap import top_two_gap
from disentangle.evaluations.disentanglement.information import entropy, equal_width_bins, mutual_information
from disentangle.evaluations.disentanglement.inputs import Points, check_integer, read_points
from disentangle.evaluations.score import Score, package_versions

__all__ = ["mig"]


def mig(codes: ArrayLike, factors: ArrayLike, *, bins: int = 20) -> Score:
    """How much more the best code knows about a factor than the second best.

    MIG = 1/K sum_k (I(z_j1; y_k) - I(z_j2; y_k)) / H(y_k), where j1 and j2 are the codes with the most and the second
    most mutual information about factor k: Chen et al., "Isolating Sources of Disentanglement in Variational
    Autoencoders", NeurIPS 2018, equation 6. The information is estimated from counts, each code cut into equal-width
    bins, as Locatello et al., "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
    Representations", ICML 2019, do (protocol ``"dlib-2018"``: 20 bins, 10,000 points, posterior means).

    The estimate is biased upwards by about bins times classes over points; compare only equal ``bins`` and ``n``.

    Args:
        codes: (n, d) finite numbers, d at least 2; their scale does not matter.
        factors: (n, k) integer labels; a factor with one class takes no part.
        bins: number of bins a code, at least 2.

    Returns:
        Score named ``"mig"``; value in [0, 1], 1 when every factor is in one code alone. Parts, for the K factors
        listed in ``"factors"``: ``"per_factor"`` (K,), ``"mutual_information"`` (d, K) and ``"entropy"`` (K,) in
        nats, ``"best_code"`` (K,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.

    >>> import numpy as np
    >>> factors = np.array([[a, b] for a in range(3) for b in range(4)])
    >>> print(f"{float(mig(factors.astype(float), factors)):.3f}")
    1.000
    """
    start = time.perf_counter()
    bins = check_integer("bins", bins, least=2)
    points = read_points(codes, factors, min_codes=2, metric="MIG")
    return replace(score_points(points, bins=bins), seconds=time.perf_counter() - start)


def score_points(points: Points, *, bins: int = 20) -> Score:
    """:func:`mig` of the training part of points already read."""
    start = time.perf_counter()
    information = mutual_information(equal_width_bins(points.codes, bins), points.factors)
    entropies = entropy(points.factors)
    gaps, best = top_two_gap(information)
    per_factor = gaps / entropies
    return Score(
        name="mig",
        value=float(per_factor.mean()),
        parts={
            "per_factor": per_factor,
            "mutual_information": information,
            "entropy": entropies,
            "best_code": best,
            "factors": points.kept,
        },
        settings={
            "protocol": "dlib-2018",
            "bins": bins,
            "binning": "equal width, edges of numpy.histogram in the codes' dtype",
            "normaliser": "factor entropy",
            "codes_dtype": str(points.codes.dtype),
            **points.settings,
            "packages": package_versions("numpy"),
        },
        seconds=time.perf_counter() - start,
    )
