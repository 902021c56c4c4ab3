"""Joint entropy minus mutual information gap (JEMMIG)."""

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
    code_entropy,
    counting_settings,
    factor_entropy,
    information_table,
)
from disentangle.evaluations.score import Score
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "jemmig"]


@checks_arguments
def jemmig(
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
    """Whether each factor has one code, and that code nothing else.

    With z_1 and z_2 the codes that know most about factor k,

        JEMMIG_k = 1 - (H(z_1, y_k) - I(z_1; y_k) + I(z_2; y_k)) / (H(y_k) + log bins)

    and the mean over factors: Do and Tran, "Theory and Evaluation Metrics for Learning Disentangled Representations",
    ICLR 2020, section 3.2.3, in the form where 1 is best. The joint entropy rises with whatever else z_1 tells.

    Args:
        codes: (n, d) finite numbers, d at least 2; their scale does not matter.
        factors: (n, k) integer labels.
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
        Score named ``"jemmig"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"per_factor"``
        (K,), ``"per_code"`` (d,) the largest I(z_j; y_k) / H(z_j, y_k), ``"joint_entropy"`` and
        ``"mutual_information"`` (d, K) in nats, ``"best_code"`` (K,).

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
    joint = code_entropy(points, how) + entropies - information
    gaps, best = top_two_gap(information)
    # rows of equal information share the joint entropy only if their own entropies agree; the source takes the last
    best = len(information) - 1 - np.argmax(information[::-1], axis=0)
    uncertainty = joint[best, np.arange(len(entropies))] - gaps
    per_factor = 1 - uncertainty / (entropies + np.log(how.bins))
    return Score(
        name="jemmig",
        value=float(per_factor.mean()),
        parts={
            "per_factor": per_factor,
            "per_code": np.max(information / joint, axis=1),
            "mutual_information": information,
            "joint_entropy": joint,
            "best_code": best,
            "factors": points.kept,
        },
        settings={"normaliser": "factor entropy + log bins", **counting_settings(points, how, protocol)},
    )


METRIC = Metric(
    "jemmig", "JEMMIG", _measure, {"ubisoft-2023": {"bins": 20, "edges": "unit"}}, min_codes=2, by_factor=True
)
