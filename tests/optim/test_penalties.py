"""The orthogonality loss: reference value and gradient, the published scaling."""

from __future__ import annotations

import pytest
import torch

from disentangle.optim import orthogonality_loss
from disentangle.optim.penalties import orthogonality_gradient


@pytest.mark.parametrize("i", range(3))
def test_value_and_gradient_equal_reference(spectral, i):
    w = torch.from_numpy(spectral[f"step{i}_plain/W"]).requires_grad_()
    loss = orthogonality_loss(w)
    loss.backward()
    assert loss.item() == pytest.approx(float(spectral[f"step{i}_plain/ortho_loss"][0]), rel=1e-12)
    expected = torch.from_numpy(spectral[f"step{i}_plain/ortho_loss_grad"])
    assert torch.allclose(w.grad, expected, rtol=1e-11, atol=1e-13)
    assert torch.allclose(orthogonality_gradient(w.detach()), expected, rtol=1e-11, atol=1e-13)


def test_mean_reduction_is_eigengans(generator):
    w = torch.randn(6, 40, generator=generator)
    assert orthogonality_loss(w, reduction="mean").item() == pytest.approx(
        float((w @ w.T - torch.eye(6)).square().mean()), rel=1e-6
    )


def test_gradcheck_and_second_derivative(generator):
    w = torch.randn(3, 2, 2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(orthogonality_loss, w)
    assert torch.autograd.gradgradcheck(orthogonality_loss, w)
