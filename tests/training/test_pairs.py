"""Weak supervision by pairs: what is shared, against disentanglement_lib (tests/reference), and the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import disentangle
from disentangle.data import Sprites
from disentangle.data.pairs import changed_factors, draw_pairs
from disentangle.errors import ConfigError, InputError
from disentangle.io import model_info
from disentangle.training import VAETraining, preset_config, train_vae
from disentangle.training.objectives import gaussian_kl
from disentangle.training.pairs import share_posteriors

CASE = json.loads((Path(__file__).parents[1] / "reference" / "quantised_autoencoders.json").read_text())["pairs"]


def tensor(name: str) -> Tensor:
    return torch.tensor(CASE[name], dtype=torch.float64)


@pytest.mark.parametrize("kind", ["known", "adaptive"])
def test_sharing_is_that_of_disentanglement_lib(kind):
    inputs = [tensor(f"{name}_{i}").requires_grad_() for i in (1, 2) for name in ("mean", "log_variance")]
    mean = torch.stack([inputs[0], inputs[2]], dim=1).flatten(0, 1)
    log_variance = torch.stack([inputs[1], inputs[3]], dim=1).flatten(0, 1)
    changed = torch.tensor(CASE["changed"]) if kind == "known" else None
    mean, log_variance = share_posteriors(mean, log_variance, changed)
    kl = gaussian_kl(mean, log_variance).sum()
    assert kl.item() == pytest.approx(CASE[kind]["kl"], rel=1e-9)
    parts = (mean[::2], log_variance[::2], mean[1::2], log_variance[1::2])
    for found, expected in zip(parts, CASE[kind]["parts"], strict=True):
        torch.testing.assert_close(found.detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-11)
    value = kl + sum((weight * part).sum() for weight, part in zip(tensor("G"), parts, strict=True))
    assert value.item() == pytest.approx(CASE[kind]["value"], rel=1e-9)
    value.backward()
    for leaf, expected in zip(inputs, CASE[kind]["gradients"], strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)


def test_pairs_differ_in_one_factor_each_as_often():
    data = Sprites(16)
    pairs, changed = draw_pairs(data, 6000, torch.Generator().manual_seed(0))
    data.check_factors(pairs.flatten(0, 1))
    assert torch.equal(changed_factors(pairs), changed)
    shares = changed.bincount(minlength=len(data.factor_sizes)) / 6000
    assert float((shares - 1 / len(data.factor_sizes)).abs().max()) < 0.03
    first = pairs[changed == 0][:, :, 0]  # the other value: uniform among those left
    size = data.factor_sizes[0]
    steps = ((first[:, 1] - first[:, 0]) % size).bincount(minlength=size) / len(first)
    assert steps[0] == 0
    assert float((steps[1:] - 1 / (size - 1)).abs().max()) < 0.05


def test_pairs_without_a_changed_factor_are_refused():
    pairs = torch.tensor([[[0, 1], [0, 2]], [[1, 1], [1, 1]], [[0, 0], [1, 1]]])
    with pytest.raises(InputError, match="2 of 3 pairs do not differ in exactly one factor; pair 1 differs in 0"):
        changed_factors(pairs)
    with pytest.raises(InputError, match="expected integers"):
        changed_factors(pairs.float())

    still = Sprites(16)
    still.factor_sizes = (1,) * len(still.factor_sizes)
    with pytest.raises(InputError, match="No factor of the data has more than one value"):
        draw_pairs(still, 2)


def test_what_is_no_pair_is_refused():
    with pytest.raises(InputError, match="an even number of rows"):
        share_posteriors(torch.zeros(3, 2), torch.zeros(3, 2), None)
    for changed in (torch.tensor([2, 0]), torch.tensor([-1, 0]), torch.tensor([0])):
        with pytest.raises(InputError, match="every pair has one factor that differs"):
            share_posteriors(torch.zeros(4, 2), torch.zeros(4, 2), changed)


TINY = {
    "batch": 6, "steps": 2, "log_every": 1, "sample_every": 2, "checkpoint_every": 1, "model.channels": (3, 3, 4),
    "model.hidden": 6, "objective": {"kind": "beta-vae", "beta": 1.0},
}  # fmt: skip


def tiny(data: Any = "sprites", **fields: Any) -> VAETraining:
    made = preset_config("vae", data={"name": str(data), "resolution": 32}, **{**TINY, **fields})
    assert isinstance(made, VAETraining)
    return made


def test_a_training_is_labelled_as_weakly_supervised(tmp_path):
    config = tiny(pairs="known", **{"model.decoder": "style", "reconstruction": "gaussian-learned"})
    train_vae(config, tmp_path / "run", device="cpu")
    provenance = model_info(disentangle.io.find_model(tmp_path / "run"))["provenance"]
    assert provenance["supervision"] == "weak: pairs of pictures that differ in one factor, and which factor that was"
    assert tiny().supervision is None


def test_what_pairs_do_not_fit(tmp_path, stripes):
    with pytest.raises(ConfigError, match="holds no whole number of pairs"):
        tiny(pairs="known", batch=5)
    with pytest.raises(ConfigError, match="pairs is for the objective 'beta-vae', not 'beta-tcvae'"):
        tiny(pairs="adaptive", objective={"kind": "beta-tcvae"})
    with pytest.raises(ConfigError, match=r"a latent of its own, but model\.latent_dim is 2"):
        train_vae(tiny(pairs="known", **{"model.latent_dim": 2}), tmp_path / "a", device="cpu")
    with pytest.raises(ConfigError, match="has no known factors"):
        train_vae(tiny(stripes, pairs="adaptive"), tmp_path / "b", device="cpu")


def test_the_preset_of_pairs():
    config = preset_config("vae", data={"name": "rooms"}, preset="pairs-32")
    assert isinstance(config, VAETraining)
    assert (config.pairs, config.model.decoder, config.model.latent_dim) == ("known", "style", 6)
    assert preset_config("vae", data={"name": "rooms", "resolution": 32}).pairs == "none"  # type: ignore[union-attr]
