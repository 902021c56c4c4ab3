"""Generators with classes: both networks are told of them, and draws of classes are as exact as all others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import disentangle
from disentangle.errors import DataError, InputError
from disentangle.io import load_state, save
from disentangle.models.base import build_model
from disentangle.models.discriminators import StyleGAN2DiscriminatorConfig, build_discriminator
from disentangle.models.ops.equalized import pixel_norm
from disentangle.training import finetune_config
from disentangle.training.draws import Draws
from tests.training.families import family
from tests.training.test_gan_families import check_continues, train


def conditional(stripes: Any, **fields: Any) -> Any:
    return family("stylegan2", stripes, classes=True, **fields)


def test_killed_and_continued_is_bit_equal(stripes, tmp_path):
    config = conditional(stripes)
    assert config.model.c_dim == config.discriminator.c_dim == 3
    check_continues(config, tmp_path)


def test_pieces_take_the_step_of_the_whole(stripes, tmp_path):
    fields = {"steps": 2, "path_length.weight": 0.0, "discriminator.group": 2}
    whole = train(conditional(stripes, **fields), tmp_path / "whole")
    pieces = train(conditional(stripes, **fields, accumulate=2), tmp_path / "pieces")
    for (name, a), b in zip(whole.named_parameters(), pieces.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5), name


def test_both_networks_are_told_the_class(stripes, tmp_path):
    model = train(conditional(stripes, ema=0.0), tmp_path)
    start = build_model(model.config, seed=0)
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert float((model(z, label=0) - model(z, label=2)).abs().max()) > 1e-4
    assert not torch.equal(model.mapping.embed.weight, start.mapping.embed.weight)
    state = load_state(tmp_path / "checkpoints" / "000006" / "state.pt")["parts"]["discriminator"]
    before = build_discriminator(conditional(stripes).discriminator).state_dict()
    assert set(state) == set(before)
    assert float(state["classes.embed.bias"].abs().max()) > 0, "it starts at zero"
    assert disentangle.load(tmp_path).config.c_dim == 3


def test_the_discriminator_projects_on_the_class():
    """By hand, in float64."""
    config = StyleGAN2DiscriminatorConfig(
        resolution=8, image_channels=1, channels=(4, 3), c_dim=2, class_features=5, class_layers=1, class_multiplier=0.5
    )
    network: Any = build_discriminator(config).double()
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    features = {}
    network.out.register_forward_hook(lambda _, inputs, output: features.update(x=output))
    with torch.no_grad():
        logits = network(images, torch.tensor([0, 1, 0]))
    embed, layer = network.classes.embed, network.classes.layers[0]
    for i, c in enumerate((0, 1, 0)):
        e = pixel_norm((embed.weight[:, c] / 2**0.5 + embed.bias)[None])
        y = 2**0.5 * torch.nn.functional.leaky_relu(e @ layer.weight.T * 0.5 / 5**0.5 + 0.5 * layer.bias, 0.2)
        assert float(logits[i]) == pytest.approx(float((features["x"][i] * y.detach()).sum() / 5**0.5), abs=1e-12)
    with pytest.raises(InputError, match="2 classes and none was given"):
        network(images)


def test_classes_are_drawn_as_often_as_the_data_have_them(stripes):
    labels = torch.tensor([0] * 30 + [2] * 10)
    config = conditional(stripes, batch=4000)
    draws = Draws(config, slice(0, 4000), torch.device("cpu"))
    drawn = draws.classes("fakes", labels)
    assert set(drawn.tolist()) == {0, 2}
    assert float((drawn == 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    part = Draws(config, slice(1000, 2000), torch.device("cpu"))
    assert torch.equal(part.classes("fakes", labels), drawn[1000:2000])
    assert not torch.equal(draws.classes("others", labels), drawn)


def test_every_nth_picture_is_the_same_however_a_batch_is_divided(stripes):
    config = conditional(stripes, batch=12)
    for n in (1, 2, 3, 4):
        whole = list(range(12))[Draws(config, slice(0, 12), torch.device("cpu")).every(n)]
        assert whole == list(range(0, 12, n))
        for length in (4, 6):
            parts = [slice(start, start + length) for start in range(0, 12, length)]
            chosen = [list(range(12))[part][Draws(config, part, torch.device("cpu")).every(n)] for part in parts]
            assert [position for positions in chosen for position in positions] == whole
    assert Draws(config, slice(5, 6), torch.device("cpu")).every(4) == slice(0, 1)


def test_a_file_with_classes_is_trained_further(stripes, tmp_path):
    save(build_model({**conditional(stripes).model.model_dump(), "c_dim": 3}, seed=0), tmp_path / "g.safetensors")
    few = {"batch": 4, "steps": 1, "sample_every": 1, "checkpoint_every": 1}
    one = {"kind": "householder", "rank": 2}
    config = finetune_config(tmp_path / "g.safetensors", data={"name": str(stripes)}, projection=one, **few)
    assert config.discriminator.c_dim == 3
    assert train(config, tmp_path / "run").config.projection.kind == "householder"


def test_pictures_with_other_classes_or_none(stripes, tmp_path):
    with pytest.raises(DataError, match="rooms has no classes to learn"):
        family("stylegan2", classes=True)
    fields = {"model.c_dim": 4, "discriminator.c_dim": 4}
    with pytest.raises(InputError, match="stripes has 3 classes, but the model has 4; give other data"):
        train(family("stylegan2", stripes, **fields), tmp_path / "run")
    with pytest.raises(DataError, match="rooms has no classes to learn"):
        train(family("stylegan2", **fields), tmp_path / "run")


def test_classes_are_for_a_stylegan2(stripes):
    with pytest.raises(InputError, match="classes are for a StyleGAN2, not for 'gan'; leave them out"):
        family("gan", stripes, classes=True)
