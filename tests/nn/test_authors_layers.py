"""Layers under somebody's name against what that somebody's own code printed (tests/reference)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from disentangle.io.foreign.reflectors import reflector_product
from disentangle.nn import HouseholderProjection, SkewConv2d
from disentangle.nn.frames import reflectors_of_frame
from disentangle.nn.skew_conv import convolution_exponential

VALUES = np.load(Path(__file__).parents[1] / "reference" / "authors_methods.npz")


def tensor(key: str) -> Tensor:
    return torch.tensor(VALUES[key], dtype=torch.float64)


def relative(ours: Tensor, key: str) -> float:
    expected = tensor(key)
    return float((ours.detach() - expected).norm() / expected.norm())


@pytest.mark.parametrize("case", ["wide", "square", "full"])
def test_householder_projector(case: str) -> None:
    """Theirs multiplies as many reflections as a side has rows; ours the fewer that give the same frame."""
    outer, inner = (tensor(f"householder/{case}/{name}") for name in ("U", "V"))
    if len(outer) == len(inner):  # their code has V S U there
        outer, inner = inner, outer
    rank = int(VALUES[f"householder/{case}/rank"])
    (left, left_signs), (right, right_signs) = (
        reflectors_of_frame(frame) for frame in (reflector_product(outer)[:, :rank], reflector_product(inner)[:rank].mT)
    )
    layer = HouseholderProjection(len(inner), len(outer), rank=rank, bias=1.0).double()
    with torch.no_grad():
        layer.U.copy_(left)
        layer.V.copy_(right)
        layer.S.copy_(left_signs * right_signs)
    assert relative(layer(tensor(f"householder/{case}/x")), f"householder/{case}/y") < 1e-13
    assert relative(layer.matrix(), f"householder/{case}/weight") < 1e-13


@pytest.mark.parametrize(("case", "terms"), [("training", 5), ("evaluation", 12)])
@pytest.mark.parametrize(
    ("name", "channels", "stride"), [("same", (4, 4), 1), ("wider", (3, 5), 1), ("strided", (2, 4), 2)]
)
def test_skew_orthogonal_convolution(name: str, channels: tuple[int, int], stride: int, case: str, terms: int) -> None:
    """The series of their filter to rounding; the layer's own bound is up to 3 % above their norm."""
    x, bias, theirs = (tensor(f"soc/{name}/{key}") for key in ("x", "bias", "filter"))
    series = convolution_exponential(F.pixel_unshuffle(x, stride), theirs, terms=terms, out_channels=channels[1])
    assert relative(series + bias[:, None, None], f"soc/{name}/{case}") < 1e-14
    layer = SkewConv2d(*channels, 3, stride=stride, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(tensor(f"soc/{name}/weight"))
        assert layer.bias is not None
        layer.bias.copy_(bias)
    ours = layer.filter()
    share = float(ours.detach().norm() / theirs.norm())
    assert relative(ours / share, f"soc/{name}/filter") < 1e-12
    assert 0.97 < share <= 1
    # with options untouched: ten terms and that bound, which in these filters is nearly met
    assert relative(layer(x), f"soc/{name}/evaluation") < 1e-6
