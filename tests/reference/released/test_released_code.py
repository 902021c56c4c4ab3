"""What the code released with the paper does, printed by itself, beside what the toolkit does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from disentangle import orthogonalize
from disentangle.errors import InputError
from disentangle.latents import sefa
from disentangle.models import build_model
from disentangle.nn import DecorrelatedBatchNorm2d
from disentangle.optim import orthogonality_loss

VALUES = json.loads((Path(__file__).parent / "values.json").read_text(encoding="utf-8"))


def released_bases() -> list[torch.Tensor]:
    random = np.random.RandomState(5)
    shapes = VALUES["eigengan_ol"]["shapes"]
    return [torch.tensor(random.standard_normal(shape), dtype=torch.float32).requires_grad_() for shape in shapes]


def test_the_baseline_of_the_released_eigengan_is_ol_of_weight_100_on_means():
    bases = released_bases()
    losses = [orthogonality_loss(basis, reduction="mean") for basis in bases]
    assert 100 * sum(losses).item() / len(bases) == pytest.approx(VALUES["eigengan_ol"]["loss"], rel=1e-5)
    # the same as a weight of the treatment, whose loss is a sum
    for basis in bases:
        basis.grad = torch.zeros_like(basis)
    before = [basis.detach().clone() for basis in bases]
    optimizer = torch.optim.SGD(bases, lr=1.0)
    orthogonalize(optimizer, bases, ol=100 / (3**2 * len(bases)))
    optimizer.step()
    steps = [float((start - basis.detach()).norm()) for start, basis in zip(before, bases, strict=True)]
    assert steps == pytest.approx(VALUES["eigengan_ol"]["gradient_norms"], rel=1e-4)


@pytest.mark.parametrize("script", list(VALUES["reg_type"]))
def test_the_released_eigengan_has_no_run_without_a_treatment_and_none_with_two(script):
    choices = VALUES["reg_type"][script]
    assert "none" not in choices
    assert sorted(choices) == ["nog", "ol", "olr"]
    for choice in choices:  # each is a treatment here, by itself
        basis = released_bases()[:1]
        orthogonalize(torch.optim.SGD(basis, lr=1.0), basis, **{choice: 1.0 if choice == "ol" else True})


def test_nog_of_no_gradient_is_a_full_step_in_the_release_and_none_here():
    bases = released_bases()
    lengths = [shape[0] ** 0.5 for shape in VALUES["eigengan_ol"]["shapes"]]
    assert VALUES["nog_of_a_zero_gradient"] == pytest.approx(lengths, rel=1e-6)
    optimizer = torch.optim.SGD(bases, lr=1.0)
    orthogonalize(optimizer, bases, nog=True)
    for basis in bases:
        basis.grad = torch.zeros_like(basis)
    before = [basis.detach().clone() for basis in bases]
    optimizer.step()
    assert all(torch.equal(start, basis.detach()) for start, basis in zip(before, bases, strict=True))


def test_olr_of_the_released_simple_gan_moves_nothing():
    released = VALUES["simple_gan_olr"]
    assert released["parameters_in_groups"][0] == 0  # the group that is given the optimal rate
    assert released["largest_difference_of_a_step_at_rates_2e-4_and_1e-9"] == 0.0
    layer = torch.nn.Linear(4, 3)
    with pytest.raises(InputError, match="No parameter to treat"):
        orthogonalize(torch.optim.SGD(layer.parameters(), lr=0.1), [], olr=True)


def test_the_released_pairs_are_of_turned_axes():
    """Only the model trained with NOG has scripts that make pairs, and these turn it to its singular vectors."""
    pairs = {name: [c for c in commands if "gen_pairs" in c] for name, commands in VALUES["simple_gan_scripts"].items()}
    assert {name for name, found in pairs.items() if found} == {"celeba_test.sh", "lsun_test.sh"}
    assert all(command.endswith("--sefa True") for found in pairs.values() for command in found)
    weight = torch.tensor(np.random.RandomState(6).standard_normal((4, 3, 2, 2))).flatten(1)
    turned = torch.tensor(VALUES["sefa_of_the_pairs"], dtype=torch.float64).reshape(4, -1)
    products, before = turned @ turned.mT, weight @ weight.mT
    assert float((products - products.diagonal().diag()).abs().max()) < 1e-12  # orthogonal, whatever training did
    assert float((before - before.diagonal().diag()).abs().max()) > 1
    # and these are the directions of SeFa, up to signs
    model = build_model({"kind": "mlp-gan", "image_shape": (1, 2, 2), "hidden": (12,), "latent_dim": 4}, seed=0)
    model.double()
    projection = next(iter(model.projections().values()))
    with torch.no_grad():
        projection.parameter.copy_(weight.mT)
    axes = sefa(model, top=4, normalize=False).vectors.double()
    torch.testing.assert_close((axes @ weight).abs(), turned.abs(), rtol=0, atol=1e-5)


def test_decorrelated_batch_normalisation_does_not_run_as_released():
    assert VALUES["decorrelated_bn"]["error"].startswith("RuntimeError")
    layer = DecorrelatedBatchNorm2d(4, method="pade")
    assert bool(torch.isfinite(layer(torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)))).all())
