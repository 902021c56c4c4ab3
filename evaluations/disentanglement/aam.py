"""Axis alignment metric (AAM)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.gap import divided
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

__all__ = ["METRIC", "aam"]


@checks_arguments
def aam(
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
    """How much more the best code knows about a factor than all others together.

    AAM = 1/k sum_k max(0, I(z_1; y_k) - sum over the other codes of I(z_j; y_k)) / I(z_1; y_k): the axis alignment
    metric of the library disentangling-vae, which takes the information from densities; here it comes from counts. The
    upward bias of every estimate counts d - 1 times against the score. A factor that no code tells about counts as 0.

    Args:
        codes: (n, d) finite numbers; their scale does not matter.
        factors: (n, k) integer labels.
        protocol: ``"dlib-2018"``: its counts (20 bins).
        bins: number of bins a code, at least 2; by default the protocol's.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; factors that are not
            discrete are cut into as many bins as the codes.
        baselines: also measure chance (the same codes dealt to other points) and the ceiling (a perfect representation
            of these factors with as many live codes).
        bootstrap: resamples for a 95 % interval, 0 for none; see
            :func:`~disentangle.evaluations.disentanglement.metric.score_all`.
        seed: of baselines and bootstrap; the value itself has no randomness.

    Returns:
        Score named ``"aam"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"per_factor"``
        (K,), ``"per_code"`` (d,) the largest share of a factor's entropy that the code tells,
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
    information = information_table(points, how)
    largest = information.max(axis=0)
    per_factor = divided(np.maximum(2 * largest - information.sum(axis=0), 0), largest)
    return Score(
        name="aam",
        value=float(per_factor.mean()),
        parts={
            "per_factor": per_factor,
            "per_code": np.max(information / factor_entropy(points, how), axis=1),
            "mutual_information": information,
            "best_code": information.argmax(axis=0),
            "factors": points.kept,
        },
        settings={"normaliser": "information of the best code", **counting_settings(points, how, protocol)},
    )


METRIC = Metric("aam", "AAM", _measure, {"dlib-2018": {"bins": 20}}, by_factor=True)
