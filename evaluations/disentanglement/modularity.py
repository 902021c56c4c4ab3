"""Modularity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.gap import divided
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import Counting, counting_settings, information_table
from disentangle.evaluations.score import Score
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "modularity"]


@checks_arguments
def modularity(
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
    """Whether each code tells about one factor alone.

    For code j with most information I_j* about some factor, 1 - sum over the others of I_jk^2 / (I_j*^2 (k - 1)), and
    the mean over all codes: Ridgeway and Mozer, "Learning Deep Disentangled Embeddings with the F-Statistic Loss",
    NeurIPS 2018, section 2. Only ratios count, so noise, whose little information differs from factor to factor by
    chance, scores about two thirds. A code without any information counts as 0.

    Args:
        codes: (n, d) finite numbers; their scale does not matter.
        factors: (n, k) integer labels, two that vary at least.
        protocol: ``"dlib-2018"``: 20 bins; ``"ubisoft-2023"``: the same after scaling; ``"dcf-2023"``: of factors too.
        bins: number of bins a code, at least 2; by default the protocol's.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; factors that are not
            discrete are cut into as many bins as the codes.
        baselines: also measure chance (the same codes dealt to other points) and the ceiling (a perfect representation
            of these factors with as many live codes).
        bootstrap: resamples for a 95 % interval, 0 for none; see
            :func:`~disentangle.evaluations.disentanglement.metric.score_all`.
        seed: of baselines and bootstrap; the value itself has no randomness.

    Returns:
        Score named ``"modularity"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"per_code"``
        (d,), ``"per_factor"`` (K,) the mean over the codes that tell most about the factor (0 if there are none),
        ``"mutual_information"`` (d, K) in nats, ``"best_factor"`` (d,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"bins": bins},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, protocol: str, **counting: Any) -> Score:
    how = Counting(**counting)
    information = information_table(points, how)
    shares = divided(information, information.max(axis=1, keepdims=True))  # squares of tiny numbers would underflow
    alive, best = information.any(axis=1), information.argmax(axis=1)
    per_code = np.where(alive, 1 - (np.sum(shares**2, axis=1) - 1) / (information.shape[1] - 1), 0.0)
    serving = [per_code[alive & (best == k)] for k in range(information.shape[1])]
    return Score(
        name="modularity",
        value=float(per_code.mean()),
        parts={
            "per_code": per_code,
            "per_factor": np.array([codes.mean() if len(codes) else 0.0 for codes in serving]),
            "mutual_information": information,
            "best_factor": points.kept[best],
            "factors": points.kept,
        },
        settings=counting_settings(points, how, protocol),
    )


METRIC = Metric(
    "modularity",
    "modularity",
    _measure,
    {
        "dlib-2018": {"bins": 20},
        "ubisoft-2023": {"bins": 20, "edges": "unit"},
        "dcf-2023": {"bins": 20, "edges": "unit", "cut_factors": True},
    },
    min_factors=2,
    by_factor=True,
)
