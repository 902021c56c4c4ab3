"""Mutual information gap over factors (MIG-sup)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.gap import divided, top_two_gap
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import Counting, code_entropy, counting_settings, information_table
from disentangle.evaluations.score import Score
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "mig_sup"]


@checks_arguments
def mig_sup(
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
    """How much more a code knows about its best factor than about the second best.

    MIG-sup = 1/d sum_j (I(z_j; y_1) - I(z_j; y_2)) / H(z_j), with y_1 and y_2 the two factors that code j tells most
    about: Li et al., "Progressive Learning and Disentanglement of Hierarchical Representations", ICLR 2020, appendix.
    The mean is over all codes, so each that tells nothing lowers it; a constant code counts as 0.

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
        Score named ``"mig-sup"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"per_code"``
        (d,) the gaps, ``"per_factor"`` (K,) the largest gap among the codes that tell most about the factor (0 if there
        are none), ``"normalised_information"`` (d, K) I / H(z_j), ``"best_factor"`` (d,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"bins": bins},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, protocol: str, **counting: Any) -> Score:
    how = Counting(**counting)
    matrix = divided(information_table(points, how), code_entropy(points, how))
    gaps, best = top_two_gap(matrix.T)
    per_factor = [max(gaps[best == k], default=0.0) for k in range(matrix.shape[1])]
    return Score(
        name="mig-sup",
        value=float(gaps.mean()),
        parts={
            "per_code": gaps,
            "per_factor": np.array(per_factor),
            "normalised_information": matrix,
            "best_factor": points.kept[best],
            "factors": points.kept,
        },
        settings={"normaliser": "code entropy", **counting_settings(points, how, protocol)},
    )


METRIC = Metric(
    "mig-sup", "MIG-sup", _measure, {"ubisoft-2023": {"bins": 20, "edges": "unit"}}, min_factors=2, by_factor=True
)
