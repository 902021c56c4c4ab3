"""What stands beside every value: protocol, chance, ceiling, interval, odd codes; and the kinds of factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from disentangle.errors import InputError
from disentangle.evaluations import evaluate, mig, sap
from disentangle.evaluations.disentanglement.inputs import read_points
from disentangle.evaluations.disentanglement.kinds import FactorKind, read_kinds
from disentangle.evaluations.disentanglement.protocols import PROTOCOLS, protocol_options
from disentangle.evaluations.disentanglement.registry import METRICS


def test_chance_and_ceiling_frame_the_value(factors: np.ndarray, perfect: np.ndarray) -> None:
    noisy = perfect + 0.8 * np.random.default_rng(2).normal(size=perfect.shape)
    score = mig(noisy, factors)
    assert score.chance is not None
    assert score.ceiling is not None
    assert score.chance < score.value < score.ceiling
    assert mig(noisy, factors, seed=1).chance != score.chance
    assert mig(noisy, factors, seed=1).value == score.value
    plain = mig(noisy, factors, baselines=False)
    assert (plain.chance, plain.ceiling, plain.interval) == (None, None, None)
    assert plain.value == score.value


def test_ceiling_is_the_score_of_a_perfect_representation(factors: np.ndarray, perfect: np.ndarray) -> None:
    points = read_points(perfect, factors)
    ideal = points.ideal(0)
    assert ideal.codes.shape == (600, 5)
    np.testing.assert_allclose(ideal.codes[:, :3].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(ideal.codes[:, :3].std(axis=0), 1, atol=1e-6)
    for j, labels in enumerate(factors.T):
        assert len(np.unique(ideal.codes[:, j])) == len(np.unique(labels))
    assert ideal.codes[:, 3:].std(axis=0).min() > 0.5  # the given spare codes are live, so these are
    dead = perfect * [1, 1, 1, 0, 0]
    np.testing.assert_array_equal(read_points(dead, factors).ideal(0).codes[:, 3:], 0)
    assert read_points(perfect[:, :1], factors).ideal(0).codes.shape == (600, 3)


def test_shuffling_keeps_codes_and_factors_but_not_their_pairs(factors: np.ndarray, perfect: np.ndarray) -> None:
    points = read_points(perfect, factors, hold_out=True)
    other = points.shuffled(0)
    np.testing.assert_array_equal(other.factors, points.factors)
    assert not np.array_equal(other.codes, points.codes)
    np.testing.assert_array_equal(np.sort(other.codes[:, 0]), np.sort(points.codes[:, 0]))
    np.testing.assert_array_equal(np.sort(other.held_out[0][:, 0]), np.sort(points.held_out[0][:, 0]))
    assert points.shuffled(0) is other  # shared by the metrics of one call


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """The squared correlation of a code with its factor, known in the limit: 0.8 (here with the other code at 0)."""
    hits = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        factor = rng.normal(size=(400, 1))
        codes = np.concatenate([2 * factor + rng.normal(size=(400, 1)), np.zeros((400, 1))], axis=1)
        score = sap(codes, factor, continuous=True, baselines=False, bootstrap=60, seed=trial)
        assert score.interval is not None
        hits += score.interval[0] <= 0.8 <= score.interval[1]
    assert 50 <= hits <= 60  # 57 expected


def test_interval_shrinks_with_points(factors: np.ndarray, perfect: np.ndarray) -> None:
    noisy = perfect + 0.5 * np.random.default_rng(3).normal(size=perfect.shape)
    narrow = mig(np.tile(noisy, (4, 1)), np.tile(factors, (4, 1)), baselines=False, bootstrap=50).interval
    wide = mig(noisy[:200], factors[:200], baselines=False, bootstrap=50).interval
    assert narrow is not None
    assert wide is not None
    assert narrow[1] - narrow[0] < 0.6 * (wide[1] - wide[0])
    with pytest.raises(InputError, match="bootstrap is 5; expected 0 for no interval, or 20 resamples"):
        mig(noisy, factors, bootstrap=5)


def test_a_rare_value_is_in_every_resample(factors: np.ndarray, perfect: np.ndarray) -> None:
    rare = factors.copy()
    rare[:, 0] = np.arange(600) < 2  # in three quarters of all halves
    for name in ("mig", "modularity", "mig-sup"):
        score = evaluate(perfect, rare, name, bootstrap=20, baselines=False)[name]
        assert score.interval is not None
        assert np.isfinite(score.interval).all()


def test_bootstrap_shares_resamples_among_metrics(factors: np.ndarray, perfect: np.ndarray) -> None:
    noisy = perfect + 0.5 * np.random.default_rng(3).normal(size=perfect.shape)
    calls: list[tuple[str, int, int]] = []
    both = evaluate(noisy, factors, ["mig", "sap"], bootstrap=20, progress=lambda *call: calls.append(call))
    assert calls[-1][1:] == (46, 46)  # two metrics: value, chance, ceiling, 20 resamples
    alone = evaluate(noisy, factors, "sap", bootstrap=20)
    assert alone["sap"].interval == both["sap"].interval
    assert "20 random halves" in both["mig"].settings["interval"]


def test_odd_codes_are_counted(factors: np.ndarray, perfect: np.ndarray) -> None:
    codes = np.concatenate([perfect, perfect[:, :1], 0 * perfect[:, :1], 0.01 * perfect[:, 1:2]], axis=1)
    settings = mig(codes, factors).settings
    assert settings["duplicate_codes"] == 1
    assert settings["constant_codes"] == 1
    assert settings["dead_codes"] == 2
    uneven = factors.copy()
    uneven[:, 0] = np.arange(600) < 30
    assert mig(codes, uneven).settings["factor_evenness"][0] == pytest.approx(0.286, abs=1e-3)
    assert mig(codes, factors).settings["factor_evenness"] == [1, 1, 1]


def test_kinds_of_factors() -> None:
    values = np.array([[0.0, 0.5], [1.0, 5.9], [3.0, 6.1]])
    assert [kind.name for kind in read_kinds(None, values)] == ["discrete", "discrete"]
    first, second = read_kinds(["periodic", "periodic"], values)
    assert first.period == 4
    assert second.period == pytest.approx(2 * np.pi)
    assert [str(kind) for kind in read_kinds("periodic:360", values)] == ["periodic:360", "periodic:360"]
    circle = FactorKind("periodic", 8.0).targets(np.array([2, 4]))
    np.testing.assert_allclose(circle, [[1, 0], [0, -1]], atol=1e-12)
    for kinds, message in (
        (["discrete"], "factor_kinds has 1 entries but factors have 2 columns"),
        ("cyclic", "Unknown kind of factor 'cyclic'"),
        ("discrete:3", "only a periodic factor has a period"),
        ("periodic:-1", "expected a period above 0"),
        ("periodic:x", "expected a period above 0"),
        ("periodic:2", "factor column 0 spans 3, more than its period 2"),
    ):
        with pytest.raises(InputError, match=message):
            read_kinds(kinds, values)


def test_kinds_reach_the_metrics() -> None:
    rng = np.random.default_rng(0)
    angle, size = rng.uniform(0, 360, 3000), rng.uniform(0, 1, 3000)
    factors = np.stack([angle, size], axis=1)
    codes = np.stack([np.sin(np.radians(angle)), np.cos(np.radians(angle)), size], axis=1)
    with pytest.raises(InputError, match="or call the column 'continuous' or 'periodic' in factor_kinds"):
        mig(codes, factors)
    kinds = ["periodic:360", "continuous"]
    score = sap(codes, factors, factor_kinds=kinds)
    np.testing.assert_allclose(score.parts["r2"], [[1, 0], [1, 0], [0, 1]], atol=0.01)
    assert mig(codes, factors, factor_kinds=kinds).parts["per_factor"][1] > 0.8
    assert score.settings["factor_kinds"] == ["periodic:360", "continuous"]


def test_protocols() -> None:
    table = {"dlib-2018": {"bins": 20}, "ubisoft-2023": {"bins": 10}}
    assert protocol_options("x", table, None, {}) == {"bins": 20, "protocol": "dlib-2018"}
    assert protocol_options("x", table, "ubisoft-2023", {"bins": None})["bins"] == 10
    assert protocol_options("x", table, None, {"bins": 20})["protocol"] == "dlib-2018"
    assert protocol_options("x", table, None, {"bins": 5}) == {"bins": 5, "protocol": "custom (from dlib-2018)"}
    for protocol, given, message in (
        ("dlib", {}, "Unknown protocol 'dlib'; did you mean 'dlib-2018'"),
        ("med-2022", {}, "protocol 'med-2022' does not define x; x has dlib-2018, ubisoft-2023"),
        (None, {"binz": 3}, "Unknown option of x 'binz'; did you mean 'bins'"),
    ):
        with pytest.raises(InputError, match=message):
            protocol_options("x", table, protocol, given)
    for metric in METRICS.values():
        assert set(metric.protocols) <= set(PROTOCOLS)


def test_evaluate_takes_protocol_and_options(factors: np.ndarray, perfect: np.ndarray) -> None:
    arguments: dict[str, Any] = {"test": (perfect, factors), "baselines": False}
    scores = evaluate(
        perfect, factors, ["mig", "sap"], protocol="ubisoft-2023", options={"mig": {"bins": 5}}, **arguments
    )
    assert scores["mig"].settings["bins"] == 5
    assert scores["mig"].settings["protocol"] == "custom (from ubisoft-2023)"
    assert scores["sap"].name == "sap/continuous"
    assert evaluate(perfect, factors, "dci", protocol="disent", **arguments)["dci"].settings["protocol"] == "dlib-2018"
    with pytest.raises(InputError, match="Unknown protocol 'dlib2018'"):
        evaluate(perfect, factors, protocol="dlib2018")
    with pytest.raises(InputError, match="options name 'dci', which is not among the metrics mig"):
        evaluate(perfect, factors, "mig", options={"dci": {}})


QUICK = {"dci-es": {"trees": 5, "capacities": (1, 2, 4, 8)}}  # where the authors' forests would take their time


@pytest.mark.parametrize("name", list(METRICS))
def test_every_metric_is_finite_on_every_odd_code(name: str, factors: np.ndarray, perfect: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    odd = {
        "perfect": perfect,
        "constant": np.concatenate([perfect[:, :3], np.full((600, 2), 7.0)], axis=1),
        "all constant": np.ones((600, 4)),
        "dead": np.concatenate([perfect[:, :3], 1e-6 * rng.normal(size=(600, 2))], axis=1),
        "duplicate": np.concatenate([perfect[:, :3], perfect[:, :3]], axis=1),
        "noise": rng.normal(size=(600, 4)),
        "huge": 1e15 * perfect,
        "tiny": 1e-15 * perfect,
        "binary": (perfect > 0).astype(np.int64),
        "float16": perfect.astype(np.float16),
    }
    slow = name.startswith(("dci", "downstream"))
    options = {name: QUICK[name]} if name in QUICK else {}
    for case, codes in odd.items():
        if slow and case not in ("constant", "all constant", "duplicate"):
            continue
        score = evaluate(codes, factors, name, baselines=not slow, options=options)[name]
        assert np.isfinite(score.value), case
        for part, value in score.parts.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                assert np.isfinite(value).all(), (case, part)
        for value in (score.chance, score.ceiling):
            assert value is None or np.isfinite(value), case


@pytest.mark.parametrize("name", list(METRICS))
def test_every_score_carries_its_parts(name: str, factors: np.ndarray, perfect: np.ndarray) -> None:
    options = {name: QUICK[name]} if name in QUICK else {}
    score = evaluate(perfect, np.insert(factors, 1, 0, axis=1), name, baselines=False, options=options)[name]
    assert score.settings["protocol"] in PROTOCOLS or options
    assert type(score).from_json(score.to_json()) == score
    if METRICS[name].baselines:
        assert score.settings["constant_factors"] == [1]
        assert score.parts["factors"].tolist() == [0, 2, 3]
        assert np.shape(score.parts["per_factor"]) == (3,)
        if name.startswith(("downstream", "dci-es")):  # of all codes together
            return
        assert np.shape(score.parts["per_code"]) == (5,)
        matrices = [np.shape(part) for part in score.parts.values() if np.ndim(part) == 2]
        assert (5, 3) in matrices
