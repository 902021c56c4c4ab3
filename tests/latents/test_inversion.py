"""Pictures a generator made are found again."""

from __future__ import annotations

import pytest
import torch

from disentangle.errors import InputError
from disentangle.latents import invert
from disentangle.models import build_model

STYLE = {
    "kind": "stylegan2", "resolution": 16, "z_dim": 10, "w_dim": 10, "mapping_layers": 2, "channels": (6, 6, 4),
}  # fmt: skip


def made(model, n: int = 2) -> torch.Tensor:
    z = model.sample_latents(n, generator=torch.Generator().manual_seed(9))
    return model(z).clamp(-1, 1)


@pytest.mark.parametrize("space", ["w", "w+", "s"])
def test_a_stylegans_pictures_are_found(space):
    model = build_model(STYLE, seed=0).eval().requires_grad_(False)
    w = 0.5 * model.sample_latents(2, space="w", generator=torch.Generator().manual_seed(9))
    # brought into the range of pictures, which random weights leave
    scale = 0.8 / float(model(w, space="w").abs().max())
    for block in (model.synthesis.b4, model.synthesis.b8, model.synthesis.b16):
        block.torgb.weight.mul_(scale)
        block.torgb.bias.mul_(scale)
    targets = model(w, space="w")
    found = invert(model, targets, space=space, steps=200, pull=0)
    assert found.latents.space == space
    assert float(found.psnr.min()) > 30
    again = model(found.latents.values, space=space)
    torch.testing.assert_close(again, found.images, rtol=0, atol=1e-5)
    assert float(found.losses[-1].max()) < 0.1 * float(found.losses[0].max())


def test_a_vae_starts_from_its_encoder_and_a_gan_from_the_nearest_of_many():
    vae = build_model({"kind": "mlp-vae", "image_shape": (1, 8, 8), "latent_dim": 3, "hidden": 16}, seed=0)
    assert float(invert(vae.requires_grad_(False), made(vae), steps=150, pull=0).psnr.min()) > 40
    gan = build_model({"kind": "gan", "resolution": 16, "latent_dim": 3, "channels": (8, 8, 8)}, seed=0)
    found = invert(gan.requires_grad_(False), made(gan), steps=200, pull=0, candidates=200)
    assert float(found.psnr.min()) > 30


def test_the_same_seed_gives_the_same_and_progress_is_told():
    model = build_model({"kind": "gan", "resolution": 8, "latent_dim": 3, "channels": (5, 4)}, seed=0)
    model.requires_grad_(False)
    told = []
    one = invert(model, made(model), steps=5, progress=lambda done, steps: told.append((done, steps)))
    other = invert(model, made(model), steps=5)
    assert torch.equal(one.latents.values, other.latents.values)
    assert told == [(i, 5) for i in range(1, 6)]
    assert one.losses.shape == (5, 2)


def test_a_perceptual_distance_counts():
    model = build_model({"kind": "gan", "resolution": 8, "latent_dim": 3, "channels": (5, 4)}, seed=0)
    model.requires_grad_(False)

    def distance(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        assert one.shape[1] == 3
        return (one.mean((1, 2, 3)) - two.mean((1, 2, 3))).square()

    found = invert(model, made(model), steps=3, perceptual=distance)
    assert found.perceptual is not None
    assert found.perceptual.shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "w"}, "latent space 'w'"),
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"images": torch.zeros(1, 3, 9, 9)}, r"makes \(n, 3, 8, 8\)"),
        ({"images": torch.full((1, 3, 8, 8), 200.0)}, r"lie in \[200, 200\]"),
    ],
)
def test_bad_input(options, message):
    model = build_model({"kind": "gan", "resolution": 8, "latent_dim": 3, "channels": (5, 4)}, seed=0)
    options = {"images": torch.zeros(1, 3, 8, 8), **options}
    with pytest.raises(InputError, match=message):
        invert(model, options.pop("images"), **options)
