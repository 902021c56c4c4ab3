"""Mutual information gap (MIG)."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.gap import divided, top_two_gap
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import (
    Counting,
    code_entropy,
    counting_settings,
    factor_entropy,
    information_table,
)
from disentangle.evaluations.score import Score
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "mig", "score_gap"]


@checks_arguments
def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    protocol: str = "dlib-2018",
    bins: int | None = None,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
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
        protocol: ``"dlib-2018"`` or ``"disent"``; ``"ubisoft-2023"``: information divided by the code's
            entropy; ``"dcf-2023"``: factors cut into 20 bins, as the codes are.
        bins: number of bins a code, at least 2; by default the protocol's.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; factors that are not
            discrete are cut into as many bins as the codes.
        baselines: also measure chance (the same codes dealt to other points) and the ceiling (a perfect representation
            of these factors with as many live codes).
        bootstrap: resamples for a 95 % interval, 0 for none; see
            :func:`~disentangle.evaluations.disentanglement.metric.score_all`.
        seed: of baselines and bootstrap; the value itself has no randomness.

    Returns:
        Score named ``"mig"``; value in [0, 1], 1 when every factor is in one code alone. Parts, for the K factors
        listed in ``"factors"``: ``"per_factor"`` (K,), ``"per_code"`` (d,) the largest share of a factor's entropy that
        the code tells, ``"mutual_information"`` (d, K) and ``"entropy"`` (K,) in nats, ``"best_code"`` (K,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.

    >>> import numpy as np
    >>> factors = np.array([[a, b] for a in range(3) for b in range(4)])
    >>> print(f"{float(mig(factors.astype(float), factors, bins=4)):.3f}")
    1.000
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"bins": bins},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def score_gap(points: Points, *, name: str, normaliser: str, counting: Counting, protocol: str) -> Score:
    """The gap of MIG over the codes, with the information divided by each factor's or each code's entropy."""
    information = information_table(points, counting)
    by_factor = information / factor_entropy(points, counting)
    by_code = divided(information, code_entropy(points, counting))
    per_factor, best = top_two_gap(by_factor if normaliser == "factor" else by_code)
    return Score(
        name=name,
        value=float(per_factor.mean()),
        parts={
            "per_factor": per_factor,
            "per_code": by_factor.max(axis=1),
            "mutual_information": information,
            "entropy": factor_entropy(points, counting),
            "best_code": best,
            "factors": points.kept,
        },
        settings={"normaliser": f"{normaliser} entropy", **counting_settings(points, counting, protocol)},
    )


def _measure(points: Points, *, normaliser: str, protocol: str, **counting: Any) -> Score:
    return score_gap(points, name="mig", normaliser=normaliser, counting=Counting(**counting), protocol=protocol)


_DLIB = {"bins": 20, "normaliser": "factor"}
METRIC = Metric(
    "mig",
    "MIG",
    _measure,
    {
        "dlib-2018": _DLIB,
        "disent": _DLIB,
        "ubisoft-2023": {"bins": 20, "edges": "unit", "normaliser": "code"},
        "dcf-2023": {"bins": 20, "edges": "unit", "cut_factors": True, "normaliser": "factor"},
    },
    min_codes=2,
    by_factor=True,
)
