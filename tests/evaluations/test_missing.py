"""Labels that are missing of some points, factor by factor."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle.errors import InputError
from disentangle.evaluations import Score, evaluate, mig
from disentangle.evaluations.disentanglement import Metric, factor_dependence
from disentangle.evaluations.disentanglement.inputs import read_points
from disentangle.evaluations.disentanglement.registry import METRICS

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, 3, 600), RNG.integers(0, 5, 600)], axis=1).astype(float)
CODES = np.concatenate([FACTORS + RNG.normal(size=(600, 2)) * 0.3, RNG.normal(size=(600, 2))], axis=1)
GAPS = FACTORS.copy()
GAPS[:200, 0] = np.nan
GAPS[500:550, 1] = np.nan


def test_a_factor_is_measured_on_the_points_that_have_it():
    train = (CODES, GAPS)
    both = evaluate(CODES, GAPS, ["mig", "sap"], test=train, missing="by-factor", baselines=False)
    for name in ("mig", "sap"):
        for k, rows in enumerate((slice(200, 600), np.r_[0:500, 550:600])):
            part = (CODES[rows], FACTORS[rows, k : k + 1])
            alone = evaluate(*part, [name], test=part, baselines=False)[name]
            assert both[name].parts["per_factor"][k] == pytest.approx(alone.value, abs=1e-12)
    assert both["mig"].settings["missing_labels"] == [400, 100]  # of both parts
    assert both["mig"].settings["missing_policy"] == "each factor on the points that have it"


def test_metrics_of_all_factors_take_the_points_that_have_all():
    scores = evaluate(CODES, GAPS, ["mcc"], test=(CODES, FACTORS), missing="by-factor", baselines=False)
    rows = np.r_[200:500, 550:600]
    alone = evaluate(CODES[rows], FACTORS[rows], ["mcc"], test=(CODES, FACTORS), baselines=False)
    assert scores["mcc"].value == pytest.approx(alone["mcc"].value, abs=1e-12)
    assert scores["mcc"].settings["missing_policy"] == "points that have every factor"
    assert scores["mcc"].settings["n_train"] == 350
    never = GAPS.copy()
    never[200:, 1] = np.nan
    assert evaluate(CODES, never, ["active-units"], missing="by-factor")["active-units"].settings["n_train"] == 400
    with pytest.raises(InputError, match="of 400 points 0 have them all .*leave out the factors"):
        evaluate(CODES, never, ["mcc"], missing="by-factor")


@pytest.mark.slow
def test_every_metric_of_arrays_with_gaps():
    names = [name for name in METRICS if not name.startswith(("dci", "downstream", "infom", "infoc", "med", "topk"))]
    scores = evaluate(CODES, GAPS, names, missing="by-factor", bootstrap=0)
    assert all(np.isfinite(score.value) for score in scores.values())
    assert scores["mig"].chance < 0.1 < 0.8 < scores["mig"].ceiling


def test_without_gaps_nothing_changes():
    plain = evaluate(CODES, FACTORS, ["mig", "irs"], bootstrap=20)
    told = evaluate(CODES, FACTORS, ["mig", "irs"], bootstrap=20, missing="by-factor")
    for name, score in plain.items():
        assert told[name].to_dict() | {"seconds": 0} == score.to_dict() | {"seconds": 0}


def test_gaps_are_refused_unless_they_are_meant():
    with pytest.raises(InputError, match="factors hold 250 values that are NaN"):
        evaluate(CODES, GAPS, ["mig"])
    with pytest.raises(InputError, match="factors hold 250 values"):
        mig(CODES, GAPS)
    infinite = GAPS.copy()
    infinite[0, 0] = np.inf
    with pytest.raises(InputError, match="factors hold 1 value that is NaN or infinite"):
        evaluate(CODES, infinite, ["mig"], missing="by-factor")
    with pytest.raises(InputError, match="value of missing"):
        evaluate(CODES, GAPS, ["mig"], missing="drop")


def test_intervals_and_continuous_factors_beside_labels():
    gaps = GAPS.copy()
    gaps[:, 1] += 0.125
    scores = evaluate(
        CODES, gaps, ["mig", "sap"], factor_kinds=["discrete", "continuous"], missing="by-factor", bootstrap=20
    )
    for score in scores.values():
        low, high = score.interval
        assert low < score.value < high


def test_a_metric_of_ones_own_never_sees_a_label_that_is_not_known():
    seen = []

    def measure(points, *, protocol):
        seen.append(points)
        return Score("own", 0.0)

    Metric("own", "own", measure, {"x": {}}, baselines=False).measured_on(
        read_points(CODES, GAPS, missing=True), protocol="x"
    )
    rows = ~np.isnan(GAPS).any(axis=1)
    assert np.array_equal(seen[0].factors, FACTORS[rows].astype(int))


def test_dependence_of_factors():
    first = np.repeat(np.arange(4), 100)
    independent = np.tile(np.arange(4), 100)
    same = factor_dependence(np.stack([first, 3 - first, independent], axis=1))
    assert same[0, 1] == pytest.approx(1.0, abs=1e-12)
    assert same[0, 2] == 0
    # by hand: a 2 x 2 table of 30, 10, 10, 30: phi^2 = 1/4, less 1/79, over 1 - 1/79
    table = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], [30, 10, 10, 30], axis=0)
    expected = np.sqrt((0.25 - 1 / 79) / (1 - 1 / 79))
    assert factor_dependence(table)[0, 1] == pytest.approx(expected, abs=1e-12)
    gaps = np.concatenate([table, [[np.nan, 1], [0, np.nan]]])
    assert factor_dependence(gaps)[0, 1] == pytest.approx(expected, abs=1e-12)
