"""What a metric takes, what it refuses, and the sentence it refuses with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from disentangle.errors import InputError
from disentangle.evaluations import dci, mig, sap
from disentangle.evaluations.disentanglement.inputs import read_points, split_indices

N = 12
CODES = np.random.default_rng(0).normal(size=(N, 3))
FACTORS = np.stack([np.arange(N) % 2, np.arange(N) % 3], axis=1)


def with_value(array: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    array = array.astype(float).copy()
    array[row, column] = value
    return array


BAD = {
    "rows differ": ((CODES[:-1], FACTORS), "codes have 11 rows but factors have 12"),
    "NaN": (
        (with_value(CODES, 3, 2, np.nan), FACTORS),
        r"codes hold 1 value that is NaN or infinite, in column 2 \(1\)",
    ),
    "infinite": ((with_value(CODES, 0, 1, -np.inf), FACTORS), r"in column 1 \(1\)"),
    "NaN factor": ((CODES, with_value(FACTORS, 1, 0, np.nan)), "factors hold 1 value that is NaN"),
    "all NaN": ((CODES * np.nan, FACTORS), r"codes hold 36 values that are NaN.*columns 0 \(12\), 1 \(12\), 2 \(12\);"),
    "one-dimensional codes": ((CODES[:, 0], FACTORS), r"codes have shape \(12,\); expected two dimensions"),
    "one-dimensional factors": ((CODES, FACTORS[:, 0]), r"factors have shape \(12,\); expected two dimensions"),
    "images": ((CODES[..., None], FACTORS), r"codes have shape \(12, 3, 1\)"),
    "no codes": ((CODES[:, :0], FACTORS), "codes have no columns"),
    "no factors": ((CODES, FACTORS[:, :0]), "factors have no columns"),
    "no points": ((CODES[:0], FACTORS[:0]), "0 points|got 0"),
    "one point": ((CODES[:1], FACTORS[:1]), "1 points|got 1"),
    "one code": ((CODES[:, :1], FACTORS), "needs at least 2 columns of them; got 1"),
    "constant factors": ((CODES, 0 * FACTORS), r"two classes or more; got 0 of 2 \(classes seen per factor: 1, 1\)"),
    "real-valued factor": (
        (CODES, FACTORS + np.array([0, 0.5])),
        "factors must be class labels, but column 1 holds 0.5",
    ),
    "strings": ((CODES, FACTORS.astype(str)), "factors have dtype <U"),
    "complex": ((CODES + 1j, FACTORS), "codes have dtype complex128; expected real numbers"),
    "ragged": (([[1.0, 2.0], [3.0]], FACTORS), "codes cannot be read as an array of numbers"),
    "meta": ((torch.zeros(N, 3, device="meta"), FACTORS), "codes are a tensor on the meta device"),
    "masked": ((np.ma.MaskedArray(CODES, mask=CODES > 1), FACTORS), "codes have .* masked entr"),
    "masked factors": ((CODES, np.ma.MaskedArray(FACTORS, mask=FACTORS > 1)), "factors have 4 masked entries"),
}


@pytest.mark.parametrize("metric", [mig, sap, dci])
@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_in_one_sentence(case: str, metric: Callable[..., Any]) -> None:
    (codes, factors), message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        metric(codes, factors)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", [sap, dci])
@pytest.mark.parametrize(
    ("test", "message"),
    [
        (CODES, "test is a ndarray; expected a pair"),
        ((CODES,), "test is a tuple; expected a pair"),
        ((CODES[:, :2], FACTORS), "test codes have 2 columns but codes have 3"),
        ((CODES, FACTORS[:, :1]), "test factors have 1 columns but factors have 2"),
        ((CODES[:4], FACTORS), "test codes have 4 rows but test factors have 12"),
        ((CODES * np.inf, FACTORS), "test codes hold 36 values that are NaN or infinite"),
        ((CODES[:0], FACTORS[:0]), "the held-out part has no points"),
    ],
)
def test_bad_held_out_parts(test: Any, message: str, metric: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=message):
        metric(CODES, FACTORS, test=test)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mig(CODES, FACTORS, bins=1), "bins is 1; expected a whole number from 2"),
        (lambda: mig(CODES, FACTORS, bins=2.5), "bins is 2.5"),
        (lambda: sap(CODES, FACTORS, seed=-1), "seed is -1; expected a whole number from 0"),
        (lambda: sap(CODES, FACTORS, test_fraction=0.0), "test_fraction is 0.0; expected a number between 0 and 1"),
        (lambda: sap(CODES, FACTORS, test_fraction=0.99), "12 points cannot be split"),
        (lambda: dci(CODES, FACTORS, n_jobs=0), "n_jobs is 0"),
        (lambda: dci(CODES, FACTORS, seed=True), "seed is True"),
        (lambda: dci(CODES, FACTORS, n_jobs=1.5), "n_jobs is 1.5"),
    ],
)
def test_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_float_labels_are_converted_and_noted() -> None:
    points = read_points(CODES, FACTORS.astype(np.float32))
    assert points.factors.dtype == np.int64
    np.testing.assert_array_equal(points.factors, FACTORS)
    assert points.settings["factor_labels"] == "integers, given as floats"
    assert read_points(CODES, FACTORS).settings["factor_labels"] == "integers"


def test_negative_and_distant_labels_are_labels() -> None:
    renamed = np.array([-7, 10**12, 3])[FACTORS]
    assert mig(CODES, renamed).value == pytest.approx(mig(CODES, FACTORS).value, abs=1e-12)


def test_bfloat16_is_read_as_float32() -> None:
    codes = torch.from_numpy(CODES).bfloat16()
    score = mig(codes, FACTORS)
    assert score.value == mig(codes.float(), FACTORS).value
    assert score.settings["codes_dtype"] == "float32"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_torch_and_lists_are_read_like_arrays(dtype: torch.dtype) -> None:
    codes = torch.from_numpy(10 * CODES).to(dtype)
    factors = torch.from_numpy(FACTORS)
    expected = mig(codes.numpy(), FACTORS)
    if dtype.is_floating_point:
        codes.requires_grad_()
    score = mig(codes, factors)
    assert score.value == expected.value
    assert score.settings["codes_dtype"] == str(dtype).removeprefix("torch.")
    if dtype == torch.float64:
        assert mig((10 * CODES).tolist(), FACTORS.tolist()).value == expected.value


def test_inputs_are_left_as_they_were() -> None:
    codes, factors = CODES.copy(), FACTORS.copy()
    mig(codes, factors)
    sap(codes, factors)
    np.testing.assert_array_equal(codes, CODES)
    np.testing.assert_array_equal(factors, FACTORS)


def test_constant_factors_are_left_out_and_named() -> None:
    factors = np.insert(FACTORS, 1, 5, axis=1)
    points = read_points(CODES, factors)
    np.testing.assert_array_equal(points.factors, FACTORS)
    assert points.kept.tolist() == [0, 2]
    assert points.settings["constant_factors"] == [1]
    assert points.settings["factor_sizes"] == [2, 1, 3]
    assert points.settings["n_factors"] == 3


def test_dead_codes_are_counted() -> None:
    codes = CODES.copy()
    codes[:, 0] = 7.0
    codes[:, 1] *= 1e-3
    assert read_points(codes, FACTORS).settings["dead_codes"] == 2


def test_split_is_a_seeded_partition() -> None:
    train, test = split_indices(15_000, seed=3)
    assert (len(train), len(test)) == (10_000, 5_000)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(15_000))
    np.testing.assert_array_equal(train, split_indices(15_000, seed=3)[0])
    assert not np.array_equal(train, split_indices(15_000, seed=4)[0])


def test_split_keeps_pairs_together() -> None:
    codes = np.arange(2 * N, dtype=float).reshape(N, 2)
    factors = np.arange(N)[:, None] * [1, 2]
    points = read_points(codes, factors, hold_out=True, seed=5)
    assert points.test_codes is not None
    assert points.test_factors is not None
    np.testing.assert_array_equal(points.codes[:, 0] / 2, points.factors[:, 0])
    np.testing.assert_array_equal(points.test_codes[:, 0] / 2, points.test_factors[:, 0])
    assert (points.settings["n_train"], points.settings["n_test"]) == (8, 4)
