"""Bins of codes whose range is a subnormal number."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle.evaluations.disentanglement.information import equal_width_bins, unit_bins


@pytest.mark.parametrize("scale", [1e-300, 1e-308, 1e-310, 1e-315])
def test_bins_of_tiny_codes_are_those_of_a_search(scale: float) -> None:
    column = np.random.default_rng(0).normal(size=500) * scale
    edges = np.histogram_bin_edges(column, 20)
    expected = np.searchsorted(edges[:-1], column, side="right") - 1
    np.testing.assert_array_equal(equal_width_bins(column[:, None], 20)[:, 0], expected)
    if scale < 1e-307:  # the reciprocal of the range overflows: not scaled first
        np.testing.assert_array_equal(unit_bins(column[:, None], 20)[:, 0], expected)
