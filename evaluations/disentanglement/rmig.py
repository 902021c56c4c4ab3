"""Robust mutual information gap (RMIG)."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.mig import score_gap
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import Counting
from disentangle.evaluations.score import Score
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "rmig"]


@checks_arguments
def rmig(
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
    """The gap of MIG from the joint frequencies of codes and factors as they occur.

    Do and Tran, "Theory and Evaluation Metrics for Learning Disentangled Representations", ICLR 2020, section 3.2.2:
    MIG as first published takes its expectations over a complete grid of factors, each combination once, and divides by
    the logarithm of the number of values; RMIG takes frequencies, and divides by the entropy that the factor has. With
    binned codes (one vector a picture, as here) that is what :func:`mig` under ``"dlib-2018"`` computes, so the two
    numbers are equal; they part when MIG is estimated from densities on a grid that is not complete, see
    :func:`mig_density`.

    Args:
        codes: (n, d) finite numbers, d at least 2.
        factors: (n, k) integer labels, of any frequencies.
        protocol: ``"dlib-2018"`` (20 bins).
        bins: number of bins a code, at least 2; by default the protocol's.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; factors that are not
            discrete are cut into as many bins as the codes.
        baselines: also measure chance (the same codes dealt to other points) and the ceiling (a perfect representation
            of these factors with as many live codes).
        bootstrap: resamples for a 95 % interval, 0 for none; see
            :func:`~disentangle.evaluations.disentanglement.metric.score_all`.
        seed: of baselines and bootstrap; the value itself has no randomness.

    Returns:
        Score named ``"rmig"``; value in [0, 1]; the parts of :func:`mig`.

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"bins": bins},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, protocol: str, **counting: Any) -> Score:
    return score_gap(points, name="rmig", normaliser="factor", counting=Counting(**counting), protocol=protocol)


METRIC = Metric("rmig", "RMIG", _measure, {"dlib-2018": {"bins": 20}}, min_codes=2, by_factor=True)
