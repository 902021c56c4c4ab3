"""Scores of conditional generators: which classes are drawn, how often, and what the score says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disentangle.errors import InputError
from disentangle.evaluations.classes import plan_classes
from disentangle.evaluations.features import generated_images
from disentangle.evaluations.generation import (
    activeness,
    factor_predictor_mig,
    ima_contrast,
    jacobian_orthogonality,
    make_pairs,
    path_length,
    perceptual_perturbation,
)
from disentangle.models import build_model
from disentangle.models.base import LatentSpace


class Conditional(nn.Module):
    """Three classes; the class is a picture's red level, and the latents only move the others. w = z + class."""

    c_dim, label = 3, None

    def __init__(self) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", (2,)), "w": LatentSpace("w", (3,))}
        self.seen: list[tuple[int, ...]] = []  # classes of each call
        self.weight = nn.Parameter(torch.ones(1))

    def mapped(self, z: Tensor, label: Any) -> Tensor:
        if label is None:
            raise InputError("no class was given")
        return torch.cat([z, torch.as_tensor(label).expand(len(z))[:, None].to(z)], dim=1)

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: Any = None, label: Any = None
    ) -> Tensor:
        z = torch.randn(n, 2, generator=generator)
        return self.mapped(z, label) if space == "w" else z

    def forward(self, latents: Tensor, *, space: str | None = None, label: Any = None) -> Tensor:
        w = latents if space == "w" else self.mapped(latents, label)
        self.seen.append(tuple(int(value) for value in w[:, 2].round()))
        made = torch.tanh(torch.stack([w[:, 2] - 1, w[:, 0], w[:, 1]], dim=1))
        return made[:, :, None, None].expand(-1, -1, 4, 4)

    def classes(self) -> Counter[int]:
        return Counter(label for call in self.seen for label in call)


def squared(one: Tensor, two: Tensor) -> Tensor:
    return (one - two).square().flatten(1).sum(1)


class Data:
    factor_sizes, factor_names, image_shape = (3, 3), ("a", "b"), (3, 4, 4)

    def sample(self, n: int, generator: Any = None) -> Tensor:
        return torch.randint(3, (n, 2), generator=generator)

    def render(self, factors: Tensor) -> Tensor:
        return (factors.float() / 2).repeat(1, 24).reshape(-1, 3, 4, 4)


AXES = {"a": torch.eye(2)}
SCORES: dict[str, Callable[..., dict[str, Any]]] = {
    "path_length in z": lambda g, **o: (
        path_length(g, squared, n=12, batch=5, space="z", epsilon=1e-2, size=None, **o).settings
    ),
    "path_length in w": lambda g, **o: (
        path_length(g, squared, n=12, batch=5, space="w", epsilon=1e-2, size=None, **o).settings
    ),
    "perceptual_perturbation": lambda g, **o: (
        perceptual_perturbation(g, squared, AXES, n=12, batch=4, size=None, **o).settings
    ),
    "activeness": lambda g, **o: activeness(g, n=12, **o).settings,
    "jacobian_orthogonality": lambda g, **o: jacobian_orthogonality(g, n=12, **o).settings,
    "ima_contrast": lambda g, **o: ima_contrast(g, n=12, **o).settings,
    "factor_predictor_mig": lambda g, **o: (
        factor_predictor_mig(g, Data(), n=12, steps=1, baselines=False, **o).settings
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_classes_reach_every_score_of_a_generator(name: str) -> None:
    generator = Conditional()
    settings = SCORES[name](generator)
    drawn = generator.classes()
    assert len(set(drawn.values())) == 1 or name == "factor_predictor_mig"  # equally often; one look at the shape
    assert set(drawn) == {0, 1, 2}
    assert (settings["classes"], settings["classes_drawn"]) == (3, "uniformly")
    generator.seen.clear()
    assert SCORES[name](generator, label=1)["classes_drawn"] == "class 1 alone"
    assert set(generator.classes()) == {1}
    generator.seen.clear()
    settings = SCORES[name](generator, class_shares=[30, 0, 10])
    assert settings["class_shares"] == [0.75, 0.0, 0.25]
    assert set(generator.classes()) == {0, 2}
    with pytest.raises(InputError, match="label is 3; expected a class from 0 to 2"):
        SCORES[name](generator, label=3)


def test_both_ends_of_a_step_are_of_one_class() -> None:
    """Classes are far apart in red, so that a path from one to another would be long."""
    for space in ("z", "w"):
        found = path_length(Conditional(), squared, n=30, space=space, epsilon=1e-2, size=None)
        alone = path_length(Conditional(), squared, n=30, space=space, epsilon=1e-2, size=None, label=0)
        np.testing.assert_allclose(found.parts["distances"], alone.parts["distances"], rtol=1e-3)


def test_pairs_share_their_class() -> None:
    generator = Conditional()
    pairs, _ = make_pairs(generator, 9, batch=4)
    assert torch.equal(pairs[:, 0, 0], pairs[:, 1, 0])
    assert set(Counter(pairs[:, 0, 0, 0, 0].tolist()).values()) == {3}
    one, _ = make_pairs(generator, 9, batch=4, label=2)
    assert len(one[:, 0, 0].unique()) == 1


def test_pictures_of_each_class_as_often_as_asked() -> None:
    generator = Conditional()
    for options, expected in (
        ({}, {0: 4, 1: 4, 2: 4}),
        ({"label": 2}, {2: 12}),
        ({"class_shares": [1, 2, 0]}, {0: 4, 1: 8}),
        ({"space": "w", "class_shares": [3, 0, 1]}, {0: 9, 2: 3}),
    ):
        made = generated_images(generator, 12, **options)  # type: ignore[arg-type]
        generator.seen.clear()
        whole = torch.stack(made.read(0, 12))
        assert generator.classes() == expected
        assert torch.equal(torch.cat([torch.stack(part) for part in made.batches(5)]), whole)
        assert any("classes" in note for note in made.notes)
    assert "class 2 alone" in generated_images(generator, 2, label=2).notes[0]
    latents = [generated_images(generator, 6, **o).read(0, 6) for o in ({}, {"label": 1})]  # type: ignore[arg-type]
    assert all(torch.equal(one[1:], two[1:]) for one, two in zip(*latents, strict=True))  # the same latents


def test_a_plan_is_fair_however_few_the_pictures() -> None:
    counts = Counter(
        plan_classes(Conditional(), 1, class_shares=[1, 2, 1], seed=seed).labels.item()  # type: ignore[union-attr]
        for seed in range(400)
    )
    assert counts[1] == pytest.approx(200, abs=40)
    assert counts[0] == pytest.approx(100, abs=35)
    assert plan_classes(object(), 5).labels is None
    assert plan_classes(object(), 5).note == ""
    one = Conditional()
    one.label = 1  # type: ignore[assignment]
    assert plan_classes(one, 4).labels.tolist() == [1] * 4  # type: ignore[union-attr]


def test_what_does_not_fit() -> None:
    for options, message in (
        ({"label": True}, "label is True"),
        ({"label": -1}, "label is -1"),
        ({"label": 1, "class_shares": [1, 1, 1]}, "both given"),
        ({"class_shares": [1, 1]}, r"shape \(2,\); expected \(3,\)"),
        ({"class_shares": [1, -1, 1]}, "from 0 on"),
        ({"class_shares": [0, 0, 0]}, "not all 0"),
        ({"class_shares": [1, float("nan"), 0]}, "finite"),
    ):
        with pytest.raises(InputError, match=message):
            plan_classes(Conditional(), 4, **options)  # type: ignore[arg-type]
    unconditional: Any = build_model({"kind": "gan", "resolution": 8, "latent_dim": 2, "channels": (4, 4)}, seed=0)
    for options in ({"label": 0}, {"class_shares": [1.0]}):
        with pytest.raises(InputError, match="this generator has no classes; leave it out"):
            generated_images(unconditional, 2, **options)  # type: ignore[arg-type]


def test_a_stylegan_with_classes() -> None:
    model: Any = build_model(
        {"kind": "stylegan2", "resolution": 8, "channels": (4, 4), "z_dim": 4, "w_dim": 4, "mapping_layers": 1,
         "c_dim": 3}, seed=0,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for block in model.synthesis.blocks():
            block.torgb.weight.mul_(0.05)
    for space in ("z", "w", "w+", "s"):
        assert path_length(model, squared, n=4, batch=3, space=space, epsilon=1e-2, size=None).value >= 0
        assert len(make_pairs(model, 4, batch=3, space=space)[0]) == 4
        assert len(generated_images(model, 4, space=space).read(0, 3)) == 3
    labels = plan_classes(model, 4, seed=3).labels
    z = model.sample_latents(4, generator=torch.Generator().manual_seed(3))
    made = torch.stack(generated_images(model, 4, seed=3).read(0, 4)).float()
    np.testing.assert_allclose(made, (model(z, label=labels).detach() * 127.5 + 127.5).clamp(0, 255), atol=0.51)
