"""Distances and scores of features against the packages' values, exact numbers and definitions."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.errors import InputError
from disentangle.evaluations.generation import (
    FeatureStatistics,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_distance,
    precision_recall,
)

RNG = np.random.default_rng(0)


def test_inputs_are_the_reference_ones(inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    checks = generation_reference["input_checks"]
    assert zlib.crc32(inputs.features(1, 500, 64).tobytes()) == checks["features_crc32"]
    assert zlib.crc32(inputs.distances(51, 1000).tobytes()) == checks["distances(51,1000)_crc32"]
    assert zlib.crc32(inputs.logits(31, 1000, 100).tobytes()) == checks["logits(31,1000,100)_crc32"]
    assert zlib.crc32(inputs.images(81, 2, 64, 64).tobytes()) == checks["image_u8(81,2,64,64)_crc32"]


# ------------------------------------------------------------------------------------------------------ Fréchet


@pytest.mark.parametrize("row", range(10))
def test_frechet_distance_is_exact(row: int, inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    case = generation_reference["frechet"][row]
    first, second = inputs.features(*case["recipe_1"]), inputs.features(*case["recipe_2"])
    exact = case["exact"]
    limit = 1e-10 * (exact["trace_1"] + exact["trace_2"])
    score = frechet_distance(first, second)
    assert score.value == pytest.approx(exact["fd"], abs=limit)
    for part, name in (("mean_term", "mean_term"), ("trace_1", "trace_1"), ("trace_root", "trace_sqrt")):
        assert score.parts[part] == pytest.approx(exact[name], abs=limit)
    for package in ("torch_fidelity", "torchmetrics", "pytorch_fid"):
        if isinstance(case.get(package), float):
            short = min(len(first), len(second)) <= first.shape[1]
            assert score.value == pytest.approx(case[package], abs=1e-5 if short else 2e-6)
    statistics = frechet_distance(FeatureStatistics.of(first), FeatureStatistics.of(second))
    assert statistics.value == pytest.approx(exact["fd"], abs=2e-6 * (exact["trace_1"] + exact["trace_2"]))
    mixed = frechet_distance(first, FeatureStatistics.of(second))
    assert mixed.value == pytest.approx(exact["fd"], abs=2e-6 * (exact["trace_1"] + exact["trace_2"]))
    assert ("warning" in score.settings) == (min(len(first), len(second)) <= first.shape[1])


def test_the_quick_route_agrees(inputs: ModuleType) -> None:
    first, second = inputs.features(3, 1500, 600), inputs.features(4, 1400, 600, 0.02, 1.05)
    score = frechet_distance(first, second)
    assert score.settings["route"] == "Cholesky and eigenvalues"
    slow = np.linalg.svd(
        np.linalg.qr(first - first.mean(0, dtype=float), mode="r")
        @ np.linalg.qr(second - second.mean(0, dtype=float), mode="r").T,
        compute_uv=False,
    ).sum() / np.sqrt(1499 * 1399)
    assert score.parts["trace_root"] == pytest.approx(slow, abs=1e-9)


def test_gaussians_whose_distance_is_known() -> None:
    """Diagonal covariances: the distance is that of means plus that of standard deviations."""
    mean, one, two = np.array([3.0, 0, 0]), np.array([1.0, 2, 3]), np.array([2.0, 2, 5])
    first = FeatureStatistics.given(mean, np.diag(one**2))
    second = FeatureStatistics.given(0 * mean, np.diag(two**2))
    assert frechet_distance(first, second).value == pytest.approx(9 + 1 + 0 + 4)
    assert frechet_distance(first, first).value == 0
    singular = FeatureStatistics.given(0 * mean, np.diag([1.0, 0, 0]))
    assert frechet_distance(singular, second).value == pytest.approx(1 + 4 + 25)


def test_degrees_of_freedom_and_constant_features() -> None:
    features = RNG.normal(size=(50, 4))
    ratio = frechet_distance(features, features + 1, ddof=0).parts["trace_1"]
    assert ratio / frechet_distance(features, features + 1).parts["trace_1"] == pytest.approx(49 / 50)
    constant = np.ones((10, 4))
    assert frechet_distance(constant, constant + 1).value == pytest.approx(4)


def test_infinitely_many_images() -> None:
    reference = FeatureStatistics.given(np.zeros(8), np.eye(8))
    score = frechet_infinity(RNG.normal(size=(3000, 8)), reference, least=60)
    assert abs(score.value) < 0.02 < score.parts["distances"][0]
    assert score.parts["slope"] > 0
    again = np.random.default_rng(5).normal(size=(500, 8))
    assert frechet_infinity(again, reference, seed=1).value == frechet_infinity(again, reference, seed=1).value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: frechet_distance(np.ones((1, 3)), np.ones((5, 3))),
            "the first features have 1 row, one an image; expected 2",
        ),
        (lambda: frechet_distance(np.ones((5, 3)), np.ones((5, 4))), "have 3 and 4 columns"),
        (lambda: frechet_distance(np.ones((5, 3)), np.ones(5)), r"the second features have shape \(5,\)"),
        (lambda: frechet_distance(np.full((5, 3), np.nan), np.ones((5, 3))), "NaN or infinite, in 5 of 5 rows"),
        (lambda: frechet_distance(FeatureStatistics(), np.ones((5, 3))), "no features were seen yet"),
        (lambda: frechet_infinity(np.ones((9, 3)), np.ones((5, 3)), least=9), "smallest subset would have 9 images"),
        (
            lambda: FeatureStatistics.given(np.ones(3), np.ones((2, 2))),
            r"mean has shape \(3,\) and covariance \(2, 2\)",
        ),
        (lambda: FeatureStatistics.given(np.ones(2), np.array([[1, 2], [3, 4]])), "the covariance is not symmetric"),
        (lambda: kernel_distance(np.ones((5, 3)), np.ones((5, 3))), "there are 5 images on one side, fewer than"),
        (lambda: kernel_distance(np.ones((5, 3)), np.ones((5, 3)), kernel="x"), "kernel is 'x'"),
        (lambda: inception_score(np.ones((5, 3))), "there are 5 images for 10 splits"),
        (lambda: precision_recall(np.ones((3, 3)), np.ones((5, 3))), "3 neighbours need more than 3"),
    ],
)
def test_what_does_not_fit_is_one_sentence(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert str(caught.value).endswith((".", "?"))


# --------------------------------------------------------------------------------------------------- statistics


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 99), max_size=4))
def test_parts_merge_to_the_whole(seed: int, cuts: list[int]) -> None:
    features = 1e3 + np.random.default_rng(seed).normal(size=(100, 5))
    whole, parts = FeatureStatistics.of(features), FeatureStatistics()
    for part in np.split(features, sorted(set(cuts))):
        parts.merge(FeatureStatistics.of(torch.from_numpy(part)))
    assert parts.n == 100
    np.testing.assert_allclose(parts.mean, features.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(parts.covariance(), np.cov(features.T), atol=1e-11)
    np.testing.assert_allclose(whole.covariance(ddof=0), np.cov(features.T, ddof=0), atol=1e-11)


def test_statistics_on_disk(tmp_path: Path) -> None:
    statistics = FeatureStatistics.of(RNG.normal(size=(30, 4)))
    statistics.save(tmp_path / "s.npz")
    again = FeatureStatistics.load(tmp_path / "s.npz")
    assert again.n == 30
    np.testing.assert_array_equal(again.covariance(), statistics.covariance())
    np.savez(tmp_path / "other.npz", mu=np.zeros(3), sigma=np.eye(3))  # as other packages write it
    assert FeatureStatistics.load(tmp_path / "other.npz").n == 0
    with pytest.raises(InputError, match="cannot be merged"):
        statistics.merge(again)
    np.savez(tmp_path / "bad.npz", mean=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    for name, message in (("bad.npz", "has mean; expected mu and sigma"), ("text.npz", "is not a readable .npz"),
                          ("none.npz", "does not exist")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            FeatureStatistics.load(tmp_path / name)


# --------------------------------------------------------------------------------------------------- kernels


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("kernel", ["polynomial", "rbf"])
def test_kernel_distance(row: int, kernel: Any, inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    case = generation_reference["kid"][row]
    first, second = inputs.features(*case["recipe_1"]), inputs.features(*case["recipe_2"])
    score = kernel_distance(first, second, subsets=case["subsets"], subset_size=case["subset_size"], kernel=kernel)
    expected = case[f"torch_fidelity_{'poly' if kernel == 'polynomial' else 'rbf'}_float64"]
    assert score.value == pytest.approx(expected["mean"], abs=1e-10)
    assert score.parts["standard_deviation"] == pytest.approx(expected["std_ddof0"], abs=1e-10)
    if kernel == "polynomial":
        values = case["torchmetrics_poly_mmd_float64_per_subset"]
        np.testing.assert_allclose(score.parts["subset_values"], values, rtol=0, atol=1e-12)
    if case["subsets"] == 1:  # the whole sets
        full = kernel_distance(first, second, subsets=None, kernel=kernel)
        assert full.value == pytest.approx(score.value, abs=1e-12)
        assert full.name == "kd-full/features"


def test_kernel_distance_has_no_bias() -> None:
    values = [
        kernel_distance(RNG.normal(size=(60, 5)), RNG.normal(size=(50, 5)), subsets=None).value for _ in range(200)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert min(values) < 0


# --------------------------------------------------------------------------------------------------- others


@pytest.mark.parametrize("row", range(3))
def test_inception_score(row: int, inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    case = generation_reference["inception_score"][row]
    array = inputs.logits(*case["recipe"])
    for shuffle, key in ((False, "torch_fidelity_in_order"), (True, "torch_fidelity_RandomState2020_permutation")):
        score = inception_score(array, splits=case["splits"], shuffle=shuffle)
        assert score.value == pytest.approx(case[key]["mean"], abs=1e-9)
        assert score.parts["standard_deviation"] == pytest.approx(case[key]["std_ddof0"], abs=1e-9)
    assert inception_score(np.zeros((20, 7))).value == pytest.approx(1)
    assert inception_score(np.tile(100 * np.eye(7), (10, 1)), shuffle=False).value == pytest.approx(7)


@pytest.mark.parametrize("row", range(4))
def test_precision_and_recall(row: int, inputs: ModuleType, generation_reference: dict[str, Any]) -> None:
    case = generation_reference["precision_recall"][row]
    generated, real = inputs.features(*case["generated"]), inputs.features(*case["real"])
    if case["duplicates"]:
        generated[150:] = generated[:150]
        real[:100] = generated[:100]
    for closed, key in ((True, "le"), (False, "lt")):
        scores = precision_recall(generated, real, neighbors=case["k"], closed=closed)
        for name, value in case["definition_float64"][key].items():
            assert scores[name].value == pytest.approx(value, abs=1e-12), (key, name)
    fidelity = precision_recall(generated, real, neighbors=case["k"])
    assert fidelity["precision"].value == pytest.approx(case["torch_fidelity_le_float64"]["precision"], abs=1e-6)
    assert fidelity["recall"].value == pytest.approx(case["torch_fidelity_le_float64"]["recall"], abs=1e-6)
    prdc = precision_recall(generated, real, neighbors=case["k"], closed=False)
    for name, value in case["prdc_lt_float64"].items():
        assert prdc[name].value == pytest.approx(value, abs=1e-9)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real = RNG.normal(size=(70, 3)), RNG.normal(size=(90, 3))
    expected = {name: score.value for name, score in precision_recall(generated, real).items()}
    module = sys.modules["disentangle.evaluations.generation.precision_recall"]
    monkeypatch.setattr(module, "_CELLS", 200)
    calls: list[tuple[int, int]] = []
    got = precision_recall(generated, real, progress=lambda *call: calls.append(call))
    assert {name: score.value for name, score in got.items()} == expected
    assert calls[-1] == (230, 230)
