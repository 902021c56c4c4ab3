"""Features of any size and type: the right number, or a sentence; never infinity, NaN or half of a complex number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from disentangle.errors import InputError
from disentangle.evaluations import frechet_distance, inception_score, kernel_distance, precision_recall
from disentangle.evaluations.generation import FeatureStatistics, frechet_infinity

RNG = np.random.default_rng(3)
ONE, TWO = RNG.normal(size=(60, 5)), RNG.normal(size=(70, 5)) * 1.3 + 0.4
METRICS: dict[str, Callable[[Any, Any], Any]] = {
    "frechet": lambda x, y: frechet_distance(x, y).value,
    "frechet of statistics": lambda x, y: frechet_distance(FeatureStatistics.of(x), FeatureStatistics.of(y)).value,
    "frechet infinity": lambda x, y: frechet_infinity(x, y, points=4).value,
    "kernel": lambda x, y: kernel_distance(x, y, subsets=None).value,
    "rbf": lambda x, y: kernel_distance(x, y, subsets=None, kernel="rbf").value,
    "neighbours": lambda x, y: precision_recall(x, y)["precision"].value,
    "inception": lambda x, y: inception_score(x, splits=2).value,
}


@pytest.mark.parametrize("power", [-480, -300, -150, 150, 300, 480])
def test_the_frechet_distance_grows_with_the_square(power: int) -> None:
    scale = 2.0**power  # changes no digit, so neither does the distance
    for left, right in ((ONE, TWO), (FeatureStatistics.of(ONE), TWO)):
        expected = frechet_distance(left, right)
        other = FeatureStatistics.of(ONE * scale) if isinstance(left, FeatureStatistics) else left * scale
        found = frechet_distance(other, right * scale)
        assert found.value == pytest.approx(expected.value * scale * scale, rel=1e-12)
        for part in ("mean_term", "trace_1", "trace_2", "trace_root"):
            assert found.parts[part] == pytest.approx(expected.parts[part] * scale * scale, rel=1e-12)


@pytest.mark.slow
def test_the_route_of_many_features_scales_too() -> None:
    one, two = RNG.normal(size=(700, 520)), RNG.normal(size=(700, 520))
    expected, found = frechet_distance(one, two), frechet_distance(one * 2.0**480, two * 2.0**480)
    assert "Cholesky" in expected.settings["route"]
    assert found.settings["route"] == expected.settings["route"]
    assert found.value == pytest.approx(expected.value * 2.0**960, rel=1e-12)


@pytest.mark.parametrize("power", [-480, 480])
def test_neighbours_do_not_know_the_scale(power: int) -> None:
    expected, found = precision_recall(ONE, TWO), precision_recall(ONE * 2.0**power, TWO * 2.0**power)
    assert {name: score.value for name, score in found.items()} == {n: score.value for n, score in expected.items()}


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "inception"])
@pytest.mark.parametrize("scale", [1e155, 1e200, 1e300, 1e307, 1e-155, 1e-300])
def test_beyond_the_squares_of_float64_is_a_sentence(metric: str, scale: float) -> None:
    with pytest.raises(InputError, match=r"whose squares float64 holds: measure in another unit\."):
        METRICS[metric](ONE * scale, TWO * scale)
    with pytest.raises(InputError, match=r"whose squares float64 holds"):
        METRICS[metric](ONE, TWO * scale)


def test_a_kernel_beyond_float64_is_a_sentence() -> None:
    for subsets in (None, 3):
        with pytest.raises(InputError, match=r"reach .*e\+60, and the kernel, which grows with their sixth"):
            kernel_distance(ONE * 1e60, TWO * 1e60, subsets=subsets, subset_size=20)
    large = kernel_distance(ONE * 1e40, TWO * 1e40, subsets=None).value
    assert math.isfinite(large)
    # far from 0 nothing cancels: the kernel knows differences alone
    near = kernel_distance(ONE, TWO, subsets=None, kernel="rbf", sigma=1.0).value
    far = kernel_distance(ONE + 2.0**26, TWO + 2.0**26, subsets=None, kernel="rbf", sigma=1.0).value
    assert far == pytest.approx(near, rel=1e-6)
    assert kernel_distance(ONE * 1e149, TWO * 1e149, subsets=None, kernel="rbf").value == 0.0


WRONG = {
    "complex": (lambda x: x + 1j, "have dtype complex128; expected real numbers"),
    "a complex tensor": (lambda x: torch.from_numpy(x).to(torch.complex64), "have dtype complex64"),
    "meta": (lambda x: torch.from_numpy(x).to("meta"), "on the meta device, which holds no values"),
    "masked": (lambda x: np.ma.MaskedArray(x, mask=x > 1), "masked entries"),
    "objects": (lambda x: x.astype(object), "objects"),
    "sparse": (lambda x: torch.from_numpy(x).to_sparse(), "sparse tensor"),
    "text": (lambda x: x.astype(str), "text"),
    "NaN": (lambda x: np.where(x > 1, np.nan, x), "NaN or infinite, in"),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", WRONG)
def test_what_holds_no_real_numbers(metric: str, kind: str) -> None:
    change, message = WRONG[kind]
    with pytest.raises(InputError, match=message) as caught:
        METRICS[metric](change(ONE), TWO)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("metric", METRICS)
def test_half_precision_of_both_kinds_is_read(metric: str) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        one, two = torch.from_numpy(ONE).to(dtype), torch.from_numpy(TWO).to(dtype)
        assert METRICS[metric](one, two) == METRICS[metric](one.double(), two.double())


# ------------------------------------------------------------------------------------------------- Inception score


@pytest.mark.parametrize("size", [1e3, 1e4, 1e5, 1e300, 1.7e308])
def test_inception_score_of_certain_classes(size: float) -> None:
    logits = np.full((20, 4), -size)
    logits[np.arange(20), np.arange(20) % 4] = size  # evenly spread, and certain: as many as there are classes
    assert inception_score(logits, splits=1).value == pytest.approx(4.0, rel=1e-12)
    unused = np.concatenate([logits, np.full((20, 2), -size)], axis=1)  # classes that never come
    assert inception_score(unused, splits=1).value == pytest.approx(4.0, rel=1e-12)
    assert inception_score(unused[:1].repeat(20, axis=0), splits=5).value == pytest.approx(1.0, rel=1e-12)


def test_inception_score_against_its_formula() -> None:
    from scipy.special import log_softmax, rel_entr

    logits = RNG.normal(size=(40, 6)) * 30
    shares = np.exp(log_softmax(logits, axis=1))
    expected = math.exp(rel_entr(shares, shares.mean(0, keepdims=True)).sum(1).mean())
    assert inception_score(logits, splits=1).value == pytest.approx(expected, rel=1e-12)


# ----------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (np.ones(2) + 1j, np.eye(2), "the means have dtype complex128"),
        (np.ones(2), np.eye(2) + 1j, "the covariances have dtype complex128"),
        (np.array([1, np.nan]), np.eye(2), "the means hold 1 value that is NaN"),
        (np.ones(2), np.full((2, 2), np.inf), "the covariances hold 4 values that are NaN"),
        (np.ones(2), -np.eye(2), "negative numbers on its diagonal"),
        (np.ones(2), np.eye(2) * 1e304, r"the statistics reach 1e\+152"),
        (np.ones(0), np.ones((0, 0)), r"mean has shape \(0,\)"),
    ],
)
def test_statistics_that_are_none(mean: np.ndarray, covariance: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureStatistics.given(mean, covariance)


def test_a_matrix_that_is_no_covariance() -> None:
    indefinite = FeatureStatistics.given(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))  # eigenvalues 3 and -1
    with pytest.raises(InputError, match=r"has the eigenvalue -1 beside 3; that of features has none below 0"):
        frechet_distance(indefinite, FeatureStatistics.given(np.zeros(2), np.eye(2)))
    nearly = FeatureStatistics.given(np.zeros(2), np.array([[1.0, 1.0 + 1e-6], [1.0 + 1e-6, 1.0]]))
    assert frechet_distance(nearly, nearly).value == pytest.approx(0.0, abs=1e-4)


def test_features_that_may_not_be_written_to_are_read() -> None:
    features = ONE[::-1]
    features.flags.writeable = False
    np.testing.assert_allclose(FeatureStatistics.of(features).mean, ONE.mean(0))
