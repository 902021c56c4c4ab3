"""What is walked, from where, and what is refused; on StyleGANs small enough to run in no time."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

import disentangle
from disentangle.errors import CheckpointError, InputError
from disentangle.latents import Directions, Latents, basis, ganspace, most_active, sefa, style_channels, traverse
from disentangle.latents.traversal import start_columns, walk_latents
from disentangle.models import build_model

SMALL = {"resolution": 16, "z_dim": 10, "w_dim": 10, "mapping_layers": 2, "channels": (6, 6, 4)}


@pytest.fixture(scope="module")
def model():
    made = build_model({"kind": "stylegan2", **SMALL}, seed=0).eval().requires_grad_(False)
    made.mapping.w_avg.copy_(torch.linspace(-1, 1, 10))
    return made


@pytest.fixture(scope="module")
def conditional():
    return build_model({"kind": "stylegan2", **SMALL, "c_dim": 3}, seed=0).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def gan():
    return build_model({"kind": "gan", "resolution": 16, "latent_dim": 10, "channels": [8, 6, 4]}, seed=0)


def one(space: str, size: int, **more) -> Directions:
    vectors = torch.linspace(-1, 1, size)[None]
    return Directions(vectors, space, ("a",), "hand", torch.full((1,), 0.5), **more)


def z_of(seed: int) -> torch.Tensor:
    return torch.randn(1, 10, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------- positions


def test_each_direction_moves_its_own_layers(model):
    starts = model.sample_latents(2, space="w+", generator=torch.Generator().manual_seed(0))
    vectors = torch.randn(2, 10, generator=torch.Generator().manual_seed(1))
    found = Directions(vectors, "w", ("a", "b"), "hand", torch.tensor([1.0, 0.5]), layers=((0,), (2, 4)))
    walk = walk_latents(model, starts, found, torch.tensor([-1.0, 0.0, 2.0]), absolute=False)
    assert walk.shape == (2, 2, 3, 6, 10)
    for direction, (rows, scale) in enumerate((((0,), 1.0), ((2, 4), 0.5))):
        for step, position in enumerate((-1.0, 0.0, 2.0)):
            expected = starts.clone()
            expected[:, list(rows)] += position * scale * vectors[direction]
            torch.testing.assert_close(walk[:, direction, step], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layers", [None, (1, 3)])
def test_absolute_positions_are_counted_from_the_mean(model, layers):
    """GANSpace's centred edit: the component of w - mean along the direction is taken out, then set."""
    mean = torch.linspace(1, 2, 10)
    found = one("w", 10, layers=layers, mean=mean)
    space = "w" if layers is None else "w+"
    starts = model.sample_latents(3, space=space, generator=torch.Generator().manual_seed(2))
    walk = walk_latents(model, starts, found, torch.tensor([-2.0, 0.0]), absolute=True)
    unit = found.vectors[0] / found.vectors[0].norm()
    along = (walk.reshape(3, 2, -1, 10) - mean) @ unit
    moved = [0] if layers is None else list(layers)
    expected = torch.tensor([-1.0, 0.0])[:, None] * found.vectors[0].norm()
    torch.testing.assert_close(along[:, :, moved], expected.expand(3, 2, len(moved)), rtol=0, atol=1e-5)
    rest = walk.reshape(3, 2, -1, 10) - along[..., None] * unit
    before = starts.reshape(3, 1, -1, 10)
    before = before - ((before - mean) @ unit)[..., None] * unit
    torch.testing.assert_close(rest - rest[:, :1], torch.zeros_like(rest), rtol=0, atol=1e-5)
    torch.testing.assert_close(rest[:, :1], before, rtol=0, atol=1e-5)


def test_positions_along_a_direction_of_zeros_are_no_nan(gan):
    still = Directions(torch.zeros(1, 10), "z", ("a",), "hand", torch.ones(1))
    assert torch.isfinite(traverse(gan, still, steps=2, absolute=True)).all()


# ---------------------------------------------------------------------------------------------- starts, truncation


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_truncation_with_a_cutoff_in_every_space(model, space):
    found = one(space, model.spaces[space].size)
    middle = traverse(model, found, seeds=[4], steps=3, truncation=0.3, truncation_cutoff=2)[0, 0, 1]
    expected = model(z_of(4), truncation=0.3, truncation_cutoff=2)[0]
    torch.testing.assert_close(middle, expected, rtol=0, atol=1e-5)
    assert (expected - model(z_of(4), truncation=0.3)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_a_generator_that_always_truncates_does_so_in_every_space(space):
    made = build_model({"kind": "stylegan2", **SMALL}, seed=0).eval().requires_grad_(False)
    made.mapping.w_avg.copy_(torch.linspace(-1, 1, 10))
    made.default_truncation = 0.5
    found = one(space, made.spaces[space].size)
    said_nothing = traverse(made, found, seeds=[4], steps=3)[0, 0, 1]
    torch.testing.assert_close(said_nothing, made(z_of(4), truncation=0.5)[0], rtol=0, atol=1e-5)
    said_none = traverse(made, found, seeds=[4], steps=3, truncation=1.0)[0, 0, 1]
    torch.testing.assert_close(said_none, made(z_of(4), truncation=1.0)[0], rtol=0, atol=1e-5)


def test_an_edit_is_added_after_truncation(model):
    found = one("w", 10)
    end = traverse(model, found, seeds=[4], steps=2, extent=1, truncation=0.3)[0, 0, 1]
    w = model.convert_latents(z_of(4), "z", "w", truncation=0.3) + 0.5 * found.vectors
    torch.testing.assert_close(end, model(w, space="w")[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("start", "along"), [("z", "w"), ("w", "w+"), ("w", "s"), ("w+", "w"), ("w+", "s"), ("s", "s")]
)
def test_starting_latents_are_carried_to_the_space_that_is_walked(model, start, along):
    values = model.sample_latents(2, space=start, generator=torch.Generator().manual_seed(7))
    pictures = traverse(model, one(along, model.spaces[along].size), start=Latents(values, start), steps=3)
    torch.testing.assert_close(pictures[:, 0, 1], model(values, space=start), rtol=0, atol=1e-5)


def test_a_given_start_is_in_the_middle_of_its_walk_along_the_axes():
    gan = build_model({"kind": "gan", "resolution": 32, "latent_dim": 4}, seed=0)
    start = Latents(torch.tensor([[0.5, -1.0, 2.0, 0.1]]), "z")
    pictures = traverse(gan, start=start, steps=3)
    for row in pictures[0]:
        torch.testing.assert_close(row[1], gan(start.values)[0], rtol=0, atol=1e-5)
    assert (traverse(gan, start=start, steps=3, absolute=True)[0, :, 1] - pictures[0, :, 1]).abs().max() > 1e-4


def test_directions_of_w_move_every_row_of_a_start_in_w_plus(model):
    values = model.sample_latents(1, space="w+", generator=torch.Generator().manual_seed(7))
    values[:, 3] += 1
    found = one("w", 10)
    end = traverse(model, found, start=Latents(values, "w+"), steps=2, extent=2)[0, 0, 1]
    torch.testing.assert_close(end, model(values + found.vectors, space="w+")[0], rtol=0, atol=1e-5)


def test_starting_latents_of_a_z_are_truncated(model):
    pictures = traverse(model, one("w", 10), start=Latents(z_of(4), "z"), steps=3, truncation=0.3)
    torch.testing.assert_close(pictures[0, 0, 1], model(z_of(4), truncation=0.3)[0], rtol=0, atol=1e-5)


# ---------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_the_class_is_the_one_asked_for(conditional, space):
    found = one(space, conditional.spaces[space].size)
    pictures = [traverse(conditional, found, seeds=[4], steps=3, label=label)[0, 0, 1] for label in (0, 2)]
    for label, picture in zip((0, 2), pictures, strict=True):
        torch.testing.assert_close(picture, conditional(z_of(4), label=label)[0], rtol=0, atol=1e-5)
    assert (pictures[0] - pictures[1]).abs().max() > 1e-4


def test_methods_that_draw_take_a_class(conditional):
    means = [ganspace(conditional, top=1, samples=50, label=label).mean for label in (0, 1)]
    assert not torch.allclose(means[0], means[1])
    assert len(style_channels(conditional, top=2, layers=(0,), seeds=(0,), samples=20, label=1)) == 2
    assert len(most_active(conditional, sefa(conditional, top=3), top=2, samples=2, label=1)) == 2
    with pytest.raises(InputError, match="3 classes and none was given"):
        style_channels(conditional, top=2, layers=(0,), samples=20)


# ---------------------------------------------------------------------------------------------- what does not fit


def test_directions_of_another_generator_are_refused(model, gan, tmp_path):
    found = sefa(model, top=1)
    assert found.generator == "stylegan2, w 10"
    found.save(tmp_path / "d.safetensors")
    again = Directions.load(tmp_path / "d.safetensors").label(0, "age").select([0])
    assert again.generator == found.generator
    other = build_model(
        {"kind": "stylegan1", "resolution": 16, "z_dim": 10, "w_dim": 10, "channels": (6, 6, 4)}, seed=0
    )
    with pytest.raises(InputError, match="found on a stylegan2, w 10, but this generator is a stylegan1, w 10"):
        traverse(other, again)
    taught = build_model({"kind": "stylegan2", **SMALL}, seed=5)  # the same kind and shape: as a fine-tuned one
    assert traverse(taught, again, steps=2).shape[:3] == (1, 1, 2)
    assert traverse(other, dataclasses.replace(again, generator=None), steps=2).shape[:3] == (1, 1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, g: traverse(g, label=1), "label is 1, but this generator has no classes"),
        (lambda m, g: traverse(m, sefa(m, top=1), label=1), "has no classes"),
        (lambda m, g: traverse(g, truncation_cutoff=3), "chooses rows of w\\+, which this generator lacks"),
        (
            lambda m, g: traverse(m, one("w", 10), start=Latents(z_of(1), "w"), truncation=0.5),
            "in 'w', which are walked",
        ),
        (lambda m, g: traverse(g, start=Latents(z_of(1), "z"), truncation=0.5), "in 'z', which are walked as they are"),
        (lambda m, g: traverse(m, one("z", 10), start=Latents(z_of(1), "w")), "no way from space 'w' back to 'z'"),
        (lambda m, g: traverse(m, one("w", 10), space="s"), "space is 's', but the directions live in 'w'"),
        (lambda m, g: traverse(m, one("w", 10), start=Latents(torch.ones(1, 9), "w")), r"\(1, 9\)"),
        (lambda m, g: traverse(g, one("z", 10), start=Latents(z_of(1), "w")), "'w', which this generator lacks"),
        (lambda m, g: one("w", 10, layers=()), "layers is empty"),
        (lambda m, g: traverse(m, one("w", 10, layers=(-1,))), "name layer -1, but this generator has 0 to 5"),
    ],
)
def test_what_does_not_fit_is_one_sentence(model, gan, call, message):
    with pytest.raises(InputError, match=message):
        call(model, gan)


def test_axes_of_a_space(model):
    pictures = traverse(model, space="w", steps=2)
    assert pictures.shape[:3] == (1, 10, 2)
    torch.testing.assert_close(pictures, traverse(model, basis(model, space="w"), steps=2))


# ---------------------------------------------------------------------------------------------- files


def test_files_of_the_first_version_are_read(tmp_path):
    header = {"format": "disentangle-directions", "version": 1, "space": "w", "labels": ["a"], "method": "sefa",
              "layers": [1]}  # fmt: skip
    tensors = {"vectors": torch.eye(1, 10), "scale": torch.ones(1)}
    save_file(tensors, tmp_path / "d.safetensors", {"disentangle": json.dumps(header)})
    found = Directions.load(tmp_path / "d.safetensors")
    assert (found.generator, found.mean, found.layers) == (None, None, (1,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "has format version 2; this toolkit reads version 1"),
        ({"version": "x"}, "has format version x"),
        ({"labels": 3}, "not a readable file"),
        ({"labels": ["a", "b"]}, "2 labels"),
        ({"layers": "x"}, "not a readable file"),
        ({"layers": [[1], 2]}, "not a readable file"),
        ({"layers": {"a": 1}}, "not a readable file"),
        ({"space": "z", "layers": [1]}, "layers were given"),
        ({"generator": 3}, "not a readable file"),
    ],
)
def test_headers_that_make_no_sense(change, message, tmp_path):
    header = {"format": "disentangle-directions", "version": 1, "space": "w", "labels": ["a"], "method": "sefa",
              "layers": None, **change}  # fmt: skip
    tensors = {"vectors": torch.eye(1, 10), "scale": torch.ones(1)}
    save_file(tensors, tmp_path / "d.safetensors", {"disentangle": json.dumps(header)})
    with pytest.raises(CheckpointError, match=message):
        Directions.load(tmp_path / "d.safetensors")


def test_traverse_is_public():
    assert disentangle.traverse is traverse


def test_where_a_walk_that_sets_positions_starts():
    """In units of each direction's scale, along its vector, from where the directions cross."""
    model = build_model({"kind": "gan", "resolution": 32, "latent_dim": 2}, seed=0)
    z = torch.cat([model.sample_latents(1, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)])
    vectors, scale, mean = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0.5, 4.0]), torch.tensor([0.1, -0.2])
    found = Directions(vectors, space="z", labels=("a", "b"), method="basis", scale=scale, mean=mean)
    at = (z - mean) / torch.tensor([1.0, 4.0])  # (seeds, directions): 2 * 0.5 and 1 * 4 a unit
    for direction in range(2):
        for seed in range(2):
            exact = float(at[seed, direction])
            positions = torch.tensor([exact - 3, exact - 1, exact, exact + 2])
            columns = start_columns(model, found, positions, seeds=[0, 1])
            assert columns[2 * direction + seed] == 2
            beyond = torch.tensor([exact + 5, exact + 6, exact + 7])
            assert start_columns(model, found, beyond, seeds=[0, 1])[2 * direction + seed] is None
