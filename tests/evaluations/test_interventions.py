"""Metrics that ask for codes of pictures of their own choice, and the table they ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from disentangle.data import Rooms
from disentangle.errors import InputError
from disentangle.evaluations import evaluate, evaluate_encoder
from disentangle.evaluations.disentanglement import CodeTable, beta_vae, factor_vae, fairness, z_max_variance
from disentangle.evaluations.disentanglement.registry import INTERVENTIONAL, METRICS

SIZES = (4, 5, 1, 3)


def table(mixing: np.ndarray, *, sizes: tuple[int, ...] = SIZES, cache: bool = True) -> CodeTable:
    """Codes that are a linear map of the factors, each scaled to variance 1."""
    scale = np.array([max(np.std(np.arange(size)), 1e-9) for size in sizes])
    return CodeTable(lambda factors: factors / scale @ mixing, sizes, cache=cache)


EYE = np.eye(4)[:, [0, 1, 3]]
SMALL: dict[str, Any] = {"protocol": "ubisoft-2023"}


def test_each_picture_is_encoded_once() -> None:
    asked: list[int] = []

    def compute(factors: np.ndarray) -> np.ndarray:
        asked.append(len(factors))
        return factors.astype(float)

    one = CodeTable(compute, SIZES, batch=7)
    factors = np.random.default_rng(0).integers(0, SIZES, (500, 4))
    np.testing.assert_array_equal(one.codes(factors), factors)
    np.testing.assert_array_equal(one.codes(factors[::-1]), factors[::-1])
    assert one.encoded == sum(asked) == len(np.unique(factors, axis=0)) <= 60
    assert max(asked) <= 7
    fresh = CodeTable(compute, SIZES, cache=False)
    fresh.codes(factors)
    assert fresh.encoded == 500


def test_table_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"factors have sizes \(1, 1\); expected one with two values"):
        CodeTable(lambda factors: factors, (1, 1))
    with pytest.raises(InputError, match=r"returned shape \(3,\) for 3 pictures; expected \(3, d\)"):
        CodeTable(lambda factors: factors[:, 0], (3, 2)).codes(np.array([[0, 0], [1, 0], [2, 0]]))
    with pytest.raises(InputError, match="NaN or infinite codes"):
        CodeTable(lambda factors: factors * np.nan, (3, 2)).codes(np.zeros((1, 2), dtype=int))
    with pytest.raises(InputError, match="FactorVAE score tells factors apart, so it needs two"):
        factor_vae(table(np.eye(2), sizes=(4, 1)))


@pytest.mark.parametrize("metric", [factor_vae, beta_vae, z_max_variance])
def test_exact_codes_and_noise(metric: Any) -> None:
    exact = metric(table(EYE), **SMALL)
    assert exact.value == pytest.approx(1, abs=0.01)
    assert exact.parts["factors"].tolist() == [0, 1, 3]  # the constant factor takes no part
    np.testing.assert_allclose(exact.parts["per_factor"], 1, atol=0.02)
    stream = np.random.RandomState(7)
    noise = CodeTable(lambda factors: stream.randn(len(factors), 3), SIZES, cache=False)
    assert abs(metric(noise, **SMALL).value) < 0.15  # rescaled: chance is 0
    assert exact.chance == 0
    assert metric(table(EYE), **SMALL, seed=1).value == pytest.approx(exact.value, abs=0.02)


def test_votes_name_the_code_of_each_factor() -> None:
    score = factor_vae(table(EYE[:, [2, 0, 1]]), **SMALL)
    assert score.parts["votes"].argmax(axis=0).tolist() == [1, 2, 0]
    assert score.parts["votes"].sum() == 800
    assert score.settings["pictures_encoded"] == 60


def test_constant_and_dead_codes_do_not_win() -> None:
    mixing = np.concatenate([EYE, np.zeros((4, 1)), 1e-4 * EYE[:, :1]], axis=1)
    for protocol in ("dlib-2018", "disent"):
        score = factor_vae(table(mixing), protocol=protocol)
        assert score.value == pytest.approx(1, abs=0.01)
        assert score.settings["active_codes"] == (3 if protocol == "dlib-2018" else 4)
    dead = factor_vae(table(np.zeros((4, 3))), **SMALL)
    assert np.isfinite(dead.value)
    assert dead.settings["active_codes"] == 0


def test_interval_of_the_evaluation_draws() -> None:
    stream = np.random.RandomState(0)
    noisy = CodeTable(lambda factors: factors @ EYE + 4 * stream.randn(len(factors), 3), SIZES, cache=False)
    score = factor_vae(noisy, protocol="ubisoft-2023", bootstrap=200)
    assert score.interval is not None
    low, high = score.interval
    assert low < score.value < high < 1
    assert 0.02 < high - low < 0.2


def test_same_draws_whether_cached_or_not() -> None:
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for metric in (factor_vae, beta_vae, z_max_variance):
        cached, fresh = (metric(table(EYE @ turned, cache=cache), **SMALL) for cache in (True, False))
        assert cached.value == pytest.approx(fresh.value, abs=1e-9)


def test_unfairness() -> None:
    exact = fairness(table(EYE), train=400)
    assert exact.value == pytest.approx(0, abs=0.02)
    assert not exact.higher_is_better
    mixed = EYE.copy()
    mixed[0] += 0.7 * EYE[1]
    stream = np.random.RandomState(0)
    noisy = CodeTable(lambda factors: (factors @ mixed) + 0.8 * stream.randn(len(factors), 3), SIZES, cache=False)
    score = fairness(noisy, train=400, predictor="logistic")
    assert score.value > 0.05
    assert score.parts["unfairness"].argmax() in (1, 3)  # between the two that share a code
    np.testing.assert_array_equal(np.diag(score.parts["unfairness"]), 0)


def test_encoder_and_pictures() -> None:
    rooms = Rooms(32)

    def encode(images: torch.Tensor) -> torch.Tensor:
        return torch.stack([images.mean((1, 2, 3)), images[:, 0, 0, 0], images[:, 2, -1, 0]], dim=1)

    stages: list[tuple[str, int, int]] = []
    scores = evaluate_encoder(
        encode, rooms, ["factor-vae", "mig", "sap"], n=300, protocol="ubisoft-2023", baselines=False,
        options={"factor-vae": {"train": 20, "evaluate": 20, "batch": 10, "variance": 100}},
        progress=lambda *call: stages.append(call),
    )  # fmt: skip
    assert list(scores) == ["factor-vae", "mig", "sap"]
    assert scores["factor-vae"].settings["protocol"] == "custom (from ubisoft-2023)"
    assert 0 < scores["factor-vae"].settings["pictures_encoded"] <= 300 + 100 + 400
    assert {stage for stage, _, _ in stages} == {"encode", "factor-vae", "mig", "sap"}
    factors = rooms.sample(300, torch.Generator().manual_seed(0))
    codes = torch.cat([encode(rooms.render(part)) for part in factors.split(64)])
    alone = evaluate(codes, factors, ["mig"], protocol="ubisoft-2023", baselines=False)
    assert alone["mig"].value == scores["mig"].value


def test_names() -> None:
    assert not set(METRICS) & set(INTERVENTIONAL)
    with pytest.raises(InputError, match="factor-vae draws pictures of its own: give an encoder and a data set"):
        evaluate(np.zeros((9, 2)), np.zeros((9, 2), dtype=int), "factor-vae")
    with pytest.raises(InputError, match="Unknown metric 'factorvae'; did you mean 'factor-vae'"):
        evaluate_encoder(lambda images: images, Rooms(32), "factorvae")
