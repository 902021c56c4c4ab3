"""HouseholderGAN's factors against the definition of a product of reflections."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disentangle.errors import CheckpointError
from disentangle.io.foreign.reflectors import reflector_product, with_frames
from disentangle.nn.frames import householder_frame


def product_of_reflections(vectors: Tensor) -> Tensor:
    result = torch.eye(len(vectors), dtype=vectors.dtype)
    for v in vectors.mT:
        result = result @ (torch.eye(len(v), dtype=v.dtype) - 2 * torch.outer(v, v) / v.dot(v))
    return result


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 6), (5, 3), (3, 5), (1, 1)])
def test_reflector_product_is_the_product_of_reflections(shape):
    torch.testing.assert_close(
        reflector_product(random(*shape)), product_of_reflections(random(*shape)), rtol=0, atol=1e-13
    )


def test_a_zero_column_reflects_nothing():
    vectors = random(4, 3)
    vectors[:, 1] = 0
    expected = product_of_reflections(vectors[:, [0, 2]])
    torch.testing.assert_close(reflector_product(vectors), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", ["usv", "vsu"])
@pytest.mark.parametrize(("outputs", "inputs"), [(6, 6), (4, 6), (7, 5)])
def test_the_weight_is_the_same(outputs, inputs, order):
    U, V = random(outputs, outputs), random(inputs, inputs, seed=1)
    S = torch.zeros(outputs, inputs, dtype=torch.float64)
    S[range(3), range(3)] = 1
    Q, R = product_of_reflections(U), product_of_reflections(V)
    expected = R @ S @ Q if order == "vsu" and outputs == inputs else Q @ S @ R
    prefix = "synthesis.b8.conv0.affine."
    made = with_frames({f"{prefix}U": U, f"{prefix}V": V, "other": U}, ["b8.conv0"], 3, order)
    assert set(made) == {"other", *(f"{prefix}parametrizations.weight.{n}" for n in ("original0", "original1", "0.S"))}
    left, right, signs = (made[f"{prefix}parametrizations.weight.{n}"] for n in ("original0", "original1", "0.S"))
    weight = (householder_frame(left) * signs) @ householder_frame(right).mT
    torch.testing.assert_close(weight.double(), expected, rtol=0, atol=1e-6)


def test_factors_that_do_not_go_with_the_rank():
    names = ("synthesis.b8.conv0.affine.U", "synthesis.b8.conv0.affine.V")
    with pytest.raises(CheckpointError, match=r"factors of its orthogonal layer b8.conv0 have shapes \(2, 2\)"):
        with_frames(dict(zip(names, (random(2, 2), random(6, 6)), strict=True)), ["b8.conv0"], 3, "usv")
