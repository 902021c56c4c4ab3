"""MIG on codes whose information is known, and its invariances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from disentangle.errors import InputError
from disentangle.evaluations import mig
from disentangle.evaluations.disentanglement.gap import top_two_gap
from disentangle.evaluations.disentanglement.information import (
    class_indices,
    entropy,
    equal_width_bins,
    mutual_information,
)


def by_definition(codes: np.ndarray, factors: np.ndarray, bins: int = 20) -> tuple[float, np.ndarray]:
    """The plain twin: one numpy histogram, one digitisation and one scikit-learn information a pair."""
    matrix = np.empty((codes.shape[1], factors.shape[1]))
    for j, code in enumerate(codes.T):
        cells = np.digitize(code, np.histogram(code, bins)[1][:-1])
        for k, labels in enumerate(factors.T):
            matrix[j, k] = mutual_info_score(cells, labels)
    entropies = np.array([mutual_info_score(labels, labels) for labels in factors.T])
    ordered = np.sort(matrix, axis=0)
    return float(np.mean((ordered[-1] - ordered[-2]) / entropies)), matrix


def test_perfect_codes(factors: np.ndarray, perfect: np.ndarray) -> None:
    score = mig(perfect[:, :3], factors)
    assert score.name == "mig"
    assert score.value == pytest.approx(1.0, abs=1e-12)  # a full grid: factors are exactly independent
    np.testing.assert_allclose(score.parts["entropy"], np.log([3, 4, 2]), atol=1e-12)
    np.testing.assert_allclose(score.parts["mutual_information"], np.diag(np.log([3, 4, 2])), atol=1e-12)
    np.testing.assert_array_equal(score.parts["best_code"], [0, 1, 2])
    np.testing.assert_allclose(score.parts["per_factor"], 1.0, atol=1e-12)


def test_duplicated_codes_have_no_gap(factors: np.ndarray) -> None:
    codes = np.concatenate([factors, -2.0 * factors], axis=1)
    assert mig(codes, factors).value == pytest.approx(0.0, abs=1e-12)


def test_noise_knows_little(factors: np.ndarray) -> None:
    codes = np.random.default_rng(2).normal(size=(len(factors), 5))
    assert 0 <= mig(codes, factors, bins=5).value < 0.03


def test_rotation_lowers_the_score(factors: np.ndarray, perfect: np.ndarray) -> None:
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
    assert mig(perfect @ rotation, factors).value < 0.5 < mig(perfect, factors).value


def test_half_an_answer() -> None:
    # four classes, the code tells only which half: log 2 of log 4
    labels = np.tile(np.arange(4), 10)[:, None]
    score = mig(np.concatenate([labels // 2, np.zeros_like(labels)], axis=1), labels)
    assert score.value == pytest.approx(0.5, abs=1e-12)


def test_constant_codes_give_numbers(factors: np.ndarray, perfect: np.ndarray) -> None:
    codes = perfect.copy()
    codes[:, 3:] = [0.0, 1e9]
    assert mig(codes, factors).value == pytest.approx(1.0, abs=1e-12)
    assert mig(codes.astype(np.float32), factors).value == pytest.approx(1.0, abs=1e-12)
    assert mig(np.zeros((len(factors), 2)), factors).value == 0.0


def test_constant_factor_takes_no_part(factors: np.ndarray, perfect: np.ndarray) -> None:
    score = mig(perfect, np.insert(factors, 0, 3, axis=1))
    assert score.value == mig(perfect, factors).value
    assert score.settings["constant_factors"] == [0]
    np.testing.assert_array_equal(score.parts["factors"], [1, 2, 3])
    assert all(np.all(np.isfinite(part)) for part in score.parts.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_, np.float16])
def test_equals_the_plain_twin_in_every_dtype(dtype: type, factors: np.ndarray, perfect: np.ndarray) -> None:
    noisy = perfect + 0.4 * np.random.default_rng(4).normal(size=perfect.shape)
    codes: np.ndarray = (noisy * 10 + 60 if dtype == np.uint8 else noisy * 3).astype(dtype)
    value, matrix = by_definition(codes.astype(np.uint8) if dtype == np.bool_ else codes, factors)
    score = mig(codes, factors)
    np.testing.assert_allclose(score.parts["mutual_information"], matrix, atol=1e-12)
    assert score.value == pytest.approx(value, abs=1e-12)


def test_edges_round_in_the_codes_own_dtype() -> None:
    # multiples of a twentieth of the range lie on the edges, where float32 and float64 disagree
    codes = np.tile(np.arange(21) / 20 * 0.7 + 0.1, 3)[:, None]
    for dtype in (np.float32, np.float64):
        column = codes.astype(dtype)
        expected = np.digitize(column[:, 0], np.histogram(column[:, 0], 20)[1][:-1]) - 1
        np.testing.assert_array_equal(equal_width_bins(column, 20)[:, 0], expected)
    assert np.any(equal_width_bins(codes.astype(np.float32), 20) != equal_width_bins(codes, 20))


def test_range_narrower_than_the_dtype_resolves() -> None:
    # neighbouring float32 numbers: numpy.histogram refuses, every value is a bin
    low = np.float32(1000.0)
    column = np.array([low, np.nextafter(low, np.float32(np.inf))] * 4, dtype=np.float32)
    factors = np.tile([[0], [1]], (4, 1))
    codes = np.stack([column, np.zeros_like(column)], axis=1)
    assert mig(codes, factors).value == pytest.approx(1.0)
    wide = column.astype(np.float64)
    wide[::2], wide[1::2] = 1.0, np.nextafter(1.0, 2.0)
    assert mig(np.stack([wide, 0 * wide], axis=1), factors).value == pytest.approx(1.0)


def test_range_wider_than_float64_is_brought_into_it() -> None:
    codes, factors = np.random.default_rng(0).uniform(-1, 1, size=(50, 2)), np.arange(50)[:, None] % 2
    assert mig(codes * 2.0**1023, factors).value == mig(codes, factors).value
    with pytest.raises(InputError, match="too wide a range to cut into bins"):
        equal_width_bins(codes * 1.7e308, 20)


def test_information_of_wide_codes_is_counted_in_pieces(monkeypatch: pytest.MonkeyPatch, factors: np.ndarray) -> None:
    cells = np.random.default_rng(5).integers(0, 7, size=(len(factors), 9))
    whole = mutual_information(cells, factors)
    monkeypatch.setattr("disentangle.evaluations.disentanglement.information._CHUNK", 2 * len(factors))
    np.testing.assert_array_equal(mutual_information(cells, factors), whole)


def test_entropy_and_class_indices() -> None:
    labels = np.array([[5, -1], [5, 10**15], [9, -1], [5, 3]])
    np.testing.assert_allclose(entropy(labels)[0], -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), atol=1e-15)
    for column, expected in zip(labels.T, ([0, 0, 1, 0], [0, 2, 0, 1]), strict=True):
        index, classes = class_indices(column)
        assert index.tolist() == expected
        assert classes == max(expected) + 1


def test_gap_of_ties_is_zero_and_names_the_first() -> None:
    gaps, best = top_two_gap(np.array([[0.4, 0.0], [0.4, 0.0], [0.1, 0.0]]))
    np.testing.assert_array_equal(gaps, [0.0, 0.0])
    np.testing.assert_array_equal(best, [0, 0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bins=st.integers(2, 60), dtype=st.sampled_from(["f4", "f8", "f2"]))
def test_bins_are_those_of_a_search(seed: int, bins: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    column = (rng.normal(size=300) * 10.0 ** rng.integers(-3, 3)).astype(dtype)
    edges = np.histogram_bin_edges(column, bins)
    column[: bins + 1] = edges.astype(dtype)[:300]  # points on the edges
    edges = np.histogram_bin_edges(column, bins)
    if np.all(np.diff(edges) > 0):
        expected = np.searchsorted(edges[:-1], column, side="right") - 1
        np.testing.assert_array_equal(equal_width_bins(column[:, None], bins)[:, 0], expected)


def test_counting_by_torch_gives_the_same(factors: np.ndarray, perfect: np.ndarray) -> None:
    cells = equal_width_bins(perfect, 20)
    expected = mutual_information(cells, factors)
    np.testing.assert_array_equal(mutual_information(cells, factors, device="cpu"), expected)


@pytest.mark.gpu
def test_codes_on_a_gpu_are_counted_there(factors: np.ndarray, perfect: np.ndarray, monkeypatch: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    from disentangle.evaluations.disentanglement import tables

    monkeypatch.setattr(tables, "_ENOUGH_FOR_GPU", 1)
    score = mig(torch.from_numpy(perfect).cuda(), torch.from_numpy(factors).cuda(), baselines=False)
    assert score.value == mig(perfect, factors, baselines=False).value


def test_settings_tell_what_moves_the_value(factors: np.ndarray, perfect: np.ndarray) -> None:
    score = mig(perfect, factors, bins=7)
    expected = {
        "protocol": "custom (from dlib-2018)",
        "bins": 7,
        "normaliser": "factor entropy",
        "n_train": 600,
        "n_test": 0,
    }
    assert expected.items() <= score.settings.items()
    assert score.settings["factor_sizes"] == [3, 4, 2]
    assert score.settings["n_codes"] == 5
    assert score.settings["packages"]["numpy"] == np.__version__
    assert score.seconds > 0
    assert type(score).from_json(score.to_json()) == score


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 6), bins=st.integers(2, 30))
def test_order_of_codes_does_not_matter_and_range_is_0_to_1(seed: int, d: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, size=(80, 2))
    labels[:2] = [[0, 0], [1, 1]]
    codes = rng.normal(size=(80, d)) + labels[:, [0] * d] * rng.normal(size=d)
    score = mig(codes, labels, bins=bins)
    order = rng.permutation(d)
    permuted = mig(codes[:, order], labels, bins=bins)
    assert 0 <= score.value <= 1
    assert permuted.value == pytest.approx(score.value, abs=1e-12)
    np.testing.assert_allclose(
        permuted.parts["mutual_information"], score.parts["mutual_information"][order], atol=1e-12
    )
    assert mig(codes[::-1], labels[::-1], bins=bins).value == pytest.approx(score.value, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-8, 8))
def test_sign_and_scale_do_not_matter(seed: int, power: int) -> None:
    # whole numbers and powers of two: no value lies on an edge but the ends, so mirroring moves no point to a new bin
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 20, size=(100, 3)).astype(float)
    codes[:2] = [[0], [19]]
    labels = rng.integers(0, 3, size=(100, 2))
    labels[:2] = [[0, 0], [1, 1]]
    signs = rng.choice([-1.0, 1.0], size=3) * 2.0**power
    assert mig(codes * signs, labels).value == pytest.approx(mig(codes, labels).value, abs=1e-12)
