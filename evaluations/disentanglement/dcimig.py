"""DCIMIG: the gap over factors, credited to factors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.gap import top_two_gap
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import (
    Counting,
    counting_settings,
    factor_entropy,
    information_table,
)
from disentangle.evaluations.score import Score
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "dcimig"]


@checks_arguments
def dcimig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    protocol: str = "ubisoft-2023",
    bins: int | None = None,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How much of the factors' entropy is told by codes that tell about one factor.

    Each code j has a gap I(z_j; y_1) - I(z_j; y_2) between the two factors it tells most about, credited to y_1; the
    largest credit of each factor is added up and divided by sum_k H(y_k). Sepliarskaia, Kiseleva and de Rijke,
    "Evaluating Disentangled Representations", arXiv:1910.05587, section 4.

    Args:
        codes: (n, d) finite numbers; their scale does not matter.
        factors: (n, k) integer labels, two that vary at least.
        protocol: ``"ubisoft-2023"``: 20 bins (its code has 10 where none are given: ``bins=10``).
        bins: number of bins a code, at least 2; by default the protocol's.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; factors that are not
            discrete are cut into as many bins as the codes.
        baselines: also measure chance (the same codes dealt to other points) and the ceiling (a perfect representation
            of these factors with as many live codes).
        bootstrap: resamples for a 95 % interval, 0 for none; see
            :func:`~disentangle.evaluations.disentanglement.metric.score_all`.
        seed: of baselines and bootstrap; the value itself has no randomness.

    Returns:
        Score named ``"dcimig"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"per_factor"``
        (K,) the largest credit over H(y_k), ``"per_code"`` (d,) the gaps in nats, ``"credit"`` (d, K) in nats,
        ``"entropy"`` (K,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"bins": bins},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, protocol: str, **counting: Any) -> Score:
    how = Counting(**counting)
    information, entropies = information_table(points, how), factor_entropy(points, how)
    gaps, best = top_two_gap(information.T)
    credit = np.zeros_like(information)
    credit[np.arange(len(credit)), best] = gaps
    largest = credit.max(axis=0)
    return Score(
        name="dcimig",
        value=float(largest.sum() / entropies.sum()),
        parts={
            "per_factor": largest / entropies,
            "per_code": gaps,
            "credit": credit,
            "entropy": entropies,
            "factors": points.kept,
        },
        settings={"normaliser": "sum of factor entropies", **counting_settings(points, how, protocol)},
    )


METRIC = Metric(
    "dcimig", "DCIMIG", _measure, {"ubisoft-2023": {"bins": 20, "edges": "unit"}}, min_factors=2, by_factor=True
)
