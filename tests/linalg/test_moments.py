"""Moments of rows in parts: the formula on all rows at once, merging, and where nothing was seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.errors import InputError
from disentangle.linalg.moments import Moments


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 60), max_size=5), far=st.sampled_from([0, 1e6]))
def test_parts_and_merged_halves_are_the_whole(seed: int, cuts: list[int], far: float):
    rows = far + np.random.default_rng(seed).normal(size=(60, 4))
    parts = [torch.from_numpy(part) for part in np.split(rows, sorted(cuts))]
    added, merged = Moments(4), Moments(4)
    for part in parts:
        added.add(part)
        merged.merge(Moments(4).add(part))
    for moments in (added, merged):
        assert moments.count == 60
        np.testing.assert_allclose(moments.mean().numpy(), rows.mean(0), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(moments.covariance().numpy(), np.cov(rows.T), rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(moments.covariance(correction=0).numpy(), np.cov(rows.T, ddof=0), atol=1e-9)
        assert torch.equal(moments.covariance(), moments.covariance().mT)


def test_small_numbers_by_hand():
    moments = Moments(2).add(torch.tensor([[1, 2], [3, 2]])).add(torch.tensor([[5, 8]], dtype=torch.bfloat16))
    assert moments.mean().tolist() == [3.0, 4.0]
    assert moments.covariance().tolist() == [[4.0, 6.0], [6.0, 12.0]]


def test_what_is_given_is_left_alone():
    rows = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    before = rows.detach().clone()
    moments = Moments(3).add(rows)
    assert torch.equal(rows, before)
    assert not moments.covariance().requires_grad
    moments.mean().zero_()
    assert moments.mean().abs().sum() > 0
    other = Moments(3).merge(moments)
    other.add(rows)
    assert moments.count == 5


def test_nothing_and_what_does_not_fit():
    moments = Moments(3)
    assert moments.add(torch.empty(0, 3)).merge(Moments(3)).count == 0
    with pytest.raises(InputError, match="needs more than 1 rows; got 0"):
        moments.covariance()
    with pytest.raises(InputError, match="needs more than 1 rows; got 1"):
        moments.add(torch.ones(1, 3)).covariance()
    assert moments.covariance(correction=0).abs().sum() == 0
    for bad in (torch.ones(3), torch.ones(2, 4), torch.ones(2, 3, dtype=torch.complex64)):
        with pytest.raises(InputError, match=r"expected real numbers \(n, 3\)"):
            moments.add(bad)
    with pytest.raises(InputError, match="rows have 3 and 4 entries"):
        moments.merge(Moments(4))
