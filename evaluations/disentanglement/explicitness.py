"""Explicitness."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from disentangle.evaluations.disentanglement.kinds import FactorKinds
from disentangle.evaluations.disentanglement.linear_readout import area_under_roc, linear_readouts
from disentangle.evaluations.disentanglement.metric import Metric, measured
from disentangle.evaluations.disentanglement.points import Points
from disentangle.evaluations.score import Score, package_versions
from disentangle.signatures import checks_arguments

__all__ = ["METRIC", "explicitness"]


@checks_arguments
def explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    protocol: str = "dlib-2018",
    factor_kinds: FactorKinds = None,
    test_fraction: float = 1 / 3,
    baselines: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How well a linear classifier reads the values of each factor from all codes.

    The area under the receiver operating characteristic of a logistic regression, one value against the rest, averaged
    over values, then factors: Ridgeway and Mozer, "Learning Deep Disentangled Embeddings with the F-Statistic Loss",
    NeurIPS 2018, section 2. Rotating the codes does not change it.

    Args:
        codes: (n, d) finite numbers; their scale does not matter (a penalty acts on scaled codes).
        factors: (n, k) integer labels.
        test: held-out ``(codes, factors)``; without it a part is split off by ``seed``.
        protocol: ``"dlib-2018"``: standardised codes, on the held-out part, from 0.5 (chance) to 1; ``"ubisoft-2023"``:
            codes scaled to [0, 1], classes balanced, on the training part, rescaled to 0 (chance) to 1.
        factor_kinds: all must be discrete.
        test_fraction: share of the points to hold out when ``test`` is None, in (0, 1).
        baselines: also measure chance and ceiling.
        bootstrap: resamples for a 95 % interval, 0 for none.
        seed: of the split, the baselines and the resamples.

    Returns:
        Score named ``"explicitness"``. Parts, for the K factors listed in ``"factors"``: ``"per_factor"`` (K,),
        ``"train"`` and ``"test"`` the mean areas of both parts, ``"weight"`` (d, K) mean absolute coefficients of the
        scaled codes, ``"per_code"`` (d,) their largest.

    Raises:
        InputError: when the arrays do not fit, see :mod:`disentangle.evaluations.disentanglement.inputs`.
    """
    return measured(
        METRIC, codes, factors, protocol=protocol, test=test, factor_kinds=factor_kinds, test_fraction=test_fraction,
        baselines=baselines, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip


def _measure(
    points: Points, *, scaling: Literal["standard", "unit"], balanced: bool, part: str, rescaled: bool, protocol: str
) -> Score:
    points.require_discrete("explicitness")
    readouts = linear_readouts(points, scaling=scaling, balanced=balanced)
    train = np.array(
        [
            np.nanmean(area_under_roc(readout.train, labels, readout.classes))
            for readout, labels in zip(readouts, points.factors.T, strict=True)
        ]
    )
    test = np.array(
        [
            _mean_seen(area_under_roc(readout.test, labels, readout.classes))
            for readout, labels in zip(readouts, points.held_out[1].T, strict=True)
            if readout.test is not None
        ]
    )
    per_factor = train if part == "train" else test
    if rescaled:
        per_factor = 2 * per_factor - 1
    weight = np.stack([readout.weight for readout in readouts], axis=1)
    return Score(
        name="explicitness",
        value=float(per_factor.mean()),
        parts={
            "per_factor": per_factor,
            "per_code": weight.max(axis=1),
            "weight": weight,
            "train": float(train.mean()),
            "test": float(test.mean()),
            "factors": points.kept,
        },
        settings={
            "protocol": protocol,
            "estimator": "LogisticRegression()" if not balanced else "LogisticRegression(class_weight='balanced')",
            "scaling": scaling,
            "part": part,
            "rescaled": rescaled,
            **points.settings,
            "packages": package_versions("numpy", "scikit-learn"),
        },
    )


def _mean_seen(areas: np.ndarray) -> float:
    """Over the values that the held-out part has; one half where it has a single one."""
    return float(np.nanmean(areas)) if np.any(np.isfinite(areas)) else 0.5


METRIC = Metric(
    "explicitness",
    "explicitness",
    _measure,
    {
        "dlib-2018": {"scaling": "standard", "balanced": False, "part": "test", "rescaled": False},
        "ubisoft-2023": {"scaling": "unit", "balanced": True, "part": "train", "rescaled": True},
    },
    hold_out=True,
)
