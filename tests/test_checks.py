"""Checks of arguments: what passes, in which form, and the sentence for everything else."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from disentangle.checks import (
    check_finite,
    check_image_range,
    check_integer,
    check_jobs,
    check_name,
    check_number,
    in_image_range,
    read_array,
)
from disentangle.errors import InputError

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]]


@pytest.mark.parametrize("value", [4, np.int64(4), np.uint8(4)])
def test_whole_numbers(value: Any):
    found = check_integer("k", value, least=4, most=4)
    assert found == 4
    assert type(found) is int


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (True, {}, "k is True; expected a whole number."),
        (2.0, {"least": 1}, "k is 2.0; expected a whole number from 1."),
        ("3", {"least": 1}, "k is '3'; expected a whole number from 1."),
        (0, {"least": 1, "most": 5}, "k is 0; expected a whole number from 1 to 5."),
        (6, {"most": 5}, "k is 6; expected a whole number of at most 5."),
        (None, {"least": 0}, "k is None; expected"),
        (torch.tensor(3), {"least": 0}, "expected a whole number from 0"),
        pytest.param(10**5000, {"most": 5}, "k is an integer of 16,610 bits; expected", id="huge"),
        ("\x1b[2J", {"least": 0}, r"k is '\\x1b[2J'; expected"),
    ],
)
def test_what_is_no_whole_number_in_range(value: Any, bounds: dict[str, int], message: str):
    with pytest.raises(InputError) as caught:
        check_integer("k", value, **bounds)
    assert message.replace("\\\\", "\\") in str(caught.value)
    assert len(str(caught.value)) < 200


def test_jobs():
    assert check_jobs(-2) == -2
    assert check_jobs(np.int32(3)) == 3
    for bad in (0, 1.5, True, "all"):
        with pytest.raises(InputError, match="expected a whole number from 1, or -1 for all cores"):
            check_jobs(bad)


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), np.float16(0.5), Fraction(1, 2), torch.tensor(0.5), np.array(0.5)]
)
def test_real_numbers(value: Any):
    found = check_number("rate", value, above=0, most=0.5)
    assert found == 0.5
    assert type(found) is float


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (0, {"above": 0}, "rate is 0; expected a number above 0."),
        (1.0, {"above": 0, "below": 1}, "rate is 1.0; expected a number between 0 and 1, both excluded."),
        (-0.1, {"least": 0, "most": 1}, "rate is -0.1; expected a number from 0 to 1."),
        (-1, {"least": 0}, "rate is -1; expected a number of 0 or more."),
        (3, {"above": 0, "most": 2}, "rate is 3; expected a number above 0, at most 2."),
        (math.nan, {}, "rate is nan; expected a finite number."),
        (math.inf, {"above": 0}, "rate is inf"),
        pytest.param(10**400, {"above": 0}, "expected a number above 0", id="huge"),
        ("0.5", {}, "rate is '0.5'"),
        (True, {}, "rate is True"),
        (np.True_, {}, "rate is"),
        (torch.tensor(True), {}, "rate is"),
        (0.5 + 0j, {}, "rate is"),
        (torch.tensor(0.5 + 0j), {}, "rate is"),
        (np.array(1 + 2j), {}, "rate is"),
        (torch.zeros(1), {}, "rate is"),
        (torch.tensor(0.5, device="meta"), {}, "rate is"),
        (Decimal("0.5"), {}, "rate is"),
        (None, {}, "rate is None"),
    ],
)
def test_what_is_no_real_number_in_range(value: Any, bounds: dict[str, float], message: str):
    with pytest.raises(InputError) as caught:
        check_number("rate", value, **bounds)
    assert message in str(caught.value)


def test_names():
    assert check_name("kernel", "rbf", ("polynomial", "rbf")) == "rbf"
    with pytest.raises(InputError, match="Unknown kernel 'rbg'; did you mean 'rbf'"):
        check_name("kernel", "rbg", ("polynomial", "rbf"))
    for bad in (None, 3, ["rbf"], {"rbf"}):
        with pytest.raises(InputError, match="Unknown kernel"):
            check_name("kernel", bad, ("polynomial", "rbf"))


# ---------------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (ROWS, np.float64),
        (np.array(ROWS, dtype=np.float32), np.float32),
        (np.array(ROWS, dtype=np.float16), np.float16),
        (np.array(ROWS, dtype=">f8"), np.float64),
        (np.array(ROWS, dtype=np.longdouble), np.float64),
        (np.ma.MaskedArray(ROWS), np.float64),
        (np.ma.MaskedArray(ROWS, mask=np.zeros((3, 2), dtype=bool)), np.float64),
        (torch.tensor(ROWS), np.float32),
        (torch.tensor(ROWS, dtype=torch.float64, requires_grad=True), np.float64),
        (torch.tensor(ROWS, dtype=torch.float16), np.float16),
        (torch.tensor(ROWS, dtype=torch.bfloat16), np.float32),
        (torch.tensor(ROWS).T.contiguous().T, np.float32),
        ([torch.tensor(row, dtype=torch.bfloat16, requires_grad=True) for row in ROWS], np.float32),
        ([[torch.tensor(entry) for entry in row] for row in ROWS], np.float32),
        ((np.array(ROWS[0]), ROWS[1], tuple(ROWS[2])), np.float64),
    ],
)
def test_arrays_of_every_origin_are_the_same_numbers(value: Any, dtype: type):
    found = read_array(value, "codes", ndim=2)
    assert type(found) is np.ndarray
    assert found.dtype == dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, ROWS)


def test_views_that_torch_negates_or_conjugates_are_resolved():
    imaginary = torch.tensor([[1 + 2j, 3 - 4j]]).conj().imag  # its values are those in memory, negated
    assert imaginary.is_neg()
    np.testing.assert_array_equal(read_array(imaginary, "codes"), [[-2.0, 4.0]])


def test_truth_values_and_integers():
    assert read_array([[True, False]], "factors").dtype == np.uint8
    assert read_array(torch.tensor([[True]]), "factors").dtype == np.uint8
    assert read_array(np.array([[2**63]], dtype=np.uint64), "factors").dtype == np.uint64


def of_torch(make: Callable[[], torch.Tensor]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the state of its sparse and quantised types
        return make()


REFUSED = {
    "complex": (np.ones((3, 2)) + 1j, "codes have dtype complex128; expected real numbers"),
    "complex with no imaginary part": (np.ones((3, 2), dtype=complex), "complex128"),
    "a complex tensor": (torch.ones(3, 2, dtype=torch.complex64), "codes have dtype complex64; expected real numbers"),
    "a row of complex numbers": ([torch.ones(2), torch.ones(2, dtype=torch.complex64)], "complex64"),
    "objects": (np.array([[1, None]], dtype=object), r"dtype object \(objects\); expected real numbers"),
    "whole numbers beyond all integers": ([[10**30]], "objects"),
    "text": ([["a", "b"]], r"dtype <U1 \(text\)"),
    "one text": ("codes.npy", "text"),
    "bytes": (np.array([[b"a"]]), "text"),
    "dates": (np.array([["2024-01-01"]], dtype="datetime64[D]"), "dates"),
    "records": (np.zeros(3, dtype=[("a", float)]), "expected real numbers"),
    "nothing": (None, "objects"),
    "masked": (np.ma.MaskedArray(ROWS, mask=[[0, 1], [0, 0], [1, 0]]), "codes have 2 masked entries, which"),
    "a masked row": ([np.ma.MaskedArray([1.0, 2.0], mask=[0, 1]), [1.0, 2.0]], "codes have 1 masked entry,"),
    "meta": (torch.empty(3, 2, device="meta"), "on the meta device, which holds no values"),
    "sparse": (torch.eye(3).to_sparse(), "a sparse tensor; give it as a dense one"),
    "sparse rows": (of_torch(lambda: torch.eye(3).to_sparse_csr()), "a sparse tensor; give it as a dense one"),
    "quantised": (
        of_torch(lambda: torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8)),
        "by dequantize",
    ),
    "ragged": ([[1.0, 2.0], [3.0]], "codes cannot be read as an array of numbers"),
    "ragged tensors": ([torch.ones(2), torch.ones(3)], "codes cannot be read as an array of numbers"),
    "one-dimensional": ([1.0, 2.0], r"codes have shape \(2,\); expected 2 dimensions"),
    "three-dimensional": (np.ones((3, 2, 4)), r"codes have shape \(3, 2, 4\); expected 2 dimensions \(as codes.resh"),
    "NaN": ([[1.0, math.nan]], r"codes hold 1 value that is NaN or infinite, in column 1 \(1\); drop those rows"),
    "beyond float64": (np.array([["1e400", "1"]], dtype=np.longdouble), "NaN or infinite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str):
    value, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        read_array(value, "codes", ndim=2)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_an_object_that_fails_on_its_own():
    class Stubborn:
        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("not today\nnor tomorrow")

    with pytest.raises(InputError, match=r"codes cannot be read as an array of numbers \(not today\)"):
        read_array(Stubborn(), "codes")


def test_scipy_sparse():
    from scipy.sparse import csr_matrix

    with pytest.raises(InputError, match="a sparse matrix; give it as an array"):
        read_array(csr_matrix(np.eye(3)), "codes")


def test_nan_may_pass_and_is_counted_by_rows():
    array = np.ones((4, 3))
    array[1:3, 0] = np.nan
    assert np.isnan(read_array(array, "logits", finite=False)).sum() == 2
    with pytest.raises(InputError, match=r"hold 2 values that are NaN or infinite, in 2 of 4 rows; look\."):
        check_finite(array, "features", by_rows=True, advice="look")
    with pytest.raises(InputError, match=r"hold 1 value that is NaN or infinite; drop"):
        check_finite(np.array([np.inf, 1.0]), "sizes")
    check_finite(np.array([1, 2]), "sizes")


# ---------------------------------------------------------------------------------------------------------- images


def test_the_range_of_images():
    check_image_range(torch.tensor([-1.4, 1.2]))
    check_image_range(torch.empty(0))
    for bad in ([0.0, 255.0], [0.0, math.nan], [-math.inf, 0.0]):
        with pytest.raises(InputError, match=r"they lie in \[.*; expected \[-1, 1\] or a little beyond\."):
            check_image_range(torch.tensor(bad), "they")
    for bad, message in (
        (torch.zeros(2, dtype=torch.complex64), "dtype torch.complex64; expected floating point"),
        (torch.zeros(2, dtype=torch.uint8), "dtype torch.uint8"),
        (torch.zeros(2, device="meta"), "on the meta device, without values"),
    ):
        with pytest.raises(InputError, match=message):
            check_image_range(bad)
    assert in_image_range(-10, 10)
    assert not in_image_range(math.nan, 1)


def test_nothing_heavy_is_imported():
    check = "import sys, disentangle.checks; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
