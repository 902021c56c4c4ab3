"""Interventional robustness score (IRS)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from disentangle.checks import check_number
from disentangle.evaluations.disentanglement.extremes import common_exponent, scaled
from disentangle.evaluations.disentanglement.information import class_indices, equal_width_bins
from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "irs"]


@checks_arguments
def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    protocol: str = "dlib-2018",
    quantile: float | None = None,
    factor_kinds: FactorKinds = None,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How little a code moves when only other factors than its own change.

    For code j and factor k, R_jk = 1 - (mean over the values v of k of the quantile of abs(z_j - E[z_j | y_k = v])) /
    max abs(z_j - E z_j); a code scores its largest R, and the mean over codes is weighted by the largest deviation of
    each: Suter et al., "Robustly Disentangled Causal Mechanisms", ICML 2019, section 4. Codes with a small range hardly
    count. Constant codes are left out (they would be 0/0); with no other the score is 0.

    Args:
        codes: (n, d) finite numbers; multiplying all by one number changes nothing, multiplying one changes its weight.
        factors: (n, k) integer labels.
        protocol: ``"dlib-2018"``: factors cut into 20 bins by value, the 99 % quantile; ``"ubisoft-2023"``: factors as
            they are, the maximum.
        quantile: in (0, 1]; by default the protocol's.
        factor_kinds: see :func:`~disentangle.evaluations.disentanglement.kinds.read_kinds`; factors that are not
            discrete are cut into 20 bins.
        baselines: also measure chance and ceiling (a perfect representation with spare codes is below 1).
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of baselines and bootstrap; the value itself has no randomness.

    Returns:
        Score named ``"irs"``; value in [0, 1]. Parts, for the K factors listed in ``"factors"``: ``"robustness"``
        (d, K), 0 for constant codes, ``"per_code"`` (d,), ``"code_weight"`` (d,), ``"per_factor"`` (K,) the largest of
        each column, ``"best_factor"`` (d,).

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    if quantile is not None:
        quantile = check_number("quantile", quantile, above=0, most=1)
    return measured(
        METRIC, codes, factors, protocol=protocol, given={"quantile": quantile},
        factor_kinds=factor_kinds, baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(points: Points, *, quantile: float, factor_bins: int | None, protocol: str) -> Score:
    # codes are weighed by how far they move, so that one scale must do for all
    codes = scaled(points.codes.astype(np.float64), common_exponent(points.codes))
    deviations = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    alive = ~np.all(codes == codes[:1], axis=0) & (deviations > 0)
    robustness = np.zeros((codes.shape[1], points.factors.shape[1]))
    for k, (column, kind) in enumerate(zip(points.factors.T, points.kinds, strict=True)):
        cut = factor_bins if factor_bins is not None else None if kind.name == "discrete" else 20
        labels = column if cut is None else equal_width_bins(column[:, None], cut)[:, 0]
        index, classes = class_indices(labels.astype(np.int64))
        order = np.argsort(index, kind="stable")
        ends = np.cumsum(np.bincount(index, minlength=classes))
        strayed = np.zeros(codes.shape[1])
        for group in np.split(codes[order], ends[:-1]):
            strayed += np.quantile(np.abs(group - group.mean(axis=0)), quantile, axis=0)
        robustness[alive, k] = 1 - strayed[alive] / classes / deviations[alive]
    per_code = robustness.max(axis=1)
    weight = np.where(alive, deviations, 0.0)
    weight = weight / weight.sum() if alive.any() else weight
    return Score(
        name="irs",
        value=float(per_code @ weight),
        parts={
            "per_code": per_code,
            "code_weight": weight,
            "per_factor": robustness.max(axis=0),
            "robustness": robustness,
            "best_factor": points.kept[robustness.argmax(axis=1)],
            "factors": points.kept,
        },
        settings={
            "protocol": protocol,
            "quantile": quantile,
            "factor_bins": factor_bins,
            "normaliser": "largest deviation of the code",
            **points.settings,
            "packages": package_versions("numpy"),
        },
    )


METRIC = Metric(
    "irs",
    "IRS",
    _measure,
    {"dlib-2018": {"quantile": 0.99, "factor_bins": 20}, "ubisoft-2023": {"quantile": 1.0, "factor_bins": None}},
    extremes="own",
)
