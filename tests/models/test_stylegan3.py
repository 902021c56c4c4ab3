"""StyleGAN3: its geometry, its equivariance, its spaces and files."""

from __future__ import annotations

import pytest
import torch

from disentangle.errors import ConfigError, InputError
from disentangle.io import load, save
from disentangle.models import build_model

SMALL = {
    "kind": "stylegan3", "resolution": 16, "z_dim": 8, "w_dim": 12, "num_layers": 4, "num_critical": 1,
    "channel_base": 128, "channel_max": 8, "margin_size": 4,
}  # fmt: skip


@pytest.fixture(scope="module", params=["T", "R"])
def model(request):
    more = {"kernel": 1, "radial": True} if request.param == "R" else {}
    return build_model({**SMALL, **more}, seed=0).eval().requires_grad_(False)


def test_published_sizes():
    config = build_model({"kind": "stylegan3", "resolution": 64, "channel_max": 16}).config
    assert len(config.layers) == 15
    assert [layer.out_size for layer in config.layers][-2:] == [64, 64]
    assert config.layers[-1].torgb
    assert config.layers[-1].kernel == 1
    assert all(len(layer.up_filter) == 1 for layer in config.layers[:-1])


def test_layers_make_the_sizes_they_announce(model):
    sizes = []
    hooks = [
        model.synthesis.get_submodule(layer.name).register_forward_hook(lambda m, i, o: sizes.append(o.shape[-1]))
        for layer in model.config.layers
    ]
    image = model(model.sample_latents(1, generator=torch.Generator().manual_seed(0)))
    for hook in hooks:
        hook.remove()
    assert sizes == [layer.out_size for layer in model.config.layers]
    assert image.shape == (1, 3, 16, 16)


def test_spaces_agree_and_truncation_acts(model):
    z = model.sample_latents(2, generator=torch.Generator().manual_seed(0))
    expected = model(z)
    for space in ("w", "w+", "s"):
        torch.testing.assert_close(
            model(model.convert_latents(z, "z", space), space=space), expected, rtol=0, atol=1e-5
        )
    assert model.spaces["w+"].shape == (6, 12)
    model.mapping.w_avg.fill_(0.1)
    zero = model(z, truncation=0.0)
    torch.testing.assert_close(zero[0], zero[1], rtol=0, atol=1e-5)


def test_a_shift_of_the_canvas_shifts_the_picture():
    """The features are waves over the plane: moving them moves what is made of them, inside the margins."""
    model = build_model({**SMALL, "resolution": 32}, seed=0).eval().requires_grad_(False).double()
    z = model.sample_latents(1, generator=torch.Generator().manual_seed(0))
    shift = torch.eye(3, dtype=torch.float64)
    shift[0, 2] = -1 / 16  # the inverse transform: two pixels of 32 to the right
    moved, plain = model(z, transform=shift), model(z)
    inside = slice(8, 24)
    difference = (moved[:, :, inside, 8:24] - plain[:, :, inside, 6:22]).abs().max()
    assert float(difference) < 0.1 * float(plain.std())
    unshifted = (moved[:, :, inside, 8:24] - plain[:, :, inside, 8:24]).abs().max()
    assert float(unshifted) > 5 * float(difference)


def test_a_file_holds_it_whole(model, tmp_path):
    model.synthesis.input.transform[0, 2] = 0.25
    save(model, tmp_path / "m.safetensors")
    z = model.sample_latents(1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load(tmp_path / "m.safetensors")(z), model(z))
    model.synthesis.input.transform[0, 2] = 0


def test_gradients_reach_the_latents(model):
    model.synthesis.input.affine.weight.fill_(0.01)  # zero in a new network
    w = model.sample_latents(1, space="w+", generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    model(w, space="w+").square().sum().backward()
    model.synthesis.input.affine.weight.zero_()
    assert bool((w.grad.abs().sum(-1) > 0).all())


def test_bad_input(model):
    z = model.sample_latents(1)
    with pytest.raises(InputError, match=r"transform has shape \(2, 2\)"):
        model(z, transform=torch.eye(2))
    with pytest.raises(InputError, match="no classes"):
        model(z, label=1)
    record = model.config.model_dump(mode="json")
    record["layers"][1]["in_channels"] += 1
    with pytest.raises(ConfigError, match="takes"):
        build_model(record)
