"""Metrics that move a generator's latents: VP, activeness, the Jacobian, MIG through a network taught the factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.evaluations.generation import (
    activeness,
    factor_predictor_mig,
    ima_contrast,
    jacobian_orthogonality,
    make_pairs,
    variation_predictability,
)
from disentangle.evaluations.generation.variation import _network
from disentangle.models.base import LatentSpace


class Stripes(nn.Module):
    """Coordinate i is the grey value of the i-th of four stripes; a fifth number of the latent is not walked."""

    def __init__(self, mixing: Tensor | None = None) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", (5,), walk=(0, 1, 2, 3))}
        self.mixing = torch.eye(4) if mixing is None else mixing

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: Any = None
    ) -> Tensor:
        return torch.randn(n, 5, generator=generator)

    def forward(self, latents: Tensor, *, space: str | None = None) -> Tensor:
        stripes = torch.tanh(latents[:, :4] @ self.mixing.to(latents) / 2)
        return stripes.repeat_interleave(4, dim=1)[:, None, :, None].expand(-1, 3, -1, 16)


def test_vp_of_latents_that_move_parts_of_their_own() -> None:
    pairs, labels = make_pairs(Stripes(), 400, seed=1)
    assert pairs.shape == (400, 2, 3, 16, 16)
    assert pairs.dtype == torch.uint8
    changed = (pairs[:, 0] != pairs[:, 1]).any(dim=1).any(dim=2)[:, ::4]  # (n, stripes)
    assert changed.sum(1).max() == 1
    np.testing.assert_array_equal(changed[changed.any(1)].int().argmax(1), labels[changed.any(1)])
    score = variation_predictability(pairs, labels, epochs=12, train_fraction=0.5, test_every=4)
    assert score.parts["best"] > 0.8
    assert score.parts["per_epoch"][:, 0].tolist() == [4, 8, 12]
    assert score.value == score.parts["per_epoch"][-1, 1] <= score.parts["best"]
    assert score.chance == pytest.approx(0.25, abs=0.06)
    assert score.settings["protocol"] == "custom (from zhu-2020)"
    again = variation_predictability(pairs, labels, epochs=12, train_fraction=0.5, test_every=4)
    assert again.value == score.value


def test_vp_of_labels_that_say_nothing_is_chance() -> None:
    pairs, labels = make_pairs(Stripes(), 300)
    shuffled = labels[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    score = variation_predictability(pairs, shuffled, epochs=4, train_fraction=0.5, input="concat")
    assert score.value == pytest.approx(0.25, abs=0.15)


def test_the_published_network_and_what_does_not_fit() -> None:
    assert sum(p.numel() for p in _network(3, 30).parameters()) == 423_646
    pairs, labels = make_pairs(Stripes(), 8)
    for arguments, message in (
        ((pairs.float(), labels), "dtype torch.float32"),
        ((pairs[:, 0], labels), "expected .n, 2, C, H, W. of uint8"),
        ((pairs, 0 * labels), "leave nothing to learn or to test"),
    ):
        with pytest.raises(InputError, match=message):
            variation_predictability(*arguments)
    with pytest.raises(InputError, match="Unknown VP preset 'zhu'"):
        variation_predictability(pairs, labels, preset="zhu")
    with pytest.raises(InputError, match="Unknown setting of VP 'epoch'; did you mean 'epochs'"):
        variation_predictability(pairs, labels, epoch=3)


def test_activeness() -> None:
    score = activeness(Stripes(torch.diag(torch.tensor([2.0, 1.0, 0.01, 0.0]))))
    assert score.value == 2
    assert np.all(np.diff(score.parts["per_code"]) < 0)
    assert score.parts["per_code"][1] == pytest.approx(2 * np.tanh(0.5) / 4, rel=1e-5)


def test_orthogonal_and_equal_changes() -> None:
    assert jacobian_orthogonality(Stripes()).value == pytest.approx(0, abs=1e-12)
    same = torch.zeros(4, 4)
    same[:, 0] = 1
    score = jacobian_orthogonality(Stripes(same))
    assert score.value == pytest.approx(1)
    assert not score.higher_is_better
    turned = torch.eye(4)
    turned[1, 0] = 1.0  # the second coordinate moves the first stripe too
    partly = jacobian_orthogonality(Stripes(turned))
    assert 0 < partly.value < 0.2
    assert partly.parts["cosine"][0, 1] == partly.parts["cosine"].max()
    dead = jacobian_orthogonality(Stripes(torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0]))))
    assert np.isfinite(dead.value)


def test_ima_contrast() -> None:
    """0 for orthogonal changes of any length, -1/2 log(1 - c^2) for two with cosine c; finite for equal ones."""
    lengths = torch.diag(torch.tensor([1.0, 0.1, 3.0, 1e-3]))
    assert ima_contrast(Stripes(lengths)).value == pytest.approx(0, abs=1e-9)
    mixed = torch.eye(4)
    mixed[1, 0] = 1.0
    score = ima_contrast(Stripes(mixed))
    generator = Stripes(mixed)
    cosines = []
    for latent in generator.sample_latents(16, generator=torch.Generator().manual_seed(0)):
        jacobian = torch.autograd.functional.jacobian(lambda z: generator(z[None]).flatten(), latent).double()
        unit = jacobian / jacobian.norm(dim=0)
        cosines.append(float(unit[:, 0] @ unit[:, 1]))
    assert score.value == pytest.approx(float(-0.5 * np.log1p(-np.square(cosines)).mean()), rel=1e-4)
    assert score.ceiling == 0
    assert not score.higher_is_better
    assert ima_contrast(Stripes(lengths)).chance > 1, "a turn of axes of such lengths mixes them"
    assert ima_contrast(Stripes(), turns=0).chance is None
    dead = ima_contrast(Stripes(torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0]))))
    assert dead.value == pytest.approx(0, abs=1e-9)
    assert dead.parts["active"].tolist() == [3] * 16
    assert dead.chance is not None
    assert dead.chance < 5, "a coordinate that does nothing is left out of the turns too"
    with pytest.raises(InputError, match="generator is 5"):
        ima_contrast(5)
    same = torch.zeros(4, 4)
    same[:, 0] = 1
    assert 10 < ima_contrast(Stripes(same)).value < 100


class StripeData:
    """The same stripes as a data set: each of four factors has three grey values."""

    factor_sizes, factor_names, image_shape = (3, 3, 3, 3), ("a", "b", "c", "d"), (3, 16, 16)

    def sample(self, n: int, generator: Any = None) -> Tensor:
        return torch.randint(3, (n, 4), generator=generator)

    def render(self, factors: Tensor) -> Tensor:
        return (factors / 2).repeat_interleave(4, dim=1)[:, None, :, None].expand(-1, 3, -1, 16)


def test_mig_through_a_network_taught_the_factors() -> None:
    score = factor_predictor_mig(Stripes(), StripeData(), steps=150, n=1500)
    assert score.parts["accuracy"].min() > 0.95
    assert score.value > 0.5
    assert score.parts["best_code"].tolist() == [0, 1, 2, 3]
    mixing = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    assert factor_predictor_mig(Stripes(mixing), StripeData(), steps=150, n=1500).value < 0.5 * score.value
    data = StripeData()
    data.image_shape = (3, 32, 32)
    with pytest.raises(InputError, match="they must be equal"):
        factor_predictor_mig(Stripes(), data)


def test_pairs_do_not_depend_on_the_batch() -> None:
    seen: list[int] = []

    class Counted(Stripes):
        def __call__(self, latents: torch.Tensor, *, space: str | None = None) -> torch.Tensor:
            seen.append(len(latents))
            return super().__call__(latents, space=space)

    expected, labels = make_pairs(Stripes(), 300, batch=1000, seed=5)
    for batch in (1, 7, 64):
        seen.clear()
        pairs, named = make_pairs(Counted(), 300, batch=batch, seed=5)
        assert max(seen) <= batch
        assert torch.equal(named, labels)
        assert torch.equal(pairs, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pairs, labels: (pairs.to("meta"), labels), "pairs are a tensor on the meta device"),
        (lambda pairs, labels: (pairs, labels.to("meta")), "labels are a tensor on the meta device"),
        (lambda pairs, labels: (pairs + 0j, labels), "pairs have dtype complex64"),
        (lambda pairs, labels: (pairs, labels - 1), "labels have dtype int64, from -1"),
        (lambda pairs, labels: (pairs, labels.double()), "labels have dtype float64"),
        (lambda pairs, labels: (pairs, labels * 10**9), "expected whole numbers from 0 to 99,999"),
        (lambda pairs, labels: (pairs[:0], labels[:0]), "labels have dtype int64, none; expected"),
        (lambda pairs, labels: (None, labels), "pairs have dtype object"),
    ],
)
def test_pairs_that_are_none(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        variation_predictability(*change(*make_pairs(Stripes(), 8)), epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"train_fraction": 1}, "train_fraction is 1"),
        ({"test_every": 1.5}, "test_every is 1.5"),
        ({"seed": 2**70}, "seed is"),
    ],
)
def test_settings_of_vp_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    pairs, labels = make_pairs(Stripes(), 8)
    with pytest.raises(InputError, match=message):
        variation_predictability(pairs, labels, **options)


def test_pairs_as_numpy_arrays_are_the_same() -> None:
    pairs, labels = make_pairs(Stripes(), 40)
    options: dict[str, Any] = {"epochs": 1, "train_fraction": 0.5}
    expected = variation_predictability(pairs, labels, **options)
    assert variation_predictability(pairs.numpy(), labels.numpy(), **options).value == expected.value  # type: ignore[arg-type]
