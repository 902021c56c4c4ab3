"""Disentanglement by mutual information (MED), and of the purest codes (top-k MED)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_integer
from disentangle.evaluations.disentanglement.dci import completeness_per_factor, disentanglement_per_code
from disentangle.evaluations.disentanglement.gap import divided
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.linear_readout import linear_readouts
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.disentanglement.tables import Counting, counting_settings, information_table
from disentangle.evaluations.score import Score
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "TOP_K", "med", "topk_med"]


@checks_arguments
def med(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    protocol: str = "med-2022",
    bins: int | None = None,
    factor_kinds: FactorKinds = None,
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """DCI's disentanglement and completeness of mutual information instead of a model's importances.

    With R_jk = I(z_j; y_k) / sum over codes of I(z_j; y_k), by counts in equal-width bins, D and C are those of
    :func:`dci`; informativeness is the held-out accuracy of a logistic regression on standardised codes. Cao et al.,
    "An Empirical Study on Disentanglement of Negative-free Contrastive Learning", NeurIPS 2022, section 3.

    Args:
        codes: (n, d) finite numbers, d at least 2.
        factors: (n, k) integer labels, two that vary at least.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``.
        protocol: ``"med-2022"``: 20 bins.
        bins: number of bins a code, at least 2; by default the protocol's.
        factor_kinds: all must be discrete.
        test_fraction: share of the points to hold out when ``test`` is None, in (0, 1).
        baselines: also measure chance and ceiling.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the split, the baselines and the resamples.

    Returns:
        Score named ``"med"``; value D in [0, 1]. Parts, for the K factors listed in ``"factors"``:
        ``"completeness"``, ``"informativeness_train"``, ``"informativeness_test"``, ``"importance"`` (d, K),
        ``"per_code"`` (d,), ``"code_weight"`` (d,), ``"per_factor"`` (K,) completeness.

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"bins": bins}, test=test, factor_kinds=factor_kinds,
        test_fraction=test_fraction, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


@checks_arguments
def topk_med(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    k: int | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    protocol: str = "med-2022",
    bins: int | None = None,
    factor_kinds: FactorKinds = None,
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """:func:`med` of a few codes: of those that tell most about each factor, the ``k`` with the largest D_j.

    For representations with hundreds of codes, where most tell a little about everything. Arguments and parts are those
    of :func:`med`; ``k`` is 1 unless given, and ``"chosen"`` lists the codes.
    """
    if k is not None:
        check_integer("k", k, least=1)
    return measured(
        TOP_K, codes, factors, protocol=protocol, given={"bins": bins, "k": k}, test=test, factor_kinds=factor_kinds,
        test_fraction=test_fraction, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, protocol: str, k: int | None = None, **counting: Any) -> Score:
    points.require_discrete("MED" if k is None else "top-k MED")
    how = Counting(**counting)
    information = information_table(points, how)
    importance = divided(information, information.sum(axis=0))
    per_code = disentanglement_per_code(importance)
    chosen = np.arange(len(importance)) if k is None else _purest(importance, per_code, k)
    weight = np.zeros(len(importance))
    weight[chosen] = divided(importance[chosen].sum(axis=1), importance[chosen].sum())
    columns = importance[chosen].sum(axis=0)
    per_factor = completeness_per_factor(importance[chosen]) if len(chosen) > 1 else (columns > 0).astype(float)
    readouts = linear_readouts(points)
    train, test = (
        [readout.accuracy(labels, held_out=held_out) for readout, labels in zip(readouts, factors.T, strict=True)]
        for held_out, factors in ((False, points.factors), (True, points.held_out[1]))
    )
    value = float(per_code @ weight)
    return Score(
        name="med" if k is None else "topk-med",
        value=value,
        parts={
            "disentanglement": value,
            "completeness": float(per_factor @ divided(columns, columns.sum())),
            "informativeness_train": float(np.mean(train)),
            "informativeness_test": float(np.mean(test)),
            "importance": importance,
            "per_code": per_code,
            "code_weight": weight,
            "per_factor": per_factor,
            "chosen": chosen,
            "factors": points.kept,
        },
        settings={"normaliser": "information per factor sums to 1", "k": k, **counting_settings(points, how, protocol)},
    )


def _purest(importance: np.ndarray, per_code: np.ndarray, k: int) -> np.ndarray:
    """Positions of the ``k`` codes of largest D_j among those whose largest entry is each factor."""
    best, order = importance.argmax(axis=1), np.argsort(-per_code, kind="stable")
    kept = [order[best[order] == factor][:k] for factor in range(importance.shape[1])]
    return np.sort(np.concatenate(kept))


METRIC = Metric("med", "MED", _measure, {"med-2022": {"bins": 20}}, hold_out=True, min_codes=2, min_factors=2)
TOP_K = Metric(
    "topk-med", "top-k MED", _measure, {"med-2022": {"bins": 20, "k": 1}}, hold_out=True, min_codes=2, min_factors=2
)
